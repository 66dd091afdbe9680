//! Objects as JSON, kept for a while: the watchers of a collection share one encoding of each change.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use cluster_objects::Object;
use cluster_objects::registry::KindRow;

/// Bytes that are kept.
const BYTES_MAX: usize = 4 << 20;

/// An object at one revision in one version. Revisions are never used twice, so nothing else is needed.
type Key = (String, Cow<'static, str>, Cow<'static, str>);

/// Encodings of the newest changes.
#[derive(Default)]
pub(crate) struct Encoded {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    encodings: HashMap<Key, Bytes>,
    order: VecDeque<Key>,
    bytes: usize,
}

impl Encoded {
    /// The JSON of an object as it was stored at its own `resourceVersion`.
    ///
    /// Not for objects in a state that was never stored, as deletions and departures from a selection show them.
    pub(crate) fn json(&self, row: &KindRow, object: &Object) -> Bytes {
        let key = (
            object.resource_version().to_owned(),
            row.group.clone(),
            row.version.clone(),
        );
        if let Some(found) = self.lock(|kept| kept.encodings.get(&key).cloned()) {
            return found;
        }
        let mut encoded = Vec::new();
        object.write_wire_json(&mut encoded);
        let encoded = Bytes::from(encoded);
        self.lock(|kept| kept.keep(key, encoded.clone()));
        encoded
    }

    fn lock<T>(&self, use_kept: impl FnOnce(&mut Kept) -> T) -> T {
        use_kept(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Kept {
    fn keep(&mut self, key: Key, encoded: Bytes) {
        if encoded.len() > BYTES_MAX / 8 {
            return;
        }
        self.bytes += encoded.len();
        if let Some(replaced) = self.encodings.insert(key.clone(), encoded) {
            // Two watchers encoded it at the same time.
            self.bytes -= replaced.len();
        } else {
            self.order.push_back(key);
        }
        while self.bytes > BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            self.bytes -= self.encodings.remove(&oldest).map_or(0, |encoded| encoded.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(revision: usize, padding: usize) -> Object {
        let mut object = Object::new("v1", "ConfigMap", Some("default"), "a");
        object.set(&["metadata", "resourceVersion"], revision.to_string());
        object.set(&["data", "k"], "x".repeat(padding));
        object
    }

    #[test]
    fn an_object_is_encoded_once_and_forgotten_in_time() {
        let row = KindRow::new("", "v1", "ConfigMap", "configmaps");
        let encoded = Encoded::default();
        let first = encoded.json(&row, &object(1, 10));
        assert_eq!(first.as_ptr(), encoded.json(&row, &object(1, 10)).as_ptr());
        let other_version = KindRow::new("", "v2", "ConfigMap", "configmaps");
        assert_ne!(
            first.as_ptr(),
            encoded.json(&other_version, &object(1, 10)).as_ptr()
        );
        for revision in 2..200 {
            encoded.json(&row, &object(revision, 100_000));
        }
        let kept = encoded.kept.lock().unwrap();
        assert!(kept.bytes <= BYTES_MAX);
        assert_eq!(kept.encodings.len(), kept.order.len());
        assert_eq!(kept.bytes, kept.encodings.values().map(Bytes::len).sum::<usize>());
        assert!(!kept.encodings.keys().any(|key| key.0 == "1"));
    }
}
