//! The bundled cluster, as the commands use it: the only file that calls its server and its node.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the container shim when the arguments ask for it.
///
/// Called before any runtime or thread is made: the shim forks.
pub(crate) fn dispatch_shim(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next()? != "__shim" {
        return None;
    }
    let _rest: Vec<OsString> = arguments.collect();
    // The node's entry goes here.
    Some(ExitCode::from(crate::failure::FAILED))
}
