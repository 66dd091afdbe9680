//! The binary from outside, where no cluster is needed: exit code, stdout and stderr.

mod arguments;
mod clusters;
mod compose;
mod hostile;
mod rendering;
mod sandbox;
mod simulations;
