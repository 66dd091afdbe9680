//! The shim: the small process that every container has beside it.
//!
//! It starts the container in a child, then holds its streams, writes its log, waits for its end and writes that
//! down. It has one thread and does nothing until the kernel wakes it. It outlives the agent, which finds it again
//! by its folder.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, setsid};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use super::super::api::ContainerExit;
use super::super::log::{LogWriter, Stream};
use super::cgroup::Cgroups;
use super::exec::exec_main;
use super::paths::{CONSOLE, EXIT, LOCK, SOCKET, SPEC, STARTED, ShortPath, read_json, write_json};
use super::protocol::{Answer, Receiver, Request, StartAnswer, Started, send};
use super::start::{ShimSpec, Streams, start};
use super::terminal::{ConsoleSocket, resize};

const PIECE_BYTES: usize = 16 * 1024;
const INPUT_BYTES_MAX: usize = 64 * 1024;
const CLIENTS_MAX: usize = 64;

/// The entry of the hidden subcommand: `run FOLDER` starts a container and stays with it, `exec FOLDER` runs a
/// command in it. Gives the exit code of the process: 0, 1 where it failed, 2 for wrong arguments.
///
/// Call it first thing in `main`, before any thread is started: it forks. What it has to say goes through a socket
/// that it finds as its input.
pub fn shim_main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let mut args = args.into_iter();
    let (what, folder) = (args.next().unwrap_or_default(), args.next().map(PathBuf::from));
    let Some(folder) = folder else {
        return 2;
    };
    let done = match what.to_str() {
        Some("run") => run(&folder),
        Some("exec") => exec_main(&folder),
        _ => return 2,
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            // Its errors go to a file of the container's folder.
            let _ = writeln!(io::stderr(), "{error}");
            1
        }
    }
}

/// The socket to the agent that started this process, which stands in place of the input.
pub(super) fn control_socket() -> io::Result<UnixStream> {
    rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)
        .map(UnixStream::from)
        .map_err(Into::into)
}

/// Replaces the input by nothing, so that no child gets hold of the socket that was there.
pub(super) fn close_input() -> io::Result<()> {
    let nothing = File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing).map_err(Into::into)
}

/// Signals that are read from a file, not acted on.
pub(super) fn signal_file() -> io::Result<SignalFd> {
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        mask.add(signal);
    }
    mask.thread_block()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(Into::into)
}

fn run(folder: &Path) -> io::Result<()> {
    let control = control_socket()?;
    close_input()?;
    // Not of the agent's session: what the terminal sends to the agent is not for the containers.
    let _ = setsid();
    std::env::set_current_dir(folder)?;
    let mut lock = File::create(folder.join(LOCK))?;
    // A lock of this process alone (fcntl_locking(2)): what it forks does not keep it. It goes when any handle of the file is
    // closed here, so there is no other.
    rustix::fs::fcntl_lock(&lock, FlockOperation::LockExclusive)?;
    lock.write_all(std::process::id().to_string().as_bytes())?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let signals = signal_file()?;
    let Some(spec) = read_json::<ShimSpec>(&folder.join(SPEC))? else {
        return Err(io::Error::other("no specification"));
    };
    let cgroups = Cgroups::detect()?;
    let shim_cgroup = spec.shim_cgroup.clone();
    match Shim::start(folder, spec, cgroups.clone(), signals) {
        Ok((shim, started)) => {
            // When the agent is gone, the next one finds the socket.
            let _ = send(&control, &StartAnswer::Started(started), &[]);
            drop(control);
            // Away from the agent's group, so that stopping the agent's does not stop the containers. It comes last,
            // since the kernel takes its time for it. Where it cannot be done, as in a container without the right,
            // the shim stays where it is.
            let _ = cgroups.join(&shim_cgroup);
            shim.attend()
        }
        Err(reason) => {
            send(&control, &StartAnswer::Failed(reason), &[])?;
            Ok(())
        }
    }
}

/// The shim of a container that runs.
struct Shim {
    folder: PathBuf,
    spec: ShimSpec,
    cgroups: Cgroups,
    signals: SignalFd,
    listener: UnixListener,
    log: LogWriter,
    pid: Pid,
    /// Where output comes from; with a terminal there is one.
    outputs: Vec<(Stream, Option<OwnedFd>)>,
    /// Where input goes.
    input: Option<OwnedFd>,
    /// Input that the container has not taken yet.
    pending: VecDeque<u8>,
    terminal: Option<OwnedFd>,
    clients: Vec<Client>,
    ended: Option<WaitStatus>,
}

/// A container that was started, and the shim's side of its streams.
struct Parts {
    started: Started,
    outputs: Vec<(Stream, Option<OwnedFd>)>,
    input: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
}

/// Somebody who is connected.
struct Client {
    receiver: Receiver<UnixStream>,
    watches: bool,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    closed: bool,
}

/// What a descriptor that became ready is.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Listener,
    Output(usize),
    Input,
    Client(usize),
    ClientInput(usize),
}

impl Shim {
    /// Starts the container in a child and takes over its streams.
    fn start(
        folder: &Path,
        spec: ShimSpec,
        cgroups: Cgroups,
        signals: SignalFd,
    ) -> Result<(Self, Started), String> {
        let started = Self::try_start(folder, &spec, &cgroups);
        let fail = |error: io::Error| format!("cannot set up the container: {error}");
        let Parts {
            mut started,
            outputs,
            input,
            terminal,
        } = started.inspect_err(|_| {
            reap_all();
            let _ = cgroups.remove(&spec.cgroup);
        })?;
        started.shim_pid = std::process::id();
        let pid = Pid::from_raw(started.pid);
        let prepared = (|| {
            let log = LogWriter::open(&spec.container.log, spec.container.log_limits)?;
            for descriptor in outputs
                .iter()
                .filter_map(|(_, output)| output.as_ref())
                .chain(&input)
            {
                rustix::io::ioctl_fionbio(descriptor, true)?;
            }
            let listener = UnixListener::bind(ShortPath::new(folder, SOCKET)?.as_path())?;
            listener.set_nonblocking(true)?;
            write_json(&folder.join(STARTED), &started)?;
            Ok((log, listener))
        })();
        let (log, listener) = prepared.map_err(fail).inspect_err(|_| {
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
            let _ = cgroups.remove(&spec.cgroup);
        })?;
        let folder = folder.to_owned();
        let shim = Self {
            folder,
            spec,
            cgroups,
            signals,
            listener,
            log,
            pid,
            outputs,
            input,
            pending: VecDeque::new(),
            terminal,
            clients: Vec::new(),
            ended: None,
        };
        Ok((shim, started))
    }

    fn try_start(folder: &Path, spec: &ShimSpec, cgroups: &Cgroups) -> Result<Parts, String> {
        let failed = |error: io::Error| format!("cannot make the container's streams: {error}");
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed(errno.into()));
        let tty = spec.container.process.tty;
        let console = tty
            .then(|| ConsoleSocket::bind(folder, CONSOLE))
            .transpose()
            .map_err(failed)?;
        let (mut theirs, mut outputs, mut input) = (None, Vec::new(), None);
        if !tty {
            let ((read_out, write_out), (read_err, write_err)) = (pipe()?, pipe()?);
            outputs = vec![(Stream::Stdout, Some(read_out)), (Stream::Stderr, Some(read_err))];
            let stdin = if spec.container.stdin {
                let (read, write) = pipe()?;
                input = Some(write);
                read
            } else {
                File::open("/dev/null").map_err(failed)?.into()
            };
            theirs = Some(Streams {
                stdin,
                stdout: write_out,
                stderr: write_err,
            });
        }
        let (read_report, write_report) = pipe()?;
        let child = fork_starter(folder, spec, cgroups, theirs, write_report)?;
        let mut told = String::new();
        io::Read::read_to_string(&mut File::from(read_report), &mut told).map_err(failed)?;
        let _ = waitpid(child, None);
        let mut started = None;
        for line in told.lines() {
            match serde_json::from_str(line) {
                Ok(StartAnswer::Started(running)) => started = Some(running),
                Ok(StartAnswer::Failed(reason)) => return Err(reason),
                Err(error) => return Err(format!("the starter spoke oddly: {error}")),
            }
        }
        let started = started.ok_or("the process that starts the container was killed")?;
        let mut terminal = None;
        if let Some(console) = console {
            let taken = console.take().map_err(failed)?;
            let copy = || rustix::io::fcntl_dupfd_cloexec(&taken, 3).map_err(|errno| failed(errno.into()));
            outputs = vec![(Stream::Stdout, Some(copy()?))];
            input = Some(copy()?);
            terminal = Some(taken);
        }
        Ok(Parts {
            started,
            outputs,
            input,
            terminal,
        })
    }

    /// Attends to the container until it has ended.
    fn attend(mut self) -> io::Result<()> {
        while self.ended.is_none() {
            for (source, ready) in self.wait()? {
                self.handle(source, ready)?;
            }
            self.clients.retain(|client| !client.closed);
        }
        self.drain();
        self.finish()
    }

    /// Waits until something is ready.
    fn wait(&self) -> io::Result<Vec<(Source, PollFlags)>> {
        let mut sources = vec![Source::Signals, Source::Listener];
        let mut files = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        for (number, (_, output)) in self.outputs.iter().enumerate() {
            if let Some(output) = output {
                sources.push(Source::Output(number));
                files.push(PollFd::new(output, PollFlags::IN));
            }
        }
        if let Some(input) = self.input.as_ref().filter(|_| !self.pending.is_empty()) {
            sources.push(Source::Input);
            files.push(PollFd::new(input, PollFlags::OUT));
        }
        for (number, client) in self.clients.iter().enumerate() {
            sources.push(Source::Client(number));
            files.push(PollFd::new(&client.receiver.socket, PollFlags::IN));
            if let Some(stdin) = client
                .stdin
                .as_ref()
                .filter(|_| self.pending.len() < INPUT_BYTES_MAX)
            {
                sources.push(Source::ClientInput(number));
                files.push(PollFd::new(stdin, PollFlags::IN));
            }
        }
        loop {
            match rustix::event::poll(&mut files, None) {
                Err(Errno::INTR) => {}
                other => {
                    other?;
                    break;
                }
            }
        }
        let ready = files.iter().map(PollFd::revents);
        Ok(sources
            .into_iter()
            .zip(ready)
            .filter(|(_, ready)| !ready.is_empty())
            .collect())
    }

    fn handle(&mut self, source: Source, ready: PollFlags) -> io::Result<()> {
        match source {
            Source::Signals => {
                // Which one does not matter: the shim itself stops only when its container has.
                while let Ok(Some(_)) = self.signals.read_signal() {}
                self.reap();
            }
            Source::Listener => {
                if let Ok((socket, _)) = self.listener.accept()
                    && self.clients.len() < CLIENTS_MAX
                {
                    self.clients.push(Client::new(socket));
                }
            }
            Source::Output(number) => {
                if self.read_output(number) == Some(0) || ready == PollFlags::ERR {
                    // Nothing comes from here any more; a terminal says so by an error.
                    self.outputs[number].1 = None;
                }
            }
            Source::Input => self.write_input(),
            Source::Client(number) => self.serve(number),
            Source::ClientInput(number) => self.read_client_input(number),
        }
        Ok(())
    }

    /// Collects children that have ended. Others than the first process are orphans of the container.
    fn reap(&mut self) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(status) if status.pid() == Some(self.pid) => self.ended = Some(status),
                Ok(_) => {}
            }
        }
    }

    /// Takes one piece of output; gives its length, `None` when there is nothing now.
    fn read_output(&mut self, number: usize) -> Option<usize> {
        let (stream, Some(output)) = &self.outputs[number] else {
            return None;
        };
        let stream = *stream;
        let mut piece = [0; PIECE_BYTES];
        let length = match rustix::io::read(output, &mut piece) {
            Ok(length) => length,
            Err(Errno::IO) => 0,
            Err(_) => return None,
        };
        // A full disk must not stop the container: what cannot be written is lost.
        let _ = self.log.write(stream, &piece[..length], Timestamp::now());
        for client in &mut self.clients {
            client.show(stream, &piece[..length]);
        }
        Some(length)
    }

    /// Takes what is left of the output when the container has ended.
    fn drain(&mut self) {
        for number in 0..self.outputs.len() {
            while self.read_output(number).is_some_and(|length| length > 0) {}
        }
    }

    fn write_input(&mut self) {
        let Some(input) = &self.input else { return };
        let (piece, _) = self.pending.as_slices();
        match rustix::io::write(input, piece) {
            Ok(length) => {
                self.pending.drain(..length);
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => {
                self.pending.clear();
                self.input = None;
            }
        }
    }

    fn read_client_input(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let Some(stdin) = &client.stdin else { return };
        let mut piece = [0; PIECE_BYTES];
        match rustix::io::read(stdin, &mut piece) {
            Ok(0) => {
                client.stdin = None;
                if self.spec.container.stdin_once && self.terminal.is_none() {
                    while !self.pending.is_empty() && self.input.is_some() {
                        self.write_input();
                    }
                    self.input = None;
                }
            }
            Ok(length) => {
                self.pending.extend(&piece[..length]);
                self.write_input();
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => client.stdin = None,
        }
    }

    /// Does what a client asks.
    fn serve(&mut self, number: usize) {
        let client = &mut self.clients[number];
        if !matches!(client.receiver.fill(), Ok(length) if length > 0) {
            client.closed = true;
            return;
        }
        loop {
            let client = &mut self.clients[number];
            let (request, files) = match client.receiver.take::<Request>() {
                Ok(Some(message)) => message,
                Ok(None) => return,
                Err(_) => {
                    client.closed = true;
                    return;
                }
            };
            let answer = match request {
                Request::Watch => {
                    client.watches = true;
                    continue;
                }
                Request::Attach {
                    stdin,
                    stdout,
                    stderr,
                } => {
                    client.join(stdin, stdout, stderr, files);
                    continue;
                }
                Request::Signal(number) => match Signal::try_from(number) {
                    Ok(signal) => kill(self.pid, signal).map_err(|errno| errno.desc().to_owned()),
                    Err(_) => Err(format!("no signal {number}")),
                },
                Request::Kill => {
                    self.cgroups.kill(&self.spec.cgroup);
                    kill(self.pid, Signal::SIGKILL).map_err(|errno| errno.desc().to_owned())
                }
                Request::Resize(size) => match &self.terminal {
                    Some(terminal) => resize(terminal, size).map_err(|error| error.to_string()),
                    None => Err("the container has no terminal".to_owned()),
                },
            };
            let answer = answer.map_or_else(Answer::Failed, |()| Answer::Done);
            self.clients[number].tell(&answer);
        }
    }

    /// Removes what the kernel holds of the container, writes down how it ended, and says so.
    fn finish(mut self) -> io::Result<()> {
        let finished = Timestamp::now();
        let _ = self.log.finish(finished);
        let oom_killed = self.cgroups.was_oom_killed(&self.spec.cgroup);
        let (code, signal) = match self.ended {
            Some(WaitStatus::Exited(_, code)) => (code, None),
            Some(WaitStatus::Signaled(_, signal, _)) => (128 + signal as i32, Some(signal as i32)),
            _ => (255, None),
        };
        let exit = ContainerExit {
            code,
            signal,
            oom_killed,
            finished,
            unseen: false,
        };
        let removed = self.cgroups.remove(&self.spec.cgroup);
        write_json(&self.folder.join(EXIT), &exit)?;
        for client in &mut self.clients {
            if client.watches {
                client.tell(&Answer::Exited(exit.clone()));
            }
        }
        let _ = fs::remove_file(self.folder.join(SOCKET));
        removed
    }
}

impl Client {
    fn new(socket: UnixStream) -> Self {
        Self {
            receiver: Receiver::new(socket),
            watches: false,
            stdin: None,
            stdout: None,
            stderr: None,
            closed: false,
        }
    }

    fn join(&mut self, stdin: bool, stdout: bool, stderr: bool, files: Vec<OwnedFd>) {
        let mut files = files.into_iter();
        let mut next = |wanted: bool| wanted.then(|| files.next()).flatten();
        self.stdin = next(stdin);
        self.stdout = next(stdout);
        self.stderr = next(stderr);
        self.watches = true;
        for file in self.stdin.iter().chain(&self.stdout).chain(&self.stderr) {
            let _ = rustix::io::ioctl_fionbio(file, true);
        }
    }

    /// Shows output to somebody who joined. One who does not read is let go: the container does not wait for him.
    fn show(&mut self, stream: Stream, bytes: &[u8]) {
        let target = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(file) = target else { return };
        match rustix::io::write(file.as_fd(), bytes) {
            Ok(length) if length == bytes.len() => {}
            _ => *target = None,
        }
    }

    fn tell(&mut self, answer: &Answer) {
        if send(&self.receiver.socket, answer, &[]).is_err() {
            self.closed = true;
        }
    }
}

/// Makes the child that starts the container.
#[expect(
    unsafe_code,
    reason = "the shim has one thread, so a forked child may do anything"
)]
fn fork_starter(
    folder: &Path,
    spec: &ShimSpec,
    cgroups: &Cgroups,
    streams: Option<Streams>,
    report: OwnedFd,
) -> Result<Pid, String> {
    // SAFETY: no other thread exists that could hold a lock in the child.
    match unsafe { fork() } {
        Err(errno) => Err(format!("cannot fork: {errno}")),
        Ok(ForkResult::Parent { child }) => Ok(child),
        Ok(ForkResult::Child) => {
            let _ = prctl::set_pdeathsig(Signal::SIGKILL);
            let mut told = match rustix::io::fcntl_dupfd_cloexec(&report, 3) {
                Ok(copy) => File::from(copy),
                Err(_) => std::process::exit(1),
            };
            let answer = match start(folder, spec, cgroups, streams, report) {
                Ok(started) => StartAnswer::Started(started),
                Err(reason) => StartAnswer::Failed(reason),
            };
            let mut line = serde_json::to_vec(&answer).unwrap_or_default();
            line.push(b'\n');
            let written = told.write_all(&line);
            std::process::exit(i32::from(written.is_err()))
        }
    }
}

/// Collects all children, killing none: after a failed start they end by themselves or with their control group.
fn reap_all() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}
