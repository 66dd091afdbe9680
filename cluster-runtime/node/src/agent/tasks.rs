//! What the steps of a plan do: functions that act, and give what happened.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cluster_client::{DeleteOptions, EventType, Target, WriteOptions};
use cluster_objects::Status;
use serde_json::Value;

use super::container::{Parts, PodFolder, container_spec, sandbox_spec};
use super::environment::{Surroundings, environment, references};
use super::files;
use super::lookup;
use super::mounts::remove_folder;
use super::network::HostPort;
use super::node::Shared;
use super::patient::Patient;
use super::pod::{ContainerConfig, Pod};
use super::seeding;
use super::volumes::{self, VolumePaths};
use crate::image::Image;
use crate::runtime::{Container, ContainerExit, ContainerId, Runtime, RuntimeError, Sandbox};

const MESSAGE_BYTES_MAX: usize = 4096;
const MESSAGE_LINES_MAX: usize = 80;
/// What a hook gets at least, and a container after its hook, however short the grace period is.
const GRACE_AFTER_HOOK: Duration = Duration::from_secs(2);

/// Sandbox, network and volumes that were made.
pub(crate) struct GroundMade {
    pub netns: Option<PathBuf>,
    pub ips: Vec<IpAddr>,
    pub volumes: VolumePaths,
}

/// Why they were not: the reason and the message of the event.
pub(crate) struct GroundFailure {
    pub reason: &'static str,
    pub message: String,
}

/// Makes sandbox, network and volumes, or finds them where they are.
pub(crate) async fn make_ground(
    shared: &Shared,
    pod: &Pod,
    folder: &PodFolder,
) -> Result<GroundMade, GroundFailure> {
    let networked = async {
        let handler = runtime_handler(shared, pod).await?;
        let hostname = pod.kernel_hostname().map_err(|message| GroundFailure {
            reason: "FailedCreatePodSandBox",
            message: format!("Failed to create pod sandbox: {message}"),
        })?;
        let sandbox = ensure_sandbox(&*shared.runtime, pod, hostname, handler)
            .await
            .map_err(|error| GroundFailure {
                reason: "FailedCreatePodSandBox",
                message: format!("Failed to create pod sandbox: {error}"),
            })?;
        let Some(netns) = sandbox.netns else {
            return Ok((None, shared.machine.addresses.clone()));
        };
        let ports = host_ports(pod);
        let attached = shared.network.attach(pod.uid(), &netns, &ports).await;
        let address = attached.map_err(|error| GroundFailure {
            reason: "FailedCreatePodSandBox",
            message: format!("Failed to create pod sandbox: cannot set up the network: {error}"),
        })?;
        Ok((Some(netns), address.ips))
    };
    let failed = |failure: volumes::VolumeFailure| GroundFailure {
        reason: "FailedMount",
        message: failure.to_string(),
    };
    let ((netns, ips), volumes) = if needs_address(pod) {
        let (netns, ips) = networked.await?;
        let surroundings = shared.surroundings(&ips);
        let volumes = volumes::prepare(&*shared.api, pod, &folder.volumes(), &surroundings).await;
        ((netns, ips), volumes.map_err(failed)?)
    } else {
        let surroundings = shared.surroundings(&[]);
        let volumes_folder = folder.volumes();
        let prepared = async {
            volumes::prepare(&*shared.api, pod, &volumes_folder, &surroundings)
                .await
                .map_err(failed)
        };
        // Both are waited for: a sandbox that is being made when its maker is gone is nobody's.
        let (networked, prepared) = futures::join!(networked, prepared);
        (networked?, prepared?)
    };
    let host_dns = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let cluster_dns = shared.network.resolv_conf(&pod.object);
    files::write(folder, pod, &ips, &cluster_dns, &host_dns).map_err(|error| GroundFailure {
        reason: "FailedMount",
        message: format!("cannot write the files of the pod: {error}"),
    })?;
    Ok(GroundMade { netns, ips, volumes })
}

/// Whether a volume shows the pod's address, so that it cannot be made before.
fn needs_address(pod: &Pod) -> bool {
    pod.spec.volumes.iter().any(|volume| {
        let projected = volume.projected.iter().flat_map(|projected| &projected.sources);
        let downward = volume
            .downward_api
            .iter()
            .chain(projected.filter_map(|source| source.downward_api.as_ref()));
        downward.flat_map(|downward| &downward.items).any(|item| {
            item.field_ref
                .as_ref()
                .is_some_and(|field| field.field_path.starts_with("status.podIP"))
        })
    })
}

/// What makes the containers of a pod, by its runtime class. A class that the cluster has no object for is the name of
/// a runtime itself.
async fn runtime_handler(shared: &Shared, pod: &Pod) -> Result<String, GroundFailure> {
    let name = &pod.spec.runtime_class_name;
    if name.is_empty() {
        return Ok(String::new());
    }
    let target = Target::cluster_wide("node.k8s.io/v1", "runtimeclasses", name);
    let class = lookup::get(&*shared.api, &target)
        .await
        .map_err(|status| GroundFailure {
            reason: "FailedCreatePodSandBox",
            message: format!(
                "Failed to create pod sandbox: cannot read the runtime class {name:?}: {status}"
            ),
        })?;
    let handler = class.as_ref().and_then(|class| class.text(&["handler"]));
    Ok(handler.unwrap_or(name).to_owned())
}

async fn ensure_sandbox(
    runtime: &dyn Runtime,
    pod: &Pod,
    hostname: String,
    handler: String,
) -> Result<Sandbox, RuntimeError> {
    match runtime.create_sandbox(sandbox_spec(pod, hostname, handler)).await {
        Err(RuntimeError::Exists { .. }) => {
            let found = runtime
                .list()
                .await?
                .into_iter()
                .find(|sandbox| sandbox.spec.id == pod.uid());
            found.ok_or_else(|| RuntimeError::no_sandbox(pod.uid()))
        }
        other => other,
    }
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let ports = pod.all_containers().flat_map(|container| &container.ports);
    ports
        .filter(|port| port.host_port > 0)
        .map(|port| HostPort {
            host_ip: port.host_ip.parse().ok(),
            host_port: port.host_port,
            container_port: port.container_port,
            protocol: if port.protocol.is_empty() {
                "TCP".to_owned()
            } else {
                port.protocol.clone()
            },
        })
        .collect()
}

/// Why a container did not start.
pub(crate) enum StartFailure {
    /// It could not be described; nothing was started.
    Refused { reason: &'static str, message: String },
    /// Its program could not be started.
    Start(String),
    /// The sandbox is gone, as after a new start of an engine.
    NoSandbox,
}

/// A container to make and start, with all that was made for it.
pub(crate) struct StartOrder {
    pub container: ContainerConfig,
    /// The container whose processes it sees, where that runs.
    pub target: Option<ContainerId>,
    pub attempt: u32,
    pub image: Image,
    pub volumes: VolumePaths,
    pub surroundings: Surroundings,
}

/// Makes and starts a container.
pub(crate) async fn start_container(
    shared: &Shared,
    pod: &Pod,
    folder: &PodFolder,
    order: &StartOrder,
) -> Result<Container, StartFailure> {
    let StartOrder {
        container,
        target,
        attempt,
        image,
        volumes,
        surroundings,
    } = order;
    let attempt = *attempt;
    let config_error = |message: String| StartFailure::Refused {
        reason: "CreateContainerConfigError",
        message,
    };
    let create_error = |message: String| StartFailure::Refused {
        reason: "CreateContainerError",
        message,
    };
    let (config_maps, secrets) = references(container);
    let linked = pod.spec.enable_service_links.unwrap_or(true);
    let (fetched, services) = futures::join!(
        lookup::fetch(&*shared.api, pod.namespace(), &config_maps, &secrets),
        lookup::services(&*shared.api, pod.namespace(), linked),
    );
    let mut fetched = fetched.map_err(|status| config_error(status.to_string()))?;
    fetched.services = services.map_err(|status| config_error(status.to_string()))?;
    let env = environment(pod, container, &fetched, surroundings).map_err(config_error)?;
    let spec = container_spec(&Parts {
        pod,
        container,
        target: target.as_ref(),
        attempt,
        image,
        env,
        folder,
        volumes,
        surroundings,
        pids_max: shared.config.container_pids_max,
        log_limits: shared.config.log_limits,
        profiles: &shared.config.root.join("seccomp"),
    });
    let spec = spec.map_err(config_error)?;
    let termination = folder.termination(&container.name, attempt);
    make_writable_file(&termination).map_err(|error| create_error(error.to_string()))?;
    let seeds = seeding::wanted(pod, container, &spec);
    if !seeds.is_empty() {
        let (layers, folder) = (
            spec.layers.clone(),
            folder.path.join("seeding").join(&container.name),
        );
        let filled = tokio::task::spawn_blocking(move || seeding::seed(&seeds, &layers, &folder)).await;
        let filled = filled.map_err(io::Error::other).flatten();
        filled.map_err(|error| create_error(format!("cannot fill the volumes from the image: {error}")))?;
    }
    let id = spec.id.clone();
    let (store, held) = (shared.images.store().clone(), image.clone());
    let holder = id.to_string();
    let leased = tokio::task::spawn_blocking(move || store.lease(&held, &holder)).await;
    match leased {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(create_error(error.to_string())),
        Err(error) => return Err(create_error(error.to_string())),
    }
    match shared.runtime.start_container(spec).await {
        Ok(container) => Ok(container),
        Err(error) => {
            shared.images.store().release(id.as_str());
            Err(match error {
                RuntimeError::Start { reason } => StartFailure::Start(reason),
                RuntimeError::NotFound { what: "sandbox", .. } => StartFailure::NoSandbox,
                other => create_error(other.to_string()),
            })
        }
    }
}

/// A file that any user may write, for the container's last words.
fn make_writable_file(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o666))
}

/// Waits for the end of a container; gives it with the container's last words.
pub(crate) async fn wait_for_end(
    runtime: &dyn Runtime,
    container: &Container,
    config: &ContainerConfig,
    termination: &Path,
) -> Option<(ContainerExit, String)> {
    let exit = runtime.wait(&container.id).await.ok()?;
    let mut message = read_message(termination);
    if message.is_empty() && exit.code != 0 && config.termination_message_policy == "FallbackToLogsOnError" {
        message = last_lines(&container.log);
    }
    Some((exit, message))
}

fn read_message(path: &Path) -> String {
    use io::Read as _;
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(path) {
        let _ = file.take(MESSAGE_BYTES_MAX as u64).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn last_lines(log: &Path) -> String {
    use io::{Read as _, Seek as _, SeekFrom};
    let read = || -> io::Result<String> {
        let mut file = fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(
            length.saturating_sub(4 * MESSAGE_BYTES_MAX as u64),
        ))?;
        let mut bytes = Vec::new();
        file.take(4 * MESSAGE_BYTES_MAX as u64).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let contents: Vec<&str> = text
        .lines()
        .filter_map(|line| line.splitn(4, ' ').nth(3))
        .collect();
    let from = contents.len().saturating_sub(MESSAGE_LINES_MAX);
    let joined: String = contents[from..].iter().map(|line| format!("{line}\n")).collect();
    let start = joined.len().saturating_sub(MESSAGE_BYTES_MAX);
    let start = (start..=joined.len())
        .find(|at| joined.is_char_boundary(*at))
        .unwrap_or(0);
    joined[start..].to_owned()
}

/// Tells a container to stop: its hook, its signal, and the kill when the time is over.
pub(crate) async fn stop_container(
    shared: &Shared,
    pod: &Pod,
    patient: &Patient,
    signal: &str,
    grace_seconds: u64,
) {
    let mut left = Duration::from_secs(grace_seconds);
    if let Some(hook) = patient
        .container
        .lifecycle
        .pre_stop
        .as_ref()
        .filter(|_| grace_seconds > 0)
    {
        let began = tokio::time::Instant::now();
        let done = tokio::time::timeout(left, patient.run_hook(hook, left)).await;
        let failure = match done {
            Ok(Ok(())) => None,
            Ok(Err(message)) => Some(message),
            Err(_) => Some("the hook did not end within the grace period".to_owned()),
        };
        if let Some(message) = failure {
            shared.recorder.record(
                &pod.object,
                EventType::Warning,
                "FailedPreStopHook",
                format!("PreStopHook failed: {message}"),
            );
        }
        left = left.saturating_sub(began.elapsed()).max(GRACE_AFTER_HOOK);
    }
    let stopped = patient.runtime.stop_container(&patient.id, signal, left).await;
    if let Err(error) = stopped {
        tracing::warn!(pod = %pod.long_name(), container = patient.container.name, %error, "cannot stop");
        if matches!(error, RuntimeError::Unsupported { .. }) {
            let _ = patient.runtime.stop_container(&patient.id, "SIGTERM", left).await;
        }
    }
}

/// Removes a container that has ended, and what it held.
pub(crate) async fn forget_container(shared: &Shared, id: &ContainerId) {
    if let Err(error) = shared.runtime.remove_container(id).await {
        tracing::warn!(container = %id, %error, "an ended container stays");
    }
    shared.images.store().release(id.as_str());
}

/// Lets the sandbox of a pod go; what is in its folders stays.
async fn leave_ground(shared: &Shared, pod_uid: &str) -> Result<(), String> {
    let containers = shared.containers_of(pod_uid).await;
    shared
        .network
        .detach(pod_uid)
        .await
        .map_err(|error| error.to_string())?;
    shared
        .runtime
        .remove_sandbox(pod_uid)
        .await
        .map_err(|error| error.to_string())?;
    for id in containers {
        shared.images.store().release(id.as_str());
    }
    Ok(())
}

/// Removes what a pod has on this machine, in these folders and outside of them: all of it, or what one that has ended
/// has no use for.
pub(crate) async fn remove_all(shared: &Shared, pod_uid: &str, folders: Vec<PathBuf>) -> Result<(), String> {
    leave_ground(shared, pod_uid).await?;
    let removed = tokio::task::spawn_blocking(move || folders.iter().try_for_each(|it| remove_folder(it)));
    removed
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(|error| error.to_string())
}

/// Deletes the object of a pod for good; one that is gone, or another of its name, is no error.
pub(crate) async fn delete_object(shared: &Shared, pod: &Pod) -> Result<(), Status> {
    let options = DeleteOptions {
        grace_period_seconds: Some(0),
        uid: Some(pod.uid().to_owned()),
        ..DeleteOptions::default()
    };
    let target = Target::namespaced("v1", "pods", pod.namespace(), pod.name());
    match shared.api.delete(&target, &options).await {
        Err(status) if !status.is_not_found() && !status.is_conflict() => Err(status),
        _ => Ok(()),
    }
}

/// Writes the status of a pod onto the object that is there; `None` when the pod is gone.
pub(crate) async fn write_status(
    shared: &Shared,
    pod: &Pod,
    status: Value,
) -> Result<Option<Arc<cluster_objects::Object>>, Status> {
    let target = Target::namespaced("v1", "pods", pod.namespace(), pod.name()).subresource("status");
    let mut object = cluster_objects::Object::clone(&pod.object);
    object.set(&["status"], status);
    let options = WriteOptions {
        field_manager: "kubelet".to_owned(),
        ..WriteOptions::default()
    };
    match shared.api.update(&target, object, &options).await {
        Ok(written) => Ok(Some(written)),
        Err(status) if status.is_not_found() => Ok(None),
        Err(status) => Err(status),
    }
}

/// The object of a pod as it is now; `None` when it is gone or another pod has its name.
pub(crate) async fn read_object(
    shared: &Shared,
    pod: &Pod,
) -> Result<Option<Arc<cluster_objects::Object>>, Status> {
    let target = Target::namespaced("v1", "pods", pod.namespace(), pod.name());
    let found = lookup::get(&*shared.api, &target).await?;
    Ok(found.filter(|found| found.uid() == pod.uid()))
}
