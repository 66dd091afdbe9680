//! What is on disk when the runtime is opened: found again, or removed where it was half-made.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;

use super::super::api::{Container, Sandbox};
use super::family::kill_family;
use super::namespaces;
use super::paths::{LOCK, SANDBOX, SPEC, STARTED, read_json, remove_folder};
use super::protocol::Started;
use super::runtime::Inner;
use super::shims::bury;
use super::start::ShimSpec;

/// What is on disk when the runtime is opened; containers with whether their shim lives.
pub(super) struct Found {
    pub(super) sandboxes: Vec<Sandbox>,
    pub(super) containers: Vec<(Container, bool)>,
}

impl Inner {
    pub(super) fn find(&self) -> io::Result<Found> {
        let mut found = Found {
            sandboxes: Vec::new(),
            containers: Vec::new(),
        };
        for folder in folders(&self.config.root.join("sandboxes"))? {
            match read_json::<Sandbox>(&folder.join(SANDBOX)) {
                Ok(Some(sandbox)) if namespaces::are_kept(&folder, &sandbox.spec) => {
                    found.sandboxes.push(sandbox);
                }
                _ => {
                    let id = folder
                        .file_name()
                        .unwrap_or_default()
                        .to_string_lossy()
                        .into_owned();
                    if let Err(error) = self.unmake_sandbox(&id) {
                        tracing::warn!(sandbox = id, %error, "a half-made sandbox stays");
                    }
                }
            }
        }
        for folder in folders(&self.config.root.join("containers"))? {
            let known = |id: &str| found.sandboxes.iter().any(|sandbox| sandbox.spec.id == id);
            match self.find_container(&folder) {
                Ok(Some((container, alive))) if alive || known(&container.sandbox) => {
                    found.containers.push((container, alive));
                }
                Ok(_) => remove_folder(&folder)?,
                // What the agent before this one began to remove may be gone only now.
                Err(_) if !folder.exists() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// What a folder says of its container; `None` when it never ran.
    fn find_container(&self, folder: &Path) -> io::Result<Option<(Container, bool)>> {
        let spec = read_json::<ShimSpec>(&folder.join(SPEC)).unwrap_or_default();
        let Some(spec) = spec else { return Ok(None) };
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(LOCK))?;
        let tried = fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive);
        let mut alive = matches!(tried, Err(Errno::AGAIN | Errno::ACCESS));
        let mut started = read_json::<Started>(&folder.join(STARTED))?;
        if alive && started.is_none() {
            // The agent before this one ended while the container was being started. Nobody is told of it any more.
            let holder = fs::read_to_string(folder.join(LOCK))?;
            if let Ok(pid) = holder.trim().parse() {
                kill_family(pid);
            }
            fcntl_lock(&lock, FlockOperation::LockExclusive)?;
            alive = false;
            started = None;
        }
        let Some(started) = started else {
            self.give_up(&spec.container.sandbox, &spec.container.id);
            return Ok(None);
        };
        let mut container = spec.container.running(started.started, started.pid);
        if !alive {
            container.exit = Some(bury(folder, &self.cgroups, &spec.cgroup));
        }
        Ok(Some((container, alive)))
    }
}

fn folders(parent: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(parent)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect()
}
