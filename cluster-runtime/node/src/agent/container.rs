//! From a container of a pod to what the runtime starts: pure, but for the files that it names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cluster_objects::quantity::Quantity;
use serde_json::Value;

use super::environment::{Surroundings, expand};
use super::pod::{ContainerConfig, Pod};
use super::status::qos_class;
use super::volumes::VolumePaths;
use crate::image::Image;
use crate::runtime::{
    ContainerId, ContainerSpec, LogLimits, MountSpec, NamespaceMode, ProcessSpec, Resources, SandboxSpec,
    SeccompProfile, UserSpec,
};

const CPU_SHARES_MIN: u64 = 2;
const CPU_SHARES_MAX: u64 = 262_144;
const TERMINATION_LOG: &str = "/dev/termination-log";

/// The files of a pod on the machine.
#[derive(Clone, Debug)]
pub(crate) struct PodFolder {
    /// State of the pod.
    pub path: PathBuf,
    /// Its logs.
    pub logs: PathBuf,
}

impl PodFolder {
    pub(crate) fn new(root: &Path, logs: &Path, pod: &Pod) -> Self {
        Self {
            path: root.join("pods").join(pod.uid()),
            logs: logs.join(format!("{}_{}_{}", pod.namespace(), pod.name(), pod.uid())),
        }
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.path.join("volumes")
    }

    pub(crate) fn hosts(&self) -> PathBuf {
        self.path.join("hosts")
    }

    pub(crate) fn hostname(&self) -> PathBuf {
        self.path.join("hostname")
    }

    pub(crate) fn resolv_conf(&self) -> PathBuf {
        self.path.join("resolv.conf")
    }

    pub(crate) fn log(&self, container: &str, attempt: u32) -> PathBuf {
        self.logs.join(container).join(format!("{attempt}.log"))
    }

    pub(crate) fn termination(&self, container: &str, attempt: u32) -> PathBuf {
        self.path
            .join("termination")
            .join(format!("{container}-{attempt}"))
    }
}

/// What a container is made from.
pub(crate) struct Parts<'a> {
    pub pod: &'a Pod,
    pub container: &'a ContainerConfig,
    /// The container whose processes it sees, where that runs.
    pub target: Option<&'a ContainerId>,
    pub attempt: u32,
    pub image: &'a Image,
    pub env: BTreeMap<String, String>,
    pub folder: &'a PodFolder,
    pub volumes: &'a VolumePaths,
    pub surroundings: &'a Surroundings,
    pub pids_max: u64,
    pub log_limits: LogLimits,
    /// Folder of the profiles that containers may name.
    pub profiles: &'a Path,
}

/// What the containers of a pod share; `runtime` is the handler of the pod's runtime class.
pub(crate) fn sandbox_spec(pod: &Pod, hostname: String, runtime: String) -> SandboxSpec {
    let mode = |host: bool| {
        if host {
            NamespaceMode::Host
        } else {
            NamespaceMode::Own
        }
    };
    SandboxSpec {
        id: pod.uid().to_owned(),
        namespace: pod.namespace().to_owned(),
        pod: pod.name().to_owned(),
        hostname,
        network: mode(pod.spec.host_network),
        ipc: mode(pod.spec.host_ipc),
        pid: match (pod.spec.host_pid, pod.spec.share_process_namespace) {
            (true, _) => NamespaceMode::Host,
            (false, true) => NamespaceMode::Shared,
            (false, false) => NamespaceMode::Own,
        },
        runtime,
        sysctls: pod
            .spec
            .security_context
            .sysctls
            .iter()
            .map(|one| (one.name.clone(), one.value.clone()))
            .collect(),
    }
}

/// Makes what the runtime starts. The error is the message of `CreateContainerConfigError`.
pub(crate) fn container_spec(parts: &Parts<'_>) -> Result<ContainerSpec, String> {
    let Parts {
        pod,
        container,
        attempt,
        image,
        ..
    } = *parts;
    verify_non_root(pod, container, image)?;
    let target = &container.target_container_name;
    if !target.is_empty() && parts.target.is_none() {
        return Err(format!("unable to find target container {target}"));
    }
    let config = &image.config.config;
    let (command, args) = (&container.command, &container.args);
    let expanded = |words: &[String]| {
        words
            .iter()
            .map(|word| expand(word, &parts.env))
            .collect::<Vec<_>>()
    };
    let mut words = if command.is_empty() {
        config.entrypoint.clone()
    } else {
        expanded(command)
    };
    if !args.is_empty() {
        words.extend(expanded(args));
    } else if command.is_empty() {
        words.extend(config.cmd.iter().cloned());
    }
    let own = &container.security_context;
    let shared = &pod.spec.security_context;
    let mut groups = shared.supplemental_groups.clone();
    groups.extend(shared.fs_group);
    let process = ProcessSpec {
        args: words,
        env: merged_env(pod, &config.env, &parts.env),
        cwd: if container.working_dir.is_empty() {
            config.working_dir.clone()
        } else {
            container.working_dir.clone()
        },
        user: UserSpec {
            image_user: config.user.clone(),
            uid: own.run_as_user.or(shared.run_as_user),
            gid: own.run_as_group.or(shared.run_as_group),
            groups,
            groups_as_given: shared.supplemental_groups_policy == "Strict",
        },
        tty: container.tty,
        capabilities_add: own.capabilities.add.clone(),
        capabilities_drop: own.capabilities.drop.clone(),
        no_new_privileges: own.allow_privilege_escalation == Some(false) && !own.privileged,
    };
    Ok(ContainerSpec {
        id: ContainerId::of(pod.uid(), &container.name, attempt),
        sandbox: pod.uid().to_owned(),
        processes_of: parts.target.cloned(),
        name: container.name.clone(),
        attempt,
        image: image.name.clone(),
        image_id: image_id(image),
        image_config: Some(image.id.clone()),
        layers: image.layers.clone(),
        process,
        stop_signal: stop_signal(container, image),
        mounts: mounts(parts)?,
        read_only_root: own.read_only_root_filesystem,
        privileged: own.privileged,
        masked: own.proc_mount != "Unmasked",
        seccomp: seccomp(pod, container, parts.profiles)?,
        resources: resources(pod, container, parts),
        stdin: container.stdin,
        stdin_once: container.stdin_once,
        log: parts.folder.log(&container.name, attempt),
        log_limits: parts.log_limits,
    })
}

/// How a status names the image: repository and digest, or the digest alone where there is no repository.
pub(crate) fn image_id(image: &Image) -> String {
    match image.name.parse::<crate::image::ImageName>() {
        Ok(name) => format!("{}@{}", name.without_version(), image.digest),
        Err(_) => image.id.to_string(),
    }
}

/// The variables of the image, those of the container over them, and the host name.
fn merged_env(pod: &Pod, image: &[String], own: &BTreeMap<String, String>) -> Vec<String> {
    let name_of = |one: &String| one.split('=').next().unwrap_or_default().to_owned();
    let mut env: Vec<String> = image
        .iter()
        .filter(|one| !own.contains_key(&name_of(one)))
        .cloned()
        .collect();
    if !own.contains_key("HOSTNAME") && !env.iter().any(|one| one.starts_with("HOSTNAME=")) {
        env.push(format!("HOSTNAME={}", pod.hostname()));
    }
    env.extend(own.iter().map(|(name, value)| format!("{name}={value}")));
    env
}

/// The signal that asks a container to stop: its own wish, the image's, or `SIGTERM`.
fn stop_signal(container: &ContainerConfig, image: &Image) -> String {
    let of_image = image.config.config.stop_signal.as_str();
    let wished = [container.lifecycle.stop_signal.as_str(), of_image]
        .into_iter()
        .find(|signal| !signal.is_empty());
    wished.unwrap_or("SIGTERM").to_owned()
}

fn verify_non_root(pod: &Pod, container: &ContainerConfig, image: &Image) -> Result<(), String> {
    let own = &container.security_context;
    let shared = &pod.spec.security_context;
    if own.run_as_non_root.or(shared.run_as_non_root) != Some(true) {
        return Ok(());
    }
    let which = format!("(pod: {:?}, container: {})", pod.long_name(), container.name);
    match own.run_as_user.or(shared.run_as_user) {
        Some(0) => return Err(format!("container's runAsUser breaks non-root policy {which}")),
        Some(_) => return Ok(()),
        None => {}
    }
    let user = image.config.config.user.split(':').next().unwrap_or_default();
    match user.parse::<u32>() {
        Ok(0) => Err(format!(
            "container has runAsNonRoot and image will run as root {which}"
        )),
        Ok(_) => Ok(()),
        Err(_) if user.is_empty() => Err(format!(
            "container has runAsNonRoot and image will run as root {which}"
        )),
        Err(_) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root {which}"
        )),
    }
}

/// Which system calls a container may make: its own wish before the pod's. A profile of the machine is read.
fn seccomp(pod: &Pod, container: &ContainerConfig, profiles: &Path) -> Result<SeccompProfile, String> {
    let own = container.security_context.seccomp_profile.as_ref();
    let Some(wished) = own.or(pod.spec.security_context.seccomp_profile.as_ref()) else {
        return Ok(SeccompProfile::Unconfined);
    };
    match wished.kind.as_str() {
        "RuntimeDefault" => Ok(SeccompProfile::RuntimeDefault),
        "Localhost" => {
            let name = Path::new(&wished.localhost_profile);
            if name
                .components()
                .any(|part| !matches!(part, std::path::Component::Normal(_)))
            {
                return Err(format!(
                    "the seccomp profile {name:?} is not below the folder of profiles"
                ));
            }
            let path = profiles.join(name);
            let text = std::fs::read(&path).map_err(|error| {
                format!(
                    "cannot load seccomp profile {:?}: {error}",
                    path.display().to_string()
                )
            })?;
            let profile = serde_json::from_slice(&text).map_err(|error| {
                format!(
                    "cannot load seccomp profile {:?}: {error}",
                    path.display().to_string()
                )
            })?;
            Ok(SeccompProfile::Profile(profile))
        }
        _ => Ok(SeccompProfile::Unconfined),
    }
}

fn mounts(parts: &Parts<'_>) -> Result<Vec<MountSpec>, String> {
    let Parts {
        container, folder, ..
    } = *parts;
    let mut mounts = Vec::new();
    for mount in &container.volume_mounts {
        let source = parts.volumes.get(&mount.name);
        let source = source.ok_or_else(|| format!("the volume {:?} is not there", mount.name))?;
        let sub_path = if mount.sub_path_expr.is_empty() {
            mount.sub_path.clone()
        } else {
            expand(&mount.sub_path_expr, &parts.env)
        };
        let target = PathBuf::from(&mount.mount_path);
        let target = if target.is_absolute() {
            target
        } else {
            Path::new("/").join(target)
        };
        mounts.push(MountSpec {
            source: source.clone(),
            sub_path,
            target,
            read_only: mount.read_only || is_read_only(parts.pod, &mount.name),
            propagation: match mount.mount_propagation.as_str() {
                "HostToContainer" => "rslave".to_owned(),
                "Bidirectional" => "rshared".to_owned(),
                _ => String::new(),
            },
        });
    }
    let message = container
        .termination_message_path
        .as_deref()
        .filter(|path| !path.is_empty());
    let own = [
        (folder.hosts(), "/etc/hosts"),
        (folder.resolv_conf(), "/etc/resolv.conf"),
        (folder.hostname(), "/etc/hostname"),
        (
            folder.termination(&container.name, parts.attempt),
            message.unwrap_or(TERMINATION_LOG),
        ),
    ];
    for (source, target) in own {
        if !mounts.iter().any(|mount| mount.target == Path::new(target)) {
            mounts.push(MountSpec {
                source,
                target: target.into(),
                ..MountSpec::default()
            });
        }
    }
    Ok(mounts)
}

/// Volumes made of objects can only be read, and those of claims and servers where they say so.
fn is_read_only(pod: &Pod, volume: &str) -> bool {
    let volume = pod.spec.volumes.iter().find(|one| one.name == volume);
    volume.is_some_and(|volume| {
        let made_of_objects = volume.config_map.is_some()
            || volume.secret.is_some()
            || volume.projected.is_some()
            || volume.downward_api.is_some();
        made_of_objects
            || volume
                .persistent_volume_claim
                .as_ref()
                .is_some_and(|claim| claim.read_only)
            || volume.nfs.as_ref().is_some_and(|nfs| nfs.read_only)
    })
}

fn resources(pod: &Pod, container: &ContainerConfig, parts: &Parts<'_>) -> Resources {
    let amount = |value: Option<&Value>| value.and_then(|value| Quantity::from_value(value).ok());
    let limit = |name: &str| amount(container.resources.limits.get(name));
    let request = |name: &str| amount(container.resources.requests.get(name)).or(limit(name));
    let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
    let shares = request("cpu").map_or(0, |cpu| unsigned(cpu.milli())) * 1024 / 1000;
    Resources {
        cpu_shares: shares.clamp(CPU_SHARES_MIN, CPU_SHARES_MAX),
        cpu_limit_millis: limit("cpu").map_or(0, |cpu| unsigned(cpu.milli())),
        memory_bytes: limit("memory").map_or(0, |memory| unsigned(memory.units())),
        pids_max: parts.pids_max,
        oom_score_adjust: oom_score(
            qos_class(pod),
            request("memory").map_or(0, Quantity::units),
            parts.surroundings.memory_bytes,
        ),
    }
}

/// How early the kernel takes a container when memory is short: the less it asked for, the earlier. The numbers are
/// the kubelet's.
fn oom_score(qos: &str, requested: i64, machine: i64) -> i32 {
    match qos {
        "Guaranteed" => -997,
        "BestEffort" => 1000,
        _ => {
            let share = if machine > 0 {
                1000 * requested / machine
            } else {
                0
            };
            i32::try_from((1000 - share).clamp(3, 999)).unwrap_or(999)
        }
    }
}
