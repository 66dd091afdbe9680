//! Why the image store refused.

use std::io;
use std::path::{Path, PathBuf};

use super::{Digest, ImageNameError, UnpackError};

/// Why an image could not be loaded, pulled, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The name of the image cannot be read.
    #[error(transparent)]
    Name(#[from] ImageNameError),
    /// No image of that name is in the store.
    #[error("no image `{name}` in the store")]
    NotFound {
        /// The name, in full.
        name: String,
    },
    /// A file of the store, or of the archive, cannot be read or written.
    #[error("cannot {action} `{}`", .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The archive cannot be read.
    #[error("cannot read the archive")]
    Archive(#[source] io::Error),
    /// The archive is readable and not an image.
    #[error("this is no image archive: {why}")]
    NoImage {
        /// What is missing or odd.
        why: String,
    },
    /// A blob is not what its name says.
    #[error("`{what}` has the digest {found}, expected {expected}")]
    WrongDigest {
        /// Which blob.
        what: String,
        /// What it was called.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// A document of the image cannot be read.
    #[error("cannot read the {what}")]
    Document {
        /// Which document.
        what: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// No part of the image is for this kind of machine.
    #[error("the image has nothing for {wanted}, only for {}", .found.join(", "))]
    Platform {
        /// The platform of this machine.
        wanted: String,
        /// The platforms of the image.
        found: Vec<String>,
    },
    /// A layer cannot be unpacked.
    #[error("cannot unpack the layer {layer}")]
    Unpack {
        /// Digest of the unpacked layer.
        layer: Digest,
        /// Why not.
        source: UnpackError,
    },
    /// The registry refused, lied or is not there.
    #[error("cannot pull `{name}`: {reason}")]
    Pull {
        /// The name, in full.
        name: String,
        /// What the registry said.
        reason: String,
        /// Whether another try may help.
        retriable: bool,
    },
}

impl ImageError {
    /// Makes a function that turns an IO error at a path into this error.
    pub(super) fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::File {
            action,
            path: path.to_owned(),
            source,
        }
    }
}
