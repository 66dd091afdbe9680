//! Where a chart comes from, and how its server is reached.

use std::fs;
use std::path::{Path, PathBuf};

use chart_model::Chart;
use chart_render::ReadAhead;
use repo_fetch::{Access, Credentials, DependencyManager, Fetched, HttpOptions, Secret, TlsOptions, Wish};
use repo_index::{ChartPlace, ChartReference, Digest};

use crate::commands::block_on;
use crate::failure::Failure;
use crate::fetching::{DownloadLine, check_provenance, explain, fetcher};
use crate::settings::Settings;

/// How servers of charts are reached.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Servers of charts")]
pub(crate) struct AccessArgs {
    /// Certificates of authorities that the server's one is checked by
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    ca_file: Option<PathBuf>,
    /// Our certificate
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    cert_file: Option<PathBuf>,
    /// The key of our certificate
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    key_file: Option<PathBuf>,
    /// Do not check the server's certificate
    #[arg(long, hide_short_help = true)]
    insecure_skip_tls_verify: bool,
    /// Speak to registries without TLS
    #[arg(long, hide_short_help = true)]
    plain_http: bool,
    /// Name to log in with
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    username: Option<String>,
    /// Password to log in with
    #[arg(long, value_name = "PASSWORD", hide_short_help = true)]
    password: Option<String>,
}

/// Which chart, and how its server is reached.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Where the chart comes from")]
pub(crate) struct FetchArgs {
    /// Address of the repository in which the chart's name is looked for
    #[arg(long, value_name = "URL")]
    repo: Option<String>,
    /// Version of the chart, or a constraint on it such as `^1.2` [default: the highest]
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: Option<String>,
    /// Pre-releases too
    #[arg(long)]
    devel: bool,
    /// Refuse the chart unless its provenance file holds
    #[arg(long)]
    pub(crate) verify: bool,
    /// Public keys for --verify [default: gpg's]
    #[arg(long, value_name = "FILE")]
    pub(crate) keyring: Option<PathBuf>,
    /// Tell name and password to every host that the repository leads to
    #[arg(long, hide_short_help = true)]
    pass_credentials: bool,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// An archive that was fetched, in a folder of its own that ends with the value.
pub(crate) struct FetchedFile {
    path: String,
    _folder: tempfile::TempDir,
}

impl FetchedFile {
    /// Where it is.
    pub(crate) fn as_str(&self) -> &str {
        &self.path
    }
}

impl AccessArgs {
    /// The name to log in with.
    pub(crate) fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// The password to log in with.
    pub(crate) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// What is given, as libraries take it.
    pub(crate) fn access(&self, settings: &Settings) -> Access {
        let password = self.password.clone().unwrap_or_default();
        Access {
            http: HttpOptions {
                tls: TlsOptions {
                    ca_file: self.ca_file.clone(),
                    cert_file: self.cert_file.clone(),
                    key_file: self.key_file.clone(),
                    insecure: self.insecure_skip_tls_verify,
                },
                proxies: settings.proxies.clone(),
                ..HttpOptions::default()
            },
            credentials: self.username.clone().map(|username| Credentials::Basic {
                username,
                password: Secret::new(password),
            }),
            plain_http: self.plain_http,
            helper_path: settings.program_path.clone(),
        }
    }
}

impl FetchArgs {
    /// What is given, as libraries take it.
    pub(crate) fn access(&self, settings: &Settings) -> Access {
        let mut access = self.access.access(settings);
        access.http.pass_credentials = self.pass_credentials;
        access
    }

    /// Which chart is wanted.
    pub(crate) fn wish(&self) -> Wish {
        Wish {
            version: self.version.clone().unwrap_or_default(),
            devel: self.devel,
            repository: self.repo.clone().unwrap_or_default(),
            provenance: self.verify,
        }
    }

    /// The path that a reference means, if there is something at it.
    fn local(&self, reference: &ChartReference) -> Option<PathBuf> {
        if self.repo.is_some() {
            return None;
        }
        reference
            .place
            .path()
            .map(PathBuf::from)
            .filter(|path| path.exists())
    }

    /// Fetches an archive, and checks its provenance if that is wanted.
    pub(crate) fn fetch(&self, reference: &str, settings: &Settings) -> Result<Fetched, Failure> {
        let reference: ChartReference = reference.parse().map_err(|error| Failure::from_error(&error))?;
        let line = DownloadLine::new(settings.console.clone());
        let fetcher = fetcher(self.access(settings), settings, &line);
        let fetched = block_on(async {
            let fetched = fetcher.fetch(&reference, &self.wish()).await;
            fetched.map_err(|error| explain(&error, settings))
        })?;
        if self.verify {
            let provenance = fetched.provenance.as_deref().ok_or_else(|| {
                Failure::new(format!(
                    "failed to fetch provenance {:?}",
                    format!("{}.prov", fetched.source)
                ))
            })?;
            let keyring = self.keyring.as_deref();
            check_provenance(
                &fetched.file_name,
                &fetched.archive,
                provenance,
                keyring,
                settings,
            )?;
        }
        Ok(fetched)
    }

    /// Loads a chart by whatever reference; templates of an archive on disk are read `ahead` while it is unpacked.
    pub(crate) fn load(
        &self,
        reference: &str,
        settings: &Settings,
        ahead: Option<&ReadAhead>,
    ) -> Result<Chart, Failure> {
        let parsed: ChartReference = reference.parse().map_err(|error| Failure::from_error(&error))?;
        let in_context = |error: &dyn std::error::Error| {
            Failure::new(format!("cannot load chart `{reference}`")).because_error(error)
        };
        if let Some(path) = self.local(&parsed) {
            self.check_local(&path, &parsed, settings)?;
            let limits = settings.limits.chart;
            let chart = match ahead {
                Some(ahead) => {
                    if let Some(about) = fs::metadata(&path).ok().filter(fs::Metadata::is_file) {
                        ahead.archive(about.len());
                    }
                    Chart::load_seeing(&path, limits, &mut |path, data| ahead.file(path, data))
                }
                None => Chart::load_within(&path, limits),
            };
            return chart.map_err(|error| in_context(&error));
        }
        if let (ChartPlace::Path(path), None) = (&parsed.place, &self.repo) {
            return Err(Failure::new(format!("path {path:?} not found")).hint(
                "CHART is a folder with a `Chart.yaml`, a .tgz file, REPO/NAME, oci://... or https://...",
            ));
        }
        let fetched = self.fetch(reference, settings)?;
        Chart::from_archive_within(&fetched.archive, settings.limits.chart)
            .map_err(|error| in_context(&error))
    }

    /// The archive of a chart that is elsewhere, as a file that ends with the value; `None` for paths.
    pub(crate) fn archive_on_disk(
        &self,
        reference: &str,
        settings: &Settings,
    ) -> Result<Option<FetchedFile>, Failure> {
        let parsed: ChartReference = reference.parse().map_err(|error| Failure::from_error(&error))?;
        let remote = matches!(
            parsed.place,
            ChartPlace::Named { .. } | ChartPlace::Url(_) | ChartPlace::Oci(_)
        );
        if self.local(&parsed).is_some() || !(remote || self.repo.is_some()) {
            return Ok(None);
        }
        let fetched = self.fetch(reference, settings)?;
        let failed = |error: std::io::Error| Failure::new("cannot keep the archive").because_error(&error);
        let folder = tempfile::tempdir().map_err(failed)?;
        let path = folder.path().join(&fetched.file_name);
        fs::write(&path, &fetched.archive).map_err(failed)?;
        Ok(Some(FetchedFile {
            path: path.to_string_lossy().into_owned(),
            _folder: folder,
        }))
    }

    /// Checks the pin and the provenance of an archive on disk; a folder has neither.
    fn check_local(
        &self,
        path: &Path,
        reference: &ChartReference,
        settings: &Settings,
    ) -> Result<(), Failure> {
        if reference.pin.is_none() && !self.verify {
            return Ok(());
        }
        let shown = path.display();
        if path.is_dir() {
            return Err(
                Failure::new("unpacked charts cannot be verified").because(format!("`{shown}` is a folder"))
            );
        }
        let read = |path: &Path| {
            fs::read(path).map_err(|error| {
                Failure::new(format!("cannot read `{}`", path.display())).because_error(&error)
            })
        };
        let archive = read(path)?;
        let found = Digest::of(&archive);
        if let Some(wanted) = reference.pin.filter(|wanted| *wanted != found) {
            return Err(Failure::new(format!(
                "{shown} has the digest {found}, and {wanted} was pinned"
            )));
        }
        if self.verify {
            let mut provenance = path.as_os_str().to_owned();
            provenance.push(".prov");
            let provenance = read(Path::new(&provenance))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            check_provenance(&name, &archive, &provenance, self.keyring.as_deref(), settings)?;
        }
        Ok(())
    }
}

/// Gets what a chart in a folder needs before it is used.
pub(crate) fn update_dependencies(folder: &Path, access: Access, settings: &Settings) -> Result<(), Failure> {
    let line = DownloadLine::new(settings.console.clone());
    let fetcher = fetcher(access, settings, &line);
    let mut manager = DependencyManager::new(&fetcher, folder)?;
    manager.build_time = settings.build_time();
    block_on(async { Ok(manager.update(&settings.now().to_string()).await) })??;
    Ok(())
}
