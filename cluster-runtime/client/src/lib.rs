//! The client side of the Kubernetes API.
//!
//! Start with [`Api`]: everything that speaks to a cluster, controllers, scheduler, nodes and releases alike, does
//! so through it, in the process of the API server or over the wire ([`http::HttpApi`]).

mod api;
mod backoff;
mod cache;
mod events;
mod gate;
pub mod http;
mod informer;
mod informers;
mod node;
mod routed;
mod work_queue;

pub use api::{
    Api, ApiResource, Collection, DeleteOptions, Deleted, Discovery, FieldValidation, List, ListOptions,
    Patch, Propagation, ServerVersion, Target, WatchEvent, WatchOptions, WatchStream, WriteOptions,
};
pub use backoff::{Backoff, Clock, Jitter};
pub use cache::{Change, ObjectKey};
pub use events::{EventType, Recorder, RecorderOptions};
pub use gate::Gate;
pub use informer::{Informer, InformerOptions};
pub use informers::Informers;
pub use node::{
    ByteStream, Connection, ExecExit, ExecRequest, ExecSession, LogRequest, NodeStreams, NodeUsage,
    PodContainer, TerminalSize, Usage,
};
pub use routed::{Route, RoutedApi, Verb};
pub use work_queue::{Work, WorkQueue, WorkQueueOptions};
