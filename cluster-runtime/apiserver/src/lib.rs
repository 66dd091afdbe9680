//! The Kubernetes API over HTTPS, on the store.
//!
//! Start with [`Engine`], which decides every request; [`ApiServer`] serves it to
//! the world, [`LocalApi`] is the way to it inside the
//! process, and [`LocalApi::in_memory`] one that needs no disk, for tests and simulations.

mod authorize;
mod definitions;
mod discovery;
mod engine;
mod http;
mod local;
mod node_authorizer;
mod nodes;
mod rbac;
mod sources;
mod tokens;
mod user;

pub use authorize::{Action, Authorizer, MastersOnly};
pub use definitions::Definitions;
pub use engine::{
    Body, Change, ChangeStream, Engine, EngineOptions, GIT_VERSION, ListQuery, NAMESPACES, Page,
    ServiceRanges, VersionMatch, WatchQuery, Written,
};
pub use http::{ApiServer, Forward, Measured, Measurement, Protocol, TokenTable, Tokens, measurements_text};
pub use local::LocalApi;
pub use node_authorizer::NodeAuthorizer;
pub use nodes::NodeRegistry;
pub use rbac::Rbac;
pub use sources::{Sources, SystemSources};
pub use tokens::{TokenIssuer, TokenKeyError};
pub use user::{AUTHENTICATED, Caller, MASTERS, SERVERS, UNAUTHENTICATED, User};
