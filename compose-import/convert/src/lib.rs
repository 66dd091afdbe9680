//! Compose projects as Kubernetes objects and as charts.
//!
//! Start with [`convert`]: a loaded project in, a [`Conversion`] out, with its objects and a warning for everything that
//! they do not honour. [`chart`] makes a chart of it. [`attributes`] is the table of what becomes of what.

pub mod attributes;
pub mod chart;
mod convert;
mod jobs;
mod kompose;
mod names;
mod network;
mod object;
mod options;
mod order;
mod placement;
mod pod;
mod policy;
mod probes;
mod quantity;
mod report;
mod resources;
mod security;
mod service;
mod sources;
mod storage;
mod support_page;
mod workload;
mod yaml;

pub use convert::{Conversion, convert};
pub use names::dns_label;
pub use object::{Object, Role};
pub use options::{BindMounts, Controller, Options, Publish, VolumeKind};
pub use report::Warning;
pub use sources::{DiskSources, Source, Sources};
pub use support_page::support_page;
pub use yaml::to_yaml;
