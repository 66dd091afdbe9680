//! What the agent knows of a pod at a moment: the other half of what it decides from.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;

use crate::image::Image;
use crate::runtime::{ContainerExit, ContainerId};

/// Everything known of a pod that runs, or shall run, here.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    /// The time of looking.
    pub now: Timestamp,
    /// When the agent first saw the pod.
    pub began: Timestamp,
    /// What its containers stand on.
    pub ground: Ground,
    /// Images by container.
    pub images: BTreeMap<String, ImageState>,
    /// Containers by name.
    pub containers: BTreeMap<String, Instance>,
    /// When its containers were first told to stop.
    pub stop_began: Option<Timestamp>,
    /// How far its removal is.
    pub removal: Removal,
    /// That it ended before, as its status says: it is not run again.
    pub ended_before: bool,
    /// Why it is stopped before it has ended by itself.
    pub cut_short: Option<CutShort>,
    /// That it came while the node was under pressure: until then nothing of it is started.
    pub held_until: Option<Timestamp>,
}

/// Why a pod is stopped for good by its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CutShort {
    /// `DeadlineExceeded` or `Evicted`.
    pub reason: &'static str,
    pub message: String,
    /// What its containers get to stop at most; what the pod says where it is absent.
    pub grace_seconds: Option<u64>,
    /// Whether it went for others, and not for what it did itself.
    pub disrupted: bool,
}

/// Sandbox, network and volumes of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    Absent,
    Making,
    Ready {
        ips: Vec<IpAddr>,
    },
    Failed {
        message: String,
        failures: u32,
        until: Timestamp,
    },
    /// Let go: the pod has ended.
    Left,
}

/// The image of a container.
#[derive(Clone, Debug)]
pub(crate) enum ImageState {
    Fetching { failures: u32 },
    Present(Box<Image>),
    Failed(ImageFailure),
}

/// Why an image is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageFailure {
    /// `ErrImagePull`, `ErrImageNeverPull` or `InvalidImageName`.
    pub reason: &'static str,
    pub message: String,
    pub failures: u32,
    pub at: Timestamp,
    pub until: Timestamp,
}

/// A container of a pod, as far as it has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Instance {
    /// How many there were before: the restart count.
    pub attempt: u32,
    pub state: InstanceState,
    /// The one before.
    pub last: Option<Ended>,
    /// How often it was restarted without running well for long.
    pub level: u32,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum InstanceState {
    /// Not started yet.
    #[default]
    New,
    /// It could not be made; another try is due.
    Refused(Refusal),
    Starting,
    Running(Running),
    Ended(Ended),
}

/// Why a container could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// `CreateContainerConfigError` or `CreateContainerError`.
    pub reason: &'static str,
    pub message: String,
    pub failures: u32,
    pub until: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Running {
    pub id: ContainerId,
    pub image_id: String,
    pub stop_signal: String,
    pub started: Timestamp,
    /// Whether its startup probe has succeeded; true where it has none.
    pub is_started: bool,
    /// Whether its readiness probe says so; true where it has none.
    pub is_ready: bool,
    /// That a probe or hook has condemned it: the seconds that it gets, and the words for the event.
    pub condemned: Option<Condemned>,
    /// When it is killed at the latest; set once it was told to stop.
    pub stop_until: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condemned {
    pub message: String,
    pub grace_seconds: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub id: Option<ContainerId>,
    pub image_id: String,
    pub code: i32,
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, `StartError` or `ContainerStatusUnknown`.
    pub reason: &'static str,
    pub message: String,
    pub started: Option<Timestamp>,
    pub finished: Timestamp,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Removal {
    #[default]
    NotYet,
    Running,
    /// It failed and is tried again then.
    Again(Timestamp),
    Done,
}

impl Observed {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            now,
            began: now,
            ground: Ground::Absent,
            images: BTreeMap::new(),
            containers: BTreeMap::new(),
            stop_began: None,
            removal: Removal::NotYet,
            ended_before: false,
            cut_short: None,
            held_until: None,
        }
    }

    pub(crate) fn instance(&self, name: &str) -> Option<&Instance> {
        self.containers.get(name)
    }

    pub(crate) fn running(&self, name: &str) -> Option<&Running> {
        match &self.instance(name)?.state {
            InstanceState::Running(running) => Some(running),
            _ => None,
        }
    }

    pub(crate) fn running_mut(&mut self, name: &str, attempt: u32) -> Option<&mut Running> {
        let instance = self
            .containers
            .get_mut(name)
            .filter(|instance| instance.attempt == attempt)?;
        match &mut instance.state {
            InstanceState::Running(running) => Some(running),
            _ => None,
        }
    }

    pub(crate) fn ended(&self, name: &str) -> Option<&Ended> {
        match &self.instance(name)?.state {
            InstanceState::Ended(ended) => Some(ended),
            _ => None,
        }
    }

    /// Whether it runs or is about to.
    pub(crate) fn is_active(&self, name: &str) -> bool {
        let state = self.instance(name).map(|instance| &instance.state);
        matches!(state, Some(InstanceState::Starting | InstanceState::Running(_)))
    }

    pub(crate) fn ips(&self) -> &[IpAddr] {
        match &self.ground {
            Ground::Ready { ips } => ips,
            _ => &[],
        }
    }
}

impl Ended {
    /// How a container ended, in the words of a status.
    pub(crate) fn of(
        id: ContainerId,
        image_id: String,
        started: Timestamp,
        exit: &ContainerExit,
        message: String,
    ) -> Self {
        let reason = match exit {
            ContainerExit { unseen: true, .. } => "ContainerStatusUnknown",
            ContainerExit {
                oom_killed: true,
                code,
                ..
            } if *code != 0 => "OOMKilled",
            ContainerExit { code: 0, .. } => "Completed",
            _ => "Error",
        };
        Self {
            id: Some(id),
            image_id,
            code: exit.code,
            signal: exit.signal,
            reason,
            message,
            started: Some(started),
            finished: exit.finished,
        }
    }
}
