//! Keyrings: files of public and secret keys, as gpg exports and keeps them.

use pgp::composed::{PublicOrSecret, SignedKeyDetails, SignedPublicKey, SignedSecretKey};
use pgp::types::{KeyDetails, Password};

use crate::error::ProvenanceError;
use crate::keybox::{is_keybox, keys_of};
use crate::packets::without_trust;

/// Public and secret keys.
#[derive(Debug, Default)]
pub struct Keyring {
    pub(crate) public: Vec<SignedPublicKey>,
    secret: Vec<SignedSecretKey>,
}

/// A secret key that is ready to sign.
#[derive(Debug)]
pub struct SigningKey<'k> {
    pub(crate) key: &'k SignedSecretKey,
    pub(crate) password: Password,
}

impl Keyring {
    /// Reads a keyring: packets, armoured or not, or a keybox. Keys of kinds that nobody here knows are passed over.
    pub fn read(bytes: &[u8]) -> Result<Self, ProvenanceError> {
        let bytes = if is_keybox(bytes) {
            without_trust(&keys_of(bytes))
        } else {
            without_trust(bytes)
        };
        let mut keyring = Self::default();
        if let Ok((keys, _)) = PublicOrSecret::from_reader_many_buf(bytes.as_slice()) {
            for key in keys.flatten() {
                match key {
                    PublicOrSecret::Public(key) => keyring.public.push(key),
                    PublicOrSecret::Secret(key) => {
                        keyring.public.push(key.to_public_key());
                        keyring.secret.push(key);
                    }
                }
            }
        }
        if keyring.public.is_empty() {
            return Err(ProvenanceError::NoKeys);
        }
        Ok(keyring)
    }

    /// The secret key whose name is `id`, else the only one whose name contains it, unlocked with the passphrase.
    pub fn signing_key(&self, id: &str, passphrase: &str) -> Result<SigningKey<'_>, ProvenanceError> {
        let named: Vec<(&SignedSecretKey, Vec<String>)> =
            self.secret.iter().map(|key| (key, names(&key.details))).collect();
        let exact = named
            .iter()
            .find(|(_, names)| names.iter().any(|name| name == id));
        let mut containing = named
            .iter()
            .filter(|(_, names)| names.iter().any(|name| name.contains(id)));
        let (key, names) = match (exact, containing.next(), containing.next()) {
            (Some(exact), ..) => exact,
            (None, Some(one), None) => one,
            (None, None, _) => return Err(ProvenanceError::NoSecretKey),
            (None, Some(first), Some(second)) => {
                let all = [first, second].into_iter().chain(containing);
                return Err(ProvenanceError::SeveralKeys {
                    id: id.to_owned(),
                    names: all.flat_map(|(_, names)| names.clone()).collect(),
                });
            }
        };
        let password = Password::from(passphrase);
        let unlocked = key.primary_key.unlock(&password, |_, _| Ok(()));
        if unlocked.is_err() {
            let name = names.first().cloned().unwrap_or_default();
            return Err(ProvenanceError::Locked(name));
        }
        Ok(SigningKey { key, password })
    }
}

/// The names of a key.
pub(crate) fn names(details: &SignedKeyDetails) -> Vec<String> {
    let users = details.users.iter();
    users
        .map(|user| String::from_utf8_lossy(user.id.id()).into_owned())
        .collect()
}

/// The fingerprint as Helm prints it.
pub(crate) fn fingerprint(key: &SignedPublicKey) -> String {
    let fingerprint = key.primary_key.fingerprint();
    fingerprint
        .as_bytes()
        .iter()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02X}"))
}
