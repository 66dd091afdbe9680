//! What the node and its containers use: control groups for containers, `/proc` for the machine.

use std::fs;

use cluster_client::{NodeUsage, PodContainer, Usage};

use super::pressure::Supply;
use crate::runtime::{Container, Runtime, RuntimeError};

/// Clock ticks of `/proc/stat` are hundredths of a second on every platform of Linux (proc_stat(5), `USER_HZ`).
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

/// Measures the machine and every running container; one that ends meanwhile is left out.
pub(super) async fn measure(runtime: &dyn Runtime) -> Result<NodeUsage, RuntimeError> {
    let mut containers = Vec::new();
    for sandbox in runtime.list().await? {
        for container in sandbox.containers.iter().filter(|one| Container::is_running(one)) {
            let Ok(used) = runtime.usage(&container.id).await else {
                continue;
            };
            let of = PodContainer {
                namespace: sandbox.spec.namespace.clone(),
                pod: sandbox.spec.pod.clone(),
                uid: sandbox.spec.id.clone(),
                container: container.name.clone(),
            };
            let usage = Usage {
                cpu_nanoseconds: used.cpu_nanoseconds,
                working_set_bytes: used.working_set_bytes,
            };
            containers.push((of, usage));
        }
    }
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    Ok(NodeUsage {
        node: machine(&read("/proc/stat"), &read("/proc/meminfo")),
        containers,
    })
}

/// The use of the machine, from the texts of `/proc/stat` and `/proc/meminfo`.
fn machine(stat: &str, meminfo: &str) -> Usage {
    // cpu user nice system idle iowait irq softirq steal ...: guests are counted in user already.
    let first = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = first
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|part| part.parse().ok())
        .collect();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    let busy = ticks.iter().sum::<u64>().saturating_sub(idle);
    let memory = memory_of(meminfo);
    Usage {
        cpu_nanoseconds: busy.saturating_mul(NANOSECONDS_PER_TICK),
        working_set_bytes: memory.capacity.saturating_sub(memory.available),
    }
}

/// The memory that there is and that programs can still get, from the text of `/proc/meminfo`; nothing where it does not
/// say.
pub(super) fn memory_of(meminfo: &str) -> Supply {
    let bytes = |name: &str| -> Option<u64> {
        let line = meminfo
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kibibytes: u64 = line?.split_whitespace().next()?.parse().ok()?;
        Some(kibibytes.saturating_mul(1024))
    };
    match (bytes("MemAvailable"), bytes("MemTotal")) {
        (Some(available), Some(capacity)) => Supply { available, capacity },
        _ => Supply::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_uses_what_is_neither_idle_nor_available() {
        let stat = "cpu  100 10 50 1000 40 0 5 3 20 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        let meminfo = "MemTotal:        1000 kB\nMemFree:          100 kB\nMemAvailable:     400 kB\n";
        let used = machine(stat, meminfo);
        assert_eq!(used.cpu_nanoseconds, 168 * NANOSECONDS_PER_TICK);
        assert_eq!(used.working_set_bytes, 600 * 1024);
        assert_eq!(machine("", ""), Usage::default());
    }

    #[test]
    fn memory_is_what_the_kernel_says_is_available() {
        let text = "MemTotal:        1000 kB\nMemFree:          100 kB\nMemAvailable:     400 kB\n";
        let supply = Supply {
            available: 400 << 10,
            capacity: 1000 << 10,
        };
        assert_eq!(memory_of(text), supply);
        assert_eq!(memory_of("MemTotal: 1000 kB\n"), Supply::default());
        assert_eq!(memory_of(""), Supply::default());
    }
}
