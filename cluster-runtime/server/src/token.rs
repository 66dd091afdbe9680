//! The one line by which another machine joins: where the cluster is, how it is known, and the right to join.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What a machine is in its cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It keeps the cluster's state, serves the API, and runs pods.
    #[default]
    Server,
    /// It runs pods.
    Agent,
}

/// A token to join a cluster with, as text `tug-agent-…` or `tug-server-…`.
///
/// After the role stand, in base64 for URLs: the version of the form (1 byte), the token's number (5), its secret (16), SHA-256
/// of the certificate of the cluster's authority (32), addresses of servers (4 and 2 for the port, each), and the first 4 bytes
/// of the SHA-256 of all that, so that half a token is told from a wrong one.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// What whoever joins becomes.
    pub role: Role,
    /// Which token it is; no secret.
    pub id: [u8; ID_BYTES],
    /// What only those who were given the token know.
    pub secret: [u8; SECRET_BYTES],
    /// SHA-256 of the certificate (DER) of the cluster's authority.
    pub authority: [u8; DIGEST_BYTES],
    /// Where servers are; one at least.
    pub servers: Vec<SocketAddr>,
}

const VERSION: u8 = 1;
pub(crate) const ID_BYTES: usize = 5;
pub(crate) const SECRET_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;
const ADDRESS_BYTES: usize = 6;
const CHECK_BYTES: usize = 4;

/// A text that is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseTokenError {
    /// It does not begin as one.
    #[error("it is no token: tokens begin with `tug-agent-` or `tug-server-`")]
    Form,
    /// It was cut off or changed.
    #[error("the token is incomplete or has a wrong character")]
    Damaged,
    /// A newer program made it.
    #[error("the token was made by a newer tug")]
    Newer,
}

impl Role {
    /// Reads what [`Role::as_str`] gives; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Server, Self::Agent]
            .into_iter()
            .find(|role| role.as_str() == text)
    }

    /// `server` or `agent`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Agent => "agent",
        }
    }
}

impl JoinToken {
    /// The token's number as text, by which it is listed and revoked.
    pub fn name(&self) -> String {
        hex(&self.id)
    }
}

/// What of a secret is kept by the cluster.
pub(crate) fn secret_digest(secret: &[u8]) -> String {
    hex(&Sha256::digest(secret))
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes out of hexadecimal; `None` where it is none.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(pair).collect()
}

fn check(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let digest = Sha256::digest(bytes);
    [digest[0], digest[1], digest[2], digest[3]]
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![VERSION];
        bytes.extend(self.id);
        bytes.extend(self.secret);
        bytes.extend(self.authority);
        for server in &self.servers {
            if let SocketAddr::V4(server) = server {
                bytes.extend(server.ip().octets());
                bytes.extend(server.port().to_be_bytes());
            }
        }
        bytes.extend(check(&bytes));
        write!(f, "tug-{}-{}", self.role.as_str(), URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The secret is in no log.
        f.debug_struct("JoinToken")
            .field("role", &self.role)
            .field("name", &self.name())
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

impl FromStr for JoinToken {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        let (role, rest) = [Role::Agent, Role::Server]
            .into_iter()
            .find_map(|role| {
                let rest = text.trim().strip_prefix("tug-")?.strip_prefix(role.as_str())?;
                Some((role, rest.strip_prefix('-')?))
            })
            .ok_or(ParseTokenError::Form)?;
        let bytes = URL_SAFE_NO_PAD
            .decode(rest)
            .map_err(|_| ParseTokenError::Damaged)?;
        let (content, sum) = bytes
            .split_last_chunk::<CHECK_BYTES>()
            .filter(|(content, sum)| check(content) == **sum)
            .ok_or(ParseTokenError::Damaged)?;
        let _ = sum;
        let (version, rest) = content.split_first().ok_or(ParseTokenError::Damaged)?;
        if *version > VERSION {
            return Err(ParseTokenError::Newer);
        }
        let damaged = || ParseTokenError::Damaged;
        let (id, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let (secret, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let (authority, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let servers: Vec<SocketAddr> = rest
            .chunks_exact(ADDRESS_BYTES)
            .map(|part| {
                let address = Ipv4Addr::new(part[0], part[1], part[2], part[3]);
                SocketAddrV4::new(address, u16::from_be_bytes([part[4], part[5]])).into()
            })
            .collect();
        if servers.is_empty() || rest.len() % ADDRESS_BYTES != 0 {
            return Err(ParseTokenError::Damaged);
        }
        Ok(Self {
            role,
            id: *id,
            secret: *secret,
            authority: *authority,
            servers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            role: Role::Agent,
            id: [1, 2, 3, 4, 5],
            secret: [7; 16],
            authority: [9; 32],
            servers: vec![
                "192.0.2.1:6443".parse().unwrap(),
                "192.0.2.2:7000".parse().unwrap(),
            ],
        }
    }

    #[test]
    fn a_token_is_one_word_and_comes_back_from_it() {
        let text = token().to_string();
        assert!(text.starts_with("tug-agent-") && !text.contains(' '), "{text}");
        assert_eq!(text.parse::<JoinToken>().unwrap(), token());
        assert_eq!(token().name(), "0102030405");
        assert!(!format!("{:?}", token()).contains("7, 7"));
    }

    #[test]
    fn err_what_is_no_whole_token() {
        let text = token().to_string();
        for (text, error) in [
            ("hello".to_owned(), ParseTokenError::Form),
            (String::new(), ParseTokenError::Form),
            (text[..text.len() - 3].to_owned(), ParseTokenError::Damaged),
            (text.replacen("-AQ", "-AQ!", 1), ParseTokenError::Damaged),
            ("tug-server-".to_owned(), ParseTokenError::Damaged),
        ] {
            assert_eq!(text.parse::<JoinToken>().unwrap_err(), error, "{text}");
        }
    }
}
