//! What an engine is asked for: pure, from what tug asks of any runtime.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountType,
};
use serde::{Deserialize, Serialize};

use super::super::api::{
    Container, ContainerSpec, LogLimits, MountSpec, NamespaceMode, Resources, SandboxSpec, SeccompProfile,
    UserSpec,
};

/// Label with the node's sign, on everything that is tug's.
pub(super) const NODE: &str = "dev.tug.node";
/// Label with a sandbox, on the container that holds it.
pub(super) const SANDBOX: &str = "dev.tug.sandbox";
/// Label with what is known of a container.
pub(super) const CONTAINER: &str = "dev.tug.container";

const CPU_PERIOD: i64 = 100_000;
const CPU_QUOTA_MIN: i64 = 1000;
/// The engine's own copy of a log, which is read while tug's agent is away.
const LOG_BYTES: &str = "10m";
const LOG_FILES: &str = "2";

/// What is kept of a container in its label.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    pub container: Container,
    pub log_limits: LogLimits,
    pub tty: bool,
}

/// Names in an engine: several nodes may share one.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub instance: String,
}

impl Names {
    /// The container that holds a sandbox.
    pub(super) fn sandbox(&self, id: &str) -> String {
        format!("tug-{}-pod-{id}", self.instance)
    }

    /// A container of a pod.
    pub(super) fn container(&self, id: &str) -> String {
        format!("tug-{}-{id}", self.instance)
    }
}

/// The container that holds a sandbox: it waits.
pub(super) fn holder(spec: &SandboxSpec, image: &str, names: &Names) -> ContainerCreateBody {
    let own_network = spec.network != NamespaceMode::Host;
    let label = serde_json::to_string(spec).unwrap_or_default();
    ContainerCreateBody {
        hostname: own_network.then(|| spec.hostname.clone()),
        image: Some(image.to_owned()),
        entrypoint: Some(words(&["/bin/hello", "pause"])),
        labels: Some([(NODE.into(), names.instance.clone()), (SANDBOX.into(), label)].into()),
        host_config: Some(HostConfig {
            network_mode: Some(if own_network { "none" } else { "host" }.into()),
            ipc_mode: Some(
                if spec.ipc == NamespaceMode::Host {
                    "host"
                } else {
                    "shareable"
                }
                .into(),
            ),
            pid_mode: (spec.pid == NamespaceMode::Host).then(|| "host".into()),
            readonly_rootfs: Some(true),
            cap_drop: Some(words(&["ALL"])),
            security_opt: Some(words(&["no-new-privileges"])),
            sysctls: Some(spec.sysctls.clone().into_iter().collect()),
            log_config: Some(HostConfigLogConfig {
                typ: Some("none".into()),
                config: None,
            }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// A container of a pod. Its mounts name what is there: nothing below a volume.
pub(super) fn container(
    spec: &ContainerSpec,
    sandbox: &SandboxSpec,
    image: &str,
    names: &Names,
    kept: &Kept,
) -> ContainerCreateBody {
    let joined = format!("container:{}", names.sandbox(&sandbox.id));
    let process = &spec.process;
    let label = serde_json::to_string(kept).unwrap_or_default();
    ContainerCreateBody {
        user: Some(user(&process.user)),
        tty: Some(process.tty),
        open_stdin: Some(spec.stdin),
        stdin_once: Some(spec.stdin_once),
        env: Some(process.env.clone()),
        entrypoint: Some(process.args.clone()),
        // What the image says about being healthy is asked by tug, as for every runtime.
        healthcheck: Some(HealthConfig {
            test: Some(words(&["NONE"])),
            ..HealthConfig::default()
        }),
        image: Some(image.to_owned()),
        working_dir: (!process.cwd.is_empty()).then(|| process.cwd.clone()),
        stop_signal: Some(spec.stop_signal.clone()),
        labels: Some([(NODE.into(), names.instance.clone()), (CONTAINER.into(), label)].into()),
        host_config: Some(HostConfig {
            network_mode: Some(joined.clone()),
            ipc_mode: Some(if sandbox.ipc == NamespaceMode::Host {
                "host".into()
            } else {
                joined.clone()
            }),
            pid_mode: match sandbox.pid {
                NamespaceMode::Own => spec
                    .processes_of
                    .as_ref()
                    .map(|target| format!("container:{}", names.container(target.as_str()))),
                NamespaceMode::Shared => Some(joined),
                NamespaceMode::Host => Some("host".into()),
            },
            mounts: Some(spec.mounts.iter().map(mount).collect()),
            privileged: Some(spec.privileged),
            readonly_rootfs: Some(spec.read_only_root),
            cap_add: Some(process.capabilities_add.clone()),
            cap_drop: Some(process.capabilities_drop.clone()),
            group_add: Some(process.user.groups.iter().map(ToString::to_string).collect()),
            security_opt: Some(security(spec)),
            masked_paths: (!spec.masked).then(Vec::new),
            readonly_paths: (!spec.masked).then(Vec::new),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".into()),
                config: Some(
                    [("max-size", LOG_BYTES), ("max-file", LOG_FILES)]
                        .map(|(key, value)| (key.to_owned(), value.to_owned()))
                        .into(),
                ),
            }),
            ..limits(&spec.resources)
        }),
        ..ContainerCreateBody::default()
    }
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|&word| word.to_owned()).collect()
}

/// The user as the engine reads it: names are looked up in the files of the image.
fn user(spec: &UserSpec) -> String {
    let name = spec.image_user.split(':').next().unwrap_or_default();
    match (spec.uid, spec.gid) {
        (Some(uid), Some(gid)) => format!("{uid}:{gid}"),
        (Some(uid), None) => uid.to_string(),
        (None, Some(gid)) => format!("{}:{gid}", if name.is_empty() { "0" } else { name }),
        (None, None) => spec.image_user.clone(),
    }
}

fn security(spec: &ContainerSpec) -> Vec<String> {
    let mut options = match &spec.seccomp {
        // Kubernetes filters no system calls unless it is asked to, an engine does.
        SeccompProfile::Unconfined => words(&["seccomp=unconfined"]),
        SeccompProfile::RuntimeDefault => Vec::new(),
        SeccompProfile::Profile(profile) => vec![format!("seccomp={profile}")],
    };
    if spec.process.no_new_privileges {
        options.push("no-new-privileges".to_owned());
    }
    options
}

fn mount(spec: &MountSpec) -> Mount {
    let propagation = match spec.propagation.as_str() {
        "rslave" => MountBindOptionsPropagationEnum::RSLAVE,
        "rshared" => MountBindOptionsPropagationEnum::RSHARED,
        _ => MountBindOptionsPropagationEnum::RPRIVATE,
    };
    Mount {
        target: Some(spec.target.display().to_string()),
        source: Some(spec.source.display().to_string()),
        typ: Some(MountType::BIND),
        read_only: Some(spec.read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(propagation),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}

fn limits(resources: &Resources) -> HostConfig {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let some = |number: u64| (number > 0).then(|| signed(number));
    let quota =
        some(resources.cpu_limit_millis).map(|millis| (millis * CPU_PERIOD / 1000).max(CPU_QUOTA_MIN));
    HostConfig {
        cpu_shares: some(resources.cpu_shares),
        cpu_period: quota.map(|_| CPU_PERIOD),
        cpu_quota: quota,
        memory: some(resources.memory_bytes),
        // The same number: no swap beside the memory.
        memory_swap: some(resources.memory_bytes),
        pids_limit: some(resources.pids_max),
        oom_score_adj: (resources.oom_score_adjust != 0).then(|| resources.oom_score_adjust.into()),
        ..HostConfig::default()
    }
}

/// The labels by which the engine finds everything of a node.
pub(super) fn filter(names: &Names) -> HashMap<String, Vec<String>> {
    [("label".to_owned(), vec![format!("{NODE}={}", names.instance)])].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_told_as_the_engine_reads_them() {
        for (image_user, uid, gid, expected) in [
            ("", None, None, ""),
            ("www", None, None, "www"),
            ("www:web", None, None, "www:web"),
            ("www:web", Some(7), None, "7"),
            ("www:web", Some(7), Some(8), "7:8"),
            ("www:web", None, Some(8), "www:8"),
            ("", None, Some(8), "0:8"),
        ] {
            let spec = UserSpec {
                image_user: image_user.into(),
                uid,
                gid,
                ..UserSpec::default()
            };
            assert_eq!(user(&spec), expected);
        }
    }

    #[test]
    fn limits_that_are_none_are_not_told() {
        assert_eq!(limits(&Resources::default()), HostConfig::default());
        let half = Resources {
            cpu_limit_millis: 500,
            memory_bytes: 1 << 20,
            ..Resources::default()
        };
        let told = limits(&half);
        assert_eq!((told.cpu_period, told.cpu_quota), (Some(100_000), Some(50_000)));
        assert_eq!((told.memory, told.memory_swap), (Some(1 << 20), Some(1 << 20)));
    }
}
