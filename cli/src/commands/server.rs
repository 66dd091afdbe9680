//! `tug __server`: the bundled cluster in the foreground, as `cluster start` runs it.

use std::path::PathBuf;

use cluster_server::{ClusterDir, ClusterOptions};

use crate::bundled;
use crate::failure::Failure;

/// Run the server of the bundled cluster in the foreground
#[derive(clap::Args)]
pub(crate) struct ServerArgs {
    /// Its folder
    dir: PathBuf,
    /// Its options, as JSON
    #[arg(default_value = "{}")]
    options: String,
}

pub(super) fn run(arguments: &ServerArgs) -> Result<(), Failure> {
    let options: ClusterOptions = serde_json::from_str(&arguments.options)
        .map_err(|error| Failure::new("cannot read the server's options").because_error(&error))?;
    let dir = ClusterDir::new(&arguments.dir);
    Ok(cluster_server::serve(&dir, &options, bundled::program()?)?)
}
