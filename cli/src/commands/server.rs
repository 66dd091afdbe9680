//! `tug __server`: the process of the bundled cluster, run in the background by `tug cluster start`.

use std::path::PathBuf;

use cluster_server::{ClusterDir, ClusterOptions};

use crate::bundled;
use crate::failure::Failure;

/// Run the server of the bundled cluster in the foreground
#[derive(clap::Args)]
pub(crate) struct ServerArgs {
    /// Data folder
    data_dir: PathBuf,
    /// Options as JSON
    options: String,
}

pub(super) fn run(arguments: &ServerArgs) -> Result<(), Failure> {
    let options: ClusterOptions = serde_json::from_str(&arguments.options)
        .map_err(|error| Failure::new("cannot read the options of the server").because_error(&error))?;
    cluster_server::serve(
        &ClusterDir::new(&arguments.data_dir),
        &options,
        bundled::program()?,
    )
    .map_err(|error| Failure::from_error(&error))
}
