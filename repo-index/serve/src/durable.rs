//! Writing files so that a crash leaves the old state or the new one, and never half of a file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// A file that is written apart and then given its name. Dropped before, it is removed.
#[derive(Debug)]
pub(crate) struct Draft {
    path: PathBuf,
    file: File,
}

impl Draft {
    /// Starts a file in a folder that is on the same file system as where it will go.
    pub(crate) fn create(folder: &Path) -> io::Result<Self> {
        let path = folder.join(Uuid::new_v4().to_string());
        let file = File::create_new(&path)?;
        Ok(Self { path, file })
    }

    /// A whole file, not yet named.
    pub(crate) fn of(folder: &Path, bytes: &[u8]) -> io::Result<Self> {
        let mut draft = Self::create(folder)?;
        draft.file.write_all(bytes)?;
        Ok(draft)
    }

    /// Gives the file its name unless another has it: `false` then. The folder is to be synchronised afterwards.
    pub(crate) fn name_new(&self, target: &Path) -> io::Result<bool> {
        self.file.sync_all()?;
        match fs::hard_link(&self.path, target) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives the file its name, instead of the one that has it. The folder is to be synchronised afterwards.
    pub(crate) fn name_over(&self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, target)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It is gone already where it was renamed; what stays is swept at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes names given in a folder survive a crash.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a folder and those above it, and makes them survive a crash.
pub(crate) fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().unwrap_or(Path::new("/"));
    create_folder(above)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(above),
    }
}

/// Writes a whole file over what is there, with its folders.
pub(crate) fn write(target: &Path, bytes: &[u8], drafts: &Path) -> io::Result<()> {
    let folder = target.parent().unwrap_or(Path::new("/"));
    create_folder(folder)?;
    Draft::of(drafts, bytes)?.name_over(target)?;
    sync_folder(folder)
}

/// Gives a file a second name, instead of the one that has it.
pub(crate) fn link_over(source: &Path, target: &Path, drafts: &Path) -> io::Result<()> {
    let between = drafts.join(Uuid::new_v4().to_string());
    fs::hard_link(source, &between)?;
    // Renaming one name of a file over another name of the same file does nothing; the first then stays.
    let renamed = fs::rename(&between, target);
    let _ = fs::remove_file(&between);
    renamed?;
    sync_folder(target.parent().unwrap_or(Path::new("/")))
}

/// Removes a file, `false` if there is none.
pub(crate) fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => {
            sync_folder(path.parent().unwrap_or(Path::new("/")))?;
            Ok(true)
        }
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether an error says that there is nothing at a path.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_once_or_over() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        assert!(
            Draft::of(folder.path(), b"one")
                .unwrap()
                .name_new(&target)
                .unwrap()
        );
        assert!(
            !Draft::of(folder.path(), b"two")
                .unwrap()
                .name_new(&target)
                .unwrap()
        );
        assert_eq!(fs::read(&target).unwrap(), b"one");
        Draft::of(folder.path(), b"two")
            .unwrap()
            .name_over(&target)
            .unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"two");
        // No drafts stay behind.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_gets_a_second_name() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&a, "a").unwrap();
        fs::write(&b, "b").unwrap();
        link_over(&a, &b, folder.path()).unwrap();
        link_over(&a, &b, folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(remove(&a).unwrap() && !remove(&a).unwrap());
        assert_eq!(fs::read(&b).unwrap(), b"a");
    }
}
