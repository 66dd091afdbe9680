//! `tug pull`

use std::fs;
use std::path::{Path, PathBuf};

use repo_fetch::{Fetched, unpack_archive, write_atomic};
use repo_index::ChartReference;

use super::block_on;
use crate::arguments::FetchArgs;
use crate::failure::Failure;
use crate::fetching::{DownloadLine, check_provenance, explain, fetcher, verification_text};
use crate::settings::Settings;

/// Fetch charts into files
#[derive(clap::Args)]
pub(crate) struct PullArgs {
    /// REPO/NAME, oci://... or https://..., with @sha256:... behind it to pin it
    #[arg(value_name = "CHART", required = true)]
    charts: Vec<String>,
    /// Folder to write into
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    destination: PathBuf,
    /// Unpack the archive instead of keeping it
    #[arg(long)]
    untar: bool,
    /// Folder to unpack into, below the destination
    #[arg(long, value_name = "DIR", default_value = ".")]
    untardir: PathBuf,
    /// Fetch the provenance file too, without checking it
    #[arg(long)]
    prov: bool,
    #[command(flatten)]
    fetch: FetchArgs,
}

pub(super) fn run(arguments: &PullArgs, settings: &Settings) -> Result<(), Failure> {
    for reference in &arguments.charts {
        pull(reference, arguments, settings)?;
    }
    Ok(())
}

fn pull(text: &str, arguments: &PullArgs, settings: &Settings) -> Result<(), Failure> {
    let reference: ChartReference = text.parse().map_err(|error| Failure::from_error(&error))?;
    let fetched = fetch(&reference, arguments, settings)?;
    let console = &settings.console;
    if arguments.fetch.verify {
        let provenance = fetched.provenance.as_deref().ok_or_else(|| {
            Failure::new(format!(
                "failed to fetch provenance {:?}",
                format!("{}.prov", fetched.source)
            ))
        })?;
        let keyring = arguments.fetch.keyring.as_deref();
        let verification = check_provenance(
            &fetched.file_name,
            &fetched.archive,
            provenance,
            keyring,
            settings,
        )?;
        console.data(&verification_text(&verification))?;
    }
    if let Some(digest) = fetched.manifest_digest {
        let place = fetched.source.trim_start_matches("oci://");
        console.line(format!("Pulled: {place}\nDigest: {digest}"))?;
    }
    if arguments.untar {
        unpack_archive(&fetched.archive, &arguments.destination.join(&arguments.untardir))?;
        return Ok(());
    }
    let path = arguments.destination.join(&fetched.file_name);
    if !arguments.destination.is_dir() {
        fs::create_dir_all(&arguments.destination).map_err(|error| cannot_write(&path, &error))?;
    }
    write_atomic(&path, &fetched.archive, false).map_err(|error| cannot_write(&path, &error))?;
    if let Some(provenance) = fetched
        .provenance
        .as_deref()
        .filter(|_| arguments.prov || arguments.fetch.verify)
    {
        let mut path = path.into_os_string();
        path.push(".prov");
        let path = Path::new(&path);
        write_atomic(path, provenance, false).map_err(|error| cannot_write(path, &error))?;
    }
    Ok(())
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot write `{}`", path.display())).because_error(error)
}

/// Fetches the archive; a missing provenance file is only a warning unless it is to be checked.
fn fetch(reference: &ChartReference, arguments: &PullArgs, settings: &Settings) -> Result<Fetched, Failure> {
    let line = DownloadLine::new(settings.console.clone());
    let fetcher = fetcher(arguments.fetch.access(settings), settings, &line);
    let mut wish = arguments.fetch.wish();
    wish.provenance = arguments.prov || arguments.fetch.verify;
    block_on(async {
        let first = fetcher.fetch(reference, &wish).await;
        let outcome = match first {
            Err(repo_fetch::FetchError::Repository(repo_fetch::RepositoryError::Download(error)))
                if arguments.prov && !arguments.fetch.verify && error.to_string().contains(".prov") =>
            {
                settings
                    .console
                    .warn(format!("Verification not found for {reference}: {error}"));
                wish.provenance = false;
                fetcher.fetch(reference, &wish).await
            }
            other => other,
        };
        outcome.map_err(|error| explain(&error, settings))
    })
}
