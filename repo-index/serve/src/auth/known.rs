//! Accounts and rights as their files had them. A changed file counts from the next request on.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::htpasswd::Accounts;
use super::rights::Rights;
use super::{AuthError, Checked};
use crate::options::ServeOptions;

/// Who is known, and what they may do.
#[derive(Debug)]
pub(super) struct Known {
    /// Without accounts everybody may do everything.
    pub(super) accounts: Option<Accounts>,
    pub(super) rights: Rights,
    /// Passwords that were found right; those of an earlier file count no more.
    pub(super) checked: Mutex<Checked>,
}

/// The files, and what they held when they were read.
#[derive(Debug)]
pub(super) struct AccountFiles {
    htpasswd: Option<PathBuf>,
    rights: Option<PathBuf>,
    state: RwLock<(Stamps, Arc<Known>)>,
}

/// Which states of the files: time of change, size and inode of each.
type Stamps = [Option<(i64, i64, u64, u64)>; 2];

impl AccountFiles {
    pub(super) fn open(options: &ServeOptions) -> Result<Self, AuthError> {
        let (htpasswd, rights) = (options.htpasswd.clone(), options.rights.clone());
        // Before reading: a change in between is seen as one.
        let stamps = [&htpasswd, &rights].map(stamp);
        let known = read(htpasswd.as_ref(), rights.as_ref())?;
        Ok(Self {
            htpasswd,
            rights,
            state: RwLock::new((stamps, Arc::new(known))),
        })
    }

    /// What was read last.
    pub(super) fn known(&self) -> Arc<Known> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&state.1)
    }

    /// Reads the files again if they changed. What cannot be read leaves what was known: nobody gains a right by it.
    pub(super) fn refresh(&self) {
        let now = [&self.htpasswd, &self.rights].map(stamp);
        if self.state.read().unwrap_or_else(PoisonError::into_inner).0 == now {
            return;
        }
        let outcome = read(self.htpasswd.as_ref(), self.rights.as_ref());
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        // Also where it failed: the same files are not read again.
        state.0 = now;
        match outcome {
            Ok(known) => {
                state.1 = Arc::new(known);
                tracing::info!("accounts and rights were read again");
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "accounts and rights stay as they were");
            }
        }
    }
}

fn stamp(path: &Option<PathBuf>) -> Option<(i64, i64, u64, u64)> {
    let about = fs::metadata(path.as_ref()?).ok()?;
    Some((about.mtime(), about.mtime_nsec(), about.len(), about.ino()))
}

fn read(htpasswd: Option<&PathBuf>, rights: Option<&PathBuf>) -> Result<Known, AuthError> {
    let text = |path: &PathBuf| {
        fs::read_to_string(path).map_err(|source| AuthError::File {
            path: path.clone(),
            source,
        })
    };
    let accounts = htpasswd.map(|path| {
        Accounts::read(&text(path)?).map_err(|source| AuthError::Htpasswd {
            path: path.clone(),
            source,
        })
    });
    let accounts = accounts.transpose()?;
    let has_rights = rights.is_some();
    let rights = match rights {
        None => Rights::everything_for_users(),
        Some(path) => Rights::read(&text(path)?).map_err(|source| AuthError::Rights {
            path: path.clone(),
            source,
        })?,
    };
    Ok(Known {
        // Rights without accounts are rights of those who do not say who they are.
        accounts: accounts.or_else(|| has_rights.then(Accounts::default)),
        rights,
        checked: Mutex::default(),
    })
}
