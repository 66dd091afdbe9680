//! What a file holds.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// The bytes of a file, cheaply cloned.
///
/// The files of an archive share the one buffer that it was unpacked into: copying each out of it would touch as much
/// memory again, and new memory is dearer than what is done with it.
#[derive(Clone)]
pub struct Content {
    whole: Arc<Vec<u8>>,
    place: Range<usize>,
}

impl Content {
    /// The whole of a buffer.
    pub(crate) fn whole(buffer: Vec<u8>) -> Content {
        let place = 0..buffer.len();
        Content {
            whole: Arc::new(buffer),
            place,
        }
    }

    /// A part of the content; empty if it does not lie in it.
    pub(crate) fn part(&self, place: Range<usize>) -> Content {
        let inside = self.get(place.clone()).is_some();
        let start = self.place.start;
        let place = if inside {
            start + place.start..start + place.end
        } else {
            0..0
        };
        Content {
            whole: Arc::clone(&self.whole),
            place,
        }
    }
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.whole[self.place.clone()]
    }
}

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Content) -> bool {
        **self == **other
    }
}

impl Eq for Content {}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Content {
        Content::whole(bytes)
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Content {
        Content::whole(bytes.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Content {
    fn from(bytes: &[u8; N]) -> Content {
        Content::whole(bytes.to_vec())
    }
}
