//! What this process takes of its machine.

use std::fs;
use std::time::Duration;

/// Kernel ticks in a second, in which the kernel counts processor time for everybody since ever.
const TICKS: f64 = 100.0;

/// Mebibytes that the process has in memory now, and had at most.
pub(crate) fn memory_mib() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let read = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kibibytes.unwrap_or_default() / 1024
    };
    (read("VmRSS:"), read("VmHWM:"))
}

/// Processor time that the process took so far.
pub(crate) fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in parentheses, may hold spaces.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks: f64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    Duration::from_secs_f64(ticks / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory() {
        let (now, most) = memory_mib();
        assert!(now > 0 && most >= now, "{now} of {most}");
    }
}
