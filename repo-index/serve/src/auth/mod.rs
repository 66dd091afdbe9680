//! Who asks, and what they may do.

mod htpasswd;
mod known;
pub(crate) mod rights;
pub(crate) mod token;
mod user;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use self::htpasswd::HtpasswdError;
use self::known::{AccountFiles, Known};
use self::rights::{Right, RightsError};
use self::token::{Grant, Tokens};
pub(crate) use self::user::User;
use crate::answer::Refusal;
use crate::digest::Digest;
use crate::options::{Challenge, ServeOptions};

/// Checked passwords that are kept in mind, since checking one takes long on purpose.
const CHECKED_MAX: usize = 1024;
/// Passwords that are checked at the same time; each takes a processor.
const CHECKS_MAX: usize = 2;

/// Why accounts or rights cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A file.
    #[error("cannot read `{}`", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The passwords.
    #[error("`{}`: {source}", .path.display())]
    Htpasswd {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: HtpasswdError,
    },
    /// The rights.
    #[error("`{}`: {source}", .path.display())]
    Rights {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: RightsError,
    },
}

/// Passwords that were found right: digests of name and password.
type Checked = Vec<Digest>;

/// Knows users and their rights.
#[derive(Debug)]
pub(crate) struct Auth {
    files: AccountFiles,
    tokens: Tokens,
    challenge: Challenge,
    checks: tokio::sync::Semaphore,
}

impl Auth {
    pub(crate) fn open(options: &ServeOptions) -> Result<Self, AuthError> {
        Ok(Self {
            files: AccountFiles::open(options)?,
            tokens: Tokens::new(),
            challenge: options.challenge,
            checks: tokio::sync::Semaphore::new(CHECKS_MAX),
        })
    }

    /// Whether people can say who they are at all.
    pub(crate) fn has_accounts(&self) -> bool {
        self.files.known().accounts.is_some()
    }

    /// Finds out who asks. Wrong credentials are refused, none are those of nobody.
    pub(crate) async fn user(&self, headers: &HeaderMap, now: Timestamp) -> Result<User, Refusal> {
        self.files.refresh();
        let known = self.files.known();
        if known.accounts.is_none() {
            return Ok(User::Everybody);
        }
        let Some(value) = headers.get(AUTHORIZATION) else {
            return Ok(User::Anonymous);
        };
        let (scheme, credentials) = value
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .ok_or_else(|| unauthorized("the credentials cannot be read"))?;
        if scheme.eq_ignore_ascii_case("bearer") {
            let grant = self.tokens.read(credentials.trim(), now);
            return grant
                .map(User::Bearer)
                .ok_or_else(|| unauthorized("the token is not valid any more, or never was"));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(unauthorized("credentials must be `Basic` or `Bearer`"));
        }
        let decoded = STANDARD.decode(credentials.trim()).ok();
        let pair = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = pair.as_deref().and_then(|pair| pair.split_once(':'));
        let (name, password) = pair.ok_or_else(|| unauthorized("the credentials cannot be read"))?;
        self.check_password(known, name, password).await
    }

    async fn check_password(&self, known: Arc<Known>, name: &str, password: &str) -> Result<User, Refusal> {
        let digest = Digest::sha256(format!("{name}:{password}").as_bytes());
        let checked = || known.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked().contains(&digest) {
            return Ok(User::Named(name.to_owned()));
        }
        let busy = |_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "UNKNOWN", "the server stops");
        let _place = self.checks.acquire().await.map_err(busy)?;
        let work = {
            let (known, name, password) = (Arc::clone(&known), name.to_owned(), password.to_owned());
            move || {
                let accounts = known.accounts.as_ref();
                accounts.is_some_and(|accounts| accounts.check(&name, &password))
            }
        };
        if !tokio::task::spawn_blocking(work).await? {
            return Err(unauthorized("wrong user or password"));
        }
        let mut checked = checked();
        if checked.len() >= CHECKED_MAX {
            checked.remove(0);
        }
        checked.push(digest);
        Ok(User::Named(name.to_owned()))
    }

    /// Whether somebody has a right on a repository.
    pub(crate) fn may(&self, user: &User, repository: &str, right: Right) -> bool {
        let known = self.files.known();
        let rights = &known.rights;
        match user {
            User::Everybody => true,
            User::Anonymous => rights.allow(None, repository, right),
            User::Named(name) => rights.allow(Some(name), repository, right),
            User::Bearer(grant) => grant.allows(repository, right),
        }
    }

    /// Whether somebody has any right, on a repository or below it.
    pub(crate) fn may_enter(&self, user: &User, repository: &str) -> bool {
        let known = self.files.known();
        let rights = &known.rights;
        match user {
            User::Everybody => true,
            User::Anonymous => rights.reach(None, repository),
            User::Named(name) | User::Bearer(Grant { user: Some(name), .. }) => {
                rights.reach(Some(name), repository)
            }
            User::Bearer(_) => rights.reach(None, repository),
        }
    }

    /// Refuses somebody who has not a right.
    pub(crate) fn require(&self, user: &User, repository: &str, right: Right) -> Result<(), Refusal> {
        if self.may(user, repository, right) {
            return Ok(());
        }
        Err(self.refusal(user, &format!("no right to {} `{repository}`", right.verb())))
    }

    /// Who did not say who they are may do so; who did is refused.
    pub(crate) fn refusal(&self, user: &User, message: &str) -> Refusal {
        match user {
            // A token may lack a right that its owner has.
            User::Anonymous | User::Bearer(_) => unauthorized(message),
            User::Named(_) | User::Everybody => Refusal::new(StatusCode::FORBIDDEN, "DENIED", message),
        }
    }

    /// Issues a token with those of the wished rights that the user has.
    pub(crate) fn issue(
        &self,
        user: &User,
        scopes: &[(String, Vec<Right>)],
        now: Timestamp,
    ) -> (String, i64) {
        let access = scopes
            .iter()
            .map(|(repository, wished)| {
                let had = wished
                    .iter()
                    .copied()
                    .filter(|right| self.may(user, repository, *right));
                (repository.clone(), had.collect::<Vec<Right>>())
            })
            .filter(|(_, rights)| !rights.is_empty());
        self.tokens.issue(user.name(), access.collect(), now)
    }

    /// Says how to tell who one is.
    pub(crate) fn challenge(&self, refusal: Refusal, base: &str, scope: Option<&str>) -> Refusal {
        if refusal.status != StatusCode::UNAUTHORIZED {
            return refusal;
        }
        let value = match (self.challenge, scope) {
            (Challenge::Token, Some(scope)) => {
                let scope = if scope.is_empty() {
                    String::new()
                } else {
                    format!(",scope=\"{scope}\"")
                };
                format!("Bearer realm=\"{base}/token\",service=\"tug\"{scope}")
            }
            _ => "Basic realm=\"tug\", charset=\"UTF-8\"".to_owned(),
        };
        refusal.with(WWW_AUTHENTICATE, value)
    }
}

pub(crate) fn unauthorized(message: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
}
