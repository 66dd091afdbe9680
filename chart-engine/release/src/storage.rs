//! Where records are kept: Secrets in the namespace of the release, as Helm keeps them.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster_client::{Api, Clock, Collection, DeleteOptions, ListOptions, Patch, WriteOptions};
use cluster_objects::{Object, Status};
use jiff::Timestamp;

use crate::chunks::{self, Chunks, Layout};
use crate::codec::{self, DecodeError, Written};
use crate::lease::Lease;
use crate::record::{Release, ReleaseStatus};
use crate::resource::Resource;

/// Most bytes of the data of a Secret:
/// <https://kubernetes.io/docs/concepts/configuration/secret/#restriction-data-size>.
pub(crate) const RECORD_BYTES_MAX: usize = 1 << 20;

/// The records of releases in one namespace, or of all.
#[derive(Clone)]
pub struct Storage {
    api: Arc<dyn Api>,
    namespace: Option<String>,
    clock: Clock,
}

/// Where a revision stands, from the labels of its Secret alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Name of the release.
    pub name: String,
    /// Namespace of the release.
    pub namespace: String,
    /// The revision.
    pub revision: u32,
    /// Its state.
    pub status: ReleaseStatus,
    secret: Arc<Object>,
    /// The further Secrets of a record that is too big for one.
    chunks: Vec<Arc<Object>>,
}

/// Why records cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// There is no such release. The text is Helm's.
    #[error("release: not found")]
    NotFound {
        /// Name of the release.
        name: String,
    },
    /// The release has no such revision. The text is Helm's.
    #[error("release: not found")]
    NoRevision {
        /// Name of the release.
        name: String,
        /// The revision asked for.
        revision: u32,
        /// The revisions there are.
        known: Vec<u32>,
    },
    /// Somebody else made that revision at the same time.
    #[error("another operation (install/upgrade/rollback) is in progress")]
    RevisionTaken {
        /// Name of the release.
        name: String,
        /// The revision.
        revision: u32,
    },
    /// A record cannot be read.
    #[error("the record `{secret}` is broken")]
    Broken {
        /// The Secret.
        secret: String,
        /// Why.
        source: DecodeError,
    },
    /// A record cannot be written as JSON.
    #[error("the record of `{name}` cannot be written")]
    Encode {
        /// Name of the release.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
    /// What of a record cannot be kept apart does not fit into a Secret.
    #[error(
        "the record of `{name}` takes {bytes} bytes, and a Secret holds {RECORD_BYTES_MAX}: hooks, values and defaults are too big"
    )]
    TooLarge {
        /// Name of the release.
        name: String,
        /// What the record takes.
        bytes: usize,
    },
    /// The cluster refused.
    #[error("cannot {verb} the records of releases")]
    Api {
        /// What was tried: `read`, `write` or `delete`.
        verb: &'static str,
        /// What the cluster said.
        source: Status,
    },
}

impl StorageError {
    /// Whether the release or the revision is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::NoRevision { .. })
    }
}

impl Entry {
    /// Unpacks the record.
    pub fn decode(&self) -> Result<Release, StorageError> {
        codec::from_secret(&self.secret, &self.chunks).map_err(|source| StorageError::Broken {
            secret: self.secret.key().into_owned(),
            source,
        })
    }

    /// Who is at work on the revision.
    pub fn lease(&self) -> Option<Lease> {
        Lease::of(&self.secret)
    }

    /// When the record was last written.
    pub(crate) fn written(&self) -> Option<Timestamp> {
        let label = self
            .secret
            .label("modifiedAt")
            .or(self.secret.label("createdAt"))?;
        Timestamp::from_second(label.parse().ok()?).ok()
    }

    /// What names the Secrets of the record, for transactions that delete them.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = Object> {
        let all = std::iter::once(&self.secret).chain(&self.chunks);
        all.map(|secret| Object::new("v1", "Secret", Some(&self.namespace), secret.name()))
    }

    /// Labels of the Secret, for selectors.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.secret.label(key)
    }
}

impl Storage {
    /// The records of one namespace.
    pub fn new(api: Arc<dyn Api>, namespace: &str, clock: Clock) -> Self {
        Self {
            api,
            namespace: Some(namespace.to_owned()),
            clock,
        }
    }

    /// The records of all namespaces; for reading.
    pub fn all_namespaces(api: Arc<dyn Api>, clock: Clock) -> Self {
        Self {
            api,
            namespace: None,
            clock,
        }
    }

    /// The revisions that a label selector finds beside `owner=helm`, in the order of namespace, name and revision.
    ///
    /// Records are not read, let alone unpacked: [`Storage::read`] does. A Secret whose labels say no revision is
    /// left out.
    pub async fn headings(&self, selector: &str) -> Result<Vec<Entry>, StorageError> {
        self.entries(selector, true).await
    }

    async fn entries(&self, selector: &str, metadata_only: bool) -> Result<Vec<Entry>, StorageError> {
        let mut label_selector = "owner=helm".to_owned();
        if !selector.is_empty() {
            label_selector = format!("{label_selector},{selector}");
        }
        let options = ListOptions {
            label_selector,
            metadata_only,
            ..ListOptions::default()
        };
        let secrets = self.secrets();
        let (list, further) = tokio::join!(
            self.api.list(&secrets, &options),
            self.further(selector, metadata_only)
        );
        let list = list.map_err(|source| StorageError::Api { verb: "read", source })?;
        let further = further?;
        let mut entries: Vec<Entry> = list.items.into_iter().filter_map(entry).collect();
        for entry in &mut entries {
            let theirs = further.iter().filter(|chunk| {
                chunk.label("name") == Some(&entry.name)
                    && chunk.namespace() == Some(&entry.namespace)
                    && chunk.label("version") == entry.label("version")
            });
            entry.chunks = theirs.cloned().collect();
        }
        entries.sort_by(|a, b| (&a.namespace, &a.name, a.revision).cmp(&(&b.namespace, &b.name, b.revision)));
        Ok(entries)
    }

    /// The further Secrets of records that are too big for one. Helm, when it changes the state of a revision, forgets
    /// the annotation that tells of them, so they are looked for in any case.
    async fn further(&self, selector: &str, none: bool) -> Result<Vec<Arc<Object>>, StorageError> {
        if none {
            return Ok(Vec::new());
        }
        let options = ListOptions {
            label_selector: format!("owner={},{selector}", chunks::OWNER),
            ..ListOptions::default()
        };
        let listed = self.api.list(&self.secrets(), &options).await;
        let list = listed.map_err(|source| StorageError::Api { verb: "read", source })?;
        Ok(list.items)
    }

    /// The revisions of a release, oldest first; there is at least one.
    pub async fn revisions(&self, name: &str) -> Result<Vec<Entry>, StorageError> {
        let entries = self.entries(&format!("name={name}"), false).await?;
        if entries.is_empty() {
            return Err(StorageError::NotFound {
                name: name.to_owned(),
            });
        }
        Ok(entries)
    }

    /// One revision of a release, or the last where none is named.
    pub async fn get(&self, name: &str, revision: Option<u32>) -> Result<Release, StorageError> {
        let entries = self.revisions(name).await?;
        let found = match revision {
            None => entries.last(),
            Some(revision) => entries.iter().find(|entry| entry.revision == revision),
        };
        match found {
            Some(entry) => entry.decode(),
            None => Err(StorageError::NoRevision {
                name: name.to_owned(),
                revision: revision.unwrap_or_default(),
                known: entries.iter().map(|entry| entry.revision).collect(),
            }),
        }
    }

    /// Reads the record of a heading; `None` where it is gone meanwhile.
    pub async fn read(&self, entry: &Entry) -> Result<Option<Release>, StorageError> {
        if entry.secret.at(&["data"]).is_some() {
            return entry.decode().map(Some);
        }
        let target = secrets_of(&entry.namespace).target(entry.secret.name());
        match self.api.get(&target).await {
            Ok(secret) => {
                let mut entry = Entry {
                    secret,
                    ..entry.clone()
                };
                if matches!(Layout::of(&entry.secret), Layout::Bare(_)) {
                    let selector = format!("name={},version={}", entry.name, entry.revision);
                    let of_namespace = Self::new(self.api.clone(), &entry.namespace, self.clock.clone());
                    entry.chunks = of_namespace.further(&selector, false).await?;
                }
                entry.decode().map(Some)
            }
            Err(status) if status.is_not_found() => Ok(None),
            Err(source) => Err(StorageError::Api { verb: "read", source }),
        }
    }

    /// Keeps a new revision.
    pub async fn create(&self, release: &mut Release) -> Result<(), StorageError> {
        let options = WriteOptions {
            force: true,
            ..write_options()
        };
        for chunk in chunks::lay_out(release)? {
            let target = chunk.target();
            let patch = Patch::Apply(chunk.object.into_value());
            let written = self.api.patch(&target, patch, &options).await;
            written.map_err(|source| StorageError::Api {
                verb: "write",
                source,
            })?;
        }
        let secret = self.secret(release, Written::Created(self.clock.now()))?;
        let collection = secrets_of(&release.namespace);
        match self.api.create(&collection, secret, &write_options()).await {
            Ok(_) => Ok(()),
            Err(status) if status.is_already_exists() => Err(StorageError::RevisionTaken {
                name: release.name.clone(),
                revision: release.revision,
            }),
            Err(source) => Err(StorageError::Api {
                verb: "write",
                source,
            }),
        }
    }

    /// The Secret that keeps a new revision, and those that must be there before it.
    pub(crate) fn created(&self, release: &mut Release) -> Result<(Object, Vec<Resource>), StorageError> {
        let chunks = chunks::lay_out(release)?;
        Ok((self.secret(release, Written::Created(self.clock.now()))?, chunks))
    }

    /// The Secret that replaces the record of a revision.
    pub(crate) fn updated(&self, release: &Release) -> Result<Object, StorageError> {
        self.secret(release, Written::Modified(self.clock.now()))
    }

    /// Replaces the record of a revision if nobody wrote it since it was read; `false` if somebody did.
    pub(crate) async fn update_unchanged(
        &self,
        entry: &Entry,
        release: &Release,
    ) -> Result<bool, StorageError> {
        let mut secret = self.updated(release)?;
        secret.set(&["metadata", "resourceVersion"], entry.secret.resource_version());
        let target = secrets_of(&release.namespace).target(secret.name());
        match self.api.update(&target, secret, &write_options()).await {
            Ok(_) => Ok(true),
            Err(status) if status.code == 409 || status.is_not_found() => Ok(false),
            Err(source) => Err(StorageError::Api {
                verb: "write",
                source,
            }),
        }
    }

    /// Replaces the record of a revision.
    pub async fn update(&self, release: &Release) -> Result<(), StorageError> {
        let secret = self.secret(release, Written::Modified(self.clock.now()))?;
        let target = secrets_of(&release.namespace).target(secret.name());
        let updated = self.api.update(&target, secret, &write_options()).await;
        updated.map(drop).map_err(|source| StorageError::Api {
            verb: "write",
            source,
        })
    }

    /// Removes the record of a revision; one that is gone already is no failure.
    pub async fn delete(&self, entry: &Entry) -> Result<(), StorageError> {
        // The first one first: what is left of the others then is of nothing.
        for secret in entry.secrets() {
            let target = secrets_of(&entry.namespace).target(secret.name());
            match self.api.delete(&target, &DeleteOptions::default()).await {
                Ok(_) => {}
                Err(status) if status.is_not_found() => {}
                Err(source) => {
                    return Err(StorageError::Api {
                        verb: "delete",
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    /// Removes the oldest revisions until there is room for one more below the limit (0 is no limit).
    pub async fn prune(&self, entries: &[Entry], max_history: u32) -> Result<(), StorageError> {
        for entry in superfluous(entries, max_history) {
            self.delete(entry).await?;
        }
        Ok(())
    }

    fn secret(&self, release: &Release, written: Written) -> Result<Object, StorageError> {
        let pack = |release: &Release| {
            codec::to_secret(release, written).map_err(|source| StorageError::Encode {
                name: release.name.clone(),
                source,
            })
        };
        let secret = pack(release)?;
        if record_bytes(&secret, release) <= RECORD_BYTES_MAX {
            return Ok(secret);
        }
        // One of Helm's that was nearly full and has grown: what is neither rolled back to nor shown goes.
        let (slim, _) = chunks::split(release, &Layout::Readable(Chunks::default()));
        let secret = pack(&slim)?;
        let bytes = record_bytes(&secret, &slim);
        if bytes <= RECORD_BYTES_MAX {
            return Ok(secret);
        }
        Err(StorageError::TooLarge {
            name: release.name.clone(),
            bytes,
        })
    }

    fn secrets(&self) -> Collection {
        match &self.namespace {
            Some(namespace) => secrets_of(namespace),
            None => Collection::all("v1", "secrets"),
        }
    }
}

/// Bytes of a Secret's data, which Kubernetes limits.
fn record_bytes(secret: &Object, release: &Release) -> usize {
    let encoded = secret.text(&["data", release.layout.key()]).unwrap_or_default();
    encoded.len() / 4 * 3
}

fn secrets_of(namespace: &str) -> Collection {
    Collection::namespaced("v1", "secrets", namespace)
}

fn write_options() -> WriteOptions {
    WriteOptions {
        field_manager: crate::FIELD_MANAGER.to_owned(),
        ..WriteOptions::default()
    }
}

fn entry(secret: Arc<Object>) -> Option<Entry> {
    Some(Entry {
        name: secret.label("name")?.to_owned(),
        namespace: secret.namespace().unwrap_or_default().to_owned(),
        revision: secret.label("version")?.parse().ok()?,
        status: ReleaseStatus::from_word(secret.label("status").unwrap_or("unknown")),
        secret,
        chunks: Vec::new(),
    })
}

/// The revisions to remove before one is added: the oldest, but never the last deployed one.
pub(crate) fn superfluous(entries: &[Entry], max_history: u32) -> Vec<&Entry> {
    let max_history = max_history as usize;
    if max_history == 0 || entries.len() < max_history {
        return Vec::new();
    }
    let last_deployed = entries
        .iter()
        .rev()
        .find(|entry| entry.status == ReleaseStatus::Deployed)
        .map(|entry| entry.revision);
    let too_many = entries.len() + 1 - max_history;
    let removable = entries
        .iter()
        .filter(|entry| Some(entry.revision) != last_deployed);
    removable.take(too_many).collect()
}

/// The last revision of each release, in the order of namespace and name.
pub fn latest(entries: Vec<Entry>) -> Vec<Entry> {
    let mut latest: BTreeMap<(String, String), Entry> = BTreeMap::new();
    for entry in entries {
        let key = (entry.namespace.clone(), entry.name.clone());
        let newer = latest
            .get(&key)
            .is_none_or(|known| known.revision < entry.revision);
        if newer {
            latest.insert(key, entry);
        }
    }
    latest.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(statuses: &[ReleaseStatus]) -> Vec<Entry> {
        let numbered = statuses.iter().zip(1..);
        numbered
            .map(|(status, revision)| Entry {
                name: "web".into(),
                namespace: "default".into(),
                revision,
                status: status.clone(),
                secret: Arc::default(),
                chunks: Vec::new(),
            })
            .collect()
    }

    #[track_caller]
    fn check(statuses: &[ReleaseStatus], max_history: u32, expected: &[u32]) {
        let entries = entries(statuses);
        let removed: Vec<u32> = superfluous(&entries, max_history)
            .iter()
            .map(|entry| entry.revision)
            .collect();
        assert_eq!(removed, expected);
    }

    #[test]
    fn the_oldest_go_but_never_the_deployed_one() {
        use ReleaseStatus::{Deployed, Failed, Superseded};
        check(&[Superseded, Superseded, Deployed], 0, &[]);
        check(&[Superseded, Superseded, Deployed], 4, &[]);
        check(&[Superseded, Superseded, Deployed], 3, &[1]);
        check(&[Superseded, Superseded, Deployed], 1, &[1, 2]);
        check(&[Deployed, Failed, Failed], 2, &[2, 3]);
        check(&[Superseded, Deployed, Failed], 3, &[1]);
    }
}
