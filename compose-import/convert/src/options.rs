//! What a conversion may be told.

/// What a project is converted with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The namespace of all objects; none: it is left to who applies them.
    pub namespace: Option<String>,
    /// The size of volumes that do not say how large they are.
    pub volume_size: Option<String>,
    /// What a folder or file of the host becomes.
    pub bind_mounts: BindMounts,
    /// What named volumes become.
    pub volumes: VolumeKind,
    /// What services become that do not ask for something else.
    pub controller: Option<Controller>,
    /// How many pods services get that do not say so themselves.
    pub replicas: Option<u32>,
    /// Policies between networks even where a project has one network only.
    pub network_policies: bool,
    /// How ports reach the outside of the cluster.
    pub publish: Publish,
    /// Swarm's defaults, as `docker stack deploy` has them: pods are replaced one by one, the old before the new, and
    /// a container that is not healthy is restarted.
    pub swarm: bool,
    /// Secrets hold nothing: whoever installs gives their content.
    pub leave_secrets_out: bool,
    /// Images that the cluster has are not pulled again, whatever their tag, as docker compose has it; what services
    /// build is among them.
    pub local_images: bool,
}

/// What a folder or file of the host becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BindMounts {
    /// What is small enough of the project is copied into a ConfigMap; what is empty or absent becomes a claim; the
    /// rest, and what lies elsewhere on the host, stays a path of the host.
    #[default]
    Auto,
    /// A path of the host, as docker compose has it: for a cluster on the same machine.
    HostPath,
    /// A claim, empty at first.
    Claim,
    /// An empty folder as old as its pod.
    EmptyDir,
}

/// What named volumes become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VolumeKind {
    /// Claims.
    #[default]
    Claim,
    /// Empty folders as old as their pods.
    EmptyDir,
}

/// How published ports reach the outside of the cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Publish {
    /// By a load balancer, which has them as they are.
    #[default]
    LoadBalancer,
    /// By a load balancer, and those in the range of node ports also by that port of every node: for a cluster on this
    /// machine, where node ports answer on loopback.
    AlsoNodePorts,
}

/// The kind of a service's workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// Pods that are replaced.
    Deployment,
    /// Pods with names of their own.
    StatefulSet,
    /// A pod on each node.
    DaemonSet,
    /// Pods that end.
    Job,
    /// Pods that end, again and again.
    CronJob,
}

impl Controller {
    /// The kind of its object.
    pub fn kind(self) -> &'static str {
        match self {
            Controller::Deployment => "Deployment",
            Controller::StatefulSet => "StatefulSet",
            Controller::DaemonSet => "DaemonSet",
            Controller::Job => "Job",
            Controller::CronJob => "CronJob",
        }
    }

    /// Whether its pods end.
    pub(crate) fn ends(self) -> bool {
        matches!(self, Controller::Job | Controller::CronJob)
    }
}
