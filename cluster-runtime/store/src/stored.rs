//! An object as a table holds it.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use cluster_objects::Object;

use crate::Revision;
use crate::weight::{ENTRY_BYTES, weigh};

/// An object as it is stored.
///
/// What comes from a snapshot stays text until it is asked for: a start does not wait for objects that nobody
/// reads, and these take a tenth of the memory.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    body: Body,
    revision: Revision,
    bytes: usize,
}

#[derive(Clone, Debug)]
enum Body {
    Decoded(Arc<Object>),
    Encoded(Arc<Encoded>),
}

#[derive(Debug)]
struct Encoded {
    /// JSON that was written from an object, with its checksum verified.
    text: Box<[u8]>,
    decoded: OnceLock<Arc<Object>>,
}

impl Stored {
    pub(crate) fn new(object: Arc<Object>, revision: Revision) -> Self {
        Self {
            bytes: weigh(&object) + ENTRY_BYTES,
            body: Body::Decoded(object),
            revision,
        }
    }

    /// Takes the text of a stored object, with what it will weigh when it is decoded.
    pub(crate) fn encoded(text: &[u8], revision: Revision, bytes: usize) -> Self {
        let encoded = Encoded {
            text: text.into(),
            decoded: OnceLock::new(),
        };
        Self {
            body: Body::Encoded(Arc::new(encoded)),
            revision,
            bytes,
        }
    }

    /// The object, decoded when this is asked for the first time.
    pub(crate) fn object(&self) -> &Arc<Object> {
        match &self.body {
            Body::Decoded(object) => object,
            Body::Encoded(encoded) => encoded.decoded.get_or_init(|| {
                let object = serde_json::from_slice(&encoded.text);
                Arc::new(object.expect("what was written from an object and not damaged since is one"))
            }),
        }
    }

    /// The object as JSON text.
    pub(crate) fn text(&self) -> Cow<'_, [u8]> {
        match &self.body {
            Body::Decoded(object) => Cow::Owned(object_text(object)),
            Body::Encoded(encoded) => Cow::Borrowed(&encoded.text),
        }
    }

    /// Revision of the change that wrote it.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// What it weighs in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// An object as JSON text, as it is in memory.
pub(crate) fn object_text(object: &Object) -> Vec<u8> {
    let mut text = Vec::with_capacity(2048);
    object.write_held_json(&mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_decoded_when_asked_for() {
        let stored = Stored::encoded(br#"{"kind":"Pod"}"#, Revision(7), 900);
        assert_eq!(stored.object().kind(), "Pod");
        assert!(
            Arc::ptr_eq(stored.object(), stored.clone().object()),
            "once for all copies"
        );
        assert_eq!((stored.revision(), stored.bytes()), (Revision(7), 900));
        let decoded = Stored::new(stored.object().clone(), Revision(7));
        assert_eq!(decoded.text(), stored.text());
    }
}
