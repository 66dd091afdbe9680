//! What is done while the cluster does not run: a backup becomes a cluster again, and a server goes on without the others.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use cluster_store::{OpenError, RecoveryReport, RestoreError, recover, restore};
use nix::unistd::geteuid;

use crate::control::{ControlError, running};
use crate::dir::{ClusterDir, SettingsError, first_member, write_private};
use crate::message::BackupHead;
use crate::parts::store_config;
use crate::pki::{PkiError, parse_storage_key, storage_key, write_keys};

/// How a backup begins.
const MAGIC: &[u8] = b"tug cluster backup 1\n";
/// Longest head of a backup: keys and settings.
const HEAD_BYTES_MAX: u32 = 1 << 20;

/// Why a cluster was not restored or recovered.
#[derive(Debug, thiserror::Error)]
pub enum RescueError {
    /// The server's process.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// It runs.
    #[error("the cluster runs (process {pid})")]
    Running {
        /// Its process.
        pid: u32,
    },
    /// Something is in the folder.
    #[error("there is a cluster in `{}` already", .folder.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
    },
    /// Nothing is in the folder.
    #[error("there is no server's state in `{}`", .folder.display())]
    Nothing {
        /// The folder.
        folder: PathBuf,
    },
    /// A file.
    #[error("cannot use `{}`", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// What was given is no backup.
    #[error("`{}` is no backup of a cluster", .path.display())]
    NoBackup {
        /// The file.
        path: PathBuf,
    },
    /// The state in it.
    #[error("the backup cannot be restored")]
    Restore(#[from] RestoreError),
    /// The state in the folder.
    #[error("the state cannot be read")]
    Recover(#[from] OpenError),
    /// Keys.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The data folder.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// Writes a backup to a file that only its owner can read: the keys of the cluster are in it. The file is there when it is whole.
pub(crate) fn write_backup(
    path: &Path,
    head: &BackupHead,
    state: &mut (impl Read + ?Sized),
) -> io::Result<u64> {
    let part = path.with_extension("part");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)?;
    let text = serde_json::to_vec(head)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    file.write_all(MAGIC)?;
    file.write_all(&length.to_be_bytes())?;
    file.write_all(&text)?;
    let count = io::copy(state, &mut file)?;
    if count != head.bytes {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the server broke off",
        ));
    }
    file.sync_all()?;
    fs::rename(&part, path)?;
    Ok(count)
}

fn read_head(file: &mut File) -> io::Result<BackupHead> {
    let mut magic = vec![0; MAGIC.len()];
    file.read_exact(&mut magic)?;
    let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason);
    if magic != MAGIC {
        return Err(invalid("it does not begin as one"));
    }
    let mut length = [0; 4];
    file.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > HEAD_BYTES_MAX {
        return Err(invalid("its head is longer than allowed"));
    }
    let mut text = vec![0; length as usize];
    file.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Makes a backup a cluster of one server, in a folder that has none; start it then.
///
/// It takes the place of the server that made the backup, by its name. `address` is where other machines reach it, if that has
/// changed. Gives the revision of the state.
pub fn restore_cluster(
    dir: &ClusterDir,
    backup: &Path,
    address: Option<Ipv4Addr>,
) -> Result<u64, RescueError> {
    if !geteuid().is_root() {
        return Err(ControlError::NotRoot.into());
    }
    if dir.is_initialised() {
        return Err(RescueError::Occupied {
            folder: dir.path().to_owned(),
        });
    }
    let unusable = |source: io::Error| RescueError::File {
        path: backup.to_owned(),
        source,
    };
    let mut file = File::open(backup).map_err(unusable)?;
    let head = read_head(&mut file).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => RescueError::NoBackup {
            path: backup.to_owned(),
        },
        _ => unusable(error),
    })?;
    dir.create()?;
    let mut settings = head.settings;
    settings.member = first_member();
    settings.served = false;
    settings.servers.clear();
    settings.advertise_address = address.or(settings.advertise_address);
    let config = store_config(dir, &settings, parse_storage_key(&head.keys.storage_key)?);
    let revision = restore(&config, file, None)?;
    let pki = dir.pki();
    let in_pki = |source| RescueError::File {
        path: pki.clone(),
        source,
    };
    fs::create_dir_all(&pki).map_err(in_pki)?;
    write_private(&pki.join("ca.crt"), head.authority.as_bytes()).map_err(in_pki)?;
    write_keys(&pki, &head.keys)?;
    // The settings go last: without them there is no cluster in the folder.
    dir.save_settings(&settings)?;
    Ok(revision.0)
}

/// Makes a stopped server a cluster of its own, of what its log has: for when the others are lost for good.
pub fn recover_cluster(dir: &ClusterDir) -> Result<RecoveryReport, RescueError> {
    if let Some(process) = running(dir)? {
        return Err(RescueError::Running { pid: process.pid });
    }
    let nothing = || RescueError::Nothing {
        folder: dir.path().to_owned(),
    };
    let mut settings = dir.settings()?.ok_or_else(nothing)?;
    if !dir.store().exists() {
        return Err(nothing());
    }
    let key = parse_storage_key(&storage_key(&dir.pki())?)?;
    settings.servers.clear();
    let report = recover(&store_config(dir, &settings, key))?;
    dir.save_settings(&settings)?;
    Ok(report)
}
