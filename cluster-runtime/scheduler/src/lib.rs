//! The scheduler: filters that say why, scores, bindings.
//!
//! Start with [`schedule`], which decides for one pod and does no IO: from a [`ClusterState`] and a [`PodInfo`] to a
//! [`Placement`] or the [`Refusals`] of every node. [`Scheduler::start`] is the shell around it: it follows nodes and
//! pods, binds, and tells a pod that fits nowhere what it waits for.

mod affinity;
mod budget;
mod company;
mod filter;
mod node;
mod node_selector;
mod number;
mod pod;
mod preempt;
mod queue;
mod resources;
mod schedule;
mod scheduler;
mod score;
mod spread;
mod state;
mod suits;
mod taint;
mod tally;
mod templates;
mod terms;
mod topology;

pub use filter::{Filter, Helps, filters};
pub use node::NodeInfo;
pub use pod::{Ask, PodInfo};
pub use preempt::{Preemption, Victim, preempt};
pub use resources::Resources;
pub use schedule::{Chance, Placement, Refusals, schedule};
pub use scheduler::{PendingCount, Scheduler, SchedulerOptions};
pub use score::Profile;
pub use state::ClusterState;
pub use suits::{Suits, suits};
