//! `tug package`

use std::fs;
use std::path::{Path, PathBuf};

use chart_model::{Chart, package};
use chart_values::constraint::Version;
use repo_fetch::write_atomic;
use repo_provenance::{Keyring, ProvenanceError, sign};

use crate::arguments::{AccessArgs, update_dependencies};
use crate::failure::Failure;
use crate::fetching::read_keyring;
use crate::settings::Settings;

/// Pack charts into archives
#[derive(clap::Args)]
pub(crate) struct PackageArgs {
    /// Folders
    #[arg(value_name = "CHART", required = true)]
    charts: Vec<PathBuf>,
    /// Folder to write archives into
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    destination: PathBuf,
    /// Version that the chart gets
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Version of the application that the chart gets
    #[arg(long, value_name = "VERSION")]
    app_version: Option<String>,
    /// Get what the chart needs before
    #[arg(short = 'u', long)]
    dependency_update: bool,
    /// Sign the archive: write a provenance file beside it
    #[arg(long)]
    sign: bool,
    /// Name of the key to sign with, or a part of it
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Secret keys, as `gpg --export-secret-keys` writes them [default: gpg's old keyring]
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
    /// File of the passphrase of the key, `-` is stdin
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    access: AccessArgs,
}

pub(super) fn run(arguments: &PackageArgs, settings: &Settings) -> Result<(), Failure> {
    for folder in &arguments.charts {
        let path = pack(folder, arguments, settings)?;
        settings.console.line(format!(
            "Successfully packaged chart and saved it to: {}",
            path.display()
        ))?;
    }
    Ok(())
}

fn pack(folder: &Path, arguments: &PackageArgs, settings: &Settings) -> Result<PathBuf, Failure> {
    // Asked for first, so that nothing is written when it cannot be had.
    let signer = if arguments.sign {
        Some(Signer::open(arguments, settings)?)
    } else {
        None
    };
    if arguments.dependency_update {
        update_dependencies(folder, arguments.access.access(settings), settings)?;
    }
    let mut chart = Chart::load_within(folder, settings.limits.chart)?;
    if let Some(version) = &arguments.version {
        Version::parse_strict(version)
            .map_err(|error| Failure::new(format!("`{version}` is no version")).because_error(&error))?;
        chart.metadata.version.clone_from(version);
    }
    if let Some(version) = &arguments.app_version {
        chart.metadata.app_version.clone_from(version);
    }
    let missing = chart.missing_dependencies();
    if !missing.is_empty() {
        let names = missing.join(", ");
        return Err(Failure::new(format!(
            "found in Chart.yaml, but missing in charts/ directory: {names}"
        )));
    }
    let bytes = package(&chart, settings.build_time())?;
    let name = format!("{}-{}.tgz", chart.name(), chart.metadata.version);
    let path = arguments.destination.join(&name);
    let statement = match &signer {
        Some(signer) => Some(signer.sign(&chart, &name, &bytes, settings)?),
        None => None,
    };
    write(&path, &bytes)?;
    if let Some(statement) = statement {
        write(
            &arguments.destination.join(format!("{name}.prov")),
            statement.as_bytes(),
        )?;
    }
    Ok(fs::canonicalize(&path).unwrap_or(path))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_atomic(path, bytes, false)
        .map_err(|error| Failure::new(format!("cannot write `{}`", path.display())).because_error(&error))
}

/// Who signs.
struct Signer {
    keyring: Keyring,
    key: String,
    passphrase: String,
}

impl Signer {
    fn open(arguments: &PackageArgs, settings: &Settings) -> Result<Self, Failure> {
        let key = arguments.key.clone();
        let key = key.ok_or_else(|| Failure::new("--key is required for signing a package"))?;
        let usual = settings.gnupg_dir.join("secring.gpg");
        let keyring = arguments.keyring.as_deref().or(Some(usual.as_path()));
        let keyring = read_keyring(keyring, settings).map_err(|failure| {
            failure.hint("`gpg --export-secret-keys >FILE` writes secret keys for `--keyring FILE`")
        })?;
        let passphrase = match &arguments.passphrase_file {
            None => String::new(),
            Some(path) => {
                let text = if path == Path::new("-") {
                    std::io::read_to_string(std::io::stdin())
                } else {
                    fs::read_to_string(path)
                };
                let text = text.map_err(|error| {
                    Failure::new(format!("cannot read the passphrase from `{}`", path.display()))
                        .because_error(&error)
                })?;
                text.lines().next().unwrap_or_default().to_owned()
            }
        };
        Ok(Self {
            keyring,
            key,
            passphrase,
        })
    }

    fn sign(
        &self,
        chart: &Chart,
        name: &str,
        archive: &[u8],
        settings: &Settings,
    ) -> Result<String, Failure> {
        let key = self
            .keyring
            .signing_key(&self.key, &self.passphrase)
            .map_err(|error| {
                let failure = Failure::from_error(&error);
                match error {
                    ProvenanceError::Locked(_) => {
                        failure.hint("`--passphrase-file FILE` gives the passphrase")
                    }
                    _ => failure,
                }
            })?;
        Ok(sign(
            &chart.metadata,
            name,
            archive,
            &key,
            settings.epoch_seconds(),
        )?)
    }
}
