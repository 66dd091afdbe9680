//! Following the changes of a collection.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cluster_client::Collection;
use cluster_objects::registry::KindRow;
use cluster_objects::{Object, Status};
use cluster_store::{Event, EventStream, Revision, StoreError};
use futures::{FutureExt, Stream, StreamExt, stream};
use tokio::time::{Instant, sleep_until};

use super::query::{ListQuery, WatchQuery};
use super::read::parse_revision;
use super::selection::{Selectors, stored_selection};
use super::{Engine, in_version, no_such_resource, store_failure, too_large_version};
use crate::user::Caller;

/// Time between bookmarks of a watch on which nothing happens.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// Shortest life of a watch that names no timeout; it lives up to twice as long.
const LIFE_MIN: Duration = Duration::from_secs(1800);

/// One reported change.
#[derive(Clone, Debug)]
pub enum Change {
    /// The object is new, or newly selected.
    Added(Arc<Object>),
    /// The object changed.
    Modified(Arc<Object>),
    /// The object is gone, or no longer selected; in its last state.
    Deleted(Arc<Object>),
    /// Nothing else changed up to this revision.
    Bookmark {
        /// The revision.
        revision: Revision,
        /// Whether all objects that were there at the start have now been reported.
        initial_events_end: bool,
    },
    /// The watch ends here, with 410 when its revision is no longer kept.
    Error(Status),
}

/// The changes of a collection, in the order in which they were committed.
pub type ChangeStream = Pin<Box<dyn Stream<Item = Change> + Send>>;

struct Watch {
    engine: Engine,
    row: Arc<KindRow>,
    /// Whether objects are stored in the row's version, so that they are passed on as they are.
    as_stored: bool,
    selectors: Selectors,
    /// What is to be reported before the first event.
    initial: VecDeque<Change>,
    events: EventStream,
    /// The revision up to which everything was reported.
    reported: Revision,
    bookmarks: bool,
    next_bookmark: Instant,
    end: Instant,
    ended: bool,
}

impl Engine {
    /// Follows the selected objects of a collection. Gives the row of the watched kind besides.
    ///
    /// The stream pulls from the store as it is polled, so that a slow reader holds nothing back but itself; the
    /// store cuts it off when it falls too far behind.
    pub fn watch(
        &self,
        caller: &Caller,
        collection: &Collection,
        query: &WatchQuery,
    ) -> Result<(Arc<KindRow>, ChangeStream), Status> {
        let row = self.enter_collection(caller, "watch", collection, &query.field_selector)?;
        if !row.is_stored() {
            return Err(no_such_resource());
        }
        query.check()?;
        let selectors = Selectors::read(&row, &query.label_selector, &query.field_selector)?;
        let asked = parse_revision(&query.resource_version)?;
        let newest = self.revision();
        if asked > newest {
            return Err(too_large_version(asked, newest));
        }
        let from_start = match query.send_initial_events {
            Some(wanted) => wanted,
            None => asked == Revision(0),
        };
        let mut initial = VecDeque::new();
        let from = if from_start {
            let list = ListQuery {
                label_selector: query.label_selector.clone(),
                field_selector: query.field_selector.clone(),
                ..ListQuery::default()
            };
            let page = self.select(Arc::clone(&row), collection, &list)?;
            initial.extend(page.items.into_iter().map(Change::Added));
            if query.send_initial_events == Some(true) {
                initial.push_back(Change::Bookmark {
                    revision: page.revision,
                    initial_events_end: true,
                });
            }
            page.revision
        } else if asked == Revision(0) {
            newest
        } else {
            asked
        };
        let events = match self.store().watch(&stored_selection(&row, collection), from) {
            Ok(events) => events,
            Err(StoreError::Compacted { asked, oldest }) => {
                let error = Change::Error(too_old(asked, oldest));
                return Ok((row, Box::pin(stream::once(async { error }))));
            }
            Err(other) => return Err(store_failure(other)),
        };
        let now = Instant::now();
        let life = query.timeout.unwrap_or_else(|| {
            let extra = self.sources().random() % u128::from(LIFE_MIN.as_secs());
            LIFE_MIN + Duration::from_secs(extra as u64)
        });
        let watch = Watch {
            engine: self.clone(),
            as_stored: row.is_storage_version(),
            row: Arc::clone(&row),
            selectors,
            initial,
            events,
            reported: from,
            bookmarks: query.bookmarks,
            next_bookmark: now + BOOKMARK_EVERY,
            end: now + life,
            ended: false,
        };
        let changes = stream::unfold(watch, |mut watch| async {
            let change = watch.next().await?;
            Some((change, watch))
        });
        Ok((row, Box::pin(changes)))
    }
}

impl Watch {
    async fn next(&mut self) -> Option<Change> {
        if let Some(change) = self.initial.pop_front() {
            return Some(change);
        }
        while !self.ended {
            // What is already there is taken without arming any timer.
            let item = match self.events.next().now_or_never() {
                Some(item) => item,
                None => {
                    let wake = if self.bookmarks {
                        self.next_bookmark.min(self.end)
                    } else {
                        self.end
                    };
                    tokio::select! {
                        biased;
                        item = self.events.next() => item,
                        () = sleep_until(wake) => {
                            if let Some(bookmark) = self.wake_up() {
                                return Some(bookmark);
                            }
                            continue;
                        }
                    }
                }
            };
            match item {
                Some(Ok(event)) => {
                    self.reported = event.revision;
                    if let Some(change) = self.change(&event) {
                        return Some(change);
                    }
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Some(Change::Error(watch_failure(error)));
                }
                None => self.ended = true,
            }
        }
        None
    }

    /// A bookmark when it is time for one; at the end of its life the watch ends after a last one.
    fn wake_up(&mut self) -> Option<Change> {
        let now = Instant::now();
        self.ended = now >= self.end;
        if !self.bookmarks {
            return None;
        }
        self.next_bookmark = now + BOOKMARK_EVERY;
        // Events up to this revision come before the stream says that there are no more.
        let revision = self.engine.revision();
        if let Some(Some(Ok(event))) = self.events.next().now_or_never() {
            self.reported = event.revision;
            return self.change(&event);
        }
        self.reported = revision;
        Some(Change::Bookmark {
            revision,
            initial_events_end: false,
        })
    }

    /// What an event means to this watch, if it means anything.
    fn change(&self, event: &Event) -> Option<Change> {
        let shown = |object: &Arc<Object>| {
            let object = Arc::clone(object);
            if self.as_stored {
                object
            } else {
                in_version(&self.row, object)
            }
        };
        let now = shown(&event.object);
        let before = event.previous.as_ref().map(shown);
        let all = self.selectors.select_all();
        let was_selected = before
            .as_ref()
            .is_some_and(|before| all || self.selectors.select(before));
        if event.deleted {
            // The object of a deletion is the last state, so the previous one tells whether it was selected.
            let selected = was_selected || (before.is_none() && (all || self.selectors.select(&now)));
            return selected.then_some(Change::Deleted(now));
        }
        match (was_selected, all || self.selectors.select(&now)) {
            (false, true) => Some(Change::Added(now)),
            (true, true) => Some(Change::Modified(now)),
            (true, false) => Some(Change::Deleted(at_revision(
                before.unwrap_or(now),
                event.revision,
            ))),
            (false, false) => None,
        }
    }
}

/// The object as it was, at the revision of the change that took it out of the selection.
fn at_revision(object: Arc<Object>, revision: Revision) -> Arc<Object> {
    let mut object = Arc::unwrap_or_clone(object);
    object.set(&["metadata", "resourceVersion"], revision.to_string());
    Arc::new(object)
}

fn too_old(asked: Revision, oldest: Revision) -> Status {
    Status::expired(format!("too old resource version: {asked} ({oldest})"))
}

fn watch_failure(error: StoreError) -> Status {
    match error {
        StoreError::Compacted { asked, oldest } => too_old(asked, oldest),
        StoreError::SlowWatcher => {
            Status::expired("the watch did not keep up with the changes and was cut off")
        }
        other => store_failure(other),
    }
}
