//! Transactions that are too big for one entry of the log: staged in parts, then done by a commit marker.
//!
//! A part is an object in a table that no client sees, which holds some of the writes. The marker is a transaction
//! that checks nothing but parts: whoever applies it takes the writes of all of them, in their order, does them as one
//! transaction, and removes the parts. So until the marker is in the log nothing has happened, and with it everything
//! has, on every member alike. Parts whose marker never came are swept by the next one who leads.

use std::sync::Arc;

use cluster_objects::Object;
use serde_json::{Value, json};

use crate::tables::Tables;
use crate::weight::weigh;
use crate::{Change, Key, Precondition, Revision, Selection, StoreError, Transaction, Write};

/// Where parts are until they are committed or swept.
const TABLE: &str = "transactionparts.tug.dev";

/// All parts.
pub(crate) fn all() -> Selection {
    Selection {
        table: TABLE.into(),
        namespace: None,
    }
}

/// Where a part is kept. The namespace is the transaction's name, the name its number.
fn key_of(transaction: &str, number: usize) -> Key {
    Key::new(TABLE, transaction, &format!("{number:06}"))
}

/// Whether a key is that of a part.
pub(crate) fn is_part(key: &Key) -> bool {
    &*key.table == TABLE
}

/// The transaction that a part belongs to.
pub(crate) fn transaction_of(part: &Object) -> &str {
    part.namespace().unwrap_or_default()
}

/// Where a part is.
pub(crate) fn key(part: &Object) -> Key {
    Key::new(TABLE, transaction_of(part), part.name())
}

/// Splits a transaction into the objects of its parts, none of more than so many bytes unless one write alone is.
pub(crate) fn split(transaction: &Transaction, name: &str, bytes_max: usize) -> Vec<Write> {
    let mut parts = Vec::new();
    let mut writes: Vec<Value> = Vec::new();
    let mut bytes = 0;
    let mut close = |writes: &mut Vec<Value>| {
        let key = key_of(name, parts.len());
        let mut part = Object::new("tug.dev/v1", "TransactionPart", Some(name), &key.name);
        part.set(&["writes"], std::mem::take(writes));
        parts.push(Write {
            key,
            precondition: Precondition::Absent,
            change: Change::Put(Arc::new(part)),
        });
    };
    for write in &transaction.writes {
        let weight = match &write.change {
            Change::Put(object) => weigh(object),
            Change::Delete | Change::Check => 0,
        };
        if bytes + weight > bytes_max && !writes.is_empty() {
            close(&mut writes);
            bytes = 0;
        }
        bytes += weight;
        writes.push(write_value(write));
    }
    if !writes.is_empty() {
        close(&mut writes);
    }
    parts
}

/// The transaction that commits parts.
pub(crate) fn marker(parts: &[Key]) -> Transaction {
    with_each(parts, &Precondition::Present, &Change::Check)
}

/// The transaction that drops parts; those that are gone are no fault.
pub(crate) fn removal(parts: &[Key]) -> Transaction {
    with_each(parts, &Precondition::None, &Change::Delete)
}

fn with_each(parts: &[Key], precondition: &Precondition, change: &Change) -> Transaction {
    let writes = parts.iter().map(|key| Write {
        key: key.clone(),
        precondition: precondition.clone(),
        change: change.clone(),
    });
    Transaction {
        writes: writes.collect(),
    }
}

/// What a transaction really does: that of a marker is in the parts that it names.
pub(crate) fn gather(tables: &Tables, transaction: Transaction) -> Result<Transaction, StoreError> {
    let is_marker = transaction
        .writes
        .first()
        .is_some_and(|write| &*write.key.table == TABLE && write.change == Change::Check);
    if !is_marker {
        return Ok(transaction);
    }
    let mut writes = Vec::new();
    for Write { key, .. } in &transaction.writes {
        let part = tables.stored(key).map(|stored| stored.object().clone());
        let Some(part) = part else {
            // It was swept: whoever staged it was taken for dead.
            return Err(StoreError::PreconditionFailed {
                key: key.clone(),
                current: None,
            });
        };
        for value in part.list(&["writes"]) {
            let write = read_write(value).ok_or_else(|| StoreError::Invalid {
                reason: format!("part `{key}` cannot be read"),
            })?;
            writes.push(write);
        }
    }
    let keys: Vec<Key> = transaction.writes.into_iter().map(|write| write.key).collect();
    writes.extend(removal(&keys).writes);
    Ok(Transaction { writes })
}

fn write_value(write: &Write) -> Value {
    let Key {
        table,
        namespace,
        name,
    } = &write.key;
    let precondition = match &write.precondition {
        Precondition::None => Value::Null,
        Precondition::Absent => "absent".into(),
        Precondition::Present => "present".into(),
        Precondition::At(revision) => revision.0.into(),
    };
    let change: Value = match &write.change {
        Change::Put(object) => object.fields().clone().into(),
        Change::Delete => "delete".into(),
        Change::Check => "check".into(),
    };
    json!([**table, **namespace, **name, precondition, change])
}

fn read_write(value: &Value) -> Option<Write> {
    let text = |place: usize| value[place].as_str();
    let precondition = match &value[3] {
        Value::Null => Precondition::None,
        Value::String(word) if word == "absent" => Precondition::Absent,
        Value::String(word) if word == "present" => Precondition::Present,
        number => Precondition::At(Revision(number.as_u64()?)),
    };
    let change = match &value[4] {
        Value::String(word) if word == "delete" => Change::Delete,
        Value::String(word) if word == "check" => Change::Check,
        object => Change::Put(Arc::new(Object::from_value(object.clone()).ok()?)),
    };
    Some(Write {
        key: Key::new(text(0)?, text(1)?, text(2)?),
        precondition,
        change,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    fn transaction() -> Transaction {
        let key = |name| Key::new("configmaps", "default", name);
        let write = |name, precondition, change| Write {
            key: key(name),
            precondition,
            change,
        };
        let put = |name: &str| {
            let mut object = Object::new("v1", "ConfigMap", Some("default"), name);
            object.set(&["data", "text"], "x".repeat(1000));
            Change::Put(Arc::new(object))
        };
        Transaction {
            writes: vec![
                write("a", Precondition::Absent, put("a")),
                write("b", Precondition::None, put("b")),
                write("c", Precondition::None, Change::Delete),
                write("d", Precondition::Absent, Change::Check),
                write("e", Precondition::None, put("e")),
            ],
        }
    }

    #[test]
    fn writes_come_back_from_their_parts_in_their_order() {
        let transaction = transaction();
        let parts = split(&transaction, "t", 4_000);
        assert!(parts.len() > 1, "{}", parts.len());
        let keys: Vec<Key> = parts.iter().map(|part| part.key.clone()).collect();
        let mut tables = Tables::new(Limits::default());
        tables.apply(Transaction { writes: parts }).unwrap();
        let gathered = gather(&tables, marker(&keys)).unwrap();
        let (own, removed) = gathered.writes.split_at(transaction.writes.len());
        assert_eq!(own, transaction.writes);
        assert_eq!(removed, removal(&keys).writes);
        // What is no marker stays what it is.
        assert_eq!(gather(&tables, transaction.clone()).unwrap(), transaction);
    }

    #[test]
    fn err_a_part_that_was_swept() {
        let tables = Tables::new(Limits::default());
        let key = key_of("t", 0);
        let error = gather(&tables, marker(std::slice::from_ref(&key))).unwrap_err();
        assert!(matches!(error, StoreError::PreconditionFailed { key: failed, .. } if failed == key));
    }
}
