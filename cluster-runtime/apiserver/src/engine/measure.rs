//! `metrics.k8s.io`: what nodes and pods use, measured when somebody asks.
//!
//! Nothing is measured while nobody asks. A rate needs two looks at a counter: one that was taken for the request
//! before serves as the first where it is recent, else the request waits for [`WINDOW_MIN`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cluster_client::{Collection, NodeUsage, PodContainer, Target, Usage};
use cluster_objects::registry::KindRow;
use cluster_objects::{GroupVersionResource, Object, Status};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::query::ListQuery;
use super::{Engine, Page};
use crate::sources::api_time;
use crate::user::Caller;

const GROUP: &str = "metrics.k8s.io";
/// Shortest time between two looks at a counter; what was found out is told again for as long.
const WINDOW_MIN: Duration = Duration::from_secs(1);
/// A look that is older says nothing of now.
const WINDOW_MAX: Duration = Duration::from_secs(60);

/// The last looks at the nodes.
#[derive(Default)]
pub(super) struct Measurements {
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    look: Option<Look>,
    rates: Option<Arc<Rates>>,
}

/// The counters of all nodes at one time.
struct Look {
    at: Instant,
    nodes: HashMap<String, NodeUsage>,
}

/// What is used, between two looks.
#[derive(Debug)]
struct Rates {
    window: Duration,
    nodes: HashMap<String, Rate>,
    /// By UID of the pod, then name of the container.
    pods: HashMap<String, Vec<(String, Rate)>>,
}

/// Billionths of a core, and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate {
    nanocores: u64,
    bytes: u64,
}

impl Engine {
    /// Reads one object, measured or stored: as it is now, or where a `resourceVersion` is named, no older than that.
    pub async fn read(
        &self,
        caller: &Caller,
        target: &Target,
        resource_version: &str,
    ) -> Result<Arc<Object>, Status> {
        if target.resource.group != GROUP {
            self.reach(resource_version).await?;
            return self.get(caller, target);
        }
        let row = self.enter(caller, "get", target)?;
        let query = ListQuery {
            field_selector: format!("metadata.name={}", target.name),
            ..ListQuery::default()
        };
        let page = self.measured(row, &target.collection(), &query).await?;
        let found = page.items.into_iter().next();
        found.ok_or_else(|| Status::not_found(&target.resource, &target.name))
    }

    /// Reads a page of a collection, measured or stored.
    pub async fn read_all(
        &self,
        caller: &Caller,
        collection: &Collection,
        query: &ListQuery,
    ) -> Result<Page, Status> {
        if collection.resource.group != GROUP {
            self.reach(&query.resource_version).await?;
            return self.list(caller, collection, query);
        }
        let row = self.enter_collection(caller, "list", collection, &query.field_selector)?;
        self.measured(row, collection, query).await
    }

    async fn measured(
        &self,
        row: Arc<KindRow>,
        collection: &Collection,
        query: &ListQuery,
    ) -> Result<Page, Status> {
        let of_nodes = !row.namespaced;
        let plain = Collection {
            resource: GroupVersionResource::new("v1", if of_nodes { "nodes" } else { "pods" }),
            namespace: collection.namespace.clone(),
        };
        let mut page = self.select(self.row(&plain.resource)?, &plain, query)?;
        let rates = self.rates().await?;
        let now = api_time(self.now());
        let shown = |object: &Arc<Object>| {
            let mut metrics = Object::new(&row.api_version(), &row.kind, object.namespace(), object.name());
            metrics.set(&["metadata", "creationTimestamp"], now.as_str());
            if let Some(labels) = object.labels() {
                metrics.set(&["metadata", "labels"], labels.clone());
            }
            metrics.set(&["timestamp"], now.as_str());
            metrics.set(
                &["window"],
                format!("{}s", rates.window.as_millis() as f64 / 1000.0),
            );
            if of_nodes {
                metrics.set(&["usage"], rates.nodes.get(object.name())?.to_value());
            } else {
                let used = rates.pods.get(object.uid())?.iter();
                let containers: Vec<Value> = used
                    .map(|(name, rate)| json!({"name": name, "usage": rate.to_value()}))
                    .collect();
                metrics.set(&["containers"], containers);
            }
            Some(Arc::new(metrics))
        };
        page.items = page.items.iter().filter_map(shown).collect();
        page.row = row;
        Ok(page)
    }

    /// What is used now. Requests at the same time share one measurement.
    async fn rates(&self) -> Result<Arc<Rates>, Status> {
        let mut last = self.inner.measurements.last.lock().await;
        let age = last.look.as_ref().map(|look| look.at.elapsed());
        if let (Some(rates), Some(age)) = (&last.rates, age)
            && age < WINDOW_MIN
        {
            return Ok(Arc::clone(rates));
        }
        let before = match last.look.take().filter(|look| look.at.elapsed() < WINDOW_MAX) {
            Some(look) => look,
            None => self.look().await?,
        };
        if let Some(left) = WINDOW_MIN.checked_sub(before.at.elapsed()) {
            sleep(left).await;
        }
        let now = self.look().await?;
        let rates = Arc::new(Rates::between(&before, &now));
        last.look = Some(now);
        last.rates = Some(Arc::clone(&rates));
        Ok(rates)
    }

    /// Asks every node; one that does not answer is left out, unless none does.
    async fn look(&self) -> Result<Look, Status> {
        let at = Instant::now();
        let asked = self.inner.nodes.all().into_iter().map(|(name, node)| async move {
            let answer = node.usage().await;
            (name, answer)
        });
        let mut nodes = HashMap::new();
        let mut refused = None;
        for (name, answer) in join_all(asked).await {
            match answer {
                Ok(usage) => drop(nodes.insert(name, usage)),
                Err(status) => refused = Some(status),
            }
        }
        match refused.filter(|_| nodes.is_empty()) {
            Some(status) => Err(status),
            None => Ok(Look { at, nodes }),
        }
    }
}

impl Rates {
    fn between(before: &Look, now: &Look) -> Self {
        let window = now
            .at
            .saturating_duration_since(before.at)
            .max(Duration::from_millis(1));
        let rate = |now: &Usage, before: Option<&Usage>| {
            // One that was not there before has used all of it since.
            let start = before.map_or(0, |before| before.cpu_nanoseconds);
            let used = u128::from(now.cpu_nanoseconds.saturating_sub(start));
            let nanocores = used * 1_000_000_000 / window.as_nanos();
            Rate {
                nanocores: u64::try_from(nanocores).unwrap_or(u64::MAX),
                bytes: now.working_set_bytes,
            }
        };
        let containers_before: HashMap<&PodContainer, &Usage> = before
            .nodes
            .values()
            .flat_map(|node| node.containers.iter().map(|(of, usage)| (of, usage)))
            .collect();
        let mut rates = Self {
            window,
            nodes: HashMap::new(),
            pods: HashMap::new(),
        };
        for (name, usage) in &now.nodes {
            let start = before.nodes.get(name).map(|node| &node.node);
            rates.nodes.insert(name.clone(), rate(&usage.node, start));
            for (of, used) in &usage.containers {
                let rate = rate(used, containers_before.get(of).copied());
                rates
                    .pods
                    .entry(of.uid.clone())
                    .or_default()
                    .push((of.container.clone(), rate));
            }
        }
        rates
    }
}

impl Rate {
    fn to_value(self) -> Value {
        json!({"cpu": format!("{}n", self.nanocores), "memory": format!("{}Ki", self.bytes / 1024)})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_what_was_used_between_two_looks() {
        let at = Instant::now();
        let container = |name: &str| PodContainer {
            namespace: "default".into(),
            pod: "web".into(),
            uid: "u".into(),
            container: name.into(),
        };
        let usage = |cpu_nanoseconds, working_set_bytes| Usage {
            cpu_nanoseconds,
            working_set_bytes,
        };
        let look = |at, node, containers| Look {
            at,
            nodes: HashMap::from([("n1".to_owned(), NodeUsage { node, containers })]),
        };
        let before = look(at, usage(1_000_000_000, 1), vec![(container("a"), usage(500, 1))]);
        let later = at + Duration::from_secs(2);
        let containers = vec![
            (container("a"), usage(1500, 2048)),
            (container("b"), usage(400, 1024)),
        ];
        let now = look(later, usage(3_000_000_000, 4096), containers);
        let rates = Rates::between(&before, &now);
        assert_eq!(
            rates.nodes["n1"].to_value(),
            json!({"cpu": "1000000000n", "memory": "4Ki"})
        );
        let (a, b) = (
            Rate {
                nanocores: 500,
                bytes: 2048,
            },
            Rate {
                nanocores: 200,
                bytes: 1024,
            },
        );
        assert_eq!(rates.pods["u"], [("a".to_owned(), a), ("b".to_owned(), b)]);
        // A node that started again counts from nothing.
        let again = Rates::between(
            &now,
            &look(later + Duration::from_secs(1), usage(5, 1), Vec::new()),
        );
        assert_eq!(again.nodes["n1"].nanocores, 0);
    }
}
