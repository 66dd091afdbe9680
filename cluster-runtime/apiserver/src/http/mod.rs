//! The API over HTTP: reading requests, writing answers.

mod document;
mod negotiate;
mod path;
mod query;

pub(crate) use document::{Document, document};

/// Eight bytes that change with the content: for ETags.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    use std::hash::Hasher;
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
