//! A machine of its own for a test, as far as network and files go.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;
use tempfile::TempDir;

use crate::program::Output;
use crate::{get, peers};

type Work = Box<dyn FnOnce() + Send>;

/// A network namespace with a data folder and a home folder, in which programs run.
///
/// It has one bundled cluster at most; dropping the lab deletes that cluster.
pub struct Lab {
    folder: TempDir,
    /// Gives work to the thread that lives in the namespace.
    work: Option<mpsc::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Lab {
    /// Opens a lab; `None`, with a word on stdout, where that takes rights that the test does not have.
    ///
    /// # Panics
    /// When it is not possible and nothing may be skipped.
    pub fn open() -> Option<Self> {
        if !geteuid().is_root() {
            peers::skip("network namespaces and containers need root");
            return None;
        }
        let (work, orders) = mpsc::channel::<Work>();
        let (ready, outcome) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            // What is started from this thread is in its namespace.
            let entered = unshare(CloneFlags::CLONE_NEWNET);
            if ready.send(entered).is_ok() && entered.is_ok() {
                orders.iter().for_each(|work| work());
            }
        });
        if let Ok(Err(error)) | Err(error) = outcome.recv().map_err(|_| nix::Error::EPERM) {
            peers::skip(&format!("a network namespace cannot be made: {error}"));
            return None;
        }
        let folder = tempfile::Builder::new()
            .prefix("tug-lab-")
            .tempdir()
            .expect("a temporary folder");
        Some(Self {
            folder,
            work: Some(work),
            thread: Some(thread),
        })
    }

    /// Does something inside the lab's network.
    ///
    /// # Panics
    /// When the work does.
    pub fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (send, receive) = mpsc::channel();
        let run: Work = Box::new(move || {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            // The receiver waits below.
            let _ = send.send(outcome);
        });
        self.work
            .as_ref()
            .expect("open until dropped")
            .send(run)
            .expect("the lab's thread lives");
        match receive.recv().expect("the lab's thread answers") {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Puts the data folder on a file system of its own that holds so many MiB. Only what runs inside the lab sees it.
    ///
    /// # Panics
    /// When it cannot be mounted.
    pub fn small_disk(&self, mebibytes: u32) {
        let dir = self.data_dir();
        let mounted = self.inside(move || {
            std::fs::create_dir(&dir).expect("the data folder is new");
            unshare(CloneFlags::CLONE_NEWNS)?;
            let nothing = None::<&str>;
            mount(
                nothing,
                "/",
                nothing,
                MsFlags::MS_REC | MsFlags::MS_PRIVATE,
                nothing,
            )?;
            let size = format!("size={mebibytes}m");
            mount(
                nothing,
                &dir,
                Some("tmpfs"),
                MsFlags::empty(),
                Some(size.as_str()),
            )
        });
        mounted.expect("a small file system can be mounted");
    }

    /// The lab's own folder, for files of the test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder of the bundled cluster.
    pub fn data_dir(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// The kubeconfig of the bundled cluster.
    pub fn kubeconfig(&self) -> PathBuf {
        self.data_dir().join("kubeconfig")
    }

    /// A command that will run in the lab, with nothing of the caller's surroundings but the path.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder())
            .env("TUG_DATA_DIR", self.data_dir())
            .current_dir(self.folder())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&self, mut command: Command) -> Output {
        let typed = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(OsStr::to_string_lossy)
            .collect::<Vec<_>>()
            .join(" ");
        let output = self.inside(move || command.output());
        Output::new(
            typed.clone(),
            &output.unwrap_or_else(|error| panic!("`{typed}`: {error}")),
        )
    }

    /// Runs `tug`.
    pub fn tug<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        let mut command = self.command(peers::tug());
        command.args(arguments);
        self.run(command)
    }

    /// Makes an image of Debian packages and the static busybox, and loads it: `--` ends what
    /// `scripts/build-image.py` is told, the command follows.
    ///
    /// # Panics
    /// When it cannot be made or loaded.
    pub fn load_image<S: AsRef<OsStr>>(&self, name: &str, arguments: impl IntoIterator<Item = S>) {
        let archive = self.folder().join("image.tar");
        let mut build = self.command("python3");
        build
            .arg(peers::repository().join("scripts/build-image.py"))
            .args(["--name", name, "--out"])
            .arg(&archive)
            .args(arguments);
        self.run(build).ok();
        self.tug(["image".as_ref(), "load".as_ref(), archive.as_os_str()])
            .ok();
    }

    /// Runs a real client, such as `kubectl` or `helm`, against the bundled cluster.
    pub fn client<S: AsRef<OsStr>>(&self, program: &Path, arguments: impl IntoIterator<Item = S>) -> Output {
        let mut command = self.command(program);
        command.env("KUBECONFIG", self.kubeconfig()).args(arguments);
        self.run(command)
    }

    /// Asks a server on loopback for a path: status code and body, or `None` while nothing answers.
    pub fn get(&self, port: u16, path: &str) -> Option<(u16, String)> {
        let path = path.to_owned();
        self.inside(move || get(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), &path))
            .ok()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.data_dir().exists() {
            let deleted = self.tug(["cluster", "delete"]);
            if deleted.code != 0 && !std::thread::panicking() {
                panic!("the lab's cluster could not be deleted\n{}", deleted.stderr);
            }
        }
        drop(self.work.take());
        if let Some(thread) = self.thread.take() {
            // Its work was caught where it panicked.
            let _ = thread.join();
        }
    }
}
