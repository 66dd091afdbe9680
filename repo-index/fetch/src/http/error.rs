//! Why a server did not give what was asked for.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use reqwest::StatusCode;

/// Why a server did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The client cannot be made.
    #[error("cannot prepare the HTTP client: {reason}")]
    Client {
        /// Why.
        reason: String,
    },
    /// A file of certificates or keys cannot be read.
    #[error("cannot read `{}`: {reason}", .path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Not an address.
    #[error("`{url}` is no address")]
    Url {
        /// The text.
        url: String,
    },
    /// The server cannot be reached, or breaks off.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// The address.
        url: String,
        /// Why.
        reason: String,
        /// Trying again may help.
        temporary: bool,
    },
    /// The server says no.
    #[error("failed to fetch {url} : {status}{}", said(.message))]
    Status {
        /// The address.
        url: String,
        /// The status code and its usual words.
        status: StatusCode,
        /// What the answer says besides, cut.
        message: String,
    },
    /// The server leads from address to address.
    #[error("{url} leads to more than {limit} other addresses")]
    Redirects {
        /// The first address.
        url: String,
        /// The limit.
        limit: usize,
    },
    /// The answer is larger than allowed.
    #[error("{url} gives more than {limit} bytes")]
    TooLarge {
        /// The address.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// The file of the download cannot be written.
    #[error("cannot write `{}`: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn said(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

impl HttpError {
    /// Tells whether trying again may help.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { temporary, .. } => *temporary,
            Self::Status { status, .. } => is_temporary(*status),
            _ => false,
        }
    }

    /// The server could not be asked: what was kept of it may serve.
    pub fn is_offline(&self) -> bool {
        self.is_temporary()
    }

    /// The status code, if that is what is wrong.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    pub(super) fn unreachable(url: &reqwest::Url, error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut reason = String::new();
        let mut next: Option<&(dyn Error + 'static)> = Some(&error);
        let mut untrusted = false;
        while let Some(error) = next {
            // The outer layers say nothing but that there was an error.
            reason = error.to_string();
            untrusted |= is_tls(error);
            next = error.source();
        }
        Self::Unreachable {
            url: without_password(url),
            reason,
            temporary: !untrusted && !error.is_builder(),
        }
    }
}

/// Tells whether the error is about certificates, which do not get better by trying again.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    if error.is::<rustls::Error>() {
        return true;
    }
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    matches!(inner, Some(inner) if inner.is::<rustls::Error>())
}

pub(super) fn is_temporary(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// The address as it may be shown.
pub(super) fn without_password(url: &reqwest::Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() {
        // Fails only for addresses that have no host.
        let _ = url.set_password(Some("***"));
    }
    url.to_string()
}
