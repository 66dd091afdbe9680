//! What is looked at before a transaction is taken in.

use std::collections::HashSet;

use crate::shared_tables::SharedTables;
use crate::stored::Stored;
use crate::weight::{depth, weigh};
use crate::{Change, Limits, StoreError, Transaction};

/// How deep an object may nest: JSON is read back to 128 levels, and a transaction must always be.
const DEPTH_MAX: usize = 120;

/// Refuses a transaction that is malformed, too big, or would grow a full store; gives the bytes of its objects.
///
/// This happens before the log and is a local matter; nothing here decides what a transaction does.
pub(crate) fn check_transaction(
    transaction: &Transaction,
    limits: &Limits,
    tables: &SharedTables,
) -> Result<usize, StoreError> {
    let writes = &transaction.writes;
    if writes.len() > limits.transaction_writes_max {
        let (count, count_max) = (writes.len(), limits.transaction_writes_max);
        let reason = format!("{count} keys are more than the {count_max} that one transaction may hold");
        return Err(StoreError::Invalid { reason });
    }
    let mut keys = HashSet::with_capacity(if writes.len() > 1 { writes.len() } else { 0 });
    let mut bytes = 0;
    for write in writes {
        if writes.len() > 1 && !keys.insert(&write.key) {
            let reason = format!("key `{}` appears twice", write.key);
            return Err(StoreError::Invalid { reason });
        }
        if let Change::Put(object) = &write.change {
            if depth(object) > DEPTH_MAX {
                let reason = format!(
                    "the object at `{}` nests deeper than {DEPTH_MAX} levels",
                    write.key
                );
                return Err(StoreError::Invalid { reason });
            }
            bytes += weigh(object);
        }
    }
    if bytes > limits.transaction_bytes_max {
        return Err(StoreError::TooLarge {
            bytes,
            bytes_max: limits.transaction_bytes_max,
        });
    }
    let tables = tables.read();
    let live_bytes = tables.live_bytes();
    if live_bytes + bytes > limits.live_bytes_max {
        // Near the limit only: what is replaced or deleted makes room.
        let replaced = writes.iter().filter_map(|write| tables.stored(&write.key));
        let replaced_bytes: usize = replaced.map(Stored::bytes).sum();
        if bytes > replaced_bytes {
            return Err(StoreError::Full {
                bytes: live_bytes,
                bytes_max: limits.live_bytes_max,
            });
        }
    }
    Ok(bytes)
}
