//! The times that a cluster keeps, which its administrator may change while it runs: how often nodes say that they live, when
//! a silent one counts as lost, how long certificates are good.
//!
//! They are the data of the ConfigMap `tug-cluster` in `kube-system`; what it does not say, or where there is none, is as
//! usual. Servers and agents follow it, each for itself.

use std::sync::Arc;
use std::time::Duration;

use cluster_client::{Api, Collection, Informer, InformerOptions, Patch, Target, WriteOptions};
use cluster_node::Heartbeat;
use cluster_objects::{Object, Status};
use jiff::SignedDuration;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::task::Task;

/// Where the times are written down.
const NAMESPACE: &str = "kube-system";
const NAME: &str = "tug-cluster";
/// What they are called there.
const NODE_GRACE: &str = "node-grace";
const HEARTBEAT: &str = "heartbeat";
const VALIDITY: &str = "certificate-validity";

/// Of the time after which a node counts as lost, signs of life come in this part, and at least in that one: two may be lost.
const HEARTBEAT_USUAL: u32 = 4;
const HEARTBEAT_LEAST: u32 = 3;
/// The longest usual time between two signs of life, whatever the time until a node counts as lost.
const HEARTBEAT_USUAL_MAX: Duration = Duration::from_secs(10);
/// A start has to hear signs of life of whoever goes by the same name.
const HEARTBEAT_MAX: Duration = Duration::from_secs(20);
const HEARTBEAT_MIN: Duration = Duration::from_millis(250);
const NODE_GRACE_MIN: Duration = Duration::from_secs(1);
const NODE_GRACE_MAX: Duration = Duration::from_secs(3600);
const VALIDITY_MIN: Duration = Duration::from_secs(30);
const VALIDITY_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How long a start waits to hear of the cluster's times; it goes on with the usual ones.
const FIRST_TIMEOUT: Duration = Duration::from_secs(2);

/// The times of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A node counts as lost (`NotReady`) when it was silent for so long.
    pub node_grace: Duration,
    /// Longest time between two signs of life of a node.
    pub heartbeat: Duration,
    /// How long certificates of servers, nodes and the administrator are good; they are made anew after a third of it.
    pub certificate_validity: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let node_grace = Duration::from_secs(15);
        Self {
            node_grace,
            heartbeat: usual_heartbeat(node_grace),
            certificate_validity: Duration::from_secs(365 * 86_400),
        }
    }
}

/// Times that an administrator wants; what is not said stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimingWish {
    /// See [`Timing::node_grace`].
    pub node_grace: Option<Duration>,
    /// See [`Timing::heartbeat`]; a quarter of the time until a node counts as lost where nothing was ever said.
    pub heartbeat: Option<Duration>,
    /// See [`Timing::certificate_validity`].
    pub certificate_validity: Option<Duration>,
}

/// Times that cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// Too short or too long.
    #[error("the {what} must be from {} to {}, not {}", show(*.least), show(*.most), show(*.wished))]
    Range {
        /// Which time.
        what: &'static str,
        /// What was wished.
        wished: Duration,
        /// The shortest that will do.
        least: Duration,
        /// The longest.
        most: Duration,
    },
    /// Nodes would count as lost that live.
    #[error(
        "nodes that say that they live every {} cannot count as lost after {}: the first must be a third of the second at most",
        show(*.heartbeat), show(*.node_grace)
    )]
    Slow {
        /// Between two signs of life.
        heartbeat: Duration,
        /// Until a node counts as lost.
        node_grace: Duration,
    },
    /// What is written down is no time.
    #[error("`{text}` is no duration for `{key}`, such as 15s or 1h30m")]
    Text {
        /// The key of the ConfigMap.
        key: &'static str,
        /// What is written there.
        text: String,
    },
}

fn usual_heartbeat(node_grace: Duration) -> Duration {
    (node_grace / HEARTBEAT_USUAL).min(HEARTBEAT_USUAL_MAX)
}

/// A duration as it is typed: `15s`, `1h 30m`.
fn show(duration: Duration) -> String {
    SignedDuration::try_from(duration)
        .map_or_else(|_| format!("{duration:?}"), |duration| format!("{duration:#}"))
}

impl TimingWish {
    /// The times that this makes.
    ///
    /// # Errors
    /// They are out of range, or do not go together.
    pub fn timing(&self) -> Result<Timing, TimingError> {
        let usual = Timing::default();
        let range = |what, wished: Duration, least, most| {
            let wrong = TimingError::Range {
                what,
                wished,
                least,
                most,
            };
            (least <= wished && wished <= most).then_some(wished).ok_or(wrong)
        };
        let node_grace = self.node_grace.unwrap_or(usual.node_grace);
        let node_grace = range(
            "time until a node counts as lost",
            node_grace,
            NODE_GRACE_MIN,
            NODE_GRACE_MAX,
        )?;
        let heartbeat = self.heartbeat.unwrap_or_else(|| usual_heartbeat(node_grace));
        let what = "time between two signs of life";
        let heartbeat = range(what, heartbeat, HEARTBEAT_MIN, HEARTBEAT_MAX)?;
        if heartbeat * HEARTBEAT_LEAST > node_grace {
            return Err(TimingError::Slow {
                heartbeat,
                node_grace,
            });
        }
        let validity = self.certificate_validity.unwrap_or(usual.certificate_validity);
        Ok(Timing {
            node_grace,
            heartbeat,
            certificate_validity: range("validity of certificates", validity, VALIDITY_MIN, VALIDITY_MAX)?,
        })
    }

    /// Whether nothing is wished.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Both wishes, this one before the other.
    fn or(self, other: Self) -> Self {
        Self {
            node_grace: self.node_grace.or(other.node_grace),
            heartbeat: self.heartbeat.or(other.heartbeat),
            certificate_validity: self.certificate_validity.or(other.certificate_validity),
        }
    }

    /// What is written down.
    fn read(map: &Object) -> Result<Self, TimingError> {
        let time = |key: &'static str| {
            let Some(text) = map.text(&["data", key]) else {
                return Ok(None);
            };
            let parsed = text.parse::<SignedDuration>().ok();
            let duration = parsed.and_then(|duration| Duration::try_from(duration).ok());
            let wrong = || TimingError::Text {
                key,
                text: text.to_owned(),
            };
            duration.map(Some).ok_or_else(wrong)
        };
        Ok(Self {
            node_grace: time(NODE_GRACE)?,
            heartbeat: time(HEARTBEAT)?,
            certificate_validity: time(VALIDITY)?,
        })
    }
}

fn target() -> Target {
    Collection::namespaced("v1", "configmaps", NAMESPACE).target(NAME)
}

/// Why times were not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeTimingError {
    #[error(transparent)]
    Timing(#[from] TimingError),
    #[error(transparent)]
    Status(#[from] Status),
}

/// Writes down what an administrator wants besides what was said before.
pub(crate) async fn change_timing(api: &dyn Api, wish: TimingWish) -> Result<Timing, ChangeTimingError> {
    let before = match api.get(&target()).await {
        Ok(map) => TimingWish::read(&map)?,
        Err(status) if status.is_not_found() => TimingWish::default(),
        Err(status) => return Err(status.into()),
    };
    let timing = wish.or(before).timing()?;
    let mut data = json!({});
    for (key, time) in [
        (NODE_GRACE, wish.node_grace),
        (HEARTBEAT, wish.heartbeat),
        (VALIDITY, wish.certificate_validity),
    ] {
        if let Some(time) = time {
            data[key] = show(time).into();
        }
    }
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": NAMESPACE}, "data": data,
    });
    let options = WriteOptions {
        field_manager: "tug".to_owned(),
        ..WriteOptions::default()
    };
    // What is not said stays: it is not applied, which would take back what was said before.
    match api.patch(&target(), Patch::Merge(map.clone()), &options).await {
        Err(status) if status.is_not_found() => {
            let map = Object::from_value(map).map_err(|error| Status::internal(error.to_string()))?;
            api.create(&target().collection(), map, &options).await?;
        }
        written => drop(written?),
    }
    Ok(timing)
}

/// The times of a cluster, as they are now and as they change.
pub(crate) struct TimingWatch {
    pub(crate) node_grace: watch::Receiver<Duration>,
    pub(crate) heartbeat: watch::Receiver<Heartbeat>,
    pub(crate) validity: watch::Receiver<Duration>,
    known: watch::Receiver<bool>,
    task: Task,
}

/// Where the times are told; each part hears of those that concern it.
struct Told {
    node_grace: watch::Sender<Duration>,
    heartbeat: watch::Sender<Heartbeat>,
    validity: watch::Sender<Duration>,
}

impl TimingWatch {
    /// Follows the times from now on; they are the usual ones until the API has answered.
    pub(crate) fn start(api: Arc<dyn Api>) -> Self {
        let usual = Timing::default();
        let (node_grace, of_nodes) = watch::channel(usual.node_grace);
        let (heartbeat, heartbeats) = watch::channel(beats(&usual));
        let (validity, of_certificates) = watch::channel(usual.certificate_validity);
        let (know, known) = watch::channel(false);
        let told = Told {
            node_grace,
            heartbeat,
            validity,
        };
        Self {
            node_grace: of_nodes,
            heartbeat: heartbeats,
            validity: of_certificates,
            known,
            task: Task::spawn(follow(api, told, know)),
        }
    }

    /// Waits until the times of the cluster are known, for a moment at most.
    pub(crate) async fn known(&self) {
        let mut known = self.known.clone();
        // Who cannot know them goes on with the usual ones, and hears of others later.
        let _ = timeout(FIRST_TIMEOUT, known.wait_for(|known| *known)).await;
    }

    pub(crate) async fn stop(self) {
        self.task.stop().await;
    }
}

fn beats(timing: &Timing) -> Heartbeat {
    Heartbeat {
        period: timing.heartbeat,
        lost_after: timing.node_grace,
    }
}

impl Told {
    fn tell(&self, timing: &Timing) {
        fn set<T: PartialEq>(sender: &watch::Sender<T>, value: T) {
            sender.send_if_modified(|before| {
                let is_new = *before != value;
                *before = value;
                is_new
            });
        }
        set(&self.node_grace, timing.node_grace);
        set(&self.heartbeat, beats(timing));
        set(&self.validity, timing.certificate_validity);
    }
}

async fn follow(api: Arc<dyn Api>, told: Told, known: watch::Sender<bool>) {
    let options = InformerOptions {
        field_selector: format!("metadata.name={NAME}"),
        ..InformerOptions::default()
    };
    let maps = Collection::namespaced("v1", "configmaps", NAMESPACE);
    let maps = Informer::start(api, maps, options);
    maps.synced().await;
    let mut changes = maps.changes();
    let mut last = Timing::default();
    loop {
        changes.mark_unchanged();
        let map = maps.get(NAMESPACE, NAME);
        let wish = map.map_or_else(|| Ok(TimingWish::default()), |map| TimingWish::read(&map));
        match wish.and_then(|wish| wish.timing()) {
            Ok(timing) => {
                if timing != last {
                    tracing::info!(?timing, "the times of the cluster");
                    last = timing;
                }
                told.tell(&timing);
            }
            Err(error) => {
                tracing::warn!(%error, "the ConfigMap `{NAME}` in `{NAMESPACE}` is wrong: the times stay as they are");
            }
        }
        known.send_replace(true);
        if changes.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use cluster_apiserver::LocalApi;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn wish(node_grace: u64, heartbeat_ms: Option<u64>) -> TimingWish {
        TimingWish {
            node_grace: Some(Duration::from_secs(node_grace)),
            heartbeat: heartbeat_ms.map(Duration::from_millis),
            ..TimingWish::default()
        }
    }

    #[test]
    fn signs_of_life_follow_from_when_a_node_counts_as_lost() {
        let millis = |wish: TimingWish| wish.timing().unwrap().heartbeat.as_millis();
        assert_eq!(millis(TimingWish::default()), 3750);
        assert_eq!(millis(wish(4, None)), 1000);
        assert_eq!(millis(wish(300, None)), 10_000);
        assert_eq!(millis(wish(30, Some(10_000))), 10_000);
    }

    #[test]
    fn err_times_that_cannot_be_kept() {
        let short_lived = TimingWish {
            certificate_validity: Some(Duration::from_secs(1)),
            ..TimingWish::default()
        };
        for (wish, part) in [
            (wish(0, None), "must be from 1s to 1h, not 0s"),
            (wish(7200, None), "must be from 1s to 1h, not 2h"),
            (wish(100, Some(30_000)), "must be from 250ms to 20s, not 30s"),
            (wish(15, Some(5001)), "a third of the second at most"),
            (short_lived, "must be from 30s to 87600h, not 1s"),
        ] {
            let error = wish.timing().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[tokio::test]
    async fn a_change_is_kept_and_heard_of_and_nonsense_changes_nothing() {
        let api: Arc<dyn Api> = Arc::new(LocalApi::in_memory().await.unwrap());
        let times = TimingWatch::start(api.clone());
        times.known().await;
        assert_eq!(*times.heartbeat.borrow(), beats(&Timing::default()));
        let mut heartbeat = times.heartbeat.clone();
        change_timing(&*api, wish(4, None)).await.unwrap();
        let is = |period: u64| move |now: &Heartbeat| now.period == Duration::from_millis(period);
        timeout(LIMIT, heartbeat.wait_for(is(1000)))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(*times.node_grace.borrow(), Duration::from_secs(4));
        // What was said before holds beside what is said now.
        let lives = TimingWish {
            certificate_validity: Some(Duration::from_secs(90)),
            ..TimingWish::default()
        };
        let timing = change_timing(&*api, lives).await.unwrap();
        assert_eq!(timing.node_grace, Duration::from_secs(4));
        let mut validity = times.validity.clone();
        let shorter = validity.wait_for(|validity| *validity == Duration::from_secs(90));
        timeout(LIMIT, shorter).await.unwrap().unwrap();
        let refused = change_timing(&*api, wish(15, Some(15_000))).await;
        assert!(matches!(refused, Err(ChangeTimingError::Timing(_))));
        // By hand, past all checks.
        let change = |text: &str| {
            let patch = Patch::Merge(json!({"data": {HEARTBEAT: text}}));
            let api = api.clone();
            async move {
                api.patch(&target(), patch, &WriteOptions::default())
                    .await
                    .unwrap()
            }
        };
        change("soon").await;
        change("500ms").await;
        timeout(LIMIT, heartbeat.wait_for(is(500)))
            .await
            .unwrap()
            .unwrap();
        times.stop().await;
    }
}
