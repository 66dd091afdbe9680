//! What controllers decide to do, and the one executor that does it.

use std::sync::Arc;
use std::time::Duration;

use cluster_client::{
    Api, Collection, DeleteOptions, Deleted, EventType, Informer, ObjectKey, Patch, Recorder, Target,
    WriteOptions,
};
use cluster_objects::{GroupVersionResource, Object, Status};
use futures::StreamExt;
use futures::stream::{self, FuturesUnordered};

/// One step of a plan.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Create an object. Creations that follow each other are done in batches of 1, 2, 4, ..., so that a template
    /// that is always refused costs one request and not hundreds.
    Create {
        collection: Collection,
        object: Object,
        said: Option<Said>,
    },
    /// Change an object or a subresource.
    Patch { target: Target, patch: Patch },
    /// Replace an object or a subresource.
    Update { target: Target, object: Object },
    /// Delete an object. An object that is gone is no failure.
    Delete {
        target: Target,
        options: DeleteOptions,
        said: Option<Said>,
    },
    /// Record an event about the object of the controller.
    Tell {
        kind: EventType,
        reason: &'static str,
        message: String,
    },
    /// Look at the same key again when this time has passed.
    Again(Duration),
}

/// The events about a creation or deletion.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Said {
    /// Reason and message when it succeeds; `{}` is the name of the object.
    pub(crate) done: (&'static str, String),
    /// Reason and message when it fails; `{}` is the error.
    pub(crate) failed: (&'static str, String),
}

impl Said {
    pub(crate) fn created_pod() -> Self {
        Self {
            done: ("SuccessfulCreate", "Created pod: {}".into()),
            failed: ("FailedCreate", "Error creating: {}".into()),
        }
    }

    pub(crate) fn deleted_pod() -> Self {
        Self {
            done: ("SuccessfulDelete", "Deleted pod: {}".into()),
            failed: ("FailedDelete", "Error deleting: {}".into()),
        }
    }
}

/// A merge patch of the status of an object.
pub(crate) fn patch_status(
    resource: &GroupVersionResource,
    object: &Object,
    status: serde_json::Value,
) -> Step {
    let mut patch = serde_json::json!({"metadata": {"uid": object.uid()}});
    patch["status"] = status;
    Step::Patch {
        target: Target::of(resource, object).subresource("status"),
        patch: Patch::Merge(patch),
    }
}

/// The deletion of an object as it was seen: a later one of the same name is not touched.
pub(crate) fn delete(resource: &GroupVersionResource, object: &Object, said: Option<Said>) -> Step {
    Step::Delete {
        target: Target::of(resource, object),
        options: DeleteOptions {
            uid: Some(object.uid().to_owned()),
            ..DeleteOptions::default()
        },
        said,
    }
}

/// A write that caches must show before the next plan is made.
#[derive(Clone, Debug)]
pub(crate) enum Written {
    /// An object was stored at a revision.
    Stored {
        resource: GroupVersionResource,
        revision: String,
    },
    /// An object is gone.
    Gone {
        resource: GroupVersionResource,
        key: ObjectKey,
        uid: String,
    },
}

impl Written {
    /// The resource that was written to.
    pub(crate) fn resource(&self) -> &GroupVersionResource {
        match self {
            Self::Stored { resource, .. } | Self::Gone { resource, .. } => resource,
        }
    }

    /// Whether the cache of that resource shows it.
    pub(crate) fn is_shown_by(&self, informer: &Informer) -> bool {
        match self {
            Self::Stored { revision, .. } => informer.has_seen(revision),
            Self::Gone { key, uid, .. } => informer.get_key(key).is_none_or(|cached| cached.uid() != uid),
        }
    }
}

/// Whether nothing more can be created because the namespace is being deleted: that is no news to anybody.
pub(crate) fn is_namespace_going(status: &Status) -> bool {
    status
        .causes
        .iter()
        .any(|cause| cause.reason == "NamespaceTerminating")
}

/// What came of a list of steps.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What was written.
    pub(crate) written: Vec<Written>,
    /// When to look again.
    pub(crate) again: Option<Duration>,
    /// Why the steps after this one were not done.
    pub(crate) failure: Option<Status>,
}

impl Outcome {
    /// Adds what came of later steps.
    pub(crate) fn join(&mut self, later: Self) {
        self.written.extend(later.written);
        self.look_again(later.again);
        self.failure = self.failure.take().or(later.failure);
    }

    fn look_again(&mut self, after: Option<Duration>) {
        self.again = match (self.again, after) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
    }

    fn note(&mut self, answer: Answer) {
        match answer {
            Ok(written) => self.written.extend(written),
            Err(status) => self.failure = self.failure.take().or(Some(status)),
        }
    }
}

type Answer = Result<Option<Written>, Status>;

/// Deletions that are under way at once.
const DELETIONS_AT_ONCE: usize = 32;

/// Carries out steps, in order, until one fails. Events are about `about`.
pub(crate) async fn execute(api: &dyn Api, recorder: &Recorder, about: &Object, steps: Vec<Step>) -> Outcome {
    let executor = Executor { api, recorder, about };
    let mut outcome = Outcome::default();
    let mut steps = steps.into_iter().peekable();
    while let Some(step) = steps.next() {
        match step {
            Step::Create { .. } => {
                let mut creations = vec![step];
                while let Some(next) = steps.next_if(|step| matches!(step, Step::Create { .. })) {
                    creations.push(next);
                }
                executor.create_all(creations, &mut outcome).await;
            }
            Step::Delete { .. } => {
                let mut deletions = vec![step];
                while let Some(next) = steps.next_if(|step| matches!(step, Step::Delete { .. })) {
                    deletions.push(next);
                }
                executor.delete_all(deletions, &mut outcome).await;
            }
            other => executor.one(other, &mut outcome).await,
        }
        if outcome.failure.is_some() {
            break;
        }
    }
    outcome
}

struct Executor<'a> {
    api: &'a dyn Api,
    recorder: &'a Recorder,
    about: &'a Object,
}

impl Executor<'_> {
    async fn create_all(&self, creations: Vec<Step>, outcome: &mut Outcome) {
        let mut rest = creations.into_iter();
        let mut batch = 1;
        while outcome.failure.is_none() && rest.len() > 0 {
            let mut running: FuturesUnordered<_> =
                rest.by_ref().take(batch).map(|step| self.create(step)).collect();
            while let Some(answer) = running.next().await {
                outcome.note(answer);
            }
            batch *= 2;
        }
    }

    async fn create(&self, step: Step) -> Answer {
        let Step::Create {
            collection,
            object,
            said,
        } = step
        else {
            return Ok(None);
        };
        let answer = self
            .api
            .create(&collection, object, &WriteOptions::default())
            .await;
        match answer {
            Ok(created) => {
                self.say(said.as_ref(), Ok(created.name()));
                Ok(Some(stored(&collection.resource, &created)))
            }
            Err(status) => {
                if !is_namespace_going(&status) {
                    self.say(said.as_ref(), Err(&status));
                }
                Err(status)
            }
        }
    }

    async fn delete_all(&self, deletions: Vec<Step>, outcome: &mut Outcome) {
        let mut answers = stream::iter(deletions)
            .map(|step| self.delete(step))
            .buffer_unordered(DELETIONS_AT_ONCE);
        while let Some(answer) = answers.next().await {
            outcome.note(answer);
        }
    }

    async fn delete(&self, step: Step) -> Answer {
        let Step::Delete {
            target,
            options,
            said,
        } = step
        else {
            return Ok(None);
        };
        match self.api.delete(&target, &options).await {
            Ok(deleted) => {
                self.say(said.as_ref(), Ok(&target.name));
                Ok(match deleted {
                    Deleted::Marked(object) => Some(stored(&target.resource, &object)),
                    Deleted::Gone => options.uid.map(|uid| Written::Gone {
                        key: ObjectKey::new(target.namespace.as_deref().unwrap_or_default(), &target.name),
                        resource: target.resource,
                        uid,
                    }),
                })
            }
            // Gone already, or another object of that name: there is nothing left to delete.
            Err(status) if status.is_not_found() || status.is_conflict() => Ok(None),
            Err(status) => {
                self.say(said.as_ref(), Err(&status));
                Err(status)
            }
        }
    }

    async fn one(&self, step: Step, outcome: &mut Outcome) {
        let options = WriteOptions::default();
        let (target, answer) = match step {
            Step::Patch { target, patch } => {
                let answer = self.api.patch(&target, patch, &options).await;
                (target, answer)
            }
            Step::Update { target, object } => {
                let answer = self.api.update(&target, object, &options).await;
                (target, answer)
            }
            Step::Tell {
                kind,
                reason,
                message,
            } => {
                self.recorder.record(self.about, kind, reason, message);
                return;
            }
            Step::Again(after) => {
                outcome.look_again(Some(after));
                return;
            }
            Step::Create { .. } | Step::Delete { .. } => return,
        };
        match answer {
            Ok(object) => outcome.written.push(stored(&target.resource, &object)),
            // The object went away meanwhile, and its deletion will be seen.
            Err(status) if status.is_not_found() => {}
            Err(status) => outcome.failure = Some(status),
        }
    }

    fn say(&self, said: Option<&Said>, result: Result<&str, &Status>) {
        let Some(said) = said else { return };
        let (kind, (reason, message), what) = match result {
            Ok(name) => (EventType::Normal, &said.done, name.to_owned()),
            Err(status) => (EventType::Warning, &said.failed, status.to_string()),
        };
        self.recorder
            .record(self.about, kind, reason, message.replace("{}", &what));
    }
}

fn stored(resource: &GroupVersionResource, object: &Arc<Object>) -> Written {
    Written::Stored {
        resource: resource.clone(),
        revision: object.resource_version().to_owned(),
    }
}
