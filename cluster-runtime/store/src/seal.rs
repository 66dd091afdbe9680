//! Encryption of what is on disk: entries of the log and frames of snapshots, each sealed on its own.
//!
//! ```text
//! key number (4 bytes), salt (16), counter (8), sealed content, tag (16)
//! ```
//!
//! The cipher is AES-256-GCM. Each process seals with a key of its own, derived (HKDF-SHA256) from the given one and a
//! random salt, and counts what it seals, so that no nonce is used twice however long a key is in use. What is sealed
//! is bound to its place: an entry to its position, a frame to its number.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

const SALT_BYTES: usize = 16;
const HEADER_BYTES: usize = 4 + SALT_BYTES + 8;

/// Keys of other processes that are kept at hand.
const DERIVED_MAX: usize = 64;

/// The key that a data directory is encrypted with.
///
/// It does not print its secret. Its number says which of several keys something was sealed with.
#[derive(Clone, PartialEq, Eq)]
pub struct StorageKey {
    number: u32,
    secret: [u8; 32],
}

/// Seals and opens.
pub(crate) struct Sealer {
    key: StorageKey,
    salt: [u8; SALT_BYTES],
    own: LessSafeKey,
    sealed: AtomicU64,
    derived: Mutex<HashMap<[u8; SALT_BYTES], Arc<LessSafeKey>>>,
}

/// Why something could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenSealError {
    #[error("it is sealed with key {number}, which was not given")]
    OtherKey { number: u32 },
    #[error("it cannot be opened: it is damaged, or the key is another one")]
    Damaged,
}

impl StorageKey {
    /// Takes 32 random bytes and the number of the key.
    pub fn new(number: u32, secret: [u8; 32]) -> Self {
        Self { number, secret }
    }

    /// The number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Something that only this key comes to, to tell it from others.
    pub(crate) fn check(&self) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let tag = hmac::sign(&key, b"tug store: which key");
        let bytes = tag.as_ref()[..8].iter();
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }

    fn derive(&self, salt: &[u8; SALT_BYTES]) -> LessSafeKey {
        let derived = Salt::new(HKDF_SHA256, salt).extract(&self.secret);
        let derived = derived.expand(&[b"tug store: sealing"], &AES_256_GCM);
        let derived = derived.expect("the length of a key can be derived");
        LessSafeKey::new(UnboundKey::from(derived))
    }
}

impl Sealer {
    /// Makes a sealer with a fresh salt; fails where the system gives no random bytes.
    pub(crate) fn new(key: StorageKey) -> Result<Self, std::io::Error> {
        let mut salt = [0; SALT_BYTES];
        let random = SystemRandom::new().fill(&mut salt);
        random.map_err(|_| std::io::Error::other("the system gives no random bytes"))?;
        Ok(Self {
            own: key.derive(&salt),
            salt,
            key,
            sealed: AtomicU64::new(0),
            derived: Mutex::default(),
        })
    }

    /// Appends the content, sealed, bound to a place.
    pub(crate) fn seal(&self, place: &[u8], content: &[u8], out: &mut Vec<u8>) {
        let counter = self.sealed.fetch_add(1, Ordering::SeqCst);
        out.reserve(HEADER_BYTES + content.len() + MAX_TAG_LEN);
        out.extend_from_slice(&self.key.number.to_le_bytes());
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&counter.to_le_bytes());
        let start = out.len();
        out.extend_from_slice(content);
        let sealed = self
            .own
            .seal_in_place_separate_tag(nonce(counter), Aad::from(place), &mut out[start..]);
        let tag = sealed.expect("what fits into memory is not too long for the cipher");
        out.extend_from_slice(tag.as_ref());
    }

    /// Opens what was sealed at a place.
    pub(crate) fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenSealError> {
        let (header, content) = sealed
            .split_at_checked(HEADER_BYTES)
            .ok_or(OpenSealError::Damaged)?;
        let (number, rest) = header.split_first_chunk().ok_or(OpenSealError::Damaged)?;
        let (salt, counter) = rest.split_first_chunk().ok_or(OpenSealError::Damaged)?;
        let number = u32::from_le_bytes(*number);
        if number != self.key.number {
            return Err(OpenSealError::OtherKey { number });
        }
        let counter = counter
            .try_into()
            .map(u64::from_le_bytes)
            .map_err(|_| OpenSealError::Damaged)?;
        let mut content = content.to_vec();
        let key = self.derived(salt);
        let opened = key.open_in_place(nonce(counter), Aad::from(place), &mut content);
        let length = opened.map_err(|_| OpenSealError::Damaged)?.len();
        content.truncate(length);
        Ok(content)
    }

    fn derived(&self, salt: &[u8; SALT_BYTES]) -> Arc<LessSafeKey> {
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if derived.len() >= DERIVED_MAX {
            derived.clear();
        }
        let key = derived
            .entry(*salt)
            .or_insert_with(|| Arc::new(self.key.derive(salt)));
        key.clone()
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

impl fmt::Debug for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageKey")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(number: u32, byte: u8) -> Sealer {
        Sealer::new(StorageKey::new(number, [byte; 32])).unwrap()
    }

    #[test]
    fn what_is_sealed_is_opened_by_the_same_key_at_the_same_place() {
        let (one, later) = (sealer(1, 7), sealer(1, 7));
        for content in [&b""[..], b"x", &[9; 100_000]] {
            let mut sealed = vec![1, 2];
            one.seal(b"here", content, &mut sealed);
            let sealed = &sealed[2..];
            for sealer in [&one, &later] {
                assert_eq!(sealer.open(b"here", sealed).as_deref(), Ok(content));
                assert_eq!(sealer.open(b"there", sealed), Err(OpenSealError::Damaged));
            }
            assert_eq!(sealer(1, 8).open(b"here", sealed), Err(OpenSealError::Damaged));
            let other = OpenSealError::OtherKey { number: 1 };
            assert_eq!(sealer(2, 7).open(b"here", sealed), Err(other));
        }
        let mut twice = [Vec::new(), Vec::new()];
        twice
            .iter_mut()
            .for_each(|sealed| one.seal(b"here", b"the same", sealed));
        assert_ne!(twice[0], twice[1]);
    }

    #[test]
    fn err_any_flipped_or_missing_byte() {
        let sealer = sealer(1, 7);
        let mut sealed = Vec::new();
        sealer.seal(b"here", b"content", &mut sealed);
        for place in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[place] ^= 1;
            assert!(sealer.open(b"here", &flipped).is_err(), "byte {place}");
            assert!(sealer.open(b"here", &sealed[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn a_key_does_not_print_itself() {
        let key = StorageKey::new(3, [0xab; 32]);
        assert_eq!(format!("{key:?}"), "StorageKey { number: 3, .. }");
        assert_ne!(key.check(), StorageKey::new(3, [0xac; 32]).check());
    }
}
