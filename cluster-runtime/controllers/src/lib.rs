//! Controllers: deployments, replica sets, endpoints, garbage collection and the rest.
//!
//! Start with [`Controllers::start`]. Each controller is one file with a pure `plan` from the cached objects to a
//! list of [`Step`](step::Step)s, and a shell that carries the list out. Nothing polls: a change of an object puts
//! the key of its controller's object on a queue, and what is due later is one timer.

mod autoscaler;
mod claim;
mod cluster_role;
mod condition;
mod context;
mod cron_job;
mod daemon_set;
mod deployment;
mod disruption;
mod endpoints;
mod event;
mod garbage;
mod job;
mod load_balancer;
mod manager;
mod namespace;
mod namespace_content;
mod node;
mod pod;
mod reconcile;
mod replica_set;
mod resource_quota;
mod resources;
mod revision;
mod stateful_set;
mod step;
mod template;
mod time;
mod volume;

pub use manager::{Controllers, ControllersOptions, QueueLengths};
