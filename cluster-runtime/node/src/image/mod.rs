//! Images: their names, the store that keeps them, and the ways into it.
//!
//! Start with [`ImageStore`]: a folder of blobs by digest, layers unpacked once, and a list of names. The agent and
//! the command line open the same folder, at the same time if need be.

mod archive;
mod builtin;
mod collect;
mod digest;
mod error;
mod manifest;
mod name;
mod pull;
mod save;
mod store;
mod unpack;

pub use builtin::BUILTIN_IMAGE;
pub(crate) use builtin::BUILTIN_PROGRAM;
pub use collect::Lease;
pub use digest::Digest;
pub use error::ImageError;
pub use manifest::{HealthCheck, ImageConfig, ProcessConfig};
pub use name::{ImageName, ImageNameError};
pub use pull::{Credentials, PullProgress};
pub use store::{Image, ImageStore, ImageSummary};
pub use unpack::{UnpackError, UnpackLimits, Unpacked, unpack_layer};
