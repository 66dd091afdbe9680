//! The `tug` binary.
fn main() {}
