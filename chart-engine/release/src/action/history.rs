//! Reading releases: one, its history, all.

use std::sync::Arc;

use cluster_client::{Collection, ListOptions, Target};
use cluster_objects::Object;
use futures::{StreamExt, stream};
use regex::Regex;

use crate::action::{ActionError, check_name, deploy};
use crate::cluster::Cluster;
use crate::readiness::{self, Finish, Readiness};
use crate::record::{Release, ReleaseStatus};
use crate::resource::Resource;
use crate::storage::{self, Storage};

/// Records that are read at the same time.
const IN_FLIGHT_MAX: usize = 16;

/// Reads one revision of a release, or the last.
#[derive(Clone, Debug, Default)]
pub struct Get {
    /// Name of the release.
    pub name: String,
    /// The revision; the last where none is named.
    pub revision: Option<u32>,
}

/// Reads the revisions of a release.
#[derive(Clone, Debug)]
pub struct History {
    /// Name of the release.
    pub name: String,
    /// Most revisions, the newest; 0 is no limit.
    pub max: usize,
}

/// Reads the last revision of every release.
#[derive(Clone, Debug)]
pub struct List {
    /// Releases of every namespace.
    pub all_namespaces: bool,
    /// Only releases in these states; empty is every state.
    pub statuses: Vec<ReleaseStatus>,
    /// Only releases whose name matches.
    pub filter: Option<Regex>,
    /// Only releases with these labels, as a selector of the API.
    pub selector: String,
    /// The newest first instead of by name.
    pub by_date: bool,
    /// The other way round.
    pub reverse: bool,
    /// Most releases; 0 is no limit.
    pub limit: usize,
    /// Releases to leave out at the beginning.
    pub offset: usize,
}

/// An object of a release as it is.
#[derive(Clone, Debug)]
pub struct LiveResource {
    /// Kind of the object.
    pub kind: String,
    /// Group and version of the object.
    pub api_version: String,
    /// Namespace, empty where it has none.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Whether it is what was asked for; `None` where it is not there.
    pub readiness: Option<Readiness>,
    /// The object.
    pub object: Option<Arc<Object>>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            name: String::new(),
            max: 256,
        }
    }
}

impl Default for List {
    fn default() -> Self {
        Self {
            all_namespaces: false,
            statuses: Vec::new(),
            filter: None,
            selector: String::new(),
            by_date: false,
            reverse: false,
            limit: 256,
            offset: 0,
        }
    }
}

impl Get {
    /// Reads the revision.
    pub async fn run(&self, cluster: &Cluster) -> Result<Release, ActionError> {
        check_name(&self.name)?;
        // Revision 0 is the last, as Helm has it.
        let revision = self.revision.filter(|revision| *revision > 0);
        Ok(cluster.storage().get(&self.name, revision).await?)
    }
}

impl History {
    /// Reads the revisions, oldest first.
    pub async fn run(&self, cluster: &Cluster) -> Result<Vec<Release>, ActionError> {
        check_name(&self.name)?;
        let entries = cluster.storage().revisions(&self.name).await?;
        let skipped = if self.max == 0 {
            0
        } else {
            entries.len().saturating_sub(self.max)
        };
        let decoded = entries[skipped..].iter().map(storage::Entry::decode);
        Ok(decoded.collect::<Result<_, _>>()?)
    }
}

impl List {
    /// Reads the releases. Of all others only names and labels are read.
    pub async fn run(&self, cluster: &Cluster) -> Result<Vec<Release>, ActionError> {
        let storage = if self.all_namespaces {
            Storage::all_namespaces(cluster.api.clone(), cluster.clock.clone())
        } else {
            cluster.storage()
        };
        let entries = storage.headings(&self.selector).await?;
        // Of a superseded revision there is a newer one always: asked for alone, all of them are shown.
        let mut entries = if self.statuses == [ReleaseStatus::Superseded] {
            entries
        } else {
            storage::latest(entries)
        };
        entries.retain(|entry| {
            let status = self.statuses.is_empty() || self.statuses.contains(&entry.status);
            status
                && self
                    .filter
                    .as_ref()
                    .is_none_or(|filter| filter.is_match(&entry.name))
        });
        // Order and page need the names only, unless the order is by date.
        if !self.by_date {
            entries.sort_by(|a, b| (&a.name, &a.namespace).cmp(&(&b.name, &b.namespace)));
            if self.reverse {
                entries.reverse();
            }
            entries = self.page(entries);
        }
        let reads: Vec<_> = entries.iter().map(|entry| storage.read(entry)).collect();
        let mut answers = stream::iter(reads).buffered(IN_FLIGHT_MAX);
        let mut releases = Vec::with_capacity(entries.len());
        while let Some(answer) = answers.next().await {
            releases.extend(answer?);
        }
        if self.by_date {
            releases.sort_by_key(|release| release.info.last_deployed.map(|time| time.timestamp()));
            if self.reverse {
                releases.reverse();
            }
            releases = self.page(releases);
        }
        Ok(releases)
    }

    fn page<T>(&self, all: Vec<T>) -> Vec<T> {
        let limit = if self.limit == 0 { usize::MAX } else { self.limit };
        all.into_iter().skip(self.offset).take(limit).collect()
    }
}

/// Reads the objects of a release as they are, with what the pods of those that are not ready say.
pub async fn live_resources(cluster: &Cluster, release: &Release) -> Result<Vec<LiveResource>, ActionError> {
    let resources = deploy::old_resources(cluster, release).await?;
    let mut live = Vec::with_capacity(resources.len());
    for resource in resources.into_iter().filter(Resource::is_named) {
        let target: Target = resource.target();
        let object = match cluster.api.get(&target).await {
            Ok(object) => Some(object),
            Err(status) if status.is_not_found() => None,
            Err(status) => return Err(ActionError::Unreachable(status)),
        };
        let readiness = match &object {
            Some(object) => Some(judge(cluster, object).await?),
            None => None,
        };
        live.push(LiveResource {
            kind: resource.object.kind().to_owned(),
            api_version: resource.object.api_version().to_owned(),
            namespace: target.namespace.unwrap_or_default(),
            name: target.name,
            readiness,
            object,
        });
    }
    Ok(live)
}

async fn judge(cluster: &Cluster, object: &Object) -> Result<Readiness, ActionError> {
    let readiness = readiness::assess(object, Finish::default());
    let Readiness::Waiting(reason) = &readiness else {
        return Ok(readiness);
    };
    let (true, Some(namespace)) = (readiness::WORKLOADS.contains(&object.kind()), object.namespace()) else {
        return Ok(readiness);
    };
    let list = async |api_version: &str, resource: &str| {
        let collection = Collection::namespaced(api_version, resource, namespace);
        let listed = cluster.api.list(&collection, &ListOptions::default()).await;
        listed.map(|list| list.items).map_err(ActionError::Unreachable)
    };
    let (sets, pods) = (list("apps/v1", "replicasets").await?, list("v1", "pods").await?);
    let owned = |items: &[Arc<Object>], uid: &str| {
        let owned = items
            .iter()
            .filter(|item| item.controller().is_some_and(|owner| owner.uid == uid));
        owned.cloned().collect()
    };
    let trouble = readiness::workload_trouble(object, |uid| owned(&sets, uid), |uid| owned(&pods, uid));
    Ok(match trouble {
        Some(trouble) if trouble.fatal => Readiness::Failed(trouble.reason),
        Some(trouble) => Readiness::Waiting(format!("{reason}; {}", trouble.reason)),
        None => readiness,
    })
}
