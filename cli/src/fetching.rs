//! Charts from elsewhere: settings become a fetcher; what it does is told on stderr.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use repo_fetch::{Access, Event, FetchError, Fetcher, Observer, RegistryError, RepositoryError};
use repo_provenance::{Keyring, Verification, verify};

use crate::bundled_charts::BUNDLED;
use crate::console::Console;
use crate::failure::Failure;
use crate::settings::Settings;

/// A fetcher with the places of files that the settings name.
pub(crate) fn fetcher<'o>(access: Access, settings: &Settings, observer: &'o dyn Observer) -> Fetcher<'o> {
    Fetcher::new(access, settings.locations.clone(), Some(BUNDLED), observer)
}

/// Tells what went wrong, and what to type next.
pub(crate) fn explain(error: &FetchError, settings: &Settings) -> Failure {
    let failure = Failure::from_error(error);
    match error {
        FetchError::NoRepository { name } => {
            let failure = failure.hint(format!("`tug repo add {name} URL`"));
            if settings.helm_knows_repository(name) {
                failure.hint("`TUG_SHARE_HELM=1` uses the repositories that helm knows")
            } else {
                failure
            }
        }
        FetchError::NoVersion {
            available,
            repository,
            chart,
            ..
        } if !available.is_empty() => {
            let shown: Vec<&str> = available.iter().take(5).map(String::as_str).collect();
            let more = if available.len() > shown.len() {
                ", ..."
            } else {
                ""
            };
            failure
                .because(format!("there are {}{more}", shown.join(", ")))
                .hint(format!("`tug search repo {repository}/{chart} --versions`"))
        }
        FetchError::NoName(name) => failure
            .because(format!("path {name:?} not found"))
            .hint("CHART is a folder with a `Chart.yaml`, a .tgz file, REPO/NAME, oci://... or https://..."),
        FetchError::Registry(RegistryError::Unauthorized { registry, .. }) => {
            failure.hint(format!("`tug registry login {registry}`"))
        }
        FetchError::Registry(RegistryError::Http(error))
        | FetchError::Repository(RepositoryError::Download(error))
            if error.to_string().contains("InvalidContentType") =>
        {
            failure.hint("`--plain-http` speaks to a registry without TLS")
        }
        _ => failure,
    }
}

/// A line at the foot of the terminal that says what is downloaded; warnings go above it.
pub(crate) struct DownloadLine {
    console: Console,
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    visible: bool,
    /// Mebibytes that were shown last, so that not every packet is a line.
    tenths: u64,
}

const CLEAR: &str = "\r\u{1b}[2K";
/// Smaller downloads are over before anybody reads of them.
const SHOWN_BYTES_MIN: u64 = 256 << 10;

impl DownloadLine {
    pub(crate) fn new(console: Console) -> Self {
        Self {
            console,
            shown: Mutex::default(),
        }
    }

    fn clear(&self) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut shown.visible) {
            self.console.progress(CLEAR);
        }
    }

    fn show(&self, name: &str, bytes: u64, total: Option<u64>) {
        let large = total.unwrap_or(bytes) >= SHOWN_BYTES_MIN;
        if !self.console.shows_progress() || !large {
            return;
        }
        let tenths = bytes * 10 / (1 << 20);
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.visible && shown.tenths == tenths {
            return;
        }
        *shown = Shown {
            visible: true,
            tenths,
        };
        let size = |bytes: u64| format!("{}.{} MiB", bytes >> 20, ((bytes * 10) >> 20) % 10);
        let of = total
            .map(|total| format!(" of {}", size(total)))
            .unwrap_or_default();
        let line = format!("Downloading {name}: {}{of}", size(bytes));
        let cut: String = line
            .chars()
            .take(self.console.width().saturating_sub(1))
            .collect();
        self.console.progress(&format!("{CLEAR}{cut}"));
    }
}

impl Observer for DownloadLine {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Downloading { name, bytes, total } => self.show(name, bytes, total),
            Event::Downloaded { .. } => self.clear(),
            Event::Warning(text) => {
                self.clear();
                self.console.warn(text);
            }
        }
    }
}

impl Drop for DownloadLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Reads a keyring: the one that is named, else gpg's.
pub(crate) fn read_keyring(named: Option<&Path>, settings: &Settings) -> Result<Keyring, Failure> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => usual_keyring(settings),
    };
    let failed = || Failure::new("failed to load keyring");
    let bytes = fs::read(&path).map_err(|error| {
        failed()
            .because(format!("open {}: {error}", path.display()))
            .hint("`gpg --export >~/.gnupg/pubring.gpg` writes one, `--keyring FILE` names another")
    })?;
    Keyring::read(&bytes).map_err(|error| failed().because(format!("{}: {error}", path.display())))
}

/// gpg's old keyring, which Helm reads, else the new one.
fn usual_keyring(settings: &Settings) -> PathBuf {
    let old = settings.gnupg_dir.join("pubring.gpg");
    let new = settings.gnupg_dir.join("pubring.kbx");
    if !old.exists() && new.exists() { new } else { old }
}

/// Checks an archive by its provenance file.
pub(crate) fn check_provenance(
    file_name: &str,
    archive: &[u8],
    provenance: &[u8],
    keyring: Option<&Path>,
    settings: &Settings,
) -> Result<Verification, Failure> {
    let keyring = read_keyring(keyring, settings)?;
    let text = String::from_utf8_lossy(provenance);
    verify(&text, file_name, archive, &keyring, settings.epoch_seconds())
        .map_err(|error| Failure::from_error(&error))
}

/// What Helm prints of a provenance file that holds.
pub(crate) fn verification_text(verification: &Verification) -> String {
    let mut text = String::new();
    for name in &verification.signed_by {
        text += &format!("Signed by: {name}\n");
    }
    text += &format!("Using Key With Fingerprint: {}\n", verification.fingerprint);
    text + &format!("Chart Hash Verified: {}\n", verification.digest)
}
