//! `tug verify`

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::fetching::{check_provenance, verification_text};
use crate::settings::Settings;

/// Check an archive by the provenance file beside it
#[derive(clap::Args)]
pub(crate) struct VerifyArgs {
    /// The .tgz file; the .tgz.prov file stands beside it
    archive: PathBuf,
    /// Public keys [default: gpg's]
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
}

pub(super) fn run(arguments: &VerifyArgs, settings: &Settings) -> Result<(), Failure> {
    let path = &arguments.archive;
    if path.is_dir() {
        return Err(Failure::new("unpacked charts cannot be verified")
            .hint("`tug package --sign` makes an archive with a provenance file"));
    }
    let mut provenance = path.as_os_str().to_owned();
    provenance.push(".prov");
    let provenance = Path::new(&provenance);
    let archive = read(path, "could not load the archive")?;
    let statement = read(provenance, "could not load provenance file")?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let keyring = arguments.keyring.as_deref();
    let verification = check_provenance(&name, &archive, &statement, keyring, settings)?;
    settings.console.data(&verification_text(&verification))
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::new(format!("{what} {}", path.display())).because_error(&error))
}
