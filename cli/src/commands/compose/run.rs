//! `tug compose run`

use std::sync::Arc;
use std::time::Duration;

use chart_release::cluster::Cluster;
use cluster_client::{
    Collection, DeleteOptions, ExecExit, ExecRequest, WatchEvent, WatchOptions, WriteOptions,
};
use cluster_objects::{Object, Status};
use compose_convert::{Conversion, Role, dns_label};
use compose_load::Project;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::build;
use super::convert::convert;
use super::exec::{result, target};
use super::follow::ProjectPods;
use super::place::{INSTANCE, Place, SERVICE};
use super::project::ProjectArgs;
use super::up::{self, UpArgs};
use crate::commands::block_on;
use crate::connection::{self, Start};
use crate::failure::Failure;
use crate::pod_logs::{EndsWith, Lines};
use crate::settings::Settings;
use crate::terminal;

/// Run a command in a new container of a service, once
///
/// What the service depends on is brought up first. The exit code is that of the command.
#[derive(clap::Args)]
pub(crate) struct RunArgs {
    /// Leave it running, print its name and return
    #[arg(short, long)]
    detach: bool,
    /// Set a variable, may be repeated
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Program in place of the service's entrypoint
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Name of the pod
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Do not bring up what the service depends on
    #[arg(long)]
    no_deps: bool,
    /// Delete the pod when it has ended
    #[arg(long)]
    rm: bool,
    /// Use no terminal [default: one where stdin and stdout are one]
    #[arg(short = 'T', long = "no-tty", visible_alias = "no-TTY")]
    no_tty: bool,
    /// User and group, as numbers: UID[:GID]
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Folder that it runs in
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Answer to the service's name while it runs
    #[arg(long)]
    use_aliases: bool,
    /// Build the image first
    #[arg(long)]
    build: bool,
    // docker compose's flags that say what is so anyway.
    #[arg(short, long, hide = true)]
    interactive: bool,
    #[arg(long, hide = true)]
    remove_orphans: bool,
    #[arg(long, hide = true)]
    quiet_pull: bool,
    #[arg(short, long, hide = true)]
    quiet: bool,
    /// The service
    service: String,
    /// The command in place of the service's, and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// The label of pods that `run` made, with the service as value.
pub(super) const ONE_OFF: &str = "compose.tug.dev/one-off";

/// How long a pod may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(300);

pub(super) fn run(arguments: &RunArgs, project: &ProjectArgs, settings: &Settings) -> Result<(), Failure> {
    let mut options = project.options(settings)?;
    options.services = vec![arguments.service.clone()];
    let loaded = project.load(&options, settings)?;
    let place = Place::of(&loaded.name, settings);
    let config = connection::choose(&place.settings, Start::Always)?;
    let is_bundled = connection::is_bundled(settings)?;
    if arguments.build {
        build::again(&loaded, &arguments.service, is_bundled, settings)?;
    } else {
        build::for_up(&loaded, false, is_bundled, settings)?;
    }
    let dependencies = dependencies(&loaded, &arguments.service);
    if !arguments.no_deps && !dependencies.is_empty() {
        up::run(&UpArgs::of(dependencies), project, settings)?;
    }
    let conversion = convert(&loaded, &up::options(is_bundled), false, settings)?;
    let tty = !arguments.no_tty && !arguments.detach && terminal::is_interactive();
    let name = name(arguments, settings);
    let pod = pod(&conversion, arguments, &place, &name, tty)?;
    let exit = block_on(async {
        let cluster = connection::connect(&place.settings, &config).await?;
        let named = |status: Status| Failure::new(format!("cannot run `{name}`")).because_error(&status);
        needed(&conversion, &pod, &place, &cluster).await?;
        let pods = Collection::namespaced("v1", "pods", &place.namespace);
        let created = cluster.api.create(&pods, pod, &WriteOptions::default()).await;
        let created = created.map_err(named)?;
        if arguments.detach {
            place.settings.console.line(&name)?;
            return Ok(ExecExit::Code(0));
        }
        let outcome = tokio::select! {
            outcome = session(&place, &cluster, &created, tty) => outcome,
            _ = tokio::signal::ctrl_c() => Ok(ExecExit::Code(i32::from(crate::failure::INTERRUPTED))),
        };
        let interrupted =
            matches!(outcome, Ok(ExecExit::Code(code)) if code == i32::from(crate::failure::INTERRUPTED));
        if arguments.rm || interrupted || outcome.is_err() {
            let deleted = cluster
                .api
                .delete(&target(&created), &DeleteOptions::default())
                .await;
            if let Err(status) = deleted
                && !status.is_not_found()
            {
                return Err(named(status));
            }
        }
        outcome
    })?;
    result(exit)
}

fn dependencies(project: &Project, service: &str) -> Vec<String> {
    let on = project.model["services"][service]["depends_on"].as_object();
    on.into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

/// `SERVICE-run-` and a number that no other run has.
fn name(arguments: &RunArgs, settings: &Settings) -> String {
    arguments.name.clone().unwrap_or_else(|| {
        let now = settings.now().as_microsecond();
        let service: String = dns_label(&arguments.service).chars().take(40).collect();
        format!("{service}-run-{:x}", now & 0xff_ffff_ffff)
    })
}

/// The pod: the service's own, without its probes and ports, that ends with its command.
fn pod(
    conversion: &Conversion,
    arguments: &RunArgs,
    place: &Place,
    name: &str,
    tty: bool,
) -> Result<Object, Failure> {
    let label = dns_label(&arguments.service);
    let cannot = || {
        Failure::new(format!("`{}` cannot be run on its own", arguments.service))
            .because("it has no pod: it is left to a provider, or shares the network of another service")
    };
    let workload = conversion
        .objects
        .iter()
        .find(|object| object.role == Role::Workload && object.of == arguments.service);
    let workload = &workload.ok_or_else(cannot)?.value;
    let template = match workload["kind"].as_str() {
        Some("CronJob") => &workload["spec"]["jobTemplate"]["spec"]["template"],
        _ => &workload["spec"]["template"],
    };
    let mut metadata = template["metadata"].clone();
    metadata["name"] = json!(name);
    metadata["namespace"] = json!(place.namespace);
    metadata["labels"][ONE_OFF] = json!(label);
    if !arguments.use_aliases
        && let Some(labels) = metadata["labels"].as_object_mut()
    {
        // Services select pods by these.
        labels.retain(|key, _| key != SERVICE && !key.starts_with("alias.compose.tug.dev/"));
    }
    let mut spec = template["spec"].clone();
    spec["restartPolicy"] = json!("Never");
    // Others of its pod are no part of the run.
    let containers = spec["containers"].as_array().cloned().unwrap_or_default();
    let mut container = containers.into_iter().next().ok_or_else(cannot)?;
    if let Some(fields) = container.as_object_mut() {
        for field in [
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
            "ports",
        ] {
            fields.remove(field);
        }
    }
    override_with(&mut container, arguments)?;
    container["stdin"] = json!(!arguments.detach);
    container["stdinOnce"] = json!(!arguments.detach);
    container["tty"] = json!(tty);
    spec["containers"] = json!([container]);
    let value = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
    Object::from_value(value).map_err(|error| {
        Failure::new("the pod cannot be read, which is a fault of tug").because_error(&error)
    })
}

fn override_with(container: &mut Value, arguments: &RunArgs) -> Result<(), Failure> {
    if let Some(entrypoint) = &arguments.entrypoint {
        container["command"] = json!(entrypoint.split_whitespace().collect::<Vec<_>>());
        container["args"] = json!([]);
    }
    if !arguments.command.is_empty() {
        container["args"] = json!(arguments.command);
    }
    if let Some(folder) = &arguments.workdir {
        container["workingDir"] = json!(folder);
    }
    if let Some(user) = &arguments.user {
        let (uid, gid) = user
            .split_once(':')
            .map_or((user.as_str(), None), |(uid, gid)| (uid, Some(gid)));
        let number = |text: &str| {
            text.parse::<u32>().map_err(|_| {
                Failure::new(format!("`{text}` is no number")).because("clusters know users by numbers only")
            })
        };
        container["securityContext"]["runAsUser"] = json!(number(uid)?);
        if let Some(gid) = gid {
            container["securityContext"]["runAsGroup"] = json!(number(gid)?);
        }
    }
    let mut variables = container["env"].as_array().cloned().unwrap_or_default();
    for pair in &arguments.env {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        variables.retain(|variable| variable["name"] != name);
        variables.push(json!({"name": name, "value": value}));
    }
    if !variables.is_empty() {
        container["env"] = Value::Array(variables);
    }
    Ok(())
}

/// Makes what the pod mounts where it is not there: the namespace, claims, configs and secrets, as the release's own.
async fn needed(
    conversion: &Conversion,
    pod: &Object,
    place: &Place,
    cluster: &Cluster,
) -> Result<(), Failure> {
    let exists = |outcome: Result<Arc<Object>, Status>| match outcome {
        Err(status) if !status.is_already_exists() => Err(Failure::from_error(&status)),
        _ => Ok(()),
    };
    let options = WriteOptions::default();
    let namespace = Object::new("v1", "Namespace", None, &place.namespace);
    exists(
        cluster
            .api
            .create(&Collection::all("v1", "namespaces"), namespace, &options)
            .await,
    )?;
    let volumes = pod
        .at(&["spec", "volumes"])
        .map(Value::to_string)
        .unwrap_or_default();
    for object in &conversion.objects {
        let (resource, field) = match object.role {
            Role::Config => ("configmaps", "name"),
            Role::Secret => ("secrets", "secretName"),
            Role::Claim => ("persistentvolumeclaims", "claimName"),
            _ => continue,
        };
        if !volumes.contains(&format!("\"{field}\":{}", json!(object.name()))) {
            continue;
        }
        let mut value = object.value.clone();
        // A release adopts what says that it is its own.
        value["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("Helm");
        value["metadata"]["annotations"]["meta.helm.sh/release-name"] = json!(place.release);
        value["metadata"]["annotations"]["meta.helm.sh/release-namespace"] = json!(place.namespace);
        value["metadata"]["namespace"] = json!(place.namespace);
        value["metadata"]["labels"][INSTANCE] = json!(conversion.instance);
        let made = Object::from_value(value)
            .map_err(|error| Failure::new("an object cannot be read").because_error(&error))?;
        let collection = Collection::namespaced("v1", resource, &place.namespace);
        exists(cluster.api.create(&collection, made, &options).await)?;
    }
    Ok(())
}

/// Joins the terminal to the pod until that ends.
async fn session(place: &Place, cluster: &Cluster, pod: &Object, tty: bool) -> Result<ExecExit, Failure> {
    let started = tokio::time::timeout(START_TIMEOUT, wait(cluster, pod, has_started)).await;
    let started = started.map_err(|_| Failure::new(format!("`{}` does not start", pod.name())))??;
    let container = started.list(&["spec", "containers"])[0]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let request = ExecRequest {
        command: Vec::new(),
        stdin: true,
        stdout: tty,
        stderr: false,
        tty,
    };
    let runs = code(&started).is_none();
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}/log?container={container}",
        place.namespace,
        pod.name()
    );
    let mut said = 0;
    // What the command says while no terminal is joined is in its log.
    let mut say = async || {
        if let Ok(log) = cluster.api.raw(&path).await {
            let text = String::from_utf8_lossy(log.get(said..).unwrap_or_default()).into_owned();
            said = log.len();
            return place.settings.console.data(&text);
        }
        Ok(())
    };
    let attach = async || {
        // A command that has ended meanwhile needs no input.
        let target = target(pod).subresource("attach");
        let session = cluster.api.exec(&target, &container, &request).await.ok()?;
        Some(terminal::join(session, tty).await)
    };
    if tty {
        say().await?;
        if !runs || attach().await.is_none() {
            say().await?;
        }
    } else {
        // Logs lose nothing that was said before the terminal was joined.
        let lines = Lines {
            no_prefix: true,
            ..Lines::default()
        };
        let follower = ProjectPods::new(place, &[])
            .of_pod(pod.name())
            .follower(cluster, lines);
        let complete = CancellationToken::new();
        complete.cancel();
        let nothing = EndsWith::All;
        let shown = follower.follow(&nothing, &complete);
        tokio::select! {
            shown = shown => shown.map(drop)?,
            () = async {
                if runs {
                    attach().await;
                }
                std::future::pending::<()>().await;
            } => {}
        }
    }
    let ended = wait(cluster, pod, |pod| Ok(code(pod).is_some())).await?;
    Ok(ExecExit::Code(code(&ended).unwrap_or(0)))
}

/// The exit code of a pod's command, when it has ended.
fn code(pod: &Object) -> Option<i32> {
    let status = pod.list(&["status", "containerStatuses"]).first()?;
    let code = status["state"]["terminated"]["exitCode"].as_i64()?;
    i32::try_from(code).ok()
}

/// Whether the command runs or has ended; an error where it never will.
fn has_started(pod: &Object) -> Result<bool, Failure> {
    let statuses = ["initContainerStatuses", "containerStatuses"].map(|list| pod.list(&["status", list]));
    for status in statuses.into_iter().flatten() {
        let waiting = &status["state"]["waiting"];
        let reason = waiting["reason"].as_str().unwrap_or_default();
        if matches!(
            reason,
            "ErrImagePull"
                | "ImagePullBackOff"
                | "InvalidImageName"
                | "CreateContainerConfigError"
                | "CreateContainerError"
        ) {
            let message = waiting["message"].as_str().unwrap_or(reason);
            return Err(Failure::new(format!("`{}` cannot start: {reason}", pod.name())).because(message));
        }
    }
    let main = pod.list(&["status", "containerStatuses"]).first();
    Ok(main.is_some_and(|status| {
        status["state"].get("running").is_some() || status["state"].get("terminated").is_some()
    }))
}

/// Follows a pod until a condition holds.
async fn wait(
    cluster: &Cluster,
    pod: &Object,
    holds: impl Fn(&Object) -> Result<bool, Failure>,
) -> Result<Arc<Object>, Failure> {
    let collection = Collection::namespaced("v1", "pods", pod.namespace().unwrap_or("default"));
    loop {
        let options = WatchOptions {
            field_selector: format!("metadata.name={}", pod.name()),
            ..WatchOptions::default()
        };
        let mut changes = cluster.api.watch(&collection, &options).await?;
        while let Some(change) = changes.next().await {
            match change {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                    if holds(&pod)? {
                        return Ok(pod);
                    }
                }
                WatchEvent::Deleted(_) => {
                    return Err(Failure::new(format!("`{}` was deleted", pod.name())));
                }
                WatchEvent::Error(_) => break,
                WatchEvent::Bookmark(_) => {}
            }
        }
    }
}
