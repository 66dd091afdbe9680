//! `tug push`

use std::fs;
use std::path::{Path, PathBuf};

use repo_index::OciReference;

use super::block_on;
use crate::arguments::AccessArgs;
use crate::failure::Failure;
use crate::fetching::{DownloadLine, explain, fetcher};
use crate::settings::Settings;

/// Push an archive to a registry, with its provenance file if there is one
#[derive(clap::Args)]
pub(crate) struct PushArgs {
    /// The .tgz file
    archive: PathBuf,
    /// oci://HOST/PATH; name and version of the chart are added
    #[arg(value_name = "PLACE")]
    place: String,
    #[command(flatten)]
    access: AccessArgs,
}

pub(super) fn run(arguments: &PushArgs, settings: &Settings) -> Result<(), Failure> {
    let place: OciReference = arguments
        .place
        .parse()
        .map_err(|error| Failure::from_error(&error).hint("`tug push ARCHIVE oci://HOST/PATH`"))?;
    let archive = fs::read(&arguments.archive).map_err(|error| {
        Failure::new(format!("cannot read `{}`", arguments.archive.display()))
            .because_error(&error)
            .hint("`tug package FOLDER` makes an archive")
    })?;
    let mut provenance = arguments.archive.as_os_str().to_owned();
    provenance.push(".prov");
    let provenance = fs::read(Path::new(&provenance)).ok();
    let line = DownloadLine::new(settings.console.clone());
    let fetcher = fetcher(arguments.access.access(settings), settings, &line);
    let created = settings.now().to_string();
    let pushed = block_on(async {
        let registry = fetcher.registry().map_err(|error| explain(&error, settings))?;
        let pushed = registry
            .push_chart(&place, archive.into(), provenance.map(Into::into), &created)
            .await;
        pushed.map_err(|error| explain(&error.into(), settings))
    })?;
    let reference = pushed.reference.to_string();
    settings.console.line(format!(
        "Pushed: {}\nDigest: {}",
        reference.trim_start_matches("oci://"),
        pushed.manifest_digest
    ))
}
