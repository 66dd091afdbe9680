//! Histories of concurrent clients of one register, and whether they are linearizable; numbers that follow from a seed.
//!
//! Start with [`check`]. A crate of its own because the store is tested with it as well as clusters of the real binary.

mod check;
mod random;

pub use check::{Operation, Value, What, check};
pub use random::Random;
