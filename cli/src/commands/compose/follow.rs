//! Logs of a project's containers, each line with the name of its pod.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use chart_release::cluster::Cluster;
use cluster_client::{Collection, ListOptions, WatchEvent, WatchOptions};
use cluster_objects::Object;
use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::place::{Place, SERVICE};
use super::run::ONE_OFF;
use crate::console::Color;
use crate::failure::Failure;

const COLORS: [Color; 4] = [Color::Cyan, Color::Yellow, Color::Green, Color::Red];
/// A line that is longer is printed in parts.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Which lines, and how they are shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    /// Only so many of each container, from the end.
    pub(super) last: Option<u64>,
    /// Only those since then: seconds, or a time.
    pub(super) since: Option<Since>,
    pub(super) timestamps: bool,
    pub(super) no_prefix: bool,
}

/// From when on.
#[derive(Clone, Debug)]
pub(super) enum Since {
    Seconds(u64),
    Time(String),
}

/// When following ends before all containers have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum EndsWith {
    /// It does not.
    #[default]
    All,
    /// With the first container that ends.
    Any,
    /// With the first container that fails.
    Failure,
    /// With a container of this service.
    Service(String),
}

/// A container that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) service: String,
    pub(super) code: i64,
}

/// Shows logs of a project.
pub(super) struct Follower<'a> {
    place: &'a Place,
    cluster: &'a Cluster,
    services: &'a [String],
    /// Only the pod of this name.
    pod: Option<String>,
    /// Labels of services that are not shown.
    hidden: Vec<String>,
    lines: Lines,
    /// The services seen so far, each with its colour, and the widest name.
    seen: RefCell<Vec<String>>,
    width: Cell<usize>,
}

impl<'a> Follower<'a> {
    pub(super) fn new(place: &'a Place, cluster: &'a Cluster, services: &'a [String], lines: Lines) -> Self {
        Self {
            place,
            cluster,
            services,
            pod: None,
            hidden: Vec::new(),
            lines,
            seen: RefCell::default(),
            width: Cell::new(0),
        }
    }

    /// Shows nothing of some services.
    pub(super) fn without(mut self, services: &[String]) -> Self {
        self.hidden = services
            .iter()
            .map(|service| compose_convert::dns_label(service))
            .collect();
        self
    }

    /// Shows one pod only.
    pub(super) fn of_pod(mut self, name: &str) -> Self {
        self.pod = Some(name.to_owned());
        self
    }

    /// Prints what there is.
    pub(super) async fn print(&self) -> Result<(), Failure> {
        let pods = self.pods().await?;
        for pod in &pods {
            self.widen(pod);
        }
        for pod in &pods {
            for container in pod.list(&["spec", "containers"]) {
                let name = container["name"].as_str().unwrap_or_default();
                // A container that has not started has no log.
                if let Ok(log) = self.cluster.api.raw(&self.path(pod, name, false)).await {
                    let mut text = String::new();
                    for line in String::from_utf8_lossy(&log).lines() {
                        // Writing to a text does not fail.
                        let _ = writeln!(text, "{}{line}", self.prefix(pod));
                    }
                    self.place.settings.console.data(&text)?;
                }
            }
        }
        Ok(())
    }

    /// Prints lines as they are written, of containers that come later too, until all have ended or what `ends_with`
    /// says. That all have ended is no end before `complete` is cancelled: others may be on their way.
    pub(super) async fn follow(
        &self,
        ends_with: &EndsWith,
        complete: &CancellationToken,
    ) -> Result<Option<Ended>, Failure> {
        let mut logs: FuturesUnordered<LocalBoxFuture<'_, Result<(), Failure>>> = FuturesUnordered::new();
        let mut started = BTreeSet::new();
        let mut was_complete = complete.is_cancelled();
        loop {
            let collection = Collection::namespaced("v1", "pods", &self.place.namespace);
            let options = ListOptions {
                label_selector: self.selector(),
                field_selector: self.fields(),
                ..ListOptions::default()
            };
            let list = self.cluster.api.list(&collection, &options).await;
            let list = list.map_err(|status| Failure::from_error(&status))?;
            let watch = WatchOptions {
                label_selector: self.selector(),
                field_selector: self.fields(),
                resource_version: list.resource_version,
                ..WatchOptions::default()
            };
            let mut changes = self.cluster.api.watch(&collection, &watch).await?;
            let mut pods: BTreeMap<String, Arc<Object>> = BTreeMap::new();
            for pod in list.items {
                self.widen(&pod);
                pods.insert(pod.uid().to_owned(), pod);
            }
            loop {
                let is_shown = |pod: &&Arc<Object>| {
                    let service = pod.label(SERVICE).unwrap_or_default();
                    !self.hidden.iter().any(|hidden| hidden == service)
                };
                for pod in pods.values().filter(is_shown) {
                    for (name, restarts) in running_or_ended(pod) {
                        if started.insert((pod.uid().to_owned(), name.clone(), restarts)) {
                            logs.push(Box::pin(self.show(pod.clone(), name)));
                        }
                    }
                }
                let ended = pods.values().flat_map(|pod| ended(pod));
                if let Some(ended) = ended.into_iter().find(|ended| ends_with.is_met_by(ended)) {
                    // Its last lines are still on their way; they end with it.
                    self.drain(&mut logs).await?;
                    return Ok(Some(ended));
                }
                if was_complete && logs.is_empty() && pods.values().all(|pod| is_over(pod)) {
                    return Ok(None);
                }
                tokio::select! {
                    biased;
                    Some(shown) = logs.next(), if !logs.is_empty() => shown?,
                    change = changes.next() => match change {
                        Some(WatchEvent::Added(pod) | WatchEvent::Modified(pod)) => {
                            self.widen(&pod);
                            pods.insert(pod.uid().to_owned(), pod);
                        }
                        Some(WatchEvent::Deleted(pod)) => {
                            pods.remove(pod.uid());
                        }
                        Some(WatchEvent::Bookmark(_)) => {}
                        // The server ends watches now and then: list and watch again.
                        Some(WatchEvent::Error(_)) | None => break,
                    },
                    () = complete.cancelled(), if !was_complete => was_complete = true,
                }
            }
        }
    }

    /// Shows the rest of logs that end by themselves, those of the first container to end among them.
    async fn drain(
        &self,
        logs: &mut FuturesUnordered<LocalBoxFuture<'_, Result<(), Failure>>>,
    ) -> Result<(), Failure> {
        let rest = tokio::time::timeout(std::time::Duration::from_millis(200), async {
            while let Some(shown) = logs.next().await {
                shown?;
            }
            Ok(())
        });
        rest.await.unwrap_or(Ok(()))
    }

    async fn pods(&self) -> Result<Vec<Arc<Object>>, Failure> {
        let pods = self
            .place
            .objects(self.cluster, ("v1", "pods"), self.services)
            .await?;
        Ok(pods
            .into_iter()
            .filter(|pod| pod.label(ONE_OFF).is_none())
            .collect())
    }

    /// Pods that `run` made are shown by their names only.
    fn selector(&self) -> String {
        let selector = self.place.selector(self.services);
        match self.pod {
            Some(_) => selector,
            None => format!("{selector},!{ONE_OFF}"),
        }
    }

    fn fields(&self) -> String {
        self.pod
            .as_ref()
            .map_or_else(String::new, |name| format!("metadata.name={name}"))
    }

    /// Shows the log of a container until that ends.
    async fn show(&self, pod: Arc<Object>, container: String) -> Result<(), Failure> {
        let Ok(mut pieces) = self
            .cluster
            .api
            .raw_stream(&self.path(&pod, &container, true))
            .await
        else {
            return Ok(());
        };
        let mut rest: Vec<u8> = Vec::new();
        while let Some(Ok(piece)) = pieces.next().await {
            rest.extend_from_slice(&piece);
            let mut text = String::new();
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                text.push_str(&self.prefix(&pod));
                text.push_str(&String::from_utf8_lossy(&line));
            }
            if rest.len() > LINE_BYTES_MAX {
                let _ = writeln!(text, "{}{}", self.prefix(&pod), String::from_utf8_lossy(&rest));
                rest.clear();
            }
            self.place.settings.console.data(&text)?;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let line = format!("{}{}", self.prefix(&pod), String::from_utf8_lossy(&rest));
        self.place.settings.console.line(line)
    }

    fn widen(&self, pod: &Object) {
        self.width.set(self.width.get().max(pod.name().len()));
        let service = pod.label(SERVICE).unwrap_or_default();
        let mut seen = self.seen.borrow_mut();
        if !seen.iter().any(|known| known == service) {
            seen.push(service.to_owned());
        }
    }

    fn prefix(&self, pod: &Object) -> String {
        if self.lines.no_prefix {
            return String::new();
        }
        let service = pod.label(SERVICE).unwrap_or_default();
        let place = self.seen.borrow().iter().position(|name| name == service);
        let color = COLORS[place.unwrap_or(0) % COLORS.len()];
        let width = self.width.get();
        self.place
            .settings
            .console
            .paint(color, &format!("{:width$} | ", pod.name()))
    }

    fn path(&self, pod: &Object, container: &str, follow: bool) -> String {
        let namespace = &self.place.namespace;
        let mut path = format!(
            "/api/v1/namespaces/{namespace}/pods/{}/log?container={container}",
            pod.name()
        );
        let mut add = |text: String| path.push_str(&text);
        if follow {
            add("&follow=true".to_owned());
        }
        if self.lines.timestamps {
            add("&timestamps=true".to_owned());
        }
        if let Some(count) = self.lines.last {
            add(format!("&tailLines={count}"));
        }
        match &self.lines.since {
            None => {}
            Some(Since::Seconds(seconds)) => add(format!("&sinceSeconds={seconds}")),
            Some(Since::Time(time)) => add(format!("&sinceTime={}", time.replace('+', "%2B"))),
        }
        path
    }
}

impl EndsWith {
    fn is_met_by(&self, ended: &Ended) -> bool {
        match self {
            EndsWith::All => false,
            EndsWith::Any => true,
            EndsWith::Failure => ended.code != 0,
            EndsWith::Service(service) => *service == ended.service,
        }
    }
}

fn statuses(pod: &Object) -> impl Iterator<Item = (&str, &Value)> {
    let statuses = pod.list(&["status", "containerStatuses"]).iter();
    statuses.filter_map(|status| Some((status["name"].as_str()?, status)))
}

/// Containers that have a log, each with how often it was started again.
fn running_or_ended(pod: &Object) -> Vec<(String, i64)> {
    statuses(pod)
        .filter(|(_, status)| {
            let state = &status["state"];
            state.get("running").is_some() || state.get("terminated").is_some()
        })
        .map(|(name, status)| (name.to_owned(), status["restartCount"].as_i64().unwrap_or(0)))
        .collect()
}

/// Containers of a pod that have ended, even if they were started again; not those that were told to.
fn ended(pod: &Object) -> Vec<Ended> {
    if pod.deletion_timestamp().is_some() {
        return Vec::new();
    }
    let code = |status: &Value| {
        let states = [&status["state"]["terminated"], &status["lastState"]["terminated"]];
        states.into_iter().find_map(|state| state["exitCode"].as_i64())
    };
    statuses(pod)
        .filter_map(|(_, status)| code(status))
        .map(|code| Ended {
            service: pod.label(SERVICE).unwrap_or_default().to_owned(),
            code,
        })
        .collect()
}

fn is_over(pod: &Object) -> bool {
    matches!(pod.text(&["status", "phase"]), Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(status: Value) -> Object {
        let value = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web-1", "labels": {SERVICE: "web"}}, "status": status});
        Object::from_value(value).unwrap()
    }

    #[test]
    fn a_container_that_was_started_again_has_ended() {
        let check = |status: Value, expected: &[i64]| {
            let codes: Vec<i64> = ended(&pod(json!({"containerStatuses": [status]})))
                .iter()
                .map(|ended| ended.code)
                .collect();
            assert_eq!(codes, expected);
        };
        check(json!({"name": "web", "state": {"running": {}}}), &[]);
        check(
            json!({"name": "web", "state": {"terminated": {"exitCode": 3}}}),
            &[3],
        );
        check(
            json!({"name": "web", "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1}}}),
            &[1],
        );
    }

    #[test]
    fn following_ends_with_what_was_asked_for() {
        let ended = |code| Ended {
            service: "tests".to_owned(),
            code,
        };
        assert!(!EndsWith::All.is_met_by(&ended(1)));
        assert!(EndsWith::Any.is_met_by(&ended(0)));
        assert!(!EndsWith::Failure.is_met_by(&ended(0)));
        assert!(EndsWith::Failure.is_met_by(&ended(2)));
        assert!(EndsWith::Service("tests".to_owned()).is_met_by(&ended(0)));
        assert!(!EndsWith::Service("web".to_owned()).is_met_by(&ended(0)));
    }
}
