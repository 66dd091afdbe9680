//! Reading one object and lists of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cluster_client::{Collection, Target};
use cluster_objects::registry::KindRow;
use cluster_objects::{Object, Status};
use cluster_store::{ListAnswer, Revision, Selection, StoreError};

use super::continuation::Continuation;
use super::query::{ListQuery, VersionMatch};
use super::selection::{Selectors, stored_selection};
use super::{Engine, in_version, key_of, no_such_resource, store_failure, too_large_version};
use crate::user::Caller;

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The row of the listed kind.
    pub row: Arc<KindRow>,
    /// The objects, in the row's version.
    pub items: Vec<Arc<Object>>,
    /// The revision that the page shows.
    pub revision: Revision,
    /// Where to go on, empty on the last page.
    pub continue_token: String,
}

impl Engine {
    /// Waits until reads show all that was written anywhere before; 503 while that cannot be known.
    pub async fn catch_up(&self) -> Result<(), Status> {
        self.store().ensure_newest().await.map_err(store_failure)
    }

    /// Waits until reads may name a `resourceVersion`: what takes any revision is answered from what is here, also while
    /// nobody leads.
    pub(super) async fn reach(&self, resource_version: &str) -> Result<(), Status> {
        let asked = parse_revision(resource_version)?;
        if resource_version.is_empty() || asked > self.revision() {
            self.catch_up().await?;
        }
        let newest = self.revision();
        if asked > newest {
            return Err(too_large_version(asked, newest));
        }
        Ok(())
    }

    /// Whether this server has not yet heard of a revision that a client knows.
    pub(crate) fn is_behind(&self, resource_version: &str) -> bool {
        parse_revision(resource_version).is_ok_and(|asked| asked > self.revision())
    }

    /// Reads one object, or its `status` or `scale`.
    pub fn get(&self, caller: &Caller, target: &Target) -> Result<Arc<Object>, Status> {
        let row = self.enter(caller, "get", target)?;
        let object = self.stored(&row, target)?;
        match target.subresource {
            None | Some("status" | "ephemeralcontainers" | "resize" | "approval") => Ok(object),
            Some("scale") => row.scale_of(&object).map(Arc::new).ok_or_else(no_such_resource),
            Some(_) => Err(no_such_resource()),
        }
    }

    /// The object of a target, without asking who wants it.
    pub(crate) fn stored(&self, row: &KindRow, target: &Target) -> Result<Arc<Object>, Status> {
        let key = key_of(row, target.namespace.as_deref(), &target.name);
        let found = self.store().get(&key);
        let object = found.ok_or_else(|| Status::not_found(&target.resource, &target.name))?;
        Ok(in_version(row, object))
    }

    /// Reads one page of the selected objects of a collection.
    pub fn list(&self, caller: &Caller, collection: &Collection, query: &ListQuery) -> Result<Page, Status> {
        let row = self.enter_collection(caller, "list", collection, &query.field_selector)?;
        self.select(row, collection, query)
    }

    /// Reads one page, without asking who wants it.
    pub(super) fn select(
        &self,
        row: Arc<KindRow>,
        collection: &Collection,
        query: &ListQuery,
    ) -> Result<Page, Status> {
        query.check()?;
        if !row.is_stored() {
            return Err(no_such_resource());
        }
        let selectors = Selectors::read(&row, &query.label_selector, &query.field_selector)?;
        let continuation = match query.continue_token.as_str() {
            "" => None,
            token => Some(Continuation::decode(token)?),
        };
        let at = self.revision_asked(query, continuation.as_ref())?;
        let after = continuation
            .as_ref()
            .map(|from| (from.namespace.as_str(), from.name.as_str()));
        let selection = stored_selection(&row, collection);
        let as_stored = row.is_storage_version();
        let keep = |object: &Object| {
            selectors.select_all() || {
                if as_stored {
                    selectors.select(object)
                } else {
                    let mut converted = object.clone();
                    row.from_stored(&mut converted);
                    selectors.select(&converted)
                }
            }
        };
        let answer = self.store().list(&selection, at, after, query.limit, &keep);
        let ListAnswer {
            revision,
            objects,
            more,
        } = answer.map_err(|error| match error {
            StoreError::Compacted { .. } if continuation.is_some() => Status::expired(
                "The provided continue parameter is too old to display a consistent list result. You must start a \
                 new list without the continue parameter.",
            ),
            other => store_failure(other),
        })?;
        let continue_token = match objects.last().filter(|_| more) {
            Some(last) => Continuation {
                revision,
                namespace: last.namespace().unwrap_or_default().to_owned(),
                name: last.name().to_owned(),
            }
            .encode(),
            None => String::new(),
        };
        let items = if as_stored {
            objects
        } else {
            objects
                .into_iter()
                .map(|object| in_version(&row, object))
                .collect()
        };
        Ok(Page {
            row,
            items,
            revision,
            continue_token,
        })
    }

    /// How many objects there are of each stored resource.
    pub(crate) fn object_counts(&self) -> Vec<(String, usize)> {
        let registry = self.registry();
        let tables: BTreeSet<Arc<str>> = registry
            .rows()
            .filter(|row| row.is_stored())
            .map(|row| Arc::clone(&row.table))
            .collect();
        let count = |table: Arc<str>| {
            let found = AtomicUsize::new(0);
            let selection = Selection {
                table: Arc::clone(&table),
                namespace: None,
            };
            let keep = |_: &Object| {
                found.fetch_add(1, Ordering::Relaxed);
                false
            };
            // A list that cannot be read counts as empty.
            let _ = self.store().list(&selection, None, None, 0, &keep);
            (table.to_string(), found.into_inner())
        };
        tables.into_iter().map(count).collect()
    }

    /// The revision to read at; `None` is now.
    fn revision_asked(
        &self,
        query: &ListQuery,
        continuation: Option<&Continuation>,
    ) -> Result<Option<Revision>, Status> {
        if let Some(continuation) = continuation {
            return Ok(Some(continuation.revision));
        }
        let asked = parse_revision(&query.resource_version)?;
        if asked == Revision(0) {
            return Ok(None);
        }
        let newest = self.revision();
        if asked > newest {
            return Err(too_large_version(asked, newest));
        }
        match query.version_match {
            Some(VersionMatch::Exact) => Ok(Some(asked)),
            // With a limit and no word on how the version is meant, it is meant exactly.
            None if query.limit > 0 => Ok(Some(asked)),
            None | Some(VersionMatch::NotOlderThan) => Ok(None),
        }
    }
}

/// Reads a `resourceVersion`; empty is 0, which means any.
pub(super) fn parse_revision(text: &str) -> Result<Revision, Status> {
    if text.is_empty() {
        return Ok(Revision(0));
    }
    text.parse()
        .map(Revision)
        .map_err(|_| Status::bad_request(format!("invalid resource version {text:?}: it must be a number")))
}
