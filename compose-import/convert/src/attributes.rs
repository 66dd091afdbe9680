//! What becomes of each attribute: the one table that conversion, its warnings and the reference page are made from.

/// What becomes of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its meaning is carried over.
    Mapped,
    /// It is carried over where Kubernetes can say it; the rest is reported where it occurs.
    Partly,
    /// It is used up while the project is loaded, or by a command.
    Used,
    /// Nothing is made of it, which is reported wherever it occurs.
    Reported,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Attribute {
    /// Its path: below a service, or from the top.
    pub path: &'static str,
    /// What becomes of it.
    pub fate: Fate,
    /// What it becomes; of what is reported, why.
    pub becomes: &'static str,
}

const fn row(path: &'static str, fate: Fate, becomes: &'static str) -> Attribute {
    Attribute { path, fate, becomes }
}

use Fate::{Mapped, Partly, Reported, Used};

/// Attributes of services: the 93 of the Compose specification, and those below `deploy`.
pub const SERVICE: &[Attribute] = &[
    row("annotations", Mapped, "annotations of the pods"),
    row(
        "attach",
        Used,
        "says whether `tug compose up` shows the service's output",
    ),
    row(
        "blkio_config",
        Reported,
        "Kubernetes has no weights and rates for block devices",
    ),
    row(
        "build",
        Partly,
        "the image that compose would name it; `build` and `up` build it where there is a Docker engine, for other clusters it must be pushed",
    ),
    row(
        "cap_add",
        Mapped,
        "`securityContext.capabilities.add`, without `CAP_`",
    ),
    row(
        "cap_drop",
        Mapped,
        "`securityContext.capabilities.drop`, without `CAP_`",
    ),
    row(
        "cgroup",
        Reported,
        "Kubernetes gives each container a cgroup namespace of its own",
    ),
    row(
        "cgroup_parent",
        Reported,
        "the node places pods in its own cgroups",
    ),
    row("command", Mapped, "`args`, word for word; `$(` is escaped"),
    row(
        "configs",
        Partly,
        "a ConfigMap each, mounted as a file; `uid` and `gid` are reported",
    ),
    row(
        "container_name",
        Mapped,
        "a Service of that name beside the service's own",
    ),
    row(
        "cpu_count",
        Reported,
        "Kubernetes limits CPU time, not the number of CPUs",
    ),
    row("cpu_percent", Reported, "it is a setting of Windows"),
    row("cpu_period", Mapped, "with `cpu_quota` a CPU limit"),
    row("cpu_quota", Mapped, "a CPU limit: quota / period"),
    row("cpu_rt_period", Reported, "Kubernetes has no realtime scheduling"),
    row(
        "cpu_rt_runtime",
        Reported,
        "Kubernetes has no realtime scheduling",
    ),
    row("cpu_shares", Mapped, "a CPU request: shares / 1024"),
    row("cpus", Mapped, "a CPU limit"),
    row(
        "cpuset",
        Reported,
        "which CPUs a container runs on is the kubelet's CPU manager's choice",
    ),
    row(
        "credential_spec",
        Reported,
        "group managed service accounts of Windows need a GMSACredentialSpec in the cluster",
    ),
    row(
        "depends_on",
        Mapped,
        "the order in which releases bring services up, each when its conditions hold",
    ),
    row("deploy", Mapped, "see the rows below"),
    row(
        "develop",
        Used,
        "`compose watch` carries it out; nothing of it is part of a deployment",
    ),
    row(
        "device_cgroup_rules",
        Reported,
        "Kubernetes grants devices through device plugins",
    ),
    row(
        "devices",
        Partly,
        "a path of the host mounted as a device; access takes `privileged` or a device plugin, which is reported",
    ),
    row("dns", Mapped, "`dnsConfig.nameservers` after the cluster's own"),
    row("dns_opt", Mapped, "`dnsConfig.options`"),
    row("dns_search", Mapped, "`dnsConfig.searches`"),
    row("domainname", Partly, "`subdomain`, where it is a single label"),
    row("entrypoint", Mapped, "`command`, word for word; `$(` is escaped"),
    row("env_file", Used, "its variables are part of `environment`"),
    row("environment", Mapped, "`env`; `$(` is escaped"),
    row("expose", Mapped, "ports of the service's Service"),
    row("extends", Used, "it is resolved"),
    row("external_links", Mapped, "a Service of type ExternalName each"),
    row("extra_hosts", Partly, "`hostAliases`; `host-gateway` is reported"),
    row("gpus", Mapped, "a limit of `nvidia.com/gpu` or `amd.com/gpu`"),
    row(
        "group_add",
        Partly,
        "`supplementalGroups`; names of groups are reported",
    ),
    row(
        "healthcheck",
        Mapped,
        "a readiness probe, and with `start_period` a startup probe",
    ),
    row("hostname", Partly, "`hostname`, where it is a DNS label"),
    row("image", Mapped, "`image`"),
    row(
        "init",
        Reported,
        "the pod's first process is the image's own; use an image with an init of its own where children must be reaped",
    ),
    row(
        "ipc",
        Partly,
        "`hostIPC` for `host`; containers of one pod share it anyway; the rest is reported",
    ),
    row("isolation", Reported, "it is a setting of Windows"),
    row("label_file", Used, "its labels are part of `labels`"),
    row(
        "labels",
        Mapped,
        "labels of the pods where they can be labels, else annotations; `kompose.*` steers the conversion",
    ),
    row("links", Mapped, "a Service for each alias"),
    row(
        "logging",
        Reported,
        "logs are kept by the cluster, whose node settings govern drivers and rotation",
    ),
    row(
        "mac_address",
        Reported,
        "addresses of pods are the cluster's choice",
    ),
    row("mem_limit", Mapped, "a memory limit"),
    row("mem_reservation", Mapped, "a memory request"),
    row("mem_swappiness", Reported, "swap is a setting of the node"),
    row("memswap_limit", Reported, "swap is a setting of the node"),
    row(
        "models",
        Reported,
        "a cluster has no model runner; run a model server as a service and give its address in `environment`",
    ),
    row(
        "network_mode",
        Partly,
        "`host`: the node's network; `none`: a policy that lets nothing through; `service:`: one pod for both; `container:` is reported",
    ),
    row(
        "networks",
        Partly,
        "NetworkPolicies, and a Service for each alias; addresses and interface settings are reported",
    ),
    row(
        "oom_kill_disable",
        Reported,
        "Kubernetes cannot switch the OOM killer off",
    ),
    row(
        "oom_score_adj",
        Reported,
        "Kubernetes derives it from requests and limits",
    ),
    row(
        "pid",
        Partly,
        "`hostPID` for `host`, a shared namespace for `service:` in one pod; the rest is reported",
    ),
    row(
        "pids_limit",
        Reported,
        "the number of processes is limited by a setting of the node",
    ),
    row("platform", Mapped, "a node selector for system and architecture"),
    row(
        "ports",
        Mapped,
        "container-side ports in the service's Service; published ones in a second, `NAME-published`",
    ),
    row(
        "post_start",
        Partly,
        "`lifecycle.postStart`; `user` and `privileged` are reported",
    ),
    row(
        "pre_start",
        Partly,
        "init containers; `privileged` included, `per_replica: false` is reported where there are several replicas",
    ),
    row(
        "pre_stop",
        Partly,
        "`lifecycle.preStop`; `user` and `privileged` are reported",
    ),
    row("privileged", Mapped, "`securityContext.privileged`"),
    row("profiles", Used, "they choose the services that are converted"),
    row(
        "provider",
        Reported,
        "what a provider's plugin makes cannot be made by a cluster; no workload is made for it",
    ),
    row(
        "pull_policy",
        Partly,
        "`imagePullPolicy`; periods become `Always` and are reported",
    ),
    row(
        "pull_refresh_after",
        Reported,
        "Kubernetes looks for newer images whenever a pod starts, or never",
    ),
    row("read_only", Mapped, "`securityContext.readOnlyRootFilesystem`"),
    row(
        "restart",
        Partly,
        "what restarts always is a Deployment; what ends is a Job if nothing speaks to it, else the difference is reported",
    ),
    row("runtime", Mapped, "`runtimeClassName`"),
    row("scale", Mapped, "replicas"),
    row(
        "secrets",
        Partly,
        "a Secret each, mounted as a file; `uid` and `gid` are reported",
    ),
    row(
        "security_opt",
        Partly,
        "privilege escalation, seccomp, AppArmor and SELinux settings; others are reported",
    ),
    row("shm_size", Mapped, "a volume in memory at `/dev/shm`"),
    row("stdin_open", Mapped, "`stdin`"),
    row("stop_grace_period", Mapped, "`terminationGracePeriodSeconds`"),
    row("stop_signal", Mapped, "`lifecycle.stopSignal`"),
    row(
        "storage_opt",
        Partly,
        "`size` is a limit of ephemeral storage; others are reported",
    ),
    row("sysctls", Mapped, "`securityContext.sysctls` of the pod"),
    row(
        "tmpfs",
        Partly,
        "a volume in memory; `size` is its limit, other options are reported",
    ),
    row("tty", Mapped, "`tty`"),
    row(
        "ulimits",
        Reported,
        "Kubernetes has no limits per process; containers get the node's",
    ),
    row(
        "use_api_socket",
        Reported,
        "a cluster has no engine socket to give",
    ),
    row(
        "user",
        Partly,
        "`runAsUser` and `runAsGroup`; names other than `root` are reported",
    ),
    row("userns_mode", Mapped, "`hostUsers`"),
    row(
        "uts",
        Partly,
        "with `network_mode: host` the node's name; else reported",
    ),
    row(
        "volumes",
        Partly,
        "claims, ConfigMaps, paths of the host, volumes in memory or of images; the bundled cluster fills empty volumes from the image unless `nocopy`; what each cannot say is reported",
    ),
    row(
        "volumes_from",
        Partly,
        "the mounts of the other service; `container:` is reported",
    ),
    row("working_dir", Mapped, "`workingDir`"),
    row(
        "deploy.endpoint_mode",
        Mapped,
        "`vip`: a Service with an address; `dnsrr`: a headless one",
    ),
    row(
        "deploy.labels",
        Mapped,
        "labels of the workload where they can be labels, else annotations",
    ),
    row(
        "deploy.mode",
        Partly,
        "`replicated`: Deployment; `global`: DaemonSet; jobs: Job; `global-job` runs once, which is reported",
    ),
    row(
        "deploy.placement.constraints",
        Partly,
        "node affinity; `node.ip` and unknown keys are reported",
    ),
    row(
        "deploy.placement.max_replicas_per_node",
        Partly,
        "1: anti-affinity; larger numbers spread pods evenly, which is reported",
    ),
    row(
        "deploy.placement.preferences",
        Mapped,
        "topology spread constraints that may be broken",
    ),
    row("deploy.replicas", Mapped, "replicas"),
    row("deploy.resources.limits.cpus", Mapped, "a CPU limit"),
    row("deploy.resources.limits.memory", Mapped, "a memory limit"),
    row(
        "deploy.resources.limits.pids",
        Reported,
        "the number of processes is limited by a setting of the node",
    ),
    row("deploy.resources.reservations.cpus", Mapped, "a CPU request"),
    row(
        "deploy.resources.reservations.devices",
        Mapped,
        "a limit of `nvidia.com/gpu`, `amd.com/gpu` or of the driver's resource",
    ),
    row(
        "deploy.resources.reservations.generic_resources",
        Mapped,
        "a limit of an extended resource, which nodes must offer",
    ),
    row("deploy.resources.reservations.memory", Mapped, "a memory request"),
    row(
        "deploy.resources.reservations.pids",
        Reported,
        "the number of processes is limited by a setting of the node",
    ),
    row(
        "deploy.restart_policy",
        Partly,
        "as `restart`, with the number of attempts of a Job; `delay` and `window` are reported",
    ),
    row(
        "deploy.rollback_config",
        Partly,
        "the update strategy that `tug rollback`, and a failed `up`, go back with, all services at once; the rest is reported",
    ),
    row(
        "deploy.update_config",
        Partly,
        "the update strategy from `parallelism` and `order`, `minReadySeconds` from `delay`; `failure_action: rollback` returns the whole release; the rest is reported",
    ),
];

/// Keys at the top of a project, and attributes of what stands below them.
pub const TOP_LEVEL: &[Attribute] = &[
    row("version", Used, "it has no meaning any more"),
    row(
        "name",
        Mapped,
        "the release, its namespace, and a label of all objects",
    ),
    row("include", Used, "it is resolved"),
    row("services", Mapped, "see the table of services"),
    row(
        "networks",
        Partly,
        "a NetworkPolicy each, where there is more than one, or one is internal",
    ),
    row(
        "networks.*.attachable",
        Used,
        "policies let nobody attach from outside",
    ),
    row(
        "networks.*.driver",
        Reported,
        "the cluster has one network for all pods",
    ),
    row(
        "networks.*.driver_opts",
        Reported,
        "the cluster has one network for all pods",
    ),
    row(
        "networks.*.enable_ipv4",
        Reported,
        "families of addresses are a setting of the cluster",
    ),
    row(
        "networks.*.enable_ipv6",
        Reported,
        "families of addresses are a setting of the cluster",
    ),
    row(
        "networks.*.external",
        Mapped,
        "no policy: other projects are on it",
    ),
    row(
        "networks.*.internal",
        Mapped,
        "a policy that lets nothing out but to its members and to DNS",
    ),
    row("networks.*.ipam", Reported, "addresses are the cluster's choice"),
    row("networks.*.labels", Mapped, "annotations of its policy"),
    row("networks.*.name", Used, "names the network on a Docker engine"),
    row("volumes", Mapped, "a PersistentVolumeClaim each"),
    row(
        "volumes.*.driver",
        Partly,
        "`local` says nothing; others are reported: a storage class decides",
    ),
    row(
        "volumes.*.driver_opts",
        Partly,
        "an NFS share, a path of the host, or memory; others are reported",
    ),
    row("volumes.*.external", Mapped, "a claim of that name must be there"),
    row(
        "volumes.*.labels",
        Mapped,
        "annotations of the claim; `kompose.*` steers the conversion",
    ),
    row(
        "volumes.*.name",
        Mapped,
        "the name of the claim, where it is given",
    ),
    row("configs", Mapped, "a ConfigMap each"),
    row("configs.*.content", Mapped, "the content"),
    row("configs.*.environment", Mapped, "the content"),
    row(
        "configs.*.external",
        Mapped,
        "a ConfigMap of that name must be there",
    ),
    row("configs.*.file", Mapped, "the content"),
    row("configs.*.labels", Mapped, "annotations"),
    row(
        "configs.*.name",
        Used,
        "names the config on a Docker engine; of an external one, its ConfigMap",
    ),
    row(
        "configs.*.template_driver",
        Reported,
        "contents are not templates",
    ),
    row("secrets", Mapped, "a Secret each"),
    row("secrets.*.driver", Reported, "a cluster has no plugins of Swarm"),
    row(
        "secrets.*.driver_opts",
        Reported,
        "a cluster has no plugins of Swarm",
    ),
    row("secrets.*.environment", Mapped, "the content"),
    row(
        "secrets.*.external",
        Mapped,
        "a Secret of that name must be there",
    ),
    row("secrets.*.file", Mapped, "the content"),
    row("secrets.*.labels", Mapped, "annotations"),
    row(
        "secrets.*.name",
        Used,
        "names the secret on a Docker engine; of an external one, its Secret",
    ),
    row(
        "secrets.*.template_driver",
        Reported,
        "contents are not templates",
    ),
    row("models", Reported, "a cluster has no model runner"),
    row("x-*", Used, "extensions mean nothing to tug"),
];

/// The row of an attribute of a service, by its path.
pub fn of_service(path: &str) -> Option<&'static Attribute> {
    SERVICE.iter().find(|row| row.path == path)
}

/// Whether there are rows for what stands below an attribute of a service.
pub(crate) fn has_rows_below(path: &str) -> bool {
    // Only `deploy` has any; looking at all rows for every attribute of every service takes too long.
    path.starts_with("deploy")
        && SERVICE.iter().any(|row| {
            row.path
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('.'))
        })
}

/// The row of a top-level key, or of an attribute below one: `networks.*.ipam`.
pub fn of_top_level(path: &str) -> Option<&'static Attribute> {
    TOP_LEVEL.iter().find(|row| row.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_all_attributes_once_and_in_order() {
        let services: Vec<_> = SERVICE
            .iter()
            .map(|row| row.path)
            .filter(|path| !path.contains('.'))
            .collect();
        assert_eq!(services.len(), 93);
        assert!(services.is_sorted());
        let below: Vec<_> = SERVICE
            .iter()
            .map(|row| row.path)
            .filter(|path| path.contains('.'))
            .collect();
        assert!(below.is_sorted());
        assert!(below.iter().all(|path| path.starts_with("deploy.")));
        assert!(services.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
