//! What kind of workload a service becomes, and whose pod it shares.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::convert::Context;
use crate::options::Controller;
use crate::service::Service;

/// The service whose network, and so whose pod, a service shares.
pub(crate) fn network_owner<'a>(service: &Service<'a>) -> Option<&'a str> {
    service.peek("network_mode")?.as_str()?.strip_prefix("service:")
}

/// What others of the project expect of services.
#[derive(Debug, Default)]
pub(crate) struct Expected<'a> {
    /// Services that others wait for to end.
    ends: BTreeSet<&'a str>,
    /// Services that others wait for to run.
    runs: BTreeSet<&'a str>,
}

impl<'a> Expected<'a> {
    pub(crate) fn of<'s>(services: impl Iterator<Item = &'s Service<'a>>) -> Self
    where
        'a: 's,
    {
        let mut expected = Self::default();
        for service in services {
            let dependencies = service.peek("depends_on").and_then(Value::as_object);
            for (name, dependency) in dependencies.into_iter().flatten() {
                let ends = dependency
                    .get("condition")
                    .is_some_and(|condition| condition == "service_completed_successfully");
                let set = if ends {
                    &mut expected.ends
                } else {
                    &mut expected.runs
                };
                set.insert(name);
            }
            expected.runs.extend(network_owner(service));
        }
        expected
    }

    fn ends(&self, name: &str) -> bool {
        self.ends.contains(name)
    }
}

/// When a service's containers are started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Restart {
    Always,
    OnFailure(Option<i64>),
    Never,
}

/// What the file says of restarts, and where; `deploy.restart_policy` comes first.
fn restart(service: &Service<'_>) -> Option<(&'static str, Restart)> {
    if let Some(policy) = service.peek("deploy.restart_policy") {
        let attempts = policy.get("max_attempts").and_then(crate::quantity::integer);
        let restart = match policy.get("condition").and_then(Value::as_str).unwrap_or("any") {
            "none" => Restart::Never,
            "on-failure" => Restart::OnFailure(attempts),
            _ => Restart::Always,
        };
        return Some(("deploy.restart_policy", restart));
    }
    let text = service.peek("restart")?.as_str()?;
    let restart = match text.split_once(':').unwrap_or((text, "")) {
        ("no", _) => Restart::Never,
        ("on-failure", count) => Restart::OnFailure(count.parse().ok()),
        _ => Restart::Always,
    };
    Some(("restart", restart))
}

/// The kind of a service's workload.
pub(crate) fn controller(cx: &Context<'_>, service: &Service<'_>) -> Controller {
    let steering = service.steering();
    if steering.contains_key("cronjob.schedule") {
        return Controller::CronJob;
    }
    match steering
        .get("controller.type")
        .map(|kind| kind.to_ascii_lowercase())
        .as_deref()
    {
        Some("deployment") => return Controller::Deployment,
        Some("statefulset") => return Controller::StatefulSet,
        Some("daemonset") => return Controller::DaemonSet,
        _ => {}
    }
    match service.peek("deploy.mode").and_then(Value::as_str) {
        Some("global") => return Controller::DaemonSet,
        Some("replicated-job" | "global-job") => return Controller::Job,
        _ => {}
    }
    if cx.expected.ends(service.name) {
        return Controller::Job;
    }
    let says = |path: &str| service.peek(path).is_some();
    let serves =
        says("ports") || says("expose") || says("healthcheck") || cx.expected.runs.contains(service.name);
    match restart(service) {
        Some((_, Restart::Never | Restart::OnFailure(_))) if !serves => Controller::Job,
        _ => cx.options.controller.unwrap_or(Controller::Deployment),
    }
}

/// The pod's restart policy and a Job's number of retries; tells where the file's own words do not hold.
pub(crate) fn restart_policy(
    service: &Service<'_>,
    controller: Controller,
) -> (Option<&'static str>, Option<i64>) {
    service.get("restart");
    service.get("deploy.restart_policy");
    let said = restart(service);
    if let Some(Value::Object(policy)) = service.peek("deploy.restart_policy") {
        for key in ["delay", "window"] {
            if policy.contains_key(key) {
                service.tell(
                    "deploy.restart_policy",
                    format!("{key} is the cluster's own: pauses between restarts grow"),
                );
            }
        }
        if policy.contains_key("max_attempts") && !controller.ends() {
            service.tell("deploy.restart_policy", "max_attempts holds for jobs only");
        }
        if service.peek("restart").is_some() {
            service.tell("restart", "deploy.restart_policy takes its place");
        }
    }
    if !controller.ends() {
        if let Some((attribute, Restart::Never | Restart::OnFailure(_))) = said {
            service.tell(
                attribute,
                format!(
                    "a {} restarts its containers whenever they end",
                    controller.kind()
                ),
            );
        }
        return (None, None);
    }
    match said {
        None | Some((_, Restart::Never)) => (Some("Never"), Some(0)),
        Some((_, Restart::OnFailure(attempts))) => (Some("OnFailure"), attempts),
        Some((attribute, Restart::Always)) => {
            service.tell(
                attribute,
                "a job is done when it ends, and restarted only when it fails",
            );
            (Some("OnFailure"), None)
        }
    }
}
