//! Tokens by the protocol of Docker's registry: issued at `/token`, good for some minutes and for what was asked for.
//!
//! A token is its content and an HMAC over it with a key that lives as long as the server.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use uuid::Uuid;

use super::rights::Right;

/// How long a token is good.
const SECONDS: i64 = 300;
/// Longer tokens are none of ours.
const BYTES_MAX: usize = 16 * 1024;

/// What a token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) user: Option<String>,
    access: Vec<(String, Vec<Right>)>,
}

/// Issues tokens and knows them again.
#[derive(Debug)]
pub(crate) struct Tokens {
    key: [u8; 32],
}

impl Grant {
    pub(crate) fn allows(&self, repository: &str, right: Right) -> bool {
        self.access
            .iter()
            .any(|(name, rights)| name == repository && rights.contains(&right))
    }
}

impl Tokens {
    /// With a new key: tokens of an earlier server are not good any more.
    pub(crate) fn new() -> Self {
        let mut key = [0; 32];
        let (first, second) = key.split_at_mut(16);
        first.copy_from_slice(Uuid::new_v4().as_bytes());
        second.copy_from_slice(Uuid::new_v4().as_bytes());
        Self { key }
    }

    fn mac(&self, content: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(content);
        Some(mac)
    }

    /// A token, and for how many seconds it is good.
    pub(crate) fn issue(
        &self,
        user: Option<&str>,
        access: Vec<(String, Vec<Right>)>,
        now: Timestamp,
    ) -> (String, i64) {
        let access: Vec<(String, String)> = access
            .into_iter()
            .map(|(name, rights)| (name, rights.into_iter().map(letter).collect()))
            .collect();
        let content = serde_json::json!([now.as_second() + SECONDS, user, access]).to_string();
        let mac = self
            .mac(content.as_bytes())
            .map(|mac| mac.finalize().into_bytes());
        let seal = URL_SAFE_NO_PAD.encode(mac.unwrap_or_default());
        (format!("{}.{seal}", URL_SAFE_NO_PAD.encode(content)), SECONDS)
    }

    /// What a token allows, if it is ours and still good.
    pub(crate) fn read(&self, token: &str, now: Timestamp) -> Option<Grant> {
        if token.len() > BYTES_MAX {
            return None;
        }
        let (content, seal) = token.split_once('.')?;
        let content = URL_SAFE_NO_PAD.decode(content).ok()?;
        let seal = URL_SAFE_NO_PAD.decode(seal).ok()?;
        self.mac(&content)?.verify_slice(&seal).ok()?;
        let content: (i64, Option<String>, Vec<(String, String)>) = serde_json::from_slice(&content).ok()?;
        let (until, user, access) = content;
        let access = access
            .into_iter()
            .map(|(name, letters)| (name, letters.chars().filter_map(right).collect()));
        (now.as_second() < until).then(|| Grant {
            user,
            access: access.collect(),
        })
    }
}

fn letter(right: Right) -> char {
    match right {
        Right::Read => 'r',
        Right::Write => 'w',
        Right::Delete => 'd',
    }
}

fn right(letter: char) -> Option<Right> {
    [Right::Read, Right::Write, Right::Delete]
        .into_iter()
        .find(|right| self::letter(*right) == letter)
}

/// The rights that a scope wishes: `repository:NAME:pull,push`. Scopes of other kinds wish nothing.
pub(crate) fn scope(text: &str) -> Option<(String, Vec<Right>)> {
    let rest = text.strip_prefix("repository:")?;
    let (name, actions) = rest.rsplit_once(':')?;
    let rights = actions.split(',').flat_map(|action| match action {
        "pull" => vec![Right::Read],
        "push" => vec![Right::Write],
        "delete" => vec![Right::Delete],
        "*" => vec![Right::Read, Right::Write, Right::Delete],
        _ => Vec::new(),
    });
    Some((name.to_owned(), rights.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_allows_what_it_was_issued_for_and_for_some_time() {
        let tokens = Tokens::new();
        let now = Timestamp::UNIX_EPOCH;
        let access = vec![scope("repository:a/b:pull,push").unwrap()];
        let (token, seconds) = tokens.issue(Some("alice"), access, now);
        let grant = tokens.read(&token, now).unwrap();
        assert_eq!(grant.user.as_deref(), Some("alice"));
        assert!(grant.allows("a/b", Right::Read) && grant.allows("a/b", Right::Write));
        assert!(!grant.allows("a/b", Right::Delete) && !grant.allows("a", Right::Read));
        let later = Timestamp::from_second(seconds).unwrap();
        assert_eq!(tokens.read(&token, later), None);
        assert_eq!(Tokens::new().read(&token, now), None);
    }

    #[test]
    fn err_a_changed_token_is_refused() {
        let tokens = Tokens::new();
        let (token, _) = tokens.issue(None, Vec::new(), Timestamp::UNIX_EPOCH);
        let (content, seal) = token.split_once('.').unwrap();
        let other = URL_SAFE_NO_PAD.encode("[9999999999,\"root\",[[\"a\",\"rwd\"]]]");
        for forged in [
            String::new(),
            content.to_owned(),
            format!("{other}.{seal}"),
            format!("{other}."),
            "x".repeat(20_000),
        ] {
            assert_eq!(tokens.read(&forged, Timestamp::UNIX_EPOCH), None);
        }
    }
}
