//! The index of a chart repository, references to charts, and the resolving of dependencies; no IO.
//!
//! [`Index`] is what `index.yaml` holds, [`ChartReference`] what a user types, [`resolve`] finds versions for a tree of
//! dependencies, and [`ChartLock`] keeps them.

mod chart_lock;
mod digest;
mod index_file;
mod index_file_entry;
mod index_file_error;
mod oci_reference;
mod reference;
pub mod resolve;
mod version_choice;

pub use chart_lock::{ChartLock, ChartLockError, LockedArtifact, lock_digest};
pub use digest::{Digest, DigestError};
pub use index_file::{Index, ReadIndex};
pub use index_file_entry::{ArchiveFacts, IndexEntry, sha256_hex};
pub use index_file_error::{EntryError, ReadIndexError, SkippedEntry};
pub use oci_reference::{OciReference, OciReferenceError, is_registry, tag_of_version, version_of_tag};
pub use reference::{ChartPlace, ChartReference, ReferenceError, check_chart_name};
pub use version_choice::{ANY, DEVEL, ranked};
