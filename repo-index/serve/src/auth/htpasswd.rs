//! Accounts: an htpasswd file with bcrypt hashes, as `htpasswd -B` writes it.

use std::collections::BTreeMap;

/// A hash of no password, so that unknown names take as long as wrong passwords.
const NOBODY: &str = "$2y$10$abcdefghijklmnopqrstuuJ6r5v2G2C2gV6yqf8PEd3nfcG0VQHgG";
/// Hashes that take longer than some seconds to check are a mistake.
const COST_MAX: u32 = 16;

/// Users with their passwords' hashes.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    hashes: BTreeMap<String, String>,
}

/// What is wrong with an htpasswd file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct HtpasswdError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: &'static str,
}

impl Accounts {
    pub(crate) fn read(text: &str) -> Result<Self, HtpasswdError> {
        let mut hashes = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fault = |fault| HtpasswdError {
                line: index + 1,
                fault,
            };
            let (name, hash) = line.split_once(':').ok_or(fault("`NAME:HASH` is wanted"))?;
            let parts = hash.parse::<bcrypt::HashParts>();
            let parts = parts.map_err(|_| fault("the hash is not bcrypt, which `htpasswd -B` makes"))?;
            if parts.get_cost() > COST_MAX {
                return Err(fault("checking the hash would take too long"));
            }
            if name.is_empty() || matches!(name, "*" | "anonymous") {
                return Err(fault("this name is not possible"));
            }
            hashes.insert(name.to_owned(), hash.to_owned());
        }
        Ok(Self { hashes })
    }

    /// Whether the password is the user's. Takes long on purpose.
    pub(crate) fn check(&self, name: &str, password: &str) -> bool {
        let hash = self.hashes.get(name).map_or(NOBODY, String::as_str);
        let is_right = bcrypt::verify(password, hash).unwrap_or(false);
        is_right && self.hashes.contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_checked() {
        let hash = bcrypt::hash_with_salt("secret", 4, [7; 16]).unwrap();
        for version in [
            bcrypt::Version::TwoY,
            bcrypt::Version::TwoB,
            bcrypt::Version::TwoA,
        ] {
            let text = format!("# people\n\nalice:{}\n", hash.format_for_version(version));
            let accounts = Accounts::read(&text).unwrap();
            assert!(accounts.check("alice", "secret"));
            assert!(!accounts.check("alice", "Secret") && !accounts.check("bob", "secret"));
        }
    }

    #[test]
    fn err_other_hashes_are_refused() {
        for line in [
            "alice",
            "alice:{SHA}abc",
            "alice:$apr1$x$y",
            "alice:secret",
            "*:$2y$04$",
        ] {
            assert_eq!(
                Accounts::read(&format!("\n{line}")).unwrap_err().line,
                2,
                "{line}"
            );
        }
    }
}
