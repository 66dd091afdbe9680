//! Logs of several pods at once, each line with the name of what wrote it before it.

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

use crate::console::{Color, Console};
use crate::duration;
use crate::failure::Failure;

const COLORS: [Color; 4] = [Color::Cyan, Color::Yellow, Color::Green, Color::Red];
/// A line that is longer is printed in parts.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Which lines, and how they are shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    /// Only so many of each container, from the end.
    pub(crate) last: Option<u64>,
    /// Only those since then: seconds, or a time.
    pub(crate) since: Option<Since>,
    pub(crate) timestamps: bool,
    pub(crate) no_prefix: bool,
    /// Those of the container before the one that runs, where it was started again.
    pub(crate) previous: bool,
    /// Only containers of this name.
    pub(crate) container: Option<String>,
}

/// From when on.
#[derive(Clone, Debug)]
pub(crate) enum Since {
    Seconds(u64),
    Time(String),
}

/// Which pods are shown, and by which names.
pub(crate) trait Source {
    /// Where the pods are, with the selectors of their labels and fields.
    fn pods(&self) -> (Collection, String, String);

    /// Whether a pod of those is shown.
    async fn shows(&self, pod: &Object) -> bool;

    /// Names of the lists of containers that are shown.
    fn lists(&self) -> &'static [&'static str];

    /// What has a colour of its own.
    fn group<'p>(&self, pod: &'p Object) -> &'p str;

    /// The name before the lines of a container.
    fn name(&self, pod: &Object, container: &str) -> String;
}

/// When following ends before all containers have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum EndsWith {
    /// It does not.
    #[default]
    All,
    /// With the first container that ends.
    Any,
    /// With the first container that fails.
    Failure,
    /// With a container of this group.
    Group(String),
}

/// A container that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) group: String,
    pub(crate) code: i64,
}

/// Shows logs of pods.
pub(crate) struct Follower<'a, S> {
    cluster: &'a Cluster,
    console: &'a Console,
    source: S,
    lines: Lines,
    /// The groups seen so far, each with its colour, and the widest name.
    seen: RefCell<Vec<String>>,
    width: Cell<usize>,
}

/// How many lines an argument says; `None` for all.
pub(crate) fn last(text: Option<&str>) -> Result<Option<u64>, Failure> {
    match text {
        None | Some("all" | "-1") => Ok(None),
        Some(count) => count
            .parse()
            .map(Some)
            .map_err(|_| Failure::new(format!("`{count}` is no number of lines"))),
    }
}

impl Since {
    /// Reads a time, or how long ago it is.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        if let Ok(duration) = duration::parse(text) {
            return Ok(Self::Seconds(duration.as_secs().max(1)));
        }
        match text.parse::<jiff::Timestamp>() {
            Ok(time) => Ok(Self::Time(time.to_string())),
            Err(error) => {
                Err(Failure::new(format!("`{text}` is no time and no duration")).because_error(&error))
            }
        }
    }
}

impl<'a, S: Source> Follower<'a, S> {
    pub(crate) fn new(cluster: &'a Cluster, console: &'a Console, source: S, lines: Lines) -> Self {
        Self {
            cluster,
            console,
            source,
            lines,
            seen: RefCell::default(),
            width: Cell::new(0),
        }
    }

    /// Prints what there is; gives how many containers had a log.
    pub(crate) async fn print(&self) -> Result<usize, Failure> {
        let (collection, label_selector, field_selector) = self.source.pods();
        let options = ListOptions {
            label_selector,
            field_selector,
            ..ListOptions::default()
        };
        let list = self.cluster.api.list(&collection, &options).await;
        let list = list.map_err(|status| Failure::from_error(&status))?;
        let mut pods = Vec::new();
        for pod in list.items {
            if self.source.shows(&pod).await {
                self.widen(&pod);
                pods.push(pod);
            }
        }
        pods.sort_by(|a, b| (a.namespace(), a.name()).cmp(&(b.namespace(), b.name())));
        let mut printed = 0;
        for pod in &pods {
            for name in self.containers(pod) {
                // A container that has not started has no log.
                if let Ok(log) = self.cluster.api.raw(&self.path(pod, name, false)).await {
                    let prefix = self.prefix(pod, name);
                    let mut text = String::new();
                    for line in String::from_utf8_lossy(&log).lines() {
                        // Writing to a text does not fail.
                        let _ = writeln!(text, "{prefix}{line}");
                    }
                    self.console.data(&text)?;
                    printed += 1;
                }
            }
        }
        Ok(printed)
    }

    /// Prints lines as they are written, of containers that come later too, until all have ended or what `ends_with`
    /// says. That all have ended is no end before `complete` is cancelled: others may be on their way.
    pub(crate) async fn follow(
        &self,
        ends_with: &EndsWith,
        complete: &CancellationToken,
    ) -> Result<Option<Ended>, Failure> {
        let mut logs: FuturesUnordered<LocalBoxFuture<'_, Result<(), Failure>>> = FuturesUnordered::new();
        let mut started = BTreeSet::new();
        let mut was_complete = complete.is_cancelled();
        loop {
            let (collection, label_selector, field_selector) = self.source.pods();
            let options = ListOptions {
                label_selector: label_selector.clone(),
                field_selector: field_selector.clone(),
                ..ListOptions::default()
            };
            let list = self.cluster.api.list(&collection, &options).await;
            let list = list.map_err(|status| Failure::from_error(&status))?;
            let watch = WatchOptions {
                label_selector,
                field_selector,
                resource_version: list.resource_version,
            };
            let mut changes = self.cluster.api.watch(&collection, &watch).await?;
            let mut pods: BTreeMap<String, Arc<Object>> = BTreeMap::new();
            for pod in list.items {
                pods.insert(pod.uid().to_owned(), pod);
            }
            loop {
                for pod in pods.values() {
                    let mut begun = running_or_ended(pod, self.source.lists());
                    begun.retain(|(name, _)| self.is_wanted(name));
                    let new = |(name, restarts): &(String, i64)| {
                        !started.contains(&(pod.uid().to_owned(), name.clone(), *restarts))
                    };
                    if !begun.iter().any(new) || !self.source.shows(pod).await {
                        continue;
                    }
                    self.widen(pod);
                    for (name, restarts) in begun {
                        if started.insert((pod.uid().to_owned(), name.clone(), restarts)) {
                            logs.push(Box::pin(self.show(pod.clone(), name)));
                        }
                    }
                }
                let ended = pods.values().flat_map(|pod| self.ended(pod));
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
                text.push_str(&self.prefix(&pod, &container));
                text.push_str(&String::from_utf8_lossy(&line));
            }
            if rest.len() > LINE_BYTES_MAX {
                let _ = writeln!(
                    text,
                    "{}{}",
                    self.prefix(&pod, &container),
                    String::from_utf8_lossy(&rest)
                );
                rest.clear();
            }
            self.console.data(&text)?;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let line = format!(
            "{}{}",
            self.prefix(&pod, &container),
            String::from_utf8_lossy(&rest)
        );
        self.console.line(line)
    }

    fn widen(&self, pod: &Object) {
        let names = self
            .containers(pod)
            .map(|container| self.source.name(pod, container).len());
        self.width.set(names.max().unwrap_or(0).max(self.width.get()));
        let group = self.source.group(pod);
        let mut seen = self.seen.borrow_mut();
        if !seen.iter().any(|known| known == group) {
            seen.push(group.to_owned());
        }
    }

    fn containers<'p>(&'p self, pod: &'p Object) -> impl Iterator<Item = &'p str> {
        let lists = self.source.lists();
        lists
            .iter()
            .flat_map(|list| pod.list(&["spec", list]))
            .filter_map(|container| container["name"].as_str())
            .filter(|name| self.is_wanted(name))
    }

    fn is_wanted(&self, container: &str) -> bool {
        let wanted = self.lines.container.as_deref();
        wanted.is_none_or(|wanted| wanted == container)
    }

    fn prefix(&self, pod: &Object, container: &str) -> String {
        if self.lines.no_prefix {
            return String::new();
        }
        let group = self.source.group(pod);
        let place = self.seen.borrow().iter().position(|name| name == group);
        let color = COLORS[place.unwrap_or(0) % COLORS.len()];
        let (name, width) = (self.source.name(pod, container), self.width.get());
        self.console.paint(color, &format!("{name:width$} | "))
    }

    fn path(&self, pod: &Object, container: &str, follow: bool) -> String {
        let namespace = pod.namespace().unwrap_or("default");
        let mut path = format!(
            "/api/v1/namespaces/{namespace}/pods/{}/log?container={container}",
            pod.name()
        );
        let mut add = |text: String| path.push_str(&text);
        if follow {
            add("&follow=true".to_owned());
        }
        if self.lines.previous {
            add("&previous=true".to_owned());
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

    /// Containers of a pod that have ended, even if they were started again; not those that were told to.
    fn ended(&self, pod: &Object) -> Vec<Ended> {
        let group = self.source.group(pod);
        codes(pod)
            .into_iter()
            .map(|code| Ended {
                group: group.to_owned(),
                code,
            })
            .collect()
    }
}

impl EndsWith {
    fn is_met_by(&self, ended: &Ended) -> bool {
        match self {
            EndsWith::All => false,
            EndsWith::Any => true,
            EndsWith::Failure => ended.code != 0,
            EndsWith::Group(group) => *group == ended.group,
        }
    }
}

/// The list of statuses that goes with a list of containers.
fn statuses<'p>(pod: &'p Object, list: &str) -> impl Iterator<Item = (&'p str, &'p Value)> + use<'p> {
    let key = match list {
        "initContainers" => "initContainerStatuses",
        "ephemeralContainers" => "ephemeralContainerStatuses",
        _ => "containerStatuses",
    };
    let statuses = pod.list(&["status", key]).iter();
    statuses.filter_map(|status| Some((status["name"].as_str()?, status)))
}

/// Containers that have a log, each with how often it was started again.
fn running_or_ended(pod: &Object, lists: &[&str]) -> Vec<(String, i64)> {
    lists
        .iter()
        .flat_map(|list| statuses(pod, list))
        .filter(|(_, status)| {
            let state = &status["state"];
            state.get("running").is_some() || state.get("terminated").is_some()
        })
        .map(|(name, status)| (name.to_owned(), status["restartCount"].as_i64().unwrap_or(0)))
        .collect()
}

/// The exit codes of containers that have ended by themselves.
fn codes(pod: &Object) -> Vec<i64> {
    if pod.deletion_timestamp().is_some() {
        return Vec::new();
    }
    let code = |status: &Value| {
        let states = [&status["state"]["terminated"], &status["lastState"]["terminated"]];
        states.into_iter().find_map(|state| state["exitCode"].as_i64())
    };
    statuses(pod, "containers")
        .filter_map(|(_, status)| code(status))
        .collect()
}

fn is_over(pod: &Object) -> bool {
    matches!(pod.text(&["status", "phase"]), Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(status: &Value) -> Object {
        let value = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web-1"}, "status": status});
        Object::from_value(value).unwrap()
    }

    #[test]
    fn a_container_that_was_started_again_has_ended() {
        let check = |status: Value, expected: &[i64]| {
            assert_eq!(codes(&pod(&json!({"containerStatuses": [status]}))), expected);
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
            group: "tests".to_owned(),
            code,
        };
        assert!(!EndsWith::All.is_met_by(&ended(1)));
        assert!(EndsWith::Any.is_met_by(&ended(0)));
        assert!(!EndsWith::Failure.is_met_by(&ended(0)));
        assert!(EndsWith::Failure.is_met_by(&ended(2)));
        assert!(EndsWith::Group("tests".to_owned()).is_met_by(&ended(0)));
        assert!(!EndsWith::Group("web".to_owned()).is_met_by(&ended(0)));
    }
}
