//! Which versions of which charts a chart gets, down the whole tree.
//!
//! [`resolve`] is a pure function of what is known. Where it needs to know more it asks, all questions that it can see at
//! once; the caller answers them and calls again. The same knowledge always gives the same solution, and where a solution
//! exists one is found: a version whose own dependencies cannot be had is left for the next lower one.

mod explain;
mod knowledge;
mod search;

pub use explain::{Conflict, Refusal, Rejection};
pub use knowledge::{ChartKey, Knowledge, Question, Requirement};
pub use search::{Chosen, Outcome, ResolveOptions, resolve};
