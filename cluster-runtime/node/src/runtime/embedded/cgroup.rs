//! Control groups, version 1, 2, and both side by side.
//!
//! libcontainer makes a container's groups and sets its limits; this module finds, kills, measures and removes them,
//! also where no libcontainer state is left.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::api::Usage;

const REMOVAL_TRIES: u32 = 40;
/// A shim lets its mounts go as it ends, which takes long where many end at once.
const EMPTY_TRIES: u32 = 400;
const REMOVAL_PAUSE: Duration = Duration::from_millis(5);

/// The control group trees of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cgroups {
    /// Version 1, each with its controllers.
    legacy: Vec<(PathBuf, Vec<String>)>,
    /// Version 2.
    unified: Option<PathBuf>,
}

impl Cgroups {
    /// Finds the trees that are mounted.
    pub(super) fn detect() -> io::Result<Self> {
        Ok(Self::read(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    fn read(mounts: &str) -> Self {
        let mut found = Self {
            legacy: Vec::new(),
            unified: None,
        };
        for line in mounts.lines() {
            let Some((before, after)) = line.split_once(" - ") else {
                continue;
            };
            let Some(point) = before
                .split(' ')
                .nth(4)
                .filter(|point| point.starts_with("/sys/fs/cgroup"))
            else {
                continue;
            };
            let mut fields = after.split(' ');
            let (kind, options) = (fields.next(), fields.nth(1).unwrap_or_default());
            match kind {
                Some("cgroup2") => found.unified = Some(point.into()),
                Some("cgroup") => {
                    let controllers = options.split(',').map(str::to_owned).collect();
                    found.legacy.push((point.into(), controllers));
                }
                _ => {}
            }
        }
        found
    }

    /// Whether limits are held by version 1, which also filters devices.
    pub(super) fn has_legacy(&self) -> bool {
        !self.legacy.is_empty()
    }

    fn roots(&self) -> impl Iterator<Item = &Path> {
        let legacy = self.legacy.iter().map(|(root, _)| root.as_path());
        legacy.chain(self.unified.as_deref())
    }

    fn controller(&self, name: &str) -> Option<&Path> {
        let found = self
            .legacy
            .iter()
            .find(|(_, controllers)| controllers.iter().any(|one| one == name));
        found.map(|(root, _)| root.as_path()).or(self.unified.as_deref())
    }

    /// The group's folder in every tree where it exists.
    fn folders(&self, group: &str) -> Vec<PathBuf> {
        if group.trim_matches('/').is_empty() {
            // The root of the trees is everybody's.
            return Vec::new();
        }
        let folders = self.roots().map(|root| root.join(group.trim_start_matches('/')));
        folders.filter(|folder| folder.is_dir()).collect()
    }

    /// Puts this process into a group of the version 2 tree that stands beside version 1, which libcontainer leaves
    /// alone. It is what makes `cgroup.kill` reach the container.
    pub(super) fn join_unified(&self, group: &str) -> io::Result<()> {
        let Some(root) = self.unified.as_ref().filter(|_| self.has_legacy()) else {
            return Ok(());
        };
        let folder = root.join(group.trim_start_matches('/'));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("cgroup.procs"), "0")
    }

    /// Puts this process into a group of every tree, without limits.
    pub(super) fn join(&self, group: &str) -> io::Result<()> {
        for root in self.roots() {
            let folder = root.join(group.trim_start_matches('/'));
            fs::create_dir_all(&folder)?;
            for file in ["cpuset.cpus", "cpuset.mems"] {
                inherit(root, &folder, file)?;
            }
            fs::write(folder.join("cgroup.procs"), "0")?;
        }
        Ok(())
    }

    /// Kills all processes of a group and its descendants.
    pub(super) fn kill(&self, group: &str) {
        for folder in self.folders(group) {
            if fs::write(folder.join("cgroup.kill"), "1").is_ok() {
                continue;
            }
            for pid in processes(&folder) {
                // One that is gone meanwhile is what was wanted.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }

    /// Removes a group with its descendants from every tree, and kills what is still in it.
    pub(super) fn remove(&self, group: &str) -> io::Result<()> {
        let mut last = Ok(());
        for attempt in 0..REMOVAL_TRIES {
            last = self
                .folders(group)
                .iter()
                .try_for_each(|folder| remove_tree(folder));
            if last.is_ok() {
                return Ok(());
            }
            self.kill(group);
            if attempt > 0 {
                // A killed process leaves its group a moment after the signal.
                thread::sleep(REMOVAL_PAUSE);
            }
        }
        last
    }

    /// Removes a group from every tree where nothing is in it. Who is about to leave is waited for, as long as the group is
    /// of no use.
    pub(super) fn remove_if_empty(&self, group: &str, is_of_use: impl Fn() -> bool) {
        for attempt in 0..EMPTY_TRIES {
            if attempt > 0 {
                if is_of_use() {
                    return;
                }
                // A process that has ended leaves its group a moment later, also when its parent knows already.
                thread::sleep(REMOVAL_PAUSE);
            }
            let busy = |folder: &PathBuf| {
                fs::remove_dir(folder).is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
            };
            if !self
                .folders(group)
                .iter()
                .filter(|folder| busy(folder))
                .any(|folder| children(folder).is_empty())
            {
                return;
            }
        }
    }

    /// Whether the kernel killed a process of the group for want of memory.
    pub(super) fn was_oom_killed(&self, group: &str) -> bool {
        let Some(root) = self.controller("memory") else {
            return false;
        };
        let folder = root.join(group.trim_start_matches('/'));
        let count = |file: &str| {
            let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
            field(&text, "oom_kill").unwrap_or(0)
        };
        count("memory.oom_control") + count("memory.events") > 0
    }

    /// What the processes of a group use.
    pub(super) fn usage(&self, group: &str) -> io::Result<Usage> {
        let group = group.trim_start_matches('/');
        let folder = |controller| {
            let root = self.controller(controller);
            root.map(|root| root.join(group))
                .ok_or_else(|| io::Error::other(format!("no {controller} controller")))
        };
        let number = |path: PathBuf| -> io::Result<u64> {
            fs::read_to_string(path)?.trim().parse().map_err(io::Error::other)
        };
        if self.has_legacy() {
            let memory = folder("memory")?;
            let used = number(memory.join("memory.usage_in_bytes"))?;
            let stat = fs::read_to_string(memory.join("memory.stat"))?;
            return Ok(Usage {
                cpu_nanoseconds: number(folder("cpuacct")?.join("cpuacct.usage"))?,
                memory_bytes: used,
                working_set_bytes: used.saturating_sub(field(&stat, "total_inactive_file").unwrap_or(0)),
                pids: number(folder("pids")?.join("pids.current")).unwrap_or(0),
            });
        }
        let folder = folder("cpu")?;
        let used = number(folder.join("memory.current"))?;
        let stat = fs::read_to_string(folder.join("memory.stat"))?;
        let cpu = fs::read_to_string(folder.join("cpu.stat"))?;
        Ok(Usage {
            cpu_nanoseconds: field(&cpu, "usage_usec").unwrap_or(0) * 1000,
            memory_bytes: used,
            working_set_bytes: used.saturating_sub(field(&stat, "inactive_file").unwrap_or(0)),
            pids: number(folder.join("pids.current")).unwrap_or(0),
        })
    }
}

/// A number of a file of `name number` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == name)?.1.trim().parse().ok()
}

/// Version 1 gives new cpusets nothing; processes cannot join them before they have something.
fn inherit(root: &Path, folder: &Path, file: &str) -> io::Result<()> {
    if !root.join(file).exists() {
        return Ok(());
    }
    let mut at = root.to_owned();
    for part in folder.strip_prefix(root).map_err(io::Error::other)?.components() {
        let above = fs::read_to_string(at.join(file))?;
        at.push(part);
        if fs::read_to_string(at.join(file))?.trim().is_empty() {
            fs::write(at.join(file), above)?;
        }
    }
    Ok(())
}

fn processes(folder: &Path) -> BTreeSet<i32> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let mut found: BTreeSet<i32> = text
        .lines()
        .filter_map(|line| line.parse().ok())
        .filter(|pid| *pid > 0)
        .collect();
    for child in children(folder) {
        found.extend(processes(&child));
    }
    found
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

fn remove_tree(folder: &Path) -> io::Result<()> {
    for child in children(folder) {
        remove_tree(&child)?;
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
25 30 0:22 / /sys rw - sysfs sysfs rw
31 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
33 31 0:28 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory
34 31 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";

    #[test]
    fn trees_are_found_in_the_mounts() {
        let hybrid = Cgroups::read(HYBRID);
        assert!(hybrid.has_legacy());
        assert_eq!(
            hybrid.controller("memory"),
            Some(Path::new("/sys/fs/cgroup/memory"))
        );
        assert_eq!(
            hybrid.unified.as_deref(),
            Some(Path::new("/sys/fs/cgroup/unified"))
        );
        let unified = Cgroups::read("31 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        assert!(!unified.has_legacy());
        assert_eq!(unified.controller("memory"), Some(Path::new("/sys/fs/cgroup")));
    }
}
