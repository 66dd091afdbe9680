//! Keys, certificates, password hashes and encryption.

mod certificates;
mod cipher;
mod keys;
mod lanes;
mod montgomery;
mod passwords;
mod primes;

pub(super) use passwords::HashesAhead;

use super::Entry;

/// The rows of all files of this folder.
pub(super) const TABLES: [&[Entry]; 4] = [certificates::ROWS, cipher::ROWS, keys::ROWS, passwords::ROWS];
