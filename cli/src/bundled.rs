//! The bundled cluster, as the commands use it: the only file that calls its server and its node.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use cluster_server::{ClusterDir, ClusterOptions, ControlError, Running};

use crate::failure::Failure;
use crate::settings::Settings;

/// Runs the container shim when the arguments ask for it, and gives its exit code.
///
/// Called before any runtime or thread is made: the shim forks.
pub(crate) fn dispatch_shim(arguments: impl IntoIterator<Item = OsString>) -> Option<u8> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next()? != cluster_server::SHIM_COMMAND {
        return None;
    }
    Some(cluster_node::shim_main(arguments))
}

/// The data folder of the bundled cluster.
pub(crate) fn directory(settings: &Settings) -> ClusterDir {
    ClusterDir::new(&settings.cluster_dir)
}

/// What the machine gives a server whatever else is chosen.
pub(crate) fn options(settings: &Settings) -> ClusterOptions {
    ClusterOptions {
        nft: settings.nft(),
        engine: settings.engine.clone(),
        eviction: settings.eviction.clone(),
        ..ClusterOptions::default()
    }
}

/// Makes sure that the bundled cluster runs; a line on stderr says so when it was started now.
pub(crate) fn ensure_running(settings: &Settings, options: &ClusterOptions) -> Result<Running, Failure> {
    let running = cluster_server::ensure_running(&directory(settings), options, &program()?)
        .map_err(|error| failure(&error, settings))?;
    if running.started {
        let api = running.process.api.as_deref().unwrap_or_default();
        let console = &settings.console;
        console.say(format!(
            "started a cluster of one node at {api}, data in {}",
            settings.cluster_dir.display()
        ));
        if options.nft.is_none() {
            console.say(
                "`nft` is not installed: a proxy in user space balances services, and pods reach nothing outside \
                 this host (Debian: apt install nftables, then tug cluster stop and start)",
            );
        }
    }
    Ok(running)
}

/// Starts the machine of a data folder that has joined a cluster.
pub(crate) fn start(settings: &Settings, options: &ClusterOptions) -> Result<Running, Failure> {
    cluster_server::ensure_running(&directory(settings), options, &program()?)
        .map_err(|error| failure(&error, settings))
}

/// Whether the bundled cluster runs.
pub(crate) fn is_running(settings: &Settings) -> Result<bool, Failure> {
    let process = cluster_server::running(&directory(settings)).map_err(|error| failure(&error, settings))?;
    Ok(process.is_some())
}

/// This program, which servers and containers are run by.
pub(crate) fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| Failure::new("cannot find this program").because_error(&error))
}

/// A fault of the cluster's control with what to type next.
pub(crate) fn failure(error: &ControlError, settings: &Settings) -> Failure {
    let failure = Failure::from_error(error);
    let dir = settings.cluster_dir.display();
    match error {
        ControlError::NotRoot => failure
            .hint("run it with sudo, or name another cluster with --kubeconfig or --kube-context")
            .hint("`tug template`, and everything on another cluster, work without root"),
        ControlError::Settings(_) => {
            failure.hint(format!("`--data-dir DIR` names another folder than `{dir}`"))
        }
        ControlError::Refused { reason, log } if reason.contains("cannot listen on") => failure
            .hint("`tug cluster start --api-port PORT` takes another port, for a cluster that is new")
            .hint(see_log(log)),
        ControlError::Refused { log, .. } | ControlError::NotReady { log } => failure.hint(see_log(log)),
        ControlError::StillRunning { pid, .. } => {
            failure.hint(format!("`kill -9 {pid}` ends it, and keeps its data"))
        }
        ControlError::File { .. } | ControlError::Signal { .. } | ControlError::Remove { .. } => failure,
    }
}

fn see_log(log: &Path) -> String {
    format!("`tail {}` shows its log", log.display())
}
