//! Fetching, pushing and verifying charts.
//!
//! [`Fetcher`] turns a reference into an archive, wherever it is. Below it, [`RepositoryClient`] speaks to repositories
//! with an `index.yaml`, and [`Registry`] to registries of the OCI distribution specification; both send through
//! [`HttpClient`], which knows when to try again, to continue a download, and to whom credentials may be told.
//!
//! Nothing here reads the environment or prints: places of files are [`Locations`], talk goes to an [`Observer`].

mod atomic_file;
mod builtin;
mod content_cache;
mod dependency;
mod fetcher;
mod http;
mod index_cache;
mod index_folder;
mod index_form;
mod locations;
mod observer;
mod registry;
mod repositories;
mod repository;
mod search;
mod secret;
mod unpack;

pub use atomic_file::write_atomic;
pub use builtin::{BuiltinError, BuiltinFiles, BuiltinRepository};
pub use content_cache::ContentCache;
pub use dependency::{DependencyError, DependencyManager, DependencyStatus, Updated, dependency_statuses};
pub use fetcher::{Access, FetchError, Fetched, Fetcher, Wish};
pub use http::{Credentials, HttpClient, HttpError, HttpOptions, Proxies, RetryPolicy, TlsOptions};
pub use index_cache::{CachedChart, CachedIndex, CachedVersion, ChartEntry, Origin, VersionEntry};
pub use index_folder::{IndexFolderError, index_folder};
pub use index_form::Texts;
pub use locations::Locations;
pub use observer::{Event, Observer, Silent};
pub use registry::{
    DockerConfig, DockerConfigError, Pulled, Pushed, Registry, RegistryError, RegistryOptions,
};
pub use repositories::{Repositories, RepositoriesError, RepositoryConfig, check_repository_name};
pub use repository::{Freshness, RepositoryClient, RepositoryError};
pub use search::{Found, Search, SearchError};
pub use secret::Secret;
pub use unpack::{UnpackError, unpack_archive};
