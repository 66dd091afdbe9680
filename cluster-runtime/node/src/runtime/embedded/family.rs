//! Processes that a helper has forked.

use std::fs;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpid};

/// Kills a process and all that it has forked: a container that is half made waits for its shim for ever.
pub(super) fn kill_family(pid: i32) {
    // Stopped, it forks no more while its children are looked for.
    let _ = kill(Pid::from_raw(pid), Signal::SIGSTOP);
    let mut family = vec![pid];
    let mut seen = 0;
    while seen < family.len() {
        family.extend(children_of(family[seen]));
        seen += 1;
    }
    family.into_iter().for_each(end);
}

/// Kills what this process has forked, and collects it: one whose end nobody collects keeps its namespaces.
pub(super) fn end_children() {
    loop {
        children_of(getpid().as_raw()).into_iter().for_each(end);
        match waitpid(None, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

fn end(pid: i32) {
    // It may have ended meanwhile.
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

fn children_of(pid: i32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect()
}
