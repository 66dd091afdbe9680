//! Who asks, and what they may do.

mod htpasswd;
pub(crate) mod rights;
pub(crate) mod token;
mod user;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use self::htpasswd::{Accounts, HtpasswdError};
use self::rights::{Right, Rights, RightsError};
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

/// Knows users and their rights.
#[derive(Debug)]
pub(crate) struct Auth {
    /// Without accounts everybody may do everything.
    accounts: Option<Arc<Accounts>>,
    rights: Rights,
    tokens: Tokens,
    challenge: Challenge,
    checked: Mutex<Vec<(Digest, String)>>,
    checks: tokio::sync::Semaphore,
}

impl Auth {
    pub(crate) fn open(options: &ServeOptions) -> Result<Self, AuthError> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).map_err(|source| AuthError::File {
                path: path.clone(),
                source,
            })
        };
        let accounts = match &options.htpasswd {
            None => None,
            Some(path) => Some(
                Accounts::read(&read(path)?).map_err(|source| AuthError::Htpasswd {
                    path: path.clone(),
                    source,
                })?,
            ),
        };
        let rights = match &options.rights {
            None => Rights::everything_for_users(),
            Some(path) => Rights::read(&read(path)?).map_err(|source| AuthError::Rights {
                path: path.clone(),
                source,
            })?,
        };
        Ok(Self {
            // Rights without accounts are rights of those who do not say who they are.
            accounts: accounts
                .or_else(|| options.rights.is_some().then(Accounts::default))
                .map(Arc::new),
            rights,
            tokens: Tokens::new(),
            challenge: options.challenge,
            checked: Mutex::default(),
            checks: tokio::sync::Semaphore::new(CHECKS_MAX),
        })
    }

    /// Whether people can say who they are at all.
    pub(crate) fn has_accounts(&self) -> bool {
        self.accounts.is_some()
    }

    /// Finds out who asks. Wrong credentials are refused, none are those of nobody.
    pub(crate) async fn user(&self, headers: &HeaderMap, now: Timestamp) -> Result<User, Refusal> {
        let Some(accounts) = &self.accounts else {
            return Ok(User::Everybody);
        };
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
        self.check_password(accounts, name, password).await
    }

    async fn check_password(
        &self,
        accounts: &Arc<Accounts>,
        name: &str,
        password: &str,
    ) -> Result<User, Refusal> {
        let known = Digest::sha256(format!("{name}:{password}").as_bytes());
        let is_known = |(digest, _): &&(Digest, String)| *digest == known;
        let checked = || self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, name)) = checked().iter().find(is_known) {
            return Ok(User::Named(name.clone()));
        }
        let busy = |_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "UNKNOWN", "the server stops");
        let _place = self.checks.acquire().await.map_err(busy)?;
        let work = {
            let (accounts, name, password) = (Arc::clone(accounts), name.to_owned(), password.to_owned());
            move || accounts.check(&name, &password)
        };
        if !tokio::task::spawn_blocking(work).await? {
            return Err(unauthorized("wrong user or password"));
        }
        let mut checked = checked();
        if checked.len() >= CHECKED_MAX {
            checked.remove(0);
        }
        checked.push((known, name.to_owned()));
        Ok(User::Named(name.to_owned()))
    }

    /// Whether somebody has a right on a repository.
    pub(crate) fn may(&self, user: &User, repository: &str, right: Right) -> bool {
        match user {
            User::Everybody => true,
            User::Anonymous => self.rights.allow(None, repository, right),
            User::Named(name) => self.rights.allow(Some(name), repository, right),
            User::Bearer(grant) => grant.allows(repository, right),
        }
    }

    /// Whether somebody has any right, on a repository or below it.
    pub(crate) fn may_enter(&self, user: &User, repository: &str) -> bool {
        match user {
            User::Everybody => true,
            User::Anonymous => self.rights.reach(None, repository),
            User::Named(name) | User::Bearer(Grant { user: Some(name), .. }) => {
                self.rights.reach(Some(name), repository)
            }
            User::Bearer(_) => self.rights.reach(None, repository),
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
