//! Unpacking a layer: a hostile archive becomes a folder for overlayfs, and nothing outside that folder is touched.
//!
//! Every path is resolved by the kernel with the folder as its root (`openat2` with `RESOLVE_IN_ROOT`), so links in
//! the archive lead nowhere else; the last part of a path is never followed. Whiteouts become what overlayfs reads:
//! a character device 0:0, or the attribute `trusted.overlay.opaque`.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType, PaxExtensions};

use super::Digest;
use super::digest::Hashing;
use crate::beneath;

const EXTENSION_BYTES_MAX: u64 = 1024 * 1024;
const PATH_BYTES_MAX: usize = 4096;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const RESERVED: &[u8] = b".wh..wh.";

/// How much a layer may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Bytes of the unpacked archive.
    pub bytes_max: u64,
    /// Files, folders and links.
    pub entries_max: u64,
}

/// What a layer held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Digest of the archive without compression.
    pub diff_id: Digest,
    /// Its bytes.
    pub bytes: u64,
    /// Files, folders and links that were made.
    pub entries: u64,
    /// Device nodes, which are left out: a container gets its devices from the runtime.
    pub devices_left_out: u64,
}

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive cannot be read.
    #[error("the archive is broken")]
    Archive(#[source] io::Error),
    /// The compression is not known here.
    #[error("layers compressed with {0} cannot be read")]
    Compression(&'static str),
    /// A path leads out of the layer, or is no path.
    #[error("`{path}`: {why}")]
    Path {
        /// The path in the archive.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// An entry is of a kind that layers do not have.
    #[error("`{path}` is of the kind {kind:?}, which layers do not have")]
    Kind {
        /// The path in the archive.
        path: String,
        /// The kind.
        kind: EntryType,
    },
    /// The layer is larger than allowed.
    #[error("the layer has more than {max} {what}")]
    Limit {
        /// Bytes or entries.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// The file system refused.
    #[error("cannot {action} `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// The path in the archive.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self {
            bytes_max: 64 << 30,
            entries_max: 4_000_000,
        }
    }
}

/// Unpacks an archive, plain or compressed with gzip, into an empty folder.
///
/// Needs root rights, since owners and whiteouts are kept. On an error the folder holds what came before it.
pub fn unpack_layer(
    archive: impl Read,
    folder: &Path,
    limits: &UnpackLimits,
) -> Result<Unpacked, UnpackError> {
    let mut buffered = BufReader::with_capacity(128 * 1024, archive);
    let start = buffered.fill_buf().map_err(UnpackError::Archive)?;
    if start.starts_with(&GZIP) {
        let decoded = BufReader::with_capacity(128 * 1024, MultiGzDecoder::new(buffered));
        return Unpacker::open(folder, *limits)?.run(decoded);
    }
    if start.starts_with(&ZSTD) {
        return Err(UnpackError::Compression("zstd"));
    }
    Unpacker::open(folder, *limits)?.run(buffered)
}

/// The folder that a layer is unpacked into.
struct Unpacker {
    root: OwnedFd,
    limits: UnpackLimits,
    /// The folder of the last entry: the next one is usually beside it.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// Times of folders, set at the end, since files made in them change them.
    folder_times: Vec<(Vec<u8>, Timespec)>,
    entries: u64,
    devices_left_out: u64,
}

/// What the records before an entry say of it.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<i64>,
    size: Option<u64>,
    sparse: bool,
    attributes: Vec<(String, Vec<u8>)>,
}

/// Owner, mode, time and attributes of an entry.
struct Attributes {
    owner: (Uid, Gid),
    mode: Mode,
    modified: Timespec,
    extended: Vec<(String, Vec<u8>)>,
}

/// Stops reading after a number of bytes, and says so.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(length as u64)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(length)
    }
}

impl Unpacker {
    fn open(folder: &Path, limits: UnpackLimits) -> Result<Self, UnpackError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(folder, flags, Mode::empty())
            .map_err(failed("open", folder.as_os_str().as_bytes()))?;
        Ok(Self {
            root,
            limits,
            parent: None,
            folder_times: Vec::new(),
            entries: 0,
            devices_left_out: 0,
        })
    }

    fn run(mut self, decoded: impl Read) -> Result<Unpacked, UnpackError> {
        let bytes_max = self.limits.bytes_max;
        let broken = |error: io::Error| match error.kind() {
            io::ErrorKind::FileTooLarge => UnpackError::Limit {
                what: "bytes",
                max: bytes_max,
            },
            _ => UnpackError::Archive(error),
        };
        let mut hashed = Hashing::new(Bounded {
            inner: decoded,
            left: bytes_max,
        });
        let mut archive = Archive::new(&mut hashed);
        let mut extensions = Extensions::default();
        for entry in archive.entries().map_err(broken)?.raw(true) {
            let mut entry = entry.map_err(broken)?;
            match entry.header().entry_type() {
                EntryType::XGlobalHeader => {}
                EntryType::XHeader => extensions.read_pax(&small(&mut entry).map_err(broken)?)?,
                EntryType::GNULongName => extensions.path = Some(text(small(&mut entry).map_err(broken)?)),
                EntryType::GNULongLink => extensions.link = Some(text(small(&mut entry).map_err(broken)?)),
                kind => {
                    self.entries += 1;
                    if self.entries > self.limits.entries_max {
                        return Err(UnpackError::Limit {
                            what: "entries",
                            max: self.limits.entries_max,
                        });
                    }
                    self.place(entry, kind, &std::mem::take(&mut extensions), &broken)?;
                }
            }
        }
        io::copy(&mut hashed, &mut io::sink()).map_err(broken)?;
        self.set_folder_times();
        let (diff_id, bytes) = hashed.finish();
        Ok(Unpacked {
            diff_id,
            bytes,
            entries: self.entries,
            devices_left_out: self.devices_left_out,
        })
    }

    /// Makes the file, folder or link of one entry.
    fn place<R: Read>(
        &mut self,
        mut entry: Entry<'_, R>,
        kind: EntryType,
        extensions: &Extensions,
        broken: &dyn Fn(io::Error) -> UnpackError,
    ) -> Result<(), UnpackError> {
        let path = extensions
            .path
            .clone()
            .unwrap_or_else(|| entry.path_bytes().into_owned());
        let parts = parts_of(&path)?;
        if extensions.sparse || extensions.size.is_some_and(|size| size != entry.size()) {
            return Err(UnpackError::Kind {
                path: shown(&path),
                kind: EntryType::GNUSparse,
            });
        }
        let attributes = Attributes::of(&entry, extensions).map_err(broken)?;
        let Some((name, parents)) = parts.split_last() else {
            return self.place_root(kind, &path, &attributes);
        };
        if name.starts_with(WHITEOUT) {
            return self.place_whiteout(parents, name, &path);
        }
        let joined = parts.join(&b'/');
        let link = || {
            let link = extensions
                .link
                .clone()
                .or_else(|| entry.link_name_bytes().map(Cow::into_owned));
            link.ok_or(UnpackError::Path {
                path: shown(&path),
                why: "a link to nothing",
            })
        };
        match kind {
            EntryType::Directory => {
                let exists = self.clear(parents, name, &path, true)?;
                let parent = self.folder(parents, &path)?;
                if !exists {
                    rustix::fs::mkdirat(parent, *name, Mode::from_raw_mode(0o700))
                        .map_err(failed("make the folder", &path))?;
                }
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made =
                    rustix::fs::openat(parent, *name, flags, Mode::empty()).map_err(failed("open", &path))?;
                attributes.apply(&made, &path)?;
                self.folder_times.push((joined, attributes.modified));
            }
            EntryType::Regular | EntryType::Continuous => {
                self.clear(parents, name, &path, false)?;
                let parent = self.folder(parents, &path)?;
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = rustix::fs::openat(parent, *name, flags, Mode::from_raw_mode(0o600))
                    .map_err(failed("make", &path))?;
                let mut file = File::from(made);
                copy(&mut entry, &mut file, &path, broken)?;
                attributes.apply(&file, &path)?;
            }
            EntryType::Symlink => {
                let target = link()?;
                self.clear(parents, name, &path, false)?;
                let parent = self.folder(parents, &path)?;
                rustix::fs::symlinkat(OsStr::from_bytes(&target), parent, *name)
                    .map_err(failed("make the link", &path))?;
                attributes.apply_to_link(parent, name, &path)?;
            }
            EntryType::Link => {
                let target = link()?;
                let target_parts = parts_of(&target)?;
                if target_parts == parts {
                    return Ok(());
                }
                let Some((target_name, target_parents)) = target_parts.split_last() else {
                    return Err(UnpackError::Path {
                        path: shown(&path),
                        why: "a hard link to the root",
                    });
                };
                self.clear(parents, name, &path, false)?;
                let from = beneath::open_folder(&self.root, &target_parents.join(&b'/'))
                    .map_err(failed("open", &target))?;
                let parent = self.folder(parents, &path)?;
                rustix::fs::linkat(&from, *target_name, parent, *name, AtFlags::empty())
                    .map_err(failed("make the hard link", &path))?;
            }
            EntryType::Fifo => {
                self.clear(parents, name, &path, false)?;
                let parent = self.folder(parents, &path)?;
                rustix::fs::mknodat(parent, *name, FileType::Fifo, attributes.mode, 0)
                    .map_err(failed("make the pipe", &path))?;
                rustix::fs::chmodat(parent, *name, attributes.mode, AtFlags::empty())
                    .map_err(failed("set the mode of", &path))?;
                attributes.apply_to_link(parent, name, &path)?;
            }
            EntryType::Char | EntryType::Block => self.devices_left_out += 1,
            kind => {
                return Err(UnpackError::Kind {
                    path: shown(&path),
                    kind,
                });
            }
        }
        Ok(())
    }

    fn place_root(&self, kind: EntryType, path: &[u8], attributes: &Attributes) -> Result<(), UnpackError> {
        if kind != EntryType::Directory {
            return Err(UnpackError::Path {
                path: shown(path),
                why: "only a folder can be the root",
            });
        }
        attributes.apply(&self.root, path)
    }

    /// Hides a name of the layers below, or all names of a folder.
    fn place_whiteout(&mut self, parents: &[&[u8]], name: &[u8], path: &[u8]) -> Result<(), UnpackError> {
        if name == OPAQUE {
            let folder = self.folder(parents, path)?;
            return rustix::fs::fsetxattr(folder, "trusted.overlay.opaque", b"y", XattrFlags::empty())
                .map_err(failed("mark as opaque", path));
        }
        if name.starts_with(RESERVED) {
            return Ok(());
        }
        let hidden = &name[WHITEOUT.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(UnpackError::Path {
                path: shown(path),
                why: "a whiteout of no name",
            });
        }
        self.clear(parents, hidden, path, false)?;
        let parent = self.folder(parents, path)?;
        rustix::fs::mknodat(parent, hidden, FileType::CharacterDevice, Mode::empty(), 0)
            .map_err(failed("make the whiteout", path))
    }

    /// Removes what an earlier entry of the same name left. A folder stays where `keep_folder`; tells whether it did.
    fn clear(
        &mut self,
        parents: &[&[u8]],
        name: &[u8],
        path: &[u8],
        keep_folder: bool,
    ) -> Result<bool, UnpackError> {
        let parent = self.folder(parents, path)?;
        let seen = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(seen) => seen,
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(failed("look at", path)(error)),
        };
        if FileType::from_raw_mode(seen.st_mode) != FileType::Directory {
            rustix::fs::unlinkat(parent, name, AtFlags::empty()).map_err(failed("replace", path))?;
            return Ok(false);
        }
        if keep_folder {
            return Ok(true);
        }
        // Through the descriptor, so that only the last part is a name; the standard library follows no link below it.
        let through =
            PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd())).join(OsStr::from_bytes(name));
        let removed = fs::remove_dir_all(through);
        self.parent = None;
        let action = "replace the folder";
        removed.map_err(|source| UnpackError::File {
            action,
            path: shown(path),
            source,
        })?;
        Ok(false)
    }

    /// The folder of those parts, made where it is missing.
    fn folder(&mut self, parts: &[&[u8]], path: &[u8]) -> Result<&OwnedFd, UnpackError> {
        let wanted = parts.join(&b'/');
        let known = self.parent.as_ref().is_some_and(|(known, _)| *known == wanted);
        if !known {
            let opened = match beneath::open_folder(&self.root, &wanted) {
                Err(Errno::NOENT) => beneath::make_folders(&self.root, parts),
                other => other,
            };
            let opened = opened.map_err(failed("open the folder of", path))?;
            self.parent = Some((wanted, opened));
        }
        Ok(&self.parent.as_ref().expect("set above").1)
    }

    fn set_folder_times(&mut self) {
        for (path, modified) in std::mem::take(&mut self.folder_times).into_iter().rev() {
            if let Ok(folder) = beneath::open_folder(&self.root, &path) {
                // The time of a folder is a courtesy.
                let _ = rustix::fs::futimens(&folder, &times(modified));
            }
        }
    }
}

impl Extensions {
    fn read_pax(&mut self, records: &[u8]) -> Result<(), UnpackError> {
        for record in PaxExtensions::new(records) {
            let record = record.map_err(UnpackError::Archive)?;
            let value = record.value_bytes();
            let number = || {
                std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse::<u64>().ok())
            };
            match record.key_bytes() {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"uid" => self.uid = number().and_then(|id| u32::try_from(id).ok()),
                b"gid" => self.gid = number().and_then(|id| u32::try_from(id).ok()),
                b"size" => self.size = number(),
                b"mtime" => {
                    let text = std::str::from_utf8(value).unwrap_or_default();
                    self.mtime = text.split('.').next().and_then(|seconds| seconds.parse().ok());
                }
                key if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                key => {
                    // Only what a file brings along. `trusted.*` would let an archive speak to overlayfs.
                    let name = key
                        .strip_prefix(b"SCHILY.xattr.")
                        .and_then(|name| std::str::from_utf8(name).ok());
                    if let Some(name) = name.filter(|name| is_kept_attribute(name)) {
                        self.attributes.push((name.to_owned(), value.to_vec()));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Attributes {
    fn of<R: Read>(entry: &Entry<'_, R>, extensions: &Extensions) -> io::Result<Self> {
        let header = entry.header();
        let number = |id: u64| u32::try_from(id).map_err(|_| io::Error::other("an owner above 32 bits"));
        let uid = extensions.uid.map_or_else(|| number(header.uid()?), Ok)?;
        let gid = extensions.gid.map_or_else(|| number(header.gid()?), Ok)?;
        if uid == u32::MAX || gid == u32::MAX {
            return Err(io::Error::other("an owner above 32 bits"));
        }
        let seconds = match extensions.mtime {
            Some(seconds) => seconds,
            None => i64::try_from(header.mtime()?).unwrap_or(0),
        };
        Ok(Self {
            owner: (Uid::from_raw(uid), Gid::from_raw(gid)),
            mode: Mode::from_raw_mode(header.mode()? & 0o7777),
            modified: Timespec {
                tv_sec: seconds,
                tv_nsec: 0,
            },
            extended: extensions.attributes.clone(),
        })
    }

    /// Sets them on a file or folder. The order counts: a new owner clears set-user-id bits and file capabilities.
    fn apply(&self, file: &impl AsFd, path: &[u8]) -> Result<(), UnpackError> {
        rustix::fs::fchown(file, Some(self.owner.0), Some(self.owner.1))
            .map_err(failed("set the owner of", path))?;
        rustix::fs::fchmod(file, self.mode).map_err(failed("set the mode of", path))?;
        for (name, value) in &self.extended {
            match rustix::fs::fsetxattr(file, name.as_str(), value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::NOTSUP) => {}
                Err(error) => return Err(failed("set an attribute of", path)(error)),
            }
        }
        rustix::fs::futimens(file, &times(self.modified)).map_err(failed("set the time of", path))
    }

    fn apply_to_link(&self, parent: &OwnedFd, name: &[u8], path: &[u8]) -> Result<(), UnpackError> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(parent, name, Some(self.owner.0), Some(self.owner.1), flags)
            .map_err(failed("set the owner of", path))?;
        rustix::fs::utimensat(parent, name, &times(self.modified), flags)
            .map_err(failed("set the time of", path))
    }
}

fn times(modified: Timespec) -> Timestamps {
    Timestamps {
        last_access: modified,
        last_modification: modified,
    }
}

fn is_kept_attribute(name: &str) -> bool {
    name == "security.capability" || name.starts_with("user.")
}

/// The parts of a path below the root of the layer.
fn parts_of(path: &[u8]) -> Result<Vec<&[u8]>, UnpackError> {
    let refused = |why| {
        Err(UnpackError::Path {
            path: shown(path),
            why,
        })
    };
    if path.len() > PATH_BYTES_MAX {
        return refused("the path is too long");
    }
    if path.contains(&0) {
        return refused("the path has a zero byte");
    }
    let parts: Vec<&[u8]> = path
        .split(|byte| *byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."))
        .collect();
    if parts.contains(&b"..".as_slice()) {
        return refused("the path leads out of the layer");
    }
    Ok(parts)
}

/// The whole of a record that describes the next entry.
fn small<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<Vec<u8>> {
    if entry.size() > EXTENSION_BYTES_MAX {
        return Err(io::Error::other(format!("a record of {} bytes", entry.size())));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a GNU record, which ends with a zero byte.
fn text(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// Copies the content of a file, telling a broken archive from a full disk.
fn copy<R: Read>(
    entry: &mut Entry<'_, R>,
    file: &mut File,
    path: &[u8],
    broken: &dyn Fn(io::Error) -> UnpackError,
) -> Result<(), UnpackError> {
    use io::Write as _;
    let wanted = entry.size();
    let mut written = 0;
    let mut piece = [0; 64 * 1024];
    loop {
        let length = entry.read(&mut piece).map_err(broken)?;
        if length == 0 {
            break;
        }
        let action = "write";
        file.write_all(&piece[..length])
            .map_err(|source| UnpackError::File {
                action,
                path: shown(path),
                source,
            })?;
        written += length as u64;
    }
    if written < wanted {
        return Err(UnpackError::Archive(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(())
}

fn shown(path: &[u8]) -> String {
    let end = path.len().min(256);
    String::from_utf8_lossy(&path[..end]).into_owned()
}

fn failed<'a>(action: &'static str, path: &'a [u8]) -> impl FnOnce(Errno) -> UnpackError + 'a {
    move |errno| UnpackError::File {
        action,
        path: shown(path),
        source: errno.into(),
    }
}
