//! Commands in running containers: a helper process for each, which ends with the command or with the agent.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use serde_json::{Value, json};

use super::cgroup::Cgroups;
use super::executor::FreshExecutor;
use super::family::end_children;
use super::paths::{BUNDLE, OCI_STATE, SPEC, read_json};
use super::protocol::{ExecAnswer, ExecCommand, Receiver, send};
use super::shim::{close_input, control_socket, signal_file};
use super::spec::guard;
use super::start::{ShimSpec, describe, machine};
use super::terminal::ConsoleSocket;

const CONSOLE: &str = "console.sock";

/// Runs one command in the container of a folder; what and with which files comes through the control socket.
pub(super) fn exec_main(folder: &Path) -> io::Result<()> {
    let mut control = Receiver::new(control_socket()?);
    close_input()?;
    let Some((command, files)) = control.receive::<ExecCommand>()? else {
        return Ok(());
    };
    // Its own copy of libcontainer's state: sockets that are left there would stay for good otherwise.
    let own = folder.join("exec").join(std::process::id().to_string());
    let done = run(folder, &own, &command, files, &control);
    end_children();
    let _ = fs::remove_dir_all(&own);
    send(&control.socket, &done?, &[])
}

/// Starts the command and stays with it; gives what is said last.
fn run(
    folder: &Path,
    own: &Path,
    command: &ExecCommand,
    files: Vec<OwnedFd>,
    control: &Receiver<UnixStream>,
) -> io::Result<ExecAnswer> {
    let signals = signal_file()?;
    let (pid, terminal) = match start(folder, own, command, files) {
        Ok(started) => started,
        Err(reason) => return Ok(ExecAnswer::Failed(reason)),
    };
    let terminal = terminal.as_ref().map(AsFd::as_fd);
    send(&control.socket, &ExecAnswer::Running, terminal.as_slice())?;
    attend(pid, control, &signals).map(ExecAnswer::Exited)
}

fn start(
    folder: &Path,
    own: &Path,
    command: &ExecCommand,
    files: Vec<OwnedFd>,
) -> Result<(Pid, Option<OwnedFd>), String> {
    let failed = |error: io::Error| format!("cannot prepare the command: {error}");
    let spec: ShimSpec = read_json(&folder.join(SPEC))
        .map_err(failed)?
        .ok_or("the container is gone")?;
    let id = spec.container.id.as_str();
    let state = own.join(id);
    fs::create_dir_all(&state).map_err(failed)?;
    fs::copy(
        folder.join(OCI_STATE).join(id).join("state.json"),
        state.join("state.json"),
    )
    .map_err(failed)?;
    let document: Value = read_json(&folder.join(BUNDLE).join("config.json"))
        .map_err(failed)?
        .ok_or("the container is gone")?;
    let process = own.join("process.json");
    fs::write(&process, process_of(document, command).to_string()).map_err(failed)?;
    let console = command
        .tty
        .then(|| ConsoleSocket::bind(own, CONSOLE))
        .transpose()
        .map_err(failed)?;
    let nowhere = || {
        File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map(OwnedFd::from)
            .map_err(failed)
    };
    let machine = Cgroups::detect()
        .and_then(|cgroups| machine(&cgroups))
        .map_err(failed)?;
    let guard = guard(&spec.container, &machine)?;
    let mut builder = ContainerBuilder::new(id.to_owned(), SyscallType::default())
        .with_executor(FreshExecutor::new(nowhere()?, guard))
        .with_root_path(own)
        .map_err(|error| describe(&error))?;
    if command.tty {
        builder = builder.with_console_socket(Some(own.join(CONSOLE)));
    } else {
        let mut files = files.into_iter();
        let mut next = || files.next().map_or_else(nowhere, Ok);
        builder = builder
            .with_stdin(next()?)
            .with_stdout(next()?)
            .with_stderr(next()?);
    }
    let built = builder
        .as_tenant()
        .with_process(Some(&process))
        .with_detach(true)
        .build();
    let pid = built.map_err(|error| describe(&error))?;
    let terminal = console.map(ConsoleSocket::take).transpose().map_err(failed)?;
    Ok((Pid::from_raw(pid.as_raw()), terminal))
}

/// The process of the command: the container's own with other arguments.
fn process_of(mut document: Value, command: &ExecCommand) -> Value {
    let mut process = document["process"].take();
    process["args"] = json!(command.args);
    process["terminal"] = command.tty.into();
    if command.tty
        && let Some(env) = process["env"].as_array_mut()
        && !env
            .iter()
            .any(|one| one.as_str().is_some_and(|one| one.starts_with("TERM=")))
    {
        env.push("TERM=xterm".into());
    }
    process
}

/// Waits for the end of the command. When the agent hangs up, the command is killed.
fn attend(
    pid: Pid,
    control: &Receiver<UnixStream>,
    signals: &nix::sys::signalfd::SignalFd,
) -> io::Result<i32> {
    let mut listens = true;
    loop {
        match waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(128 + signal as i32),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut files = vec![PollFd::new(signals, PollFlags::IN)];
        if listens {
            files.push(PollFd::new(&control.socket, PollFlags::IN));
        }
        match rustix::event::poll(&mut files, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let hung_up = files.get(1).is_some_and(|control| !control.revents().is_empty());
        let mut asked_to_stop = false;
        while let Ok(Some(signal)) = signals.read_signal() {
            asked_to_stop |= signal.ssi_signo != Signal::SIGCHLD as u32;
        }
        if hung_up || asked_to_stop {
            listens = false;
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}
