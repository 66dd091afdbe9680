//! Where things are in the server's folder.

use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::name::{FileName, RepositoryName, Tag, Tenant};

/// The folder's parts. Archives are where people put them; what the server needs besides is in `.tug`.
///
/// In a repository's folder the server's own names begin with `_`, which no part of a repository's name can.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn own(&self) -> PathBuf {
        self.root.join(".tug")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.own().join("lock")
    }

    /// Files that have no name yet.
    pub(crate) fn drafts(&self) -> PathBuf {
        self.own().join("drafts")
    }

    /// What is known of archives, so that they need not be read at every start.
    pub(crate) fn cache(&self) -> PathBuf {
        self.own().join("index-cache")
    }

    pub(crate) fn tenant(&self, tenant: &Tenant) -> PathBuf {
        tenant
            .parts()
            .fold(self.root.clone(), |path, part| path.join(part))
    }

    pub(crate) fn archive(&self, tenant: &Tenant, file: &FileName) -> PathBuf {
        self.tenant(tenant).join(file.as_str())
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.own().join("blobs")
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let shelf = hex.get(..2).unwrap_or_default();
        self.blobs().join(digest.algorithm().name()).join(shelf).join(hex)
    }

    pub(crate) fn repositories(&self) -> PathBuf {
        self.own().join("repositories")
    }

    pub(crate) fn repository(&self, name: &RepositoryName) -> PathBuf {
        self.repositories().join(name.as_str())
    }

    /// Says that a repository has a blob.
    pub(crate) fn blob_link(&self, name: &RepositoryName, digest: &Digest) -> PathBuf {
        self.repository(name).join("_blobs").join(file_of(digest))
    }

    pub(crate) fn manifests(&self, name: &RepositoryName) -> PathBuf {
        self.repository(name).join("_manifests")
    }

    /// Says that a repository has a manifest; holds its media type.
    pub(crate) fn manifest_link(&self, name: &RepositoryName, digest: &Digest) -> PathBuf {
        self.manifests(name).join(file_of(digest))
    }

    pub(crate) fn tags(&self, name: &RepositoryName) -> PathBuf {
        self.repository(name).join("_tags")
    }

    /// Holds the digest of the tag's manifest.
    pub(crate) fn tag(&self, name: &RepositoryName, tag: &Tag) -> PathBuf {
        self.tags(name).join(tag.as_str())
    }

    pub(crate) fn uploads(&self, name: &RepositoryName) -> PathBuf {
        self.repository(name).join("_uploads")
    }

    pub(crate) fn upload(&self, name: &RepositoryName, id: uuid::Uuid) -> PathBuf {
        self.uploads(name).join(id.to_string())
    }

    /// The descriptors of manifests that refer to a subject.
    pub(crate) fn referrers(&self, name: &RepositoryName, subject: &Digest) -> PathBuf {
        self.repository(name).join("_referrers").join(file_of(subject))
    }

    pub(crate) fn referrer(&self, name: &RepositoryName, subject: &Digest, manifest: &Digest) -> PathBuf {
        self.referrers(name, subject).join(file_of(manifest))
    }
}

fn file_of(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

/// The digest that a file of a repository's folder stands for.
pub(crate) fn digest_of(file: &str) -> Option<Digest> {
    file.replacen('-', ":", 1).parse().ok()
}
