//! Docker's engine in a laboratory.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::Lab;
use crate::peers::{peer, skip};
use crate::wait::until;

const LIMIT: Duration = Duration::from_secs(60);

/// A running engine with data of its own; it ends with this, which has to be before the laboratory does.
pub struct Engine {
    daemon: Child,
    data: PathBuf,
    socket: PathBuf,
}

impl Engine {
    /// Starts one, with options besides those of its folders. `None`, with a word, where it is not installed.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn start(lab: &Lab, options: &[&str]) -> Option<Self> {
        let Some(program) = peer("dockerd") else {
            skip("Docker's engine is not installed");
            return None;
        };
        let folder = |name: &str| lab.folder().join(name);
        let (data, socket) = (folder("engine"), folder("engine.sock"));
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let log =
            std::fs::File::create(folder("engine.log")).expect("the laboratory's folder can be written");
        let mut command = lab.command(program);
        command
            .env("PATH", path)
            .arg("--host")
            .arg(format!("unix://{}", socket.display()))
            .arg("--data-root")
            .arg(&data)
            .arg("--exec-root")
            .arg(folder("engine-run"))
            .arg("--pidfile")
            .arg(folder("engine.pid"))
            .args(options)
            .stdout(Stdio::null())
            .stderr(log);
        let daemon = lab.inside(move || command.spawn()).expect("the engine starts");
        let engine = Self { daemon, data, socket };
        until("the engine answers", LIMIT, || {
            std::os::unix::net::UnixStream::connect(&engine.socket).ok()
        });
        Some(engine)
    }

    /// Where it listens, as `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(self.daemon.id().cast_signed()), Signal::SIGTERM);
        let _ = self.daemon.wait();
        // It makes its data folder a mount, and leaves that behind.
        let _ = umount2(&self.data, MntFlags::MNT_DETACH);
    }
}
