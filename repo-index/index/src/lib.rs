//! The index of a chart repository, references to charts, and the resolving of dependencies; no IO.
//!
//! [`Index`] is what `index.yaml` holds.

mod index_file;
mod index_file_entry;
mod index_file_error;

pub use index_file::{Index, ReadIndex};
pub use index_file_entry::{ArchiveFacts, IndexEntry, sha256_hex};
pub use index_file_error::{EntryError, ReadIndexError, SkippedEntry};
