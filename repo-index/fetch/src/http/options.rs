//! How servers are spoken to.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::secret::Secret;

/// How servers are spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// Whom to trust, and who we are.
    pub tls: TlsOptions,
    /// Ways round.
    pub proxies: Proxies,
    /// When to try again.
    pub retry: RetryPolicy,
    /// Longest wait for a connection, and for the next bytes of an answer.
    pub idle_max: Duration,
    /// The most bytes of an answer.
    pub answer_bytes_max: u64,
    /// Send credentials to other hosts too, when an answer or an index leads there.
    pub pass_credentials: bool,
    /// What we call ourselves.
    pub user_agent: String,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            tls: TlsOptions::default(),
            proxies: Proxies::default(),
            retry: RetryPolicy::default(),
            idle_max: Duration::from_secs(30),
            answer_bytes_max: 256 << 20,
            pass_credentials: false,
            user_agent: concat!("tug/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Whom to trust, and who we are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Certificates of authorities, instead of those of the system.
    pub ca_file: Option<PathBuf>,
    /// Our certificate; it needs the key.
    pub cert_file: Option<PathBuf>,
    /// The key of our certificate.
    pub key_file: Option<PathBuf>,
    /// Trust everybody.
    pub insecure: bool,
}

/// Ways round, as `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` name them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http://`.
    pub http: Option<String>,
    /// For `https://`.
    pub https: Option<String>,
    /// For both.
    pub all: Option<String>,
    /// Hosts that are asked directly, separated by commas.
    pub none: Option<String>,
}

/// When to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Times that a request is sent, the first included.
    pub attempts_max: u32,
    /// Wait before the second time; it doubles.
    pub backoff_first: Duration,
    /// Longest wait, whatever the server asks for.
    pub backoff_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_max: 4,
            backoff_first: Duration::from_millis(200),
            backoff_max: Duration::from_secs(10),
        }
    }
}

impl RetryPolicy {
    /// The wait before sending again after so many times, when the server asked for `wished` or not.
    pub(crate) fn wait(&self, sent: u32, wished: Option<Duration>) -> Duration {
        let own = self.backoff_first * 2_u32.saturating_pow(sent.saturating_sub(1).min(16));
        wished.unwrap_or(own).min(self.backoff_max)
    }
}

/// Who we say we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A name and a password.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A token.
    Bearer(Secret),
}

impl Credentials {
    /// The header `Authorization`.
    pub(crate) fn header(&self) -> Option<http::HeaderValue> {
        let text = match self {
            Self::Basic { username, password } => {
                let pair = format!("{username}:{}", password.reveal());
                format!("Basic {}", BASE64_STANDARD.encode(pair))
            }
            Self::Bearer(token) => format!("Bearer {}", token.reveal()),
        };
        let mut value = http::HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit() {
        let policy = RetryPolicy::default();
        let waits: Vec<u128> = [1, 2, 3, 40]
            .map(|sent| policy.wait(sent, None).as_millis())
            .into();
        assert_eq!(waits, [200, 400, 800, 10_000]);
        assert_eq!(policy.wait(1, Some(Duration::from_secs(3))).as_secs(), 3);
        assert_eq!(policy.wait(1, Some(Duration::from_secs(3600))).as_secs(), 10);
    }

    #[test]
    fn credentials_do_not_print_themselves() {
        let basic = Credentials::Basic {
            username: "ann".into(),
            password: Secret::new("hunter2"),
        };
        assert!(!format!("{basic:?}").contains("hunter2"));
        assert_eq!(basic.header().unwrap(), "Basic YW5uOmh1bnRlcjI=");
    }
}
