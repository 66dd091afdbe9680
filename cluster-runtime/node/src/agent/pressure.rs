//! Pressure on a node: when memory or disk is short, and which pod goes for it. Functions without effects.
//!
//! Signals, order and words are the kubelet's, of its
//! [node-pressure eviction](https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/) with hard
//! thresholds. Images are on the disk of the pods, so that there is one disk to look at.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

use cluster_objects::quantity::Quantity;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What a node keeps free. Below a threshold it takes no new pods, and lets pods go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EvictionThresholds {
    /// `memory.available`: bytes that programs can still get.
    pub memory_available: Threshold,
    /// `nodefs.available`: bytes on the disk of the node.
    pub nodefs_available: Threshold,
    /// `nodefs.inodesFree`: files that the disk of the node can still hold.
    pub nodefs_inodes_free: Threshold,
}

/// An amount, or a part of what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// So much; nothing at all turns the threshold off.
    Amount(Quantity),
    /// Hundredths of the whole.
    Percent(Quantity),
}

impl Default for EvictionThresholds {
    /// What the kubelet takes, but for the disk, of which a twentieth is kept free as by k3s: on a machine that is not for
    /// pods alone a tenth is often much.
    fn default() -> Self {
        Self {
            memory_available: Threshold::Amount(Quantity::from_bytes(100 << 20)),
            nodefs_available: Threshold::Percent(Quantity::from_units(5)),
            nodefs_inodes_free: Threshold::Percent(Quantity::from_units(5)),
        }
    }
}

impl FromStr for EvictionThresholds {
    type Err = String;

    /// Reads what the kubelet's `--eviction-hard` takes, as `memory.available<100Mi,nodefs.available<10%`. A signal that
    /// is not named has no threshold.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let none = Threshold::Amount(Quantity::ZERO);
        let mut thresholds = Self {
            memory_available: none,
            nodefs_available: none,
            nodefs_inodes_free: none,
        };
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (signal, amount) = part
                .split_once('<')
                .ok_or_else(|| format!("`{part}` is not of the form `SIGNAL<AMOUNT`"))?;
            let known = match signal {
                "memory.available" => &mut thresholds.memory_available,
                "nodefs.available" => &mut thresholds.nodefs_available,
                "nodefs.inodesFree" => &mut thresholds.nodefs_inodes_free,
                _ => {
                    return Err(format!(
                        "no signal `{signal}`; there are `memory.available`, `nodefs.available` and \
                         `nodefs.inodesFree`"
                    ));
                }
            };
            *known = amount.parse()?;
        }
        Ok(thresholds)
    }
}

impl fmt::Display for EvictionThresholds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            memory_available: memory,
            nodefs_available: disk,
            nodefs_inodes_free: inodes,
        } = self;
        write!(
            f,
            "memory.available<{memory},nodefs.available<{disk},nodefs.inodesFree<{inodes}"
        )
    }
}

impl TryFrom<String> for EvictionThresholds {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<EvictionThresholds> for String {
    fn from(thresholds: EvictionThresholds) -> Self {
        thresholds.to_string()
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(number) = text.strip_suffix('%') {
            let whole = Quantity::from_units(100);
            let percent = Quantity::parse(number).ok();
            let percent = percent.filter(|percent| !percent.is_negative() && *percent <= whole);
            return percent
                .map(Self::Percent)
                .ok_or_else(|| format!("`{text}` is no part of a whole; `10%` is one"));
        }
        let amount = Quantity::parse(text).map_err(|error| format!("`{text}`: {error}"))?;
        if amount.is_negative() {
            return Err(format!("`{text}` is less than nothing"));
        }
        Ok(Self::Amount(amount))
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Amount(amount) => write!(f, "{amount}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Threshold {
    /// The amount, where there is so much in all.
    pub(crate) fn of(self, capacity: u64) -> u64 {
        const MILLI_OF_WHOLE: u128 = 100_000;
        match self {
            Self::Amount(amount) => u64::try_from(amount.units()).unwrap_or(0),
            Self::Percent(percent) => {
                let part = u128::from(capacity) * u128::try_from(percent.milli()).unwrap_or(0);
                u64::try_from(part / MILLI_OF_WHOLE).unwrap_or(u64::MAX)
            }
        }
    }
}

/// What can run short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Memory,
    Disk,
    Inodes,
}

impl Signal {
    /// The resource that pods are told of.
    pub(crate) fn resource(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "ephemeral-storage",
            Self::Inodes => "inodes",
        }
    }

    fn shown(self, amount: u64) -> Quantity {
        let amount = i64::try_from(amount).unwrap_or(i64::MAX);
        match self {
            Self::Memory | Self::Disk => Quantity::from_bytes(amount),
            Self::Inodes => Quantity::from_units(amount),
        }
    }
}

/// How much there is of something, and in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Supply {
    pub available: u64,
    /// 0 where nobody can tell.
    pub capacity: u64,
}

/// What the node has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Supplies {
    pub memory: Supply,
    pub disk: Supply,
    pub inodes: Supply,
}

/// That something is below its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shortage {
    pub signal: Signal,
    pub threshold: u64,
    pub available: u64,
}

/// What is short, memory first: that is what a node dies of soonest.
pub(crate) fn shortages(thresholds: &EvictionThresholds, supplies: &Supplies) -> Vec<Shortage> {
    let looked_at = [
        (Signal::Memory, thresholds.memory_available, supplies.memory),
        (Signal::Disk, thresholds.nodefs_available, supplies.disk),
        (Signal::Inodes, thresholds.nodefs_inodes_free, supplies.inodes),
    ];
    let short = looked_at.into_iter().filter_map(|(signal, threshold, supply)| {
        let threshold = threshold.of(supply.capacity);
        (supply.capacity > 0 && supply.available < threshold).then_some(Shortage {
            signal,
            threshold,
            available: supply.available,
        })
    });
    short.collect()
}

/// Which pressures the node has, as its conditions say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pressures {
    pub memory: bool,
    pub disk: bool,
}

/// When each pressure was seen last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PressureHistory {
    memory: Option<Timestamp>,
    disk: Option<Timestamp>,
}

impl PressureHistory {
    /// Notes what is short now. Gives the pressures: one stays for a while after it was seen last, so that pods do not
    /// come back and fill the node again at once.
    pub(crate) fn note(&mut self, short: &[Shortage], now: Timestamp, stays: SignedDuration) -> Pressures {
        for shortage in short {
            match shortage.signal {
                Signal::Memory => self.memory = Some(now),
                Signal::Disk | Signal::Inodes => self.disk = Some(now),
            }
        }
        let is_recent = |seen: Option<Timestamp>| {
            seen.is_some_and(|seen| seen == now || now.duration_since(seen) < stays)
        };
        Pressures {
            memory: is_recent(self.memory),
            disk: is_recent(self.disk),
        }
    }
}

/// What a container, or a pod, asked for and takes of what is short.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Take {
    pub request: Quantity,
    pub usage: u64,
}

impl Take {
    /// How far it is above what it asked for; less than nothing where it is below.
    fn excess(&self) -> i128 {
        i128::from(self.usage) - i128::from(self.request.units())
    }
}

/// A pod that could go.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub uid: String,
    pub priority: i64,
    pub total: Take,
    /// By the names of its containers.
    pub containers: Vec<(String, Take)>,
}

/// From this priority on a pod is part of the system, and is never let go (Kubernetes' `SystemCriticalPriority`).
pub(crate) const CRITICAL_PRIORITY: i64 = 2_000_000_000;

/// The pod that goes for a shortage, and what it is told: those that take more than they asked for first, then those of
/// lower priority, then those that take most beyond what they asked for.
pub(crate) fn choose<'a>(shortage: &Shortage, pods: &'a [Candidate]) -> Option<(&'a Candidate, String)> {
    let can_go = pods.iter().filter(|pod| pod.priority < CRITICAL_PRIORITY);
    let first = can_go.min_by_key(|pod| {
        let excess = pod.total.excess();
        (Reverse(excess > 0), pod.priority, Reverse(excess), &pod.uid)
    })?;
    Some((first, message(shortage, first)))
}

/// Why a pod was let go, in the kubelet's words.
fn message(shortage: &Shortage, pod: &Candidate) -> String {
    let Shortage {
        signal,
        threshold,
        available,
    } = *shortage;
    let resource = signal.resource();
    let mut message = format!(
        "The node was low on resource: {resource}. Threshold quantity: {}, available: {}. ",
        signal.shown(threshold),
        signal.shown(available)
    );
    if signal == Signal::Inodes {
        // Nobody can ask for them.
        return message;
    }
    for (name, take) in pod.containers.iter().filter(|(_, take)| take.excess() > 0) {
        message += &format!(
            "Container {name} was using {}, request is {}, has larger consumption of {resource}. ",
            signal.shown(take.usage),
            take.request
        );
    }
    message
}

/// What matters of a pod that comes to a node under pressure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Newcomer {
    pub priority: i64,
    pub is_best_effort: bool,
    pub tolerates_memory_pressure: bool,
}

/// Why a node under pressure does not take a pod; `None` where it does. Short memory keeps away only those that ask for
/// none of it.
pub(crate) fn refusal(pressures: Pressures, pod: Newcomer) -> Option<String> {
    let names = [
        (pressures.disk, "DiskPressure"),
        (pressures.memory, "MemoryPressure"),
    ];
    let names: Vec<&str> = names
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, name)| *name)
        .collect();
    if names.is_empty() || pod.priority >= CRITICAL_PRIORITY {
        return None;
    }
    if !pressures.disk && (!pod.is_best_effort || pod.tolerates_memory_pressure) {
        return None;
    }
    Some(format!("The node had condition: [{}]. ", names.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn supplies(memory: u64, disk: u64, inodes: u64) -> Supplies {
        let supply = |available, capacity| Supply { available, capacity };
        Supplies {
            memory: supply(memory * MIB, 1024 * MIB),
            disk: supply(disk * MIB, 1000 * MIB),
            inodes: supply(inodes, 1000),
        }
    }

    fn take(request: &str, usage_mib: u64) -> Take {
        Take {
            request: request.parse().unwrap(),
            usage: usage_mib * MIB,
        }
    }

    /// A pod of one container that is named as the pod.
    fn pod(name: &str, priority: i64, request: &str, usage_mib: u64) -> Candidate {
        Candidate {
            uid: name.to_owned(),
            priority,
            total: take(request, usage_mib),
            containers: vec![(name.to_owned(), take(request, usage_mib))],
        }
    }

    #[test]
    fn what_is_below_its_threshold_is_short() {
        let check = |thresholds: &str, (memory, disk, inodes): (u64, u64, u64), expected: &[Signal]| {
            let thresholds = match thresholds {
                "" => EvictionThresholds::default(),
                given => given.parse().unwrap(),
            };
            let short = shortages(&thresholds, &supplies(memory, disk, inodes));
            let signals: Vec<Signal> = short.iter().map(|short| short.signal).collect();
            assert_eq!(signals, expected, "{thresholds:?} {memory} {disk} {inodes}");
        };
        check("", (500, 500, 500), &[]);
        check("", (100, 50, 50), &[]);
        check("", (99, 500, 500), &[Signal::Memory]);
        check("", (500, 49, 500), &[Signal::Disk]);
        check("", (500, 500, 49), &[Signal::Inodes]);
        check("", (0, 0, 0), &[Signal::Memory, Signal::Disk, Signal::Inodes]);
        check("nodefs.available<1Gi", (0, 500, 0), &[Signal::Disk]);
        check("nodefs.available<0%", (0, 0, 0), &[]);
        check("memory.available<60%", (600, 0, 0), &[Signal::Memory]);
        let unknown = Supplies {
            inodes: Supply::default(),
            ..supplies(500, 500, 500)
        };
        assert_eq!(shortages(&EvictionThresholds::default(), &unknown), []);
    }

    #[test]
    fn thresholds_are_written_as_they_are_read() {
        let usual = "memory.available<100Mi,nodefs.available<5%,nodefs.inodesFree<5%";
        assert_eq!(EvictionThresholds::default().to_string(), usual);
        assert_eq!(usual.parse(), Ok(EvictionThresholds::default()));
        assert_eq!(
            "".parse::<EvictionThresholds>().unwrap().to_string(),
            "memory.available<0,nodefs.available<0,nodefs.inodesFree<0"
        );
        let half: Threshold = "0.5%".parse().unwrap();
        assert_eq!(half.of(1 << 40), (1 << 40) / 200);
    }

    #[test]
    fn err_thresholds_that_are_none() {
        let check = |text: &str, words: &str| {
            let error = text.parse::<EvictionThresholds>().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        };
        check("nodefs.available", "not of the form");
        check("imagefs.available<10%", "no signal `imagefs.available`");
        check("nodefs.available<110%", "no part of a whole");
        check("nodefs.available<x%", "no part of a whole");
        check("nodefs.available<much", "`much`");
        check("nodefs.available<-1Gi", "less than nothing");
    }

    #[test]
    fn a_pressure_stays_for_a_while() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let stays = SignedDuration::from_secs(300);
        let short = shortages(&EvictionThresholds::default(), &supplies(500, 0, 500));
        let mut history = PressureHistory::default();
        let none = Pressures::default();
        let disk = Pressures { disk: true, ..none };
        assert_eq!(history.note(&[], at(0), stays), none);
        assert_eq!(history.note(&short, at(10), stays), disk);
        assert_eq!(history.note(&[], at(300), stays), disk);
        assert_eq!(history.note(&short, at(305), stays), disk);
        assert_eq!(history.note(&[], at(604), stays), disk);
        assert_eq!(history.note(&[], at(605), stays), none);
        assert_eq!(history.note(&short, at(700), SignedDuration::ZERO), disk);
        assert_eq!(history.note(&[], at(701), SignedDuration::ZERO), none);
    }

    #[test]
    fn pods_go_by_excess_then_priority_then_use() {
        let shortage = Shortage {
            signal: Signal::Disk,
            threshold: 100 * MIB,
            available: 50 * MIB,
        };
        let check = |pods: &[Candidate], expected: Option<&str>| {
            let chosen = choose(&shortage, pods).map(|(pod, _)| pod.uid.as_str());
            assert_eq!(chosen, expected, "{pods:?}");
        };
        check(&[], None);
        // Who keeps to what it asked for stays longest, whatever its priority and use.
        check(
            &[pod("big", 0, "900Mi", 800), pod("small", 1000, "0", 1)],
            Some("small"),
        );
        check(&[pod("high", 10, "0", 500), pod("low", 5, "0", 1)], Some("low"));
        check(&[pod("more", 0, "0", 20), pod("less", 0, "0", 10)], Some("more"));
        // Of two that are above, the one that is farther above; of two below, the one that is nearer.
        check(
            &[pod("asked", 0, "90Mi", 100), pod("took", 0, "0", 50)],
            Some("took"),
        );
        check(
            &[pod("near", 0, "60Mi", 50), pod("far", 0, "500Mi", 100)],
            Some("near"),
        );
        check(&[pod("b", 0, "0", 1), pod("a", 0, "0", 1)], Some("a"));
        // The system's own never go.
        check(&[pod("dns", 2_000_000_000, "0", 900)], None);
        check(
            &[pod("proxy", 2_000_001_000, "0", 900), pod("web", 0, "1Gi", 1)],
            Some("web"),
        );
    }

    #[test]
    fn a_pod_is_told_why_it_went() {
        let check = |signal, threshold, available, pod: &Candidate, expected: &str| {
            let shortage = Shortage {
                signal,
                threshold,
                available,
            };
            let (_, message) = choose(&shortage, std::slice::from_ref(pod)).unwrap();
            assert_eq!(message, expected);
        };
        check(
            Signal::Disk,
            100 * MIB,
            1536 << 10,
            &pod("web", 0, "0", 20),
            "The node was low on resource: ephemeral-storage. Threshold quantity: 100Mi, available: 1536Ki. \
             Container web was using 20Mi, request is 0, has larger consumption of ephemeral-storage. ",
        );
        check(
            Signal::Memory,
            100 * MIB,
            7,
            &pod("web", 0, "64Mi", 20),
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 7. ",
        );
        check(
            Signal::Inodes,
            50,
            7,
            &pod("web", 0, "0", 20),
            "The node was low on resource: inodes. Threshold quantity: 50, available: 7. ",
        );
    }

    #[test]
    fn a_node_under_pressure_takes_only_some() {
        let (memory, disk) = (
            Pressures {
                memory: true,
                disk: false,
            },
            Pressures {
                memory: false,
                disk: true,
            },
        );
        let burstable = Newcomer::default();
        let best_effort = Newcomer {
            is_best_effort: true,
            ..burstable
        };
        let tolerant = Newcomer {
            tolerates_memory_pressure: true,
            ..best_effort
        };
        let critical = Newcomer {
            priority: CRITICAL_PRIORITY,
            ..best_effort
        };
        let check = |pressures, pod, expected: Option<&str>| {
            assert_eq!(
                refusal(pressures, pod).as_deref(),
                expected,
                "{pressures:?} {pod:?}"
            );
        };
        check(Pressures::default(), best_effort, None);
        check(disk, burstable, Some("The node had condition: [DiskPressure]. "));
        check(disk, tolerant, Some("The node had condition: [DiskPressure]. "));
        check(disk, critical, None);
        check(
            memory,
            best_effort,
            Some("The node had condition: [MemoryPressure]. "),
        );
        check(memory, burstable, None);
        check(memory, tolerant, None);
        let both = Pressures {
            memory: true,
            disk: true,
        };
        check(
            both,
            burstable,
            Some("The node had condition: [DiskPressure MemoryPressure]. "),
        );
    }
}
