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
    let bytes: Vec<u8> = input
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'\r' | b'\n'))
        .collect();
    match STANDARD_LENIENT.decode(&bytes) {
        Ok(decoded) => made(scope, decoded),
        Err(_) => {
            let at = base64_fault(input);
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
pub(super) fn base64_fault(input: &[u8]) -> usize {
    let len = input.len();
    let bytes: Vec<(usize, u8)> = input
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, byte)| !matches!(byte, b'\r' | b'\n'))
        .collect();
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
                    Some((_, byte)) if *byte != b'=' => return *position,
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

/// The decoded bytes, or the message that becomes the output in their place.
fn unbase32(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len() / 8 * 5);
    let bytes: Vec<u8> = input
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'\r' | b'\n'))
        .collect();
    let mut start = 0;
    while start < bytes.len() {
        match unbase32_quantum(&bytes, start, &mut out) {
            Ok(true) => start += 8,
            // Padding ends the data.
            Ok(false) => break,
            Err(at) => return format!("illegal base32 data at input byte {at}").into_bytes(),
        }
    }
    out
}

/// Decodes eight digits; tells whether more may follow, or where the fault is.
fn unbase32_quantum(bytes: &[u8], start: usize, out: &mut Vec<u8>) -> Result<bool, usize> {
    let mut bits = 0u64;
    let mut digits = 8;
    for i in 0..8 {
        let at = start + i;
        let Some(byte) = bytes.get(at) else {
            return Err(start);
        };
        let behind = bytes.len() - at - 1;
        if *byte == b'=' && i >= 2 && behind < 8 {
            if behind + i < 7 {
                return Err(bytes.len());
            }
            for k in 0..7 - i {
                if bytes.get(at + 1 + k).is_some_and(|byte| *byte != b'=') {
                    return Err(at + k);
                }
            }
            if matches!(i, 1 | 3 | 6) {
                return Err(at);
            }
            digits = i;
            break;
        }
        let digit = BASE32.iter().position(|known| known == byte).ok_or(at)?;
        bits |= (digit as u64) << (35 - 5 * i);
    }
    out.extend_from_slice(&bits.to_be_bytes()[3..3 + digits * 5 / 8]);
    Ok(digits == 8)
}
