//! Events: what happened to an object, told to people, with repetitions folded into one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use cluster_objects::{Object, Status};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::debug;

use crate::{Api, Clock, Collection, Patch, Target, WriteOptions};

/// How an [`Recorder`] writes, and how much it keeps in mind.
#[derive(Clone, Debug)]
pub struct RecorderOptions {
    /// Who reports, as `deployment-controller`.
    pub component: String,
    /// On which node; empty where that does not matter.
    pub host: String,
    /// Most events that wait to be written; more are dropped.
    pub queue_events: usize,
    /// Most objects whose past events are kept in mind.
    pub objects_max: usize,
    /// Different messages of one reason about one object in a window, before they become one.
    pub similar_max: u32,
    /// Length of that window.
    pub window: SignedDuration,
    /// Writes about one object at once.
    pub object_burst: f64,
    /// Seconds for one more write about an object.
    pub object_refill_seconds: f64,
}

impl Default for RecorderOptions {
    fn default() -> Self {
        Self {
            component: String::new(),
            host: String::new(),
            queue_events: 1024,
            objects_max: 4096,
            similar_max: 10,
            window: SignedDuration::from_mins(10),
            object_burst: 25.0,
            object_refill_seconds: 300.0,
        }
    }
}

/// Whether an event is good news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Something went as it should.
    Normal,
    /// Something needs a look.
    Warning,
}

impl EventType {
    /// The word in the object.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Writes events, in a task of its own. Clones write through the same task, which ends after the last clone.
///
/// Events are a courtesy: recording never waits and never fails. What is too much is dropped.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: mpsc::Sender<Occurrence>,
    component: Arc<str>,
}

/// Something that happened to an object.
#[derive(Clone, Debug)]
struct Occurrence {
    about: Reference,
    kind: EventType,
    reason: String,
    message: String,
    component: Arc<str>,
}

/// The object that an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Reference {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
    uid: String,
}

impl Recorder {
    /// Starts the writing task on the current tokio runtime.
    pub fn start(api: Arc<dyn Api>, clock: Clock, options: RecorderOptions) -> Self {
        let (queue, mut occurrences) = mpsc::channel(options.queue_events);
        let component = options.component.as_str().into();
        tokio::spawn(async move {
            let mut correlator = Correlator::new(options);
            while let Some(occurrence) = occurrences.recv().await {
                let Some(write) = correlator.observe(&occurrence, clock.now()) else {
                    continue;
                };
                if let Err(status) = carry_out(&*api, &mut correlator, write).await {
                    debug!("cannot write an event about {}: {status}", occurrence.about.name);
                }
            }
        });
        Self { queue, component }
    }

    /// The same recorder in the name of another component.
    #[must_use]
    pub fn component(&self, component: &str) -> Self {
        Self {
            queue: self.queue.clone(),
            component: component.into(),
        }
    }

    /// Records that something happened to an object.
    pub fn record(&self, about: &Object, kind: EventType, reason: &str, message: impl Into<String>) {
        let occurrence = Occurrence {
            about: Reference::to(about),
            kind,
            reason: reason.to_owned(),
            message: message.into(),
            component: self.component.clone(),
        };
        if self.queue.try_send(occurrence).is_err() {
            debug!("dropped an event about {}: too many wait", about.key());
        }
    }
}

impl Reference {
    fn to(object: &Object) -> Self {
        Self {
            api_version: object.api_version().to_owned(),
            kind: object.kind().to_owned(),
            namespace: object.namespace().unwrap_or_default().to_owned(),
            name: object.name().to_owned(),
            uid: object.uid().to_owned(),
        }
    }
}

/// What to send for an occurrence.
#[derive(Clone, Debug, PartialEq)]
enum Write {
    Create {
        fold: Fold,
        event: Object,
    },
    Count {
        fold: Fold,
        target: Target,
        patch: Value,
        event: Object,
    },
}

async fn carry_out(api: &dyn Api, correlator: &mut Correlator, write: Write) -> Result<(), Status> {
    let options = WriteOptions::default();
    match write {
        Write::Create { fold, event } => create(api, correlator, fold, event).await,
        Write::Count {
            fold,
            target,
            patch,
            event,
        } => {
            match api.patch(&target, Patch::Merge(patch), &options).await {
                // The event was dropped by the cluster meanwhile: it begins anew.
                Err(status) if status.is_not_found() => create(api, correlator, fold, event).await,
                answer => answer.map(drop),
            }
        }
    }
}

async fn create(api: &dyn Api, correlator: &mut Correlator, fold: Fold, event: Object) -> Result<(), Status> {
    let namespace = event.namespace().unwrap_or("default").to_owned();
    let collection = Collection::namespaced("v1", "events", &namespace);
    let created = api.create(&collection, event, &WriteOptions::default()).await;
    if created.is_err() {
        correlator.forget(&fold);
    }
    created.map(drop)
}

/// What makes two occurrences the same event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Fold {
    kind: EventType,
    reason: String,
    /// `None` where many messages are one event.
    message: Option<String>,
    component: Arc<str>,
    uid: String,
}

struct Known {
    name: String,
    count: u64,
    first: Timestamp,
}

/// Most events about one object that are kept in mind.
const KNOWN_MAX: usize = 64;

/// What is kept in mind of one object.
struct History {
    tokens: f64,
    tokens_at: Timestamp,
    /// Messages of a reason seen in the present window, and when the window began.
    similar: HashMap<(EventType, String), (Timestamp, Vec<u64>)>,
    known: HashMap<Fold, Known>,
}

/// Decides whether an occurrence is a new event, a repetition of one, or too much.
struct Correlator {
    options: RecorderOptions,
    objects: HashMap<Reference, History>,
    /// The same objects, those not heard of for the longest time first.
    order: VecDeque<Reference>,
    sequence: u64,
}

impl Correlator {
    fn new(options: RecorderOptions) -> Self {
        Self {
            options,
            objects: HashMap::new(),
            order: VecDeque::new(),
            sequence: 0,
        }
    }

    fn observe(&mut self, occurrence: &Occurrence, now: Timestamp) -> Option<Write> {
        self.make_room(&occurrence.about);
        let options = &self.options;
        let history = self
            .objects
            .entry(occurrence.about.clone())
            .or_insert_with(|| History {
                tokens: options.object_burst,
                tokens_at: now,
                similar: HashMap::new(),
                known: HashMap::new(),
            });
        if !history.take_token(options, now) {
            return None;
        }
        let combined = history.is_one_of_many(options, occurrence, now);
        let message = if combined {
            format!("(combined from similar events): {}", occurrence.message)
        } else {
            occurrence.message.clone()
        };
        let fold = Fold {
            kind: occurrence.kind,
            reason: occurrence.reason.clone(),
            message: (!combined).then(|| message.clone()),
            component: occurrence.component.clone(),
            uid: occurrence.about.uid.clone(),
        };
        if let Some(known) = history.known.get_mut(&fold) {
            known.count += 1;
            let event = event(options, occurrence, &message, known, now);
            let collection = Collection::namespaced("v1", "events", event.namespace().unwrap_or("default"));
            return Some(Write::Count {
                target: collection.target(&known.name),
                patch: json!({"count": known.count, "lastTimestamp": seconds(now), "message": message}),
                fold,
                event,
            });
        }
        self.sequence += 1;
        let unique = (now.as_nanosecond() as u64).wrapping_add(self.sequence);
        let known = Known {
            name: format!("{}.{unique:x}", occurrence.about.name),
            count: 1,
            first: now,
        };
        let event = event(options, occurrence, &message, &known, now);
        if history.known.len() >= KNOWN_MAX {
            history.known.clear();
        }
        history.known.insert(fold.clone(), known);
        Some(Write::Create { fold, event })
    }

    /// Forgets an event that could not be written, so that the next occurrence begins it anew.
    fn forget(&mut self, fold: &Fold) {
        for history in self.objects.values_mut() {
            if history.known.remove(fold).is_some() {
                return;
            }
        }
    }

    fn make_room(&mut self, about: &Reference) {
        if self.objects.contains_key(about) {
            return;
        }
        while self.objects.len() >= self.options.objects_max {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.objects.remove(&oldest);
        }
        self.order.push_back(about.clone());
    }
}

impl History {
    fn take_token(&mut self, options: &RecorderOptions, now: Timestamp) -> bool {
        let elapsed = now.duration_since(self.tokens_at).as_secs_f64().max(0.0);
        let refilled = self.tokens + elapsed / options.object_refill_seconds;
        self.tokens = refilled.min(options.object_burst);
        self.tokens_at = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    /// Whether the message is one of too many of its reason, which become one event.
    fn is_one_of_many(&mut self, options: &RecorderOptions, occurrence: &Occurrence, now: Timestamp) -> bool {
        let key = (occurrence.kind, occurrence.reason.clone());
        let (began, messages) = self.similar.entry(key).or_insert_with(|| (now, Vec::new()));
        if now.duration_since(*began) > options.window {
            *began = now;
            messages.clear();
        }
        let hash = fnv(&occurrence.message);
        if messages.contains(&hash) {
            return false;
        }
        if messages.len() < options.similar_max as usize {
            messages.push(hash);
            return false;
        }
        true
    }
}

fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn seconds(time: Timestamp) -> String {
    let whole = Timestamp::from_second(time.as_second()).unwrap_or(time);
    whole.to_string()
}

fn event(
    options: &RecorderOptions,
    occurrence: &Occurrence,
    message: &str,
    known: &Known,
    now: Timestamp,
) -> Object {
    let about = &occurrence.about;
    let namespace = if about.namespace.is_empty() {
        "default"
    } else {
        &about.namespace
    };
    let mut event = Object::new("v1", "Event", Some(namespace), &known.name);
    let mut involved = json!({
        "apiVersion": about.api_version, "kind": about.kind, "name": about.name, "uid": about.uid,
    });
    if !about.namespace.is_empty() {
        involved["namespace"] = about.namespace.as_str().into();
    }
    let mut source = json!({"component": &*occurrence.component});
    if !options.host.is_empty() {
        source["host"] = options.host.as_str().into();
    }
    event.set(&["involvedObject"], involved);
    event.set(&["reason"], occurrence.reason.as_str());
    event.set(&["message"], message);
    event.set(&["source"], source);
    event.set(&["firstTimestamp"], seconds(known.first));
    event.set(&["lastTimestamp"], seconds(now));
    event.set(&["count"], known.count);
    event.set(&["type"], occurrence.kind.as_str());
    event.set(&["reportingComponent"], &*occurrence.component);
    event.set(&["reportingInstance"], options.host.as_str());
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occurrence(name: &str, message: &str) -> Occurrence {
        let mut pod = Object::new("v1", "Pod", Some("shop"), name);
        pod.set(&["metadata", "uid"], format!("uid-{name}"));
        Occurrence {
            about: Reference::to(&pod),
            kind: EventType::Warning,
            reason: "BackOff".into(),
            message: message.into(),
            component: "kubelet".into(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("in range")
    }

    /// What became of each occurrence: `+message` for a new event, `xN` for its Nth occurrence, `-` for a drop.
    fn outcomes(correlator: &mut Correlator, occurrences: &[(Occurrence, i64)]) -> Vec<String> {
        let outcome = |write: Option<Write>| match write {
            Some(Write::Create { event, .. }) => format!("+{}", event.text(&["message"]).unwrap_or_default()),
            Some(Write::Count { patch, .. }) => format!("x{}", patch["count"]),
            None => "-".to_owned(),
        };
        occurrences
            .iter()
            .map(|(occurrence, second)| outcome(correlator.observe(occurrence, at(*second))))
            .collect()
    }

    #[test]
    fn repetitions_are_counted_on_one_event() {
        let mut correlator = Correlator::new(RecorderOptions::default());
        let occurrences = [
            (occurrence("web", "again"), 0),
            (occurrence("web", "again"), 5),
            (occurrence("db", "again"), 6),
            (occurrence("web", "other"), 7),
            (occurrence("web", "again"), 900),
        ];
        let expected = ["+again", "x2", "+again", "+other", "x3"];
        assert_eq!(outcomes(&mut correlator, &occurrences), expected);
    }

    #[test]
    fn many_messages_of_one_reason_become_one() {
        let mut correlator = Correlator::new(RecorderOptions {
            similar_max: 2,
            ..RecorderOptions::default()
        });
        let occurrences: Vec<_> = (0..4)
            .map(|n| (occurrence("web", &format!("try {n}")), n))
            .collect();
        let expected = ["+try 0", "+try 1", "+(combined from similar events): try 2", "x2"];
        assert_eq!(outcomes(&mut correlator, &occurrences), expected);
    }

    #[test]
    fn err_a_flood_about_one_object_is_cut() {
        let mut correlator = Correlator::new(RecorderOptions {
            object_burst: 2.0,
            object_refill_seconds: 10.0,
            objects_max: 1,
            ..RecorderOptions::default()
        });
        let occurrences = [
            (occurrence("web", "a"), 0),
            (occurrence("web", "a"), 1),
            (occurrence("web", "a"), 2),
            (occurrence("web", "a"), 13),
            (occurrence("db", "a"), 13),
            (occurrence("web", "a"), 13),
        ];
        assert_eq!(
            outcomes(&mut correlator, &occurrences),
            ["+a", "x2", "-", "x3", "+a", "+a"]
        );
        assert_eq!(correlator.objects.len(), 1);
        assert_eq!(correlator.order.len(), 1);
    }
}
