//! Random numbers and strings.

use super::{Entry, Outcome, integer, made, string, takes};
use crate::fault::Fault;
use crate::signature::Type;
use crate::surroundings::Scope;
use crate::value::Value;

const COUNT: &[Type] = &[Type::Int];
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGITS: &[u8] = b"0123456789";
const ALPHANUMERIC: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

pub(super) const ROWS: &[Entry] = &[
    takes("randAlphaNum", COUNT, |scope, args| {
        pick(scope, &args[0], ALPHANUMERIC)
    }),
    takes("randAlpha", COUNT, |scope, args| pick(scope, &args[0], LETTERS)),
    takes("randNumeric", COUNT, |scope, args| pick(scope, &args[0], DIGITS)),
    takes("randAscii", COUNT, |scope, args| {
        let printable: Vec<u8> = (b' '..=b'~').collect();
        pick(scope, &args[0], &printable)
    }),
    takes("randBytes", COUNT, rand_bytes),
    takes("shuffle", &[Type::String], shuffle),
    takes("uuidv4", &[], uuidv4),
];

/// A number below a bound, all of them equally likely.
pub(super) fn below(scope: &mut Scope, bound: u64) -> Result<u64, Fault> {
    // Values beyond the last whole multiple of the bound would favour small results.
    let limit = u64::MAX - u64::MAX % bound;
    loop {
        let mut bytes = [0; 8];
        scope.random(&mut bytes)?;
        let value = u64::from_le_bytes(bytes);
        if value < limit {
            return Ok(value % bound);
        }
    }
}

fn pick(scope: &mut Scope, count: &Value, alphabet: &[u8]) -> Outcome {
    let Ok(count) = usize::try_from(integer(count)) else {
        return Ok(Value::from(""));
    };
    scope.text(count)?;
    scope.spend(count as u64)?;
    // One byte is enough for any of the alphabets; the values beyond the last whole multiple are thrown away.
    let limit = 256 - 256 % alphabet.len();
    let mut out = Vec::with_capacity(count);
    let mut bytes = vec![0; count.clamp(16, 4096)];
    while out.len() < count {
        scope.random(&mut bytes)?;
        let usable = bytes.iter().filter(|byte| usize::from(**byte) < limit);
        out.extend(
            usable
                .map(|byte| alphabet[usize::from(*byte) % alphabet.len()])
                .take(count - out.len()),
        );
    }
    Ok(Value::from(out))
}

fn rand_bytes(scope: &mut Scope, args: &[Value]) -> Outcome {
    let count = usize::try_from(integer(&args[0]))
        .map_err(|_| Fault::new("runtime error: makeslice: len out of range"))?;
    scope.text(count.saturating_mul(2))?;
    let mut bytes = vec![0; count];
    scope.random(&mut bytes)?;
    Ok(Value::from(super::base64(&bytes)))
}

fn shuffle(scope: &mut Scope, args: &[Value]) -> Outcome {
    let mut chars: Vec<char> = string(&args[0]).chars().collect();
    scope.spend(chars.len() as u64)?;
    for last in (1..chars.len()).rev() {
        let other = below(scope, last as u64 + 1)?;
        chars.swap(last, usize::try_from(other).unwrap_or(0));
    }
    made(scope, chars.into_iter().collect::<String>().into_bytes())
}

fn uuidv4(scope: &mut Scope, _: &[Value]) -> Outcome {
    let mut bytes = [0; 16];
    scope.random(&mut bytes)?;
    Ok(Value::from(
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string(),
    ))
}
