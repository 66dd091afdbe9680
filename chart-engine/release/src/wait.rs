//! Waiting for objects of the cluster, on watches.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use cluster_client::{Api, Collection, Informer, InformerOptions, Target};
use cluster_objects::Object;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::progress::{Event, Observer};
use crate::readiness::{self, Finish, Readiness};

/// An object to wait for.
#[derive(Clone, Debug, PartialEq)]
pub struct Awaited {
    /// Where it is.
    pub target: Target,
    /// Its kind.
    pub kind: String,
}

/// How long to wait, and for what.
#[derive(Clone)]
pub struct WaitOptions {
    /// Longest wait.
    pub timeout: Duration,
    /// What must come to its end.
    pub finish: Finish,
    /// Ends the wait early.
    pub cancel: CancellationToken,
}

/// Why a wait did not end well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// Something will not become ready by itself.
    #[error("{label} failed: {reason}")]
    Failed {
        /// `Kind/name`.
        label: String,
        /// Why.
        reason: String,
    },
    /// Time is up. The end of the text is Helm's.
    #[error("{}: context deadline exceeded", list_pending(.pending, "not ready"))]
    TimedOut {
        /// Each object that is not ready, as `Kind/name`, and why.
        pending: Vec<(String, String)>,
    },
    /// Time is up and objects are still there.
    #[error("{}: context deadline exceeded", list_pending(.pending, "not deleted"))]
    NotGone {
        /// Each object that is still there, as `Kind/name`, and why.
        pending: Vec<(String, String)>,
    },
    /// Somebody ended the wait.
    #[error("interrupted")]
    Cancelled,
}

fn list_pending(pending: &[(String, String)], what: &str) -> String {
    let lines: Vec<String> = pending
        .iter()
        .map(|(label, reason)| format!("{label} {what} ({reason})"))
        .collect();
    lines.join("; ")
}

impl Awaited {
    /// `Kind/name`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.kind, self.target.name)
    }
}

/// Waits until every object is ready.
pub async fn until_ready(
    api: &Arc<dyn Api>,
    awaited: &[Awaited],
    options: &WaitOptions,
    observer: &dyn Observer,
) -> Result<(), WaitError> {
    let view = View::follow(api, awaited, true);
    let judge = |object: Option<&Object>| match object {
        None => Readiness::Waiting("it is not there".to_owned()),
        Some(object) => readiness::assess(object, options.finish),
    };
    let outcome = view.until_none_pending(awaited, options, observer, judge).await;
    outcome.map_err(|stopped| match stopped {
        Stopped::Failed(label, reason) => WaitError::Failed { label, reason },
        Stopped::TimedOut(pending) => WaitError::TimedOut { pending },
        Stopped::Cancelled => WaitError::Cancelled,
    })
}

/// Waits until no object is there any more.
pub async fn until_gone(
    api: &Arc<dyn Api>,
    awaited: &[Awaited],
    options: &WaitOptions,
    observer: &dyn Observer,
) -> Result<(), WaitError> {
    let view = View::follow(api, awaited, false);
    let judge = |object: Option<&Object>| match object {
        None => Readiness::Ready,
        Some(object) => Readiness::Waiting(why_there(object)),
    };
    let outcome = view.until_none_pending(awaited, options, observer, judge).await;
    outcome.map_err(|stopped| match stopped {
        Stopped::Failed(label, reason) => WaitError::Failed { label, reason },
        Stopped::TimedOut(pending) => WaitError::NotGone { pending },
        Stopped::Cancelled => WaitError::Cancelled,
    })
}

/// Why an object that was deleted is still there.
fn why_there(object: &Object) -> String {
    let finalizers: Vec<&str> = object
        .list(&["metadata", "finalizers"])
        .iter()
        .filter_map(serde_json::Value::as_str)
        .collect();
    if object.deletion_timestamp().is_none() {
        "it is not marked for deletion".to_owned()
    } else if finalizers.is_empty() {
        "it is stopping".to_owned()
    } else {
        format!("held by finalizers {}", finalizers.join(", "))
    }
}

enum Stopped {
    Failed(String, String),
    TimedOut(Vec<(String, String)>),
    Cancelled,
}

/// The objects that are waited for and what helps to judge them.
struct View {
    informers: BTreeMap<String, Informer>,
    changed: Arc<Notify>,
}

impl View {
    /// Follows the collections of the objects, and with `explain` the pods of workloads.
    fn follow(api: &Arc<dyn Api>, awaited: &[Awaited], explain: bool) -> Self {
        let mut view = Self {
            informers: BTreeMap::new(),
            changed: Arc::new(Notify::new()),
        };
        let mut names: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for entry in awaited {
            let key = key_of(&entry.target.collection());
            names.entry(key).or_default().push(&entry.target.name);
        }
        let mut helpers = Vec::new();
        let mut told_by_events = Vec::new();
        for entry in awaited {
            let collection = entry.target.collection();
            if explain && readiness::TOLD_BY_EVENTS.contains(&entry.kind.as_str()) {
                let namespace = collection.namespace.clone().unwrap_or_default();
                told_by_events.push(Collection::namespaced("v1", "events", &namespace));
            }
            if explain && readiness::WORKLOADS.contains(&entry.kind.as_str()) {
                let namespace = collection.namespace.clone().unwrap_or_default();
                helpers.push(Collection::namespaced("v1", "pods", &namespace));
                if entry.kind == "Deployment" {
                    helpers.push(Collection::namespaced("apps/v1", "replicasets", &namespace));
                }
            }
        }
        let helper_keys: Vec<String> = helpers.iter().map(key_of).collect();
        for entry in awaited {
            let collection = entry.target.collection();
            let key = key_of(&collection);
            // A single object of a collection is followed alone, unless all are needed anyway.
            let field_selector = match names.get(&key).map(Vec::as_slice) {
                Some([name]) if !helper_keys.contains(&key) => format!("metadata.name={name}"),
                _ => String::new(),
            };
            view.add(api, collection, field_selector);
        }
        for collection in helpers {
            view.add(api, collection, String::new());
        }
        for collection in told_by_events {
            view.add(api, collection, "type=Warning,reason=FailedCreate".to_owned());
        }
        view
    }

    fn add(&mut self, api: &Arc<dyn Api>, collection: Collection, field_selector: String) {
        if let Entry::Vacant(vacant) = self.informers.entry(key_of(&collection)) {
            let options = InformerOptions {
                field_selector,
                ..InformerOptions::default()
            };
            let informer = Informer::start(api.clone(), collection, options);
            let changed = self.changed.clone();
            informer.add_handler(move |_| changed.notify_one());
            let synced = informer.clone();
            let changed = self.changed.clone();
            tokio::spawn(async move {
                synced.synced().await;
                changed.notify_one();
            });
            vacant.insert(informer);
        }
    }

    async fn until_none_pending(
        &self,
        awaited: &[Awaited],
        options: &WaitOptions,
        observer: &dyn Observer,
        judge: impl Fn(Option<&Object>) -> Readiness,
    ) -> Result<(), Stopped> {
        let deadline = tokio::time::sleep(options.timeout);
        tokio::pin!(deadline);
        let mut said: Option<Vec<(String, String)>> = None;
        loop {
            let pending = self.pending(awaited, &judge)?;
            if pending.is_empty() {
                return Ok(());
            }
            if said.as_ref() != Some(&pending) {
                observer.event(Event::Waiting {
                    pending: &pending,
                    total: awaited.len(),
                });
                said = Some(pending.clone());
            }
            tokio::select! {
                () = self.changed.notified() => {}
                () = options.cancel.cancelled() => return Err(Stopped::Cancelled),
                () = &mut deadline => return Err(Stopped::TimedOut(pending)),
            }
        }
    }

    /// What is not as it should be; the first failure ends the wait.
    fn pending(
        &self,
        awaited: &[Awaited],
        judge: &impl Fn(Option<&Object>) -> Readiness,
    ) -> Result<Vec<(String, String)>, Stopped> {
        let mut pending = Vec::new();
        for entry in awaited {
            let Some(informer) = self.informers.get(&key_of(&entry.target.collection())) else {
                continue;
            };
            if !informer.has_synced() {
                pending.push((entry.label(), "not seen yet".to_owned()));
                continue;
            }
            let namespace = entry.target.namespace.as_deref().unwrap_or_default();
            let object = informer.get(namespace, &entry.target.name);
            match judge(object.as_deref()) {
                Readiness::Ready => {}
                Readiness::Failed(reason) => {
                    let reason = self
                        .explain(object.as_deref())
                        .map_or(reason.clone(), |trouble| format!("{reason} ({})", trouble.reason));
                    return Err(Stopped::Failed(entry.label(), reason));
                }
                Readiness::Waiting(reason) => match self.explain(object.as_deref()) {
                    Some(trouble) if trouble.fatal => {
                        return Err(Stopped::Failed(entry.label(), trouble.reason));
                    }
                    Some(trouble) => pending.push((entry.label(), format!("{reason}; {}", trouble.reason))),
                    None => pending.push((entry.label(), reason)),
                },
            }
        }
        Ok(pending)
    }

    /// What the pods of a workload say.
    fn explain(&self, object: Option<&Object>) -> Option<readiness::PodTrouble> {
        let object = object?;
        let namespace = object.namespace()?;
        let owned = |api_version: &'static str, resource: &'static str| {
            move |uid: &str| {
                let informer = self.informer(api_version, resource, namespace);
                informer
                    .map(|informer| informer.owned_by(uid))
                    .unwrap_or_default()
            }
        };
        let trouble =
            readiness::workload_trouble(object, owned("apps/v1", "replicasets"), owned("v1", "pods"));
        if trouble.is_some() || !readiness::TOLD_BY_EVENTS.contains(&object.kind()) {
            return trouble;
        }
        let events = self.informer("v1", "events", namespace)?.list();
        readiness::creation_trouble(object, events.iter().map(Arc::as_ref))
    }

    fn informer(&self, api_version: &str, resource: &str, namespace: &str) -> Option<&Informer> {
        let key = key_of(&Collection::namespaced(api_version, resource, namespace));
        self.informers.get(&key)
    }
}

fn key_of(collection: &Collection) -> String {
    let namespace = collection.namespace.as_deref().unwrap_or_default();
    format!("{} {namespace}", collection.resource)
}
