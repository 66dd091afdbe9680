//! Hosting charts and images: a classic repository with its index, ChartMuseum's API, a registry and pages for people, all
//! from one folder.
//!
//! Start with [`RepoServer::open`]; [`RepoServer::serve`] then answers until it is told to stop. What a request wants is
//! decided in `route`, answered from `handle`; charts are in `charts`, blobs and manifests in `registry`, and `bridge` shows
//! each to the other side.

mod answer;
mod auth;
mod bridge;
mod certificate;
mod charts;
mod conditional;
mod connection;
mod content;
mod digest;
mod durable;
mod handle;
mod layout;
mod metrics;
mod name;
mod options;
mod registry;
mod request;
mod route;
mod server;
mod web;

pub use auth::AuthError;
pub use certificate::CertificateError;
pub use digest::{Digest, DigestError};
pub use name::{FileName, NameError, RepositoryName, Tag, Tenant};
pub use options::{Challenge, Depth, Limits, ServeOptions, TlsFiles};
pub use registry::collect::{Collected, Garbage};
pub use server::{OpenError, RepoServer};
