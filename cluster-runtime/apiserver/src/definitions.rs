//! Custom resources: their kinds are served as long as their definitions are there.

use std::sync::Arc;

use cluster_client::{
    Api, Collection, DeleteOptions, Informer, InformerOptions, Jitter, ListOptions, ObjectKey, Patch, Target,
    WorkQueue, WorkQueueOptions, WriteOptions,
};
use cluster_objects::registry::{KindRow, Registry, rows_of_definition};
use cluster_objects::{Object, Status, StatusReason};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::engine::Engine;

/// Keeps a definition until its objects are gone.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
const RESOURCE: (&str, &str) = ("apiextensions.k8s.io/v1", "customresourcedefinitions");

/// Serves custom resources, and says so in the status of their definitions.
///
/// A definition's kinds are served before its condition `Established` is true. When a definition is deleted, its
/// objects are deleted first.
#[derive(Debug)]
pub struct Definitions {
    queue: WorkQueue<ObjectKey>,
    task: JoinHandle<()>,
}

impl Definitions {
    /// Serves what is defined now, and follows definitions from then on in a task of the current tokio runtime. `api` is that of
    /// the engine, or of the server that leads.
    ///
    /// # Errors
    /// The definitions cannot be listed.
    pub async fn start(engine: &Engine, api: Arc<dyn Api>, jitter: Jitter) -> Result<Self, Status> {
        let definitions = Collection::all(RESOURCE.0, RESOURCE.1);
        let worker = Worker {
            builtin: engine.registry(),
            engine: engine.clone(),
            api: api.clone(),
        };
        let listed = api.list(&definitions, &ListOptions::default()).await?;
        worker.serve(&listed.items);
        let queue = WorkQueue::new(WorkQueueOptions {
            jitter: jitter.clone(),
            ..WorkQueueOptions::default()
        });
        let options = InformerOptions {
            jitter,
            ..InformerOptions::default()
        };
        let informer = Informer::start(api, definitions, options);
        let added = queue.clone();
        informer.add_handler(move |change| added.add(ObjectKey::of(change.object())));
        let task = tokio::spawn(worker.run(informer, queue.clone()));
        Ok(Self { queue, task })
    }

    /// Stops following; what is served stays served.
    pub async fn stop(self) {
        self.queue.stop();
        // A task that panicked has nothing left to wait for.
        let _ = self.task.await;
    }
}

struct Worker {
    builtin: Arc<Registry>,
    engine: Engine,
    api: Arc<dyn Api>,
}

impl Worker {
    async fn run(self, definitions: Informer, queue: WorkQueue<ObjectKey>) {
        definitions.synced().await;
        while let Some(work) = queue.next().await {
            if queue.take_overflow() {
                for definition in definitions.list() {
                    queue.add(ObjectKey::of(&definition));
                }
            }
            let all = definitions.list();
            let conflicts = self.serve(&all);
            let Some(definition) = definitions.get_key(&work) else {
                queue.forget(&work);
                // A name that was taken may be free now.
                let waiting = all.iter().filter(|other| !is_accepted(other));
                waiting.for_each(|other| queue.add(ObjectKey::of(other)));
                continue;
            };
            let conflict = conflicts.get(definition.name());
            match self.settle(&definition, conflict).await {
                Ok(()) => queue.forget(&work),
                // What was read is old: the change that made it so comes by itself.
                Err(status) if status.is_not_found() || status.is_conflict() => queue.forget(&work),
                Err(status) => {
                    let wait = queue.retry(work.clone());
                    tracing::debug!(definition = %work.name, ?wait, "cannot settle: {status}");
                }
            }
        }
    }

    /// Serves the kinds of definitions; gives those whose names are taken, with why.
    fn serve(&self, definitions: &[Arc<Object>]) -> std::collections::BTreeMap<String, Conflict> {
        let (registry, conflicts) = registry_of(&self.builtin, definitions);
        self.engine.set_registry(registry);
        conflicts
    }

    /// Brings the status of a definition up to date, or empties one that is going away.
    async fn settle(&self, definition: &Object, conflict: Option<&Conflict>) -> Result<(), Status> {
        let target = Target::cluster_wide(RESOURCE.0, RESOURCE.1, definition.name());
        let options = WriteOptions::default();
        let finalizers = definition.list(&["metadata", "finalizers"]);
        let is_kept = finalizers.iter().any(|finalizer| finalizer == CLEANUP);
        if definition.deletion_timestamp().is_some() {
            if !is_kept {
                return Ok(());
            }
            self.empty(definition).await?;
            let others: Vec<&Value> = finalizers
                .iter()
                .filter(|finalizer| *finalizer != CLEANUP)
                .collect();
            let patch = json!({"metadata": {"finalizers": others, "uid": definition.uid()}});
            return self
                .api
                .patch(&target, Patch::Merge(patch), &options)
                .await
                .map(drop);
        }
        if !is_kept && conflict.is_none() {
            let all: Vec<Value> = finalizers.iter().cloned().chain([CLEANUP.into()]).collect();
            let patch = json!({"metadata": {
                "finalizers": all, "resourceVersion": definition.resource_version(),
            }});
            // The change comes back through the watch.
            return self
                .api
                .patch(&target, Patch::Merge(patch), &options)
                .await
                .map(drop);
        }
        let status = status_of(definition, conflict, self.engine.now());
        if definition.at(&["status"]) == Some(&status) {
            return Ok(());
        }
        let patch = json!({
            "metadata": {"resourceVersion": definition.resource_version()}, "status": status,
        });
        let target = target.subresource("status");
        self.api
            .patch(&target, Patch::Merge(patch), &options)
            .await
            .map(drop)
    }

    /// Deletes the objects of a definition.
    ///
    /// # Errors
    /// Some are still there: finalizers keep them.
    async fn empty(&self, definition: &Object) -> Result<(), Status> {
        let Some(row) = rows_of_definition(definition).into_iter().next() else {
            return Ok(());
        };
        if self.engine.row(&row.resource()).is_err() {
            return Ok(());
        }
        let collection = Collection::all(&row.api_version(), &row.plural);
        let everything = ListOptions::default();
        for object in &self.api.list(&collection, &everything).await?.items {
            let target = Target::of(&row.resource(), object);
            match self.api.delete(&target, &DeleteOptions::default()).await {
                Err(status) if !status.is_not_found() => return Err(status),
                _ => {}
            }
        }
        if self.api.list(&collection, &everything).await?.items.is_empty() {
            return Ok(());
        }
        let why = format!("objects of {} are still being deleted", row.plural);
        Err(Status::new(500, StatusReason::InternalError, why))
    }
}

/// A name that another kind has already.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Conflict {
    reason: &'static str,
    message: String,
}

/// The built-in kinds and those of definitions, the oldest first; a name that is taken is not served again.
fn registry_of(
    builtin: &Registry,
    definitions: &[Arc<Object>],
) -> (Registry, std::collections::BTreeMap<String, Conflict>) {
    let mut registry = builtin.clone();
    let mut conflicts = std::collections::BTreeMap::new();
    let mut ordered: Vec<&Arc<Object>> = definitions.iter().collect();
    ordered.sort_by_key(|definition| {
        let created = definition
            .text(&["metadata", "creationTimestamp"])
            .unwrap_or_default();
        // Who was served goes on being served.
        (
            !is_accepted(definition),
            created.to_owned(),
            definition.name().to_owned(),
        )
    });
    for definition in ordered {
        let rows = rows_of_definition(definition);
        match rows.iter().find_map(|row| conflict(&registry, row)) {
            Some(conflict) => drop(conflicts.insert(definition.name().to_owned(), conflict)),
            None => rows.into_iter().for_each(|row| drop(registry.insert(row))),
        }
    }
    (registry, conflicts)
}

fn conflict(registry: &Registry, row: &KindRow) -> Option<Conflict> {
    let found = |reason, name: &str| Conflict {
        reason,
        message: format!("{name:?} is already in use"),
    };
    if registry.by_resource(&row.resource()).is_some() {
        return Some(found("PluralConflict", &row.plural));
    }
    if registry.by_kind(&row.gvk()).is_some() {
        return Some(found("KindConflict", &row.kind));
    }
    None
}

fn is_accepted(definition: &Object) -> bool {
    let conditions = definition.list(&["status", "conditions"]);
    conditions
        .iter()
        .any(|condition| condition["type"] == "Established" && condition["status"] == "True")
}

/// The status of a definition: whether its names are its own and its kinds served, and in which versions objects
/// may be stored.
fn status_of(definition: &Object, conflict: Option<&Conflict>, now: jiff::Timestamp) -> Value {
    let before = definition.at(&["status"]).cloned().unwrap_or_else(|| json!({}));
    let condition = |kind: &str, is_true: bool, reason: &str, message: &str| {
        let status = if is_true { "True" } else { "False" };
        let conditions = before["conditions"].as_array();
        let old = conditions.into_iter().flatten().find(|old| old["type"] == kind);
        let since = old.filter(|old| old["status"] == status).map_or_else(
            || json!(now.round(jiff::Unit::Second).unwrap_or(now).to_string()),
            |old| old["lastTransitionTime"].clone(),
        );
        json!({
            "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since,
        })
    };
    let conditions = match conflict {
        None => [
            condition("NamesAccepted", true, "NoConflicts", "no conflicts found"),
            condition(
                "Established",
                true,
                "InitialNamesAccepted",
                "the initial names have been accepted",
            ),
        ],
        Some(conflict) => [
            condition("NamesAccepted", false, conflict.reason, &conflict.message),
            condition("Established", false, "NotAccepted", "not all names are accepted"),
        ],
    };
    let mut stored = before["storedVersions"].as_array().cloned().unwrap_or_default();
    let versions = definition.list(&["spec", "versions"]);
    let storage = versions.iter().find(|version| version["storage"] == true);
    if let Some(name) = storage
        .map(|version| version["name"].clone())
        .filter(|name| !stored.contains(name))
    {
        stored.push(name);
    }
    let names = definition.at(&["spec", "names"]).filter(|_| conflict.is_none());
    json!({
        "acceptedNames": names.cloned().unwrap_or_else(|| json!({"kind": "", "plural": ""})),
        "conditions": conditions,
        "storedVersions": stored,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(name: &str, kind: &str, created: &str) -> Arc<Object> {
        let object = json!({
            "metadata": {"name": name, "creationTimestamp": created},
            "spec": {
                "group": "example.com", "scope": "Namespaced",
                "names": {"plural": name.split('.').next(), "kind": kind},
                "versions": [{"name": "v1", "served": true, "storage": true}],
            },
        });
        Arc::new(Object::from_value(object).unwrap())
    }

    #[test]
    fn the_first_gets_a_name_and_the_second_hears_so() {
        let older = definition("widgets.example.com", "Widget", "2026-01-01T00:00:00Z");
        let newer = definition("things.example.com", "Widget", "2026-01-02T00:00:00Z");
        let (registry, conflicts) = registry_of(&Registry::builtin(), &[newer.clone(), older]);
        assert_eq!(registry.rows_of("example.com", "v1").count(), 1);
        let conflict = &conflicts["things.example.com"];
        assert_eq!(
            (conflict.reason, &*conflict.message),
            ("KindConflict", "\"Widget\" is already in use")
        );
        let status = status_of(&newer, Some(conflict), jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(status["conditions"][1]["status"], "False");
    }

    #[test]
    fn a_status_that_is_true_stays_as_it_is() {
        let mut definition = Object::clone(&definition(
            "widgets.example.com",
            "Widget",
            "2026-01-01T00:00:00Z",
        ));
        let status = status_of(&definition, None, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(status["storedVersions"], json!(["v1"]));
        definition.set(&["status"], status.clone());
        assert!(is_accepted(&definition));
        let later = jiff::Timestamp::from_second(1000).unwrap();
        assert_eq!(status_of(&definition, None, later), status);
    }
}
