//! Sandboxes: their folders, namespaces and shared memory.

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::super::api::{NamespaceMode, RuntimeError, Sandbox, SandboxSpec};
use super::namespaces;
use super::paths::{SANDBOX, remove_folder, write_json};
use super::runtime::Inner;

impl Inner {
    pub(super) fn make_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        let folder = self.sandbox_folder(&spec.id);
        let made = self.try_make_sandbox(&folder, spec);
        if made.is_err() {
            namespaces::remove(&folder);
            let _ = umount2(&folder.join("shm"), MntFlags::MNT_DETACH);
            let _ = fs::remove_dir_all(&folder);
        }
        made
    }

    fn try_make_sandbox(&self, folder: &Path, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        let failed = |error: io::Error| RuntimeError::machine("make the sandbox", error);
        let shm = folder.join("shm");
        fs::create_dir_all(&shm).map_err(failed)?;
        namespaces::create(folder, &spec)?;
        if spec.ipc == NamespaceMode::Own {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount(
                Some("shm"),
                &shm,
                Some("tmpfs"),
                flags,
                Some("mode=1777,size=65536k"),
            )
            .map_err(|errno| failed(errno.into()))?;
        }
        let own_network = spec.network == NamespaceMode::Own;
        let netns = own_network.then(|| namespaces::pins(folder)[0].clone());
        let sandbox = Sandbox {
            spec,
            created: Timestamp::now(),
            netns,
            containers: Vec::new(),
        };
        write_json(&folder.join(SANDBOX), &sandbox).map_err(failed)?;
        Ok(sandbox)
    }

    pub(super) fn unmake_sandbox(&self, id: &str) -> Result<(), RuntimeError> {
        let folder = self.sandbox_folder(id);
        if !folder.exists() {
            return Ok(());
        }
        namespaces::remove(&folder);
        let _ = umount2(&folder.join("shm"), MntFlags::MNT_DETACH);
        let failed = |error: io::Error| RuntimeError::machine("remove the sandbox", error);
        self.cgroups.remove(&self.pod_cgroup(id)).map_err(failed)?;
        remove_folder(&folder).map_err(failed)
    }
}
