//! The bundled cluster, as the commands use it: the only file that calls its server and its node.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use cluster_server::{ClusterDir, ClusterOptions, ControlError, Running, StopPods};

use crate::failure::{FAILED, Failure};
use crate::settings::Settings;

/// The hidden command by which containers are run.
const SHIM_COMMAND: &str = "__shim";

/// The folder of the bundled cluster.
pub(crate) fn dir(settings: &Settings) -> ClusterDir {
    ClusterDir::new(settings.data_dir.join("cluster"))
}

/// Starts the cluster unless it runs.
pub(crate) fn start(settings: &Settings, options: &ClusterOptions) -> Result<Running, Failure> {
    let dir = dir(settings);
    cluster_server::ensure_running(&dir, options, &program()?).map_err(|error| explain(&error))
}

/// Stops the cluster; says whether it ran.
pub(crate) fn stop(settings: &Settings, pods: StopPods) -> Result<bool, Failure> {
    cluster_server::stop(&dir(settings), pods).map_err(|error| explain(&error))
}

/// Stops the cluster and removes everything of it.
pub(crate) fn delete(settings: &Settings) -> Result<(), Failure> {
    cluster_server::delete(&dir(settings), &ClusterOptions::default()).map_err(|error| explain(&error))
}

/// The cluster's server, if it runs.
pub(crate) fn running(settings: &Settings) -> Result<Option<cluster_server::ServerProcess>, Failure> {
    cluster_server::running(&dir(settings)).map_err(|error| explain(&error))
}

/// This program, by which the server is started and containers are run.
pub(crate) fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| Failure::new("cannot find this program").because_error(&error))
}

/// Says how to go on from a failure of the cluster.
fn explain(error: &ControlError) -> Failure {
    let failure = Failure::from_error(error);
    match error {
        ControlError::NotRoot => failure
            .hint("`sudo tug ...` runs it as root")
            .hint("`--kubeconfig FILE` uses another cluster; `tug template` needs none"),
        ControlError::Refused { log, .. } | ControlError::NotReady { log } => {
            failure.hint(format!("`tail {}` shows its log", log.display()))
        }
        _ => failure,
    }
}

/// Runs the container shim when the arguments ask for it.
///
/// Called before any runtime or thread is made: the shim forks.
pub(crate) fn dispatch_shim(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next()? != SHIM_COMMAND {
        return None;
    }
    let _rest: Vec<OsString> = arguments.collect();
    // The node's entry goes here.
    Some(ExitCode::from(FAILED))
}
