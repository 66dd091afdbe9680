//! Watching a table: a cursor into its ring of events.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream;
use tokio::sync::watch::Receiver;

use crate::shared_tables::SharedTables;
use crate::{Event, EventStream, Revision, Selection, StoreError};

/// Events that a watcher takes out of the ring at once, and so all that it ever holds.
const TAKEN_MAX: usize = 64;

/// Ring places that are looked at under one lock while searching for events of the selection.
const LOOKED_AT_MAX: usize = 1024;

struct Watcher {
    tables: Arc<SharedTables>,
    selection: Selection,
    /// Sequence number of the next event to look at.
    sequence: u64,
    taken: VecDeque<Arc<Event>>,
    wake: Receiver<()>,
    ended: bool,
}

/// Starts a stream of the events after a revision.
pub(crate) fn watch(
    tables: Arc<SharedTables>,
    selection: Selection,
    after: Revision,
) -> Result<EventStream, StoreError> {
    let (sequence, wake) = tables.change(|tables| {
        let newest = tables.revision();
        if after > newest {
            return Err(StoreError::Future { asked: after, newest });
        }
        let table = tables.table_mut(&selection.table);
        Ok((table.sequence_after(after)?, table.wake().subscribe()))
    })?;
    let watcher = Watcher {
        tables,
        selection,
        sequence,
        taken: VecDeque::new(),
        wake,
        ended: false,
    };
    Ok(Box::pin(stream::unfold(watcher, |mut watcher| async {
        let item = watcher.next().await?;
        Some((item, watcher))
    })))
}

impl Watcher {
    async fn next(&mut self) -> Option<Result<Arc<Event>, StoreError>> {
        if self.ended {
            return None;
        }
        loop {
            if let Some(event) = self.taken.pop_front() {
                return Some(Ok(event));
            }
            // Seen before looking, so that what comes between looking and waiting still wakes.
            self.wake.mark_unchanged();
            match self.take() {
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
                Ok(true) => {}
                // The tables hold the sender, and this watcher the tables, so it cannot be gone.
                Ok(false) => _ = self.wake.changed().await,
            }
        }
    }

    /// Takes what is next in the ring, and says whether there was anything.
    fn take(&mut self) -> Result<bool, StoreError> {
        let tables = self.tables.read();
        let table = tables.table(&self.selection.table);
        let events = table.and_then(|table| table.events(self.sequence, LOOKED_AT_MAX));
        let Some(events) = events else {
            return Err(StoreError::SlowWatcher);
        };
        let mut looked_at = 0;
        for event in events {
            looked_at += 1;
            let namespace = self.selection.namespace.as_ref();
            if namespace.is_none_or(|namespace| *namespace == event.key.namespace) {
                self.taken.push_back(event.clone());
                if self.taken.len() == TAKEN_MAX {
                    break;
                }
            }
        }
        self.sequence += looked_at;
        if looked_at == 0 && tables.is_closed() {
            let reason = "the store was stopped".to_owned();
            return Err(StoreError::Unavailable { reason });
        }
        Ok(looked_at > 0)
    }
}
