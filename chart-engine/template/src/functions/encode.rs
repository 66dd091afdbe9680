//! Hashes and text encodings.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::Digest as _;

use super::{Entry, Outcome, made, takes, text};
use crate::signature::Type;
use crate::surroundings::Scope;
use crate::value::Value;

const TEXT: &[Type] = &[Type::String];

pub(super) const ROWS: &[Entry] = &[
    takes("sha1sum", TEXT, |_, args| {
        Ok(hex(&sha1::Sha1::digest(text(&args[0]))))
    }),
    takes("sha256sum", TEXT, |_, args| {
        Ok(hex(&sha2::Sha256::digest(text(&args[0]))))
    }),
    takes("sha512sum", TEXT, |_, args| {
        Ok(hex(&sha2::Sha512::digest(text(&args[0]))))
    }),
    takes("adler32sum", TEXT, |_, args| {
        Ok(Value::from(adler32(text(&args[0])).to_string()))
    }),
    takes("b64enc", TEXT, |scope, args| {
        scope.text(text(&args[0]).len() / 3 * 4 + 4)?;
        Ok(Value::from(base64(text(&args[0]))))
    }),
    takes("b64dec", TEXT, b64dec),
    takes("b32enc", TEXT, |scope, args| made(scope, base32(text(&args[0])))),
    takes("b32dec", TEXT, |scope, args| {
        let decoded = unbase32(text(&args[0]));
        made(scope, decoded)
    }),
];

fn hex(digest: &[u8]) -> Value {
    let mut out = String::with_capacity(digest.len() * 2);
    for byte in digest {
        out.push_str(&format!("{byte:02x}"));
    }
    Value::from(out)
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    // So many bytes cannot overflow the sums.
    for chunk in bytes.chunks(5552) {
        for byte in chunk {
            a += u32::from(*byte);
            b += a;
        }
        a %= 65521;
        b %= 65521;
    }
    b << 16 | a
}

/// Bytes in standard base64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn b64dec(scope: &mut Scope, args: &[Value]) -> Outcome {
    // Line ends are allowed anywhere; the message for the rest becomes the output, as with Sprig.
    let input = text(&args[0]);
    let clean: Vec<(usize, u8)> = input
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, byte)| !matches!(byte, b'\r' | b'\n'))
        .collect();
    let bytes: Vec<u8> = clean.iter().map(|(_, byte)| *byte).collect();
    match STANDARD_LENIENT.decode(&bytes) {
        Ok(decoded) => made(scope, decoded),
        Err(_) => {
            let at = base64_fault(&clean, input.len());
            Ok(Value::from(format!("illegal base64 data at input byte {at}")))
        }
    }
}

/// Padding is needed, but stray bits behind the last byte are not looked at.
const STANDARD_LENIENT: base64::engine::GeneralPurpose = base64::engine::GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    base64::engine::GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Where Go would stop decoding.
fn base64_fault(bytes: &[(usize, u8)], len: usize) -> usize {
    let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let mut at = 0;
    while at < bytes.len() {
        let quantum = &bytes[at..bytes.len().min(at + 4)];
        for (i, (position, byte)) in quantum.iter().enumerate() {
            if in_alphabet(*byte) {
                continue;
            }
            if *byte != b'=' || i < 2 {
                return *position;
            }
            if i == 2 {
                match quantum.get(3) {
                    None => return len,
                    Some((next, byte)) if *byte != b'=' => return *next,
                    Some(_) => {}
                }
            }
            // Padding ends the data.
            return bytes.get(at + 4).map_or(len, |(position, _)| *position);
        }
        if quantum.len() < 4 {
            // The incomplete quantum is blamed at its beginning.
            return len - quantum.len();
        }
        at += 4;
    }
    len
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn base32(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(5) * 8);
    for chunk in bytes.chunks(5) {
        let mut buffer = [0u8; 8];
        buffer[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(buffer);
        let digits = (chunk.len() * 8).div_ceil(5);
        for i in 0..8 {
            let index = usize::try_from(bits >> (35 - 5 * i) & 31).unwrap_or(0);
            out.push(if i < digits { BASE32[index] } else { b'=' });
        }
    }
    out
}

fn unbase32(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len() / 8 * 5);
    let fault = |at: usize| format!("illegal base32 data at input byte {at}").into_bytes();
    let bytes: Vec<(usize, u8)> = input
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, byte)| !matches!(byte, b'\r' | b'\n'))
        .collect();
    for (index, quantum) in bytes.chunks(8).enumerate() {
        let mut bits = 0u64;
        let mut digits = 0;
        for (i, (at, byte)) in quantum.iter().enumerate() {
            if *byte == b'=' && i >= 2 {
                let padded = quantum.len() == 8 && quantum[i..].iter().all(|(_, byte)| *byte == b'=');
                let last = (index + 1) * 8 >= bytes.len();
                if !padded || matches!(i, 3 | 6) || !last {
                    return fault(*at);
                }
                break;
            }
            let Some(digit) = BASE32.iter().position(|known| known == byte) else {
                return fault(*at);
            };
            bits |= (digit as u64) << (35 - 5 * i);
            digits += 1;
        }
        if quantum.len() < 8 {
            return fault(input.len());
        }
        out.extend_from_slice(&bits.to_be_bytes()[3..3 + digits * 5 / 8]);
    }
    out
}
