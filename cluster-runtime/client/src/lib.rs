//! The client side of the Kubernetes API.
//!
//! Start with [`Api`]: everything that speaks to a cluster, controllers, scheduler, nodes and releases alike, does
//! so through it, in the process of the API server or over the wire ([`http::HttpApi`]).

mod api;
pub mod http;
mod node;

pub use api::{
    Api, ApiResource, Collection, DeleteOptions, Deleted, Discovery, FieldValidation, List, ListOptions,
    Patch, Propagation, Target, WatchEvent, WatchOptions, WatchStream, WriteOptions,
};
pub use node::{
    ByteStream, Connection, ExecExit, ExecRequest, ExecSession, LogRequest, NodeStreams, PodContainer,
    TerminalSize,
};
