//! AES-256 in CBC mode, with a key that is the password filled up with zeros.

use aes::Aes256;
use aes::cipher::block_padding::{NoPadding, Pkcs7};
use aes::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::{Entry, Outcome, made, takes, text};
use crate::fault::Fault;
use crate::signature::Type;
use crate::surroundings::Scope;
use crate::value::Value;

const BLOCK: usize = 16;

pub(super) const ROWS: &[Entry] = &[
    takes("encryptAES", &[Type::String, Type::String], encrypt),
    takes("decryptAES", &[Type::String, Type::String], decrypt),
];

fn key(password: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    let used = password.len().min(key.len());
    key[..used].copy_from_slice(&password[..used]);
    key
}

fn encrypt(scope: &mut Scope, args: &[Value]) -> Outcome {
    let plain = text(&args[1]);
    if plain.is_empty() {
        return Ok(Value::from(""));
    }
    scope.text(plain.len().saturating_mul(2))?;
    let mut vector = [0; BLOCK];
    scope.random(&mut vector)?;
    let cipher = cbc::Encryptor::<Aes256>::new(&key(text(&args[0])).into(), &vector.into());
    let mut out = vector.to_vec();
    out.extend(cipher.encrypt_padded_vec::<Pkcs7>(plain));
    made(scope, STANDARD.encode(out).into_bytes())
}

fn decrypt(scope: &mut Scope, args: &[Value]) -> Outcome {
    let encoded = text(&args[1]);
    if encoded.is_empty() {
        return Ok(Value::from(""));
    }
    let encrypted = STANDARD.decode(encoded).map_err(|_| {
        // The words are those of `b64dec`, which finds the place.
        let place = super::super::encode::base64_fault(encoded);
        Fault::new(format!("illegal base64 data at input byte {place}"))
    })?;
    if encrypted.len() < BLOCK {
        return Err(Fault::new(format!(
            "runtime error: slice bounds out of range [:16] with capacity {}",
            encoded.len() / 4 * 3
        )));
    }
    let (vector, content) = encrypted.split_at(BLOCK);
    if content.len() % BLOCK != 0 {
        return Err(Fault::new("crypto/cipher: input not full blocks"));
    }
    let vector: [u8; BLOCK] = vector.try_into().unwrap_or_default();
    let cipher = cbc::Decryptor::<Aes256>::new(&key(text(&args[0])).into(), &vector.into());
    let mut plain = cipher
        .decrypt_padded_vec::<NoPadding>(content)
        .map_err(|_| Fault::new("crypto/cipher: bad padding"))?;
    let Some(padding) = plain.last().copied() else {
        return Err(Fault::new("runtime error: index out of range [-1]"));
    };
    let Some(len) = plain.len().checked_sub(usize::from(padding)) else {
        let excess = usize::from(padding) - plain.len();
        return Err(Fault::new(format!(
            "runtime error: slice bounds out of range [:-{excess}]"
        )));
    };
    plain.truncate(len);
    made(scope, plain)
}
