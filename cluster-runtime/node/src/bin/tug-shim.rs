//! The shim as a program of its own, for tests; in the product it is a hidden subcommand.

use std::process::ExitCode;

fn main() -> ExitCode {
    cluster_node::shim_main(std::env::args_os().skip(1)).into()
}
