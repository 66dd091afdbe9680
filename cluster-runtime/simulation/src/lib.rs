//! A cluster of thousands of simulated nodes in one process: the real store, API, controllers and scheduler, with
//! kubelets that say of every pod that it runs.
//!
//! Start with [`simulate`]: it takes [`SimulationOptions`] and gives a [`Report`] of how fast pods were placed, how
//! long single requests took meanwhile, what memory it cost, and whether every placement was right.

mod judge;
mod kubelets;
mod latency;
mod machine;
mod node;
mod options;
mod report;
mod sampler;
mod simulate;
mod timeline;
mod workload;

pub use cluster_scheduler::Profile;
pub use latency::Latencies;
pub use options::{Arrival, SimulationOptions, Source, StorePlace, Workload};
pub use report::{Processor, Report, Requests, SimulationError};
pub use simulate::{Progress, simulate};
