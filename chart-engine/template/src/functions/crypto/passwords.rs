//! Hashes of passwords, and passwords derived from one.

use std::collections::HashMap;
use std::rc::Rc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::super::{Entry, Outcome, integer, string, takes, text};
use crate::elsewhere::{self, Elsewhere};
use crate::fault::Fault;
use crate::signature::Type;
use crate::surroundings::Scope;
use crate::value::Value;

pub(super) const ROWS: &[Entry] = &[
    takes("bcrypt", &[Type::String], |scope, args| {
        Ok(Value::from(hash(scope, text(&args[0]))?))
    }),
    takes("htpasswd", &[Type::String, Type::String], htpasswd),
    takes(
        "derivePassword",
        &[
            Type::Uint32,
            Type::String,
            Type::String,
            Type::String,
            Type::String,
        ],
        derive_password,
    ),
];

/// The cost that Go's package takes by default.
const COST: u32 = 10;
/// Steps that a hash counts for: it is slow on purpose.
const STEPS: u64 = 100_000;

/// For so many passwords another hash is made ahead: each takes 50 ms of a processor, wanted or not.
const AHEAD_MAX: usize = 4;

type Salt = [u8; 16];

/// Hashes that are made before they are asked for.
///
/// Charts that hash a password mostly do it twice, as they render a Secret once more for its checksum: while the first
/// hash is made, another thread makes the second.
#[derive(Debug, Default)]
pub(crate) struct HashesAhead(
    /// By password; what was taken is no longer there.
    HashMap<Vec<u8>, Option<NextHash>>,
);

#[derive(Debug)]
struct NextHash {
    salt: Salt,
    /// Who makes it, if there is somebody.
    maker: Option<Elsewhere<String>>,
}

impl NextHash {
    fn begin(password: &[u8], salt: Salt) -> Self {
        let password = password.to_vec();
        let maker = elsewhere::start(move || hash_with(&password, salt));
        NextHash { salt, maker }
    }

    fn end(self, password: &[u8]) -> String {
        let made = self.maker.and_then(Elsewhere::end);
        made.unwrap_or_else(|| hash_with(password, self.salt))
    }
}

fn hash(scope: &mut Scope, password: &[u8]) -> Result<String, Fault> {
    const LONGEST: usize = 72;
    if password.len() > LONGEST {
        return Ok(
            "failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes".to_owned(),
        );
    }
    scope.spend(STEPS)?;
    // Drawn in any case: what comes of chance must not be given again for the same call.
    let salt = draw_salt(scope)?;
    let hashes = Rc::clone(&scope.kept.hashes);
    let mut hashes = hashes.borrow_mut();
    let has_room = hashes.0.len() < AHEAD_MAX;
    match hashes.0.get_mut(password).map(Option::take) {
        Some(Some(next)) => Ok(next.end(password)),
        None if has_room => {
            let next = NextHash::begin(password, draw_salt(scope)?);
            hashes.0.insert(password.to_vec(), Some(next));
            Ok(hash_with(password, salt))
        }
        Some(None) | None => Ok(hash_with(password, salt)),
    }
}

fn draw_salt(scope: &mut Scope) -> Result<Salt, Fault> {
    let mut salt = Salt::default();
    scope.random(&mut salt)?;
    Ok(salt)
}

fn hash_with(password: &[u8], salt: Salt) -> String {
    match bcrypt::hash_with_salt(password, COST, salt) {
        Ok(parts) => parts.format_for_version(bcrypt::Version::TwoA),
        Err(err) => format!("failed to encrypt string with bcrypt: {err}"),
    }
}

fn htpasswd(scope: &mut Scope, args: &[Value]) -> Outcome {
    let user = string(&args[0]);
    if user.contains(':') {
        return Ok(Value::from(format!("invalid username: {user}")));
    }
    let hash = hash(scope, text(&args[1]))?;
    Ok(Value::from(format!("{user}:{hash}")))
}

/// The prefix of all that the Master Password algorithm hashes.
const SCOPE: &[u8] = b"com.lyndir.masterpassword";

/// The shapes of each type of password; every letter stands for a class of characters.
fn shapes(kind: &str) -> &'static [&'static str] {
    match kind {
        "maximum" => &["anoxxxxxxxxxxxxxxxxx", "axxxxxxxxxxxxxxxxxno"],
        "long" => &[
            "CvcvnoCvcvCvcv",
            "CvcvCvcvnoCvcv",
            "CvcvCvcvCvcvno",
            "CvccnoCvcvCvcv",
            "CvccCvcvnoCvcv",
            "CvccCvcvCvcvno",
            "CvcvnoCvccCvcv",
            "CvcvCvccnoCvcv",
            "CvcvCvccCvcvno",
            "CvcvnoCvcvCvcc",
            "CvcvCvcvnoCvcc",
            "CvcvCvcvCvccno",
            "CvccnoCvccCvcv",
            "CvccCvccnoCvcv",
            "CvccCvccCvcvno",
            "CvcvnoCvccCvcc",
            "CvcvCvccnoCvcc",
            "CvcvCvccCvccno",
            "CvccnoCvcvCvcc",
            "CvccCvcvnoCvcc",
            "CvccCvcvCvccno",
        ],
        "medium" => &["CvcnoCvc", "CvcCvcno"],
        "short" => &["Cvcn"],
        "basic" => &["aaanaaan", "aannaaan", "aaannaaa"],
        "pin" => &["nnnn"],
        _ => &[],
    }
}

fn class(letter: char) -> &'static [u8] {
    match letter {
        'V' => b"AEIOU",
        'C' => b"BCDFGHJKLMNPQRSTVWXYZ",
        'v' => b"aeiou",
        'c' => b"bcdfghjklmnpqrstvwxyz",
        'a' => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz",
        'n' => b"0123456789",
        'o' => b"@&%?,=[]_:-+*$#!'^~;()/.",
        _ => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()",
    }
}

fn derive_password(scope: &mut Scope, args: &[Value]) -> Outcome {
    let [counter, kind, password, user, site] = args else {
        return Err(Fault::new("derivePassword takes five arguments"));
    };
    let shapes = shapes(&string(kind));
    if shapes.is_empty() {
        return Ok(Value::from(format!(
            "cannot find password template {}",
            string(kind)
        )));
    }
    scope.spend(STEPS)?;
    let sized = |bytes: &[u8]| {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        [SCOPE, &len.to_be_bytes(), bytes].concat()
    };
    let failed = |err: &dyn std::fmt::Display| Fault::new(format!("failed to derive password: {err}"));
    // 32768 rounds, blocks of 8, twice.
    let params = scrypt::Params::new(15, 8, 2).map_err(|err| failed(&err))?;
    let mut key = [0; 64];
    scrypt::scrypt(text(password), &sized(text(user)), &params, &mut key).map_err(|err| failed(&err))?;
    let mut code = Hmac::<Sha256>::new_from_slice(&key).map_err(|err| failed(&err))?;
    code.update(&sized(text(site)));
    code.update(&u32::try_from(integer(counter)).unwrap_or(0).to_be_bytes());
    let seed = code.finalize().into_bytes();
    let shape = shapes[usize::from(seed[0]) % shapes.len()];
    let chosen = shape.chars().zip(&seed[1..]).map(|(letter, byte)| {
        let class = class(letter);
        class[usize::from(*byte) % class.len()]
    });
    Ok(Value::from(chosen.collect::<Vec<u8>>()))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::functions::Kept;
    use crate::limits::Limits;
    use crate::surroundings::System;

    #[test]
    fn each_hash_of_a_password_has_a_salt_of_its_own() {
        let system = Rc::new(RefCell::new(System));
        let mut scope = Scope::new(Limits::default(), system, Kept::default());
        let hashes: Vec<String> = (0..3).map(|_| hash(&mut scope, b"secret").unwrap()).collect();
        for (at, hash) in hashes.iter().enumerate() {
            assert!(bcrypt::verify("secret", hash).unwrap(), "{hash}");
            assert!(!hashes[..at].contains(hash), "{hash} twice");
        }
    }
}
