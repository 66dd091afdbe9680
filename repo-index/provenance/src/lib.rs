//! Provenance files of charts: made and verified with OpenPGP keys, as Helm does it.
//!
//! A provenance file is a text signed in the clear: what `Chart.yaml` says, and the digest of the archive. [`sign`] makes
//! one with a key of a keyring, [`verify`] checks one and the archive beside it. Nothing here does IO: keyrings are bytes,
//! and the time is an argument.

mod error;
mod keybox;
mod keyring;
mod packets;
mod statement;

pub use error::ProvenanceError;
pub use keyring::{Keyring, SigningKey};
pub use statement::{Verification, sign, verify};
