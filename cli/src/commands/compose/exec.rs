//! `tug compose exec`

use std::sync::Arc;

use chart_release::cluster::Cluster;
use cluster_client::{ExecExit, ExecRequest, Target};
use cluster_objects::Object;
use compose_convert::dns_label;

use super::place::{Place, SERVICE};
use super::project::ProjectArgs;
use super::run::ONE_OFF;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::terminal;

/// Exit codes of a command that could not be run, and of one that is not there, as shells have them.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Run a command in a container of a service
#[derive(clap::Args)]
pub(crate) struct ExecArgs {
    /// Leave it running and return
    #[arg(short, long)]
    detach: bool,
    /// Set a variable, may be repeated
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Which container, where the service has several
    #[arg(long, value_name = "N", default_value_t = 1)]
    index: usize,
    /// Use no terminal [default: one where stdin and stdout are one]
    #[arg(short = 'T', long = "no-tty", visible_alias = "no-TTY")]
    no_tty: bool,
    /// Folder that it runs in
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    // docker compose's flags: the first two say what is so anyway, the others cannot be had.
    #[arg(short, long, hide = true)]
    interactive: bool,
    #[arg(short, long, hide = true)]
    tty: bool,
    #[arg(short, long, hide = true, value_name = "USER")]
    user: Option<String>,
    #[arg(long, hide = true)]
    privileged: bool,
    /// The service
    service: String,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub(super) fn run(arguments: &ExecArgs, project: &ProjectArgs, settings: &Settings) -> Result<(), Failure> {
    if arguments.user.is_some() || arguments.privileged {
        return Err(
            Failure::new("a command runs with the user and the rights of its container")
                .because("clusters know of no others for it: `--user` and `--privileged` cannot be had"),
        );
    }
    let place = Place::find(project, settings)?;
    let tty = !arguments.no_tty && !arguments.detach && terminal::is_interactive();
    let exit = place.work(async |cluster| {
        let (pod, container) = find(&place, cluster, &arguments.service, arguments.index).await?;
        let request = ExecRequest {
            command: command(arguments),
            stdin: !arguments.detach,
            stdout: true,
            stderr: !tty,
            tty,
        };
        let target = target(&pod).subresource("exec");
        let session = cluster.api.exec(&target, &container, &request).await?;
        Ok(terminal::join(session, tty).await)
    })?;
    result(exit)
}

/// The exit code of a command is that of `tug`.
pub(super) fn result(exit: ExecExit) -> Result<(), Failure> {
    match exit {
        ExecExit::Code(0) => Ok(()),
        ExecExit::Code(code) => Err(Failure::silent(u8::try_from(code).unwrap_or(u8::MAX))),
        ExecExit::Failed(why) => {
            let is_absent = why.contains("not found") || why.contains("no such file");
            let code = if is_absent { NOT_FOUND } else { CANNOT_RUN };
            Err(Failure::new("the command could not be run")
                .because(why)
                .with_code(code))
        }
    }
}

pub(super) fn target(pod: &Object) -> Target {
    Target::namespaced("v1", "pods", pod.namespace().unwrap_or("default"), pod.name())
}

/// The running container of a service: that of the pod with a number, counted from 1 in the order of their age.
pub(super) async fn find(
    place: &Place,
    cluster: &Cluster,
    service: &str,
    index: usize,
) -> Result<(Arc<Object>, String), Failure> {
    let label = dns_label(service);
    let mut found: Vec<(Arc<Object>, String)> = place
        .objects(cluster, ("v1", "pods"), &[])
        .await?
        .into_iter()
        .filter(|pod| pod.label(ONE_OFF).is_none())
        .filter_map(|pod| container_of(&pod, &label).map(|container| (pod, container)))
        .collect();
    found.sort_by(|(a, _), (b, _)| {
        let key = |pod: &Object| pod.text(&["metadata", "creationTimestamp"]).map(str::to_owned);
        (key(a), a.name()).cmp(&(key(b), b.name()))
    });
    let count = found.len();
    found
        .into_iter()
        .nth(index.saturating_sub(1))
        .ok_or_else(|| match count {
            0 => Failure::new(format!("service \"{service}\" is not running"))
                .hint("`tug compose ps` lists what is up"),
            _ => Failure::new(format!("service \"{service}\" is not running container #{index}"))
                .because(format!("{count} of them run")),
        })
}

/// The container of a service in a pod, its own or that of the service whose network it shares, if it runs.
fn container_of(pod: &Object, label: &str) -> Option<String> {
    let statuses = pod.list(&["status", "containerStatuses"]);
    let is_named = |name: &str| statuses.iter().any(|status| status["name"] == name);
    let name = if is_named(label) {
        label
    } else if pod.label(SERVICE) == Some(label) {
        statuses.first()?["name"].as_str()?
    } else {
        return None;
    };
    let status = statuses.iter().find(|status| status["name"] == name)?;
    let runs = status["state"].get("running").is_some() && pod.deletion_timestamp().is_none();
    runs.then(|| name.to_owned())
}

/// The command with what the API cannot say of it: variables by `env`, the folder and the background by a shell.
fn command(arguments: &ExecArgs) -> Vec<String> {
    let mut words = arguments.command.clone();
    let mut prefix = |list: &[&str]| {
        words.splice(0..0, list.iter().map(|word| (*word).to_owned()));
    };
    if !arguments.env.is_empty() {
        let variables: Vec<&str> = arguments.env.iter().map(String::as_str).collect();
        prefix(&variables);
        prefix(&["env"]);
    }
    if let Some(folder) = &arguments.workdir {
        prefix(&["sh", "-c", "cd \"$0\" && exec \"$@\"", folder]);
    }
    if arguments.detach {
        prefix(&["sh", "-c", "\"$@\" </dev/null >/dev/null 2>&1 &", "sh"]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        exec: ExecArgs,
    }

    fn typed(words: &[&str]) -> ExecArgs {
        Typed::try_parse_from(std::iter::once("exec").chain(words.iter().copied()))
            .unwrap()
            .exec
    }

    #[test]
    fn what_follows_the_service_is_the_command() {
        let check = |words: &[&str], expected: &[&str]| assert_eq!(command(&typed(words)), expected);
        check(&["web", "ls", "-l", "-T"], &["ls", "-l", "-T"]);
        check(
            &["-T", "-e", "A=1", "-e", "B=", "web", "sh"],
            &["env", "A=1", "B=", "sh"],
        );
        check(
            &["-w", "/srv", "web", "ls"],
            &["sh", "-c", "cd \"$0\" && exec \"$@\"", "/srv", "ls"],
        );
        assert!(typed(&["-T", "web", "sh"]).no_tty);
    }

    #[test]
    fn a_service_in_the_pod_of_another_has_its_own_container() {
        let pod = Object::from_value(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web-1", "labels": {SERVICE: "web"}},
            "status": {"containerStatuses": [
                {"name": "web", "state": {"running": {}}}, {"name": "sidecar", "state": {"running": {}}},
                {"name": "ended", "state": {"terminated": {}}}]}}))
        .unwrap();
        let check =
            |label, expected: Option<&str>| assert_eq!(container_of(&pod, label).as_deref(), expected);
        check("web", Some("web"));
        check("sidecar", Some("sidecar"));
        check("ended", None);
        check("other", None);
    }
}
