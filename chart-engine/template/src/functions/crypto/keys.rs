//! Private keys: made, written as PEM, and read again.

use num_bigint::BigUint;
use num_traits::One as _;
use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use yasna::models::ObjectIdentifier;

use super::super::{Entry, Outcome, string, takes};
use super::montgomery::Modulus;
use super::primes::{is_prime, prime, prime_pair, random_below, witnesses};
use crate::fault::Fault;
use crate::signature::Type;
use crate::surroundings::Scope;
use crate::value::Value;

pub(super) const ROWS: &[Entry] = &[takes("genPrivateKey", &[Type::String], gen_private_key)];

/// Steps that a key counts for; making one takes as long as many small ones.
const RSA_2048_STEPS: u64 = 100_000;
const RSA_4096_STEPS: u64 = 400_000;

/// A private key in the form in which it was, or would be, written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PrivateKey {
    /// PKCS#1.
    Rsa(Vec<u8>),
    /// SEC 1.
    Ec(Vec<u8>),
    /// PKCS#8, for Ed25519.
    Pkcs8(Vec<u8>),
}

pub(super) fn pem(tag: &str, contents: &[u8]) -> String {
    pem::encode_config(
        &Pem::new(tag, contents),
        EncodeConfig::new().set_line_ending(LineEnding::LF),
    )
}

fn oid(components: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(components)
}

const RSA_ENCRYPTION: &[u64] = &[1, 2, 840, 113_549, 1, 1, 1];
const EC_PUBLIC_KEY: &[u64] = &[1, 2, 840, 10045, 2, 1];
const PRIME256V1: &[u64] = &[1, 2, 840, 10045, 3, 1, 7];

impl PrivateKey {
    /// A new RSA key of 2048 bits.
    pub(super) fn rsa_2048(scope: &mut Scope) -> Result<Self, Fault> {
        scope.spend(RSA_2048_STEPS)?;
        PrivateKey::rsa::<16>(scope)
    }

    /// A new RSA key of 4096 bits.
    fn rsa_4096(scope: &mut Scope) -> Result<Self, Fault> {
        scope.spend(RSA_4096_STEPS)?;
        PrivateKey::rsa::<32>(scope)
    }

    /// A new RSA key of two primes of `N` words each.
    fn rsa<const N: usize>(scope: &mut Scope) -> Result<Self, Fault> {
        let bits = 64 * N as u64;
        let one = BigUint::one();
        let exponent = BigUint::from(65_537u32);
        loop {
            let (p, q) = prime_pair::<N>(scope, bits)?;
            let (p, q) = if p > q { (p, q) } else { (q, p) };
            let modulus = &p * &q;
            let totient = (&p - &one) * (&q - &one);
            let Some(private) = exponent
                .modinv(&totient)
                .filter(|_| p != q && modulus.bits() == 2 * bits)
            else {
                continue;
            };
            let Some(coefficient) = q.modinv(&p) else { continue };
            let parts = [
                BigUint::ZERO,
                modulus,
                exponent,
                private.clone(),
                p.clone(),
                q.clone(),
                &private % (&p - &one),
                &private % (&q - &one),
                coefficient,
            ];
            return Ok(PrivateKey::Rsa(integers(&parts)));
        }
    }

    /// A new key on the curve P-256.
    fn ecdsa() -> Result<Self, Fault> {
        let failed =
            |what: &dyn std::fmt::Display| Fault::new(format!("failed to generate private key: {what}"));
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|err| failed(&err))?;
        let secret = yasna::parse_der(pair.serialized_der(), |reader| {
            reader.read_sequence(|reader| {
                reader.next().read_u8()?;
                reader.next().read_der()?;
                let inner = reader.next().read_bytes()?;
                yasna::parse_der(&inner, |reader| {
                    reader.read_sequence(|reader| {
                        reader.next().read_u8()?;
                        let secret = reader.next().read_bytes()?;
                        reader.read_optional(|parameters| {
                            parameters.read_tagged_der()?;
                            Ok(())
                        })?;
                        Ok(secret)
                    })
                })
            })
        });
        let secret = secret.map_err(|err| failed(&err))?;
        let public = pair.public_key_raw();
        Ok(PrivateKey::Ec(yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_u8(1);
                writer.next().write_bytes(&secret);
                writer.next().write_tagged(yasna::Tag::context(0), |writer| {
                    writer.write_oid(&oid(PRIME256V1));
                });
                writer.next().write_tagged(yasna::Tag::context(1), |writer| {
                    writer.write_bitvec_bytes(public, public.len() * 8);
                });
            });
        })))
    }

    /// A new Ed25519 key: any 32 bytes are one.
    fn ed25519(scope: &mut Scope) -> Result<Self, Fault> {
        let mut seed = [0; 32];
        scope.random(&mut seed)?;
        Ok(PrivateKey::Pkcs8(yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_u8(0);
                writer
                    .next()
                    .write_sequence(|writer| writer.next().write_oid(&oid(&[1, 3, 101, 112])));
                let inner = yasna::construct_der(|writer| writer.write_bytes(&seed));
                writer.next().write_bytes(&inner);
            });
        })))
    }

    pub(super) fn to_pem(&self) -> String {
        match self {
            PrivateKey::Rsa(der) => pem("RSA PRIVATE KEY", der),
            PrivateKey::Ec(der) => pem("EC PRIVATE KEY", der),
            PrivateKey::Pkcs8(der) => pem("PRIVATE KEY", der),
        }
    }

    /// Reads a key; the error is Sprig's message.
    pub(super) fn from_pem(text: &str) -> Result<Self, String> {
        let Ok(block) = pem::parse(text) else {
            return Err("no PEM data in input".to_owned());
        };
        match block.tag() {
            "PRIVATE KEY" => Ok(PrivateKey::Pkcs8(block.into_contents())),
            "RSA PRIVATE KEY" => Ok(PrivateKey::Rsa(block.into_contents())),
            "EC PRIVATE KEY" => Ok(PrivateKey::Ec(block.into_contents())),
            tag if tag.ends_with(" PRIVATE KEY") => {
                Err(format!("parsing private key type {tag:?} is not supported"))
            }
            tag => Err(format!("no private key data in PEM block of type {tag}")),
        }
    }

    /// The key ready to sign.
    pub(super) fn signer(&self) -> Result<KeyPair, String> {
        let wrap = |algorithm: &[u64], parameters: Option<&[u64]>, key: &[u8]| {
            yasna::construct_der(|writer| {
                writer.write_sequence(|writer| {
                    writer.next().write_u8(0);
                    writer.next().write_sequence(|writer| {
                        writer.next().write_oid(&oid(algorithm));
                        match parameters {
                            Some(curve) => writer.next().write_oid(&oid(curve)),
                            None => writer.next().write_null(),
                        }
                    });
                    writer.next().write_bytes(key);
                });
            })
        };
        let der = match self {
            PrivateKey::Rsa(key) => wrap(RSA_ENCRYPTION, None, key),
            PrivateKey::Ec(key) => wrap(EC_PUBLIC_KEY, Some(PRIME256V1), key),
            PrivateKey::Pkcs8(key) => key.clone(),
        };
        KeyPair::try_from(der).map_err(|err| err.to_string())
    }
}

fn integers(parts: &[BigUint]) -> Vec<u8> {
    yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            for part in parts {
                writer.next().write_bigint_bytes(&part.to_bytes_be(), true);
            }
        });
    })
}

fn gen_private_key(scope: &mut Scope, args: &[Value]) -> Outcome {
    Ok(Value::from(match string(&args[0]).as_ref() {
        "" | "rsa" => PrivateKey::rsa_4096(scope)?.to_pem(),
        "ecdsa" => PrivateKey::ecdsa()?.to_pem(),
        "ed25519" => PrivateKey::ed25519(scope)?.to_pem(),
        "dsa" => pem("DSA PRIVATE KEY", &dsa(scope)?),
        other => format!("Unknown type {other}"),
    }))
}

/// A DSA key of 2048 and 256 bits, with parameters of its own.
fn dsa(scope: &mut Scope) -> Result<Vec<u8>, Fault> {
    scope.spend(RSA_4096_STEPS)?;
    let one = BigUint::one();
    let q = prime::<4>(scope, 256)?;
    let witnesses = witnesses(scope, 2048)?;
    let double = &q << 1u8;
    let mut bytes = [0; 256];
    loop {
        scope.random(&mut bytes)?;
        let mut near = BigUint::from_bytes_be(&bytes);
        near.set_bit(2047, true);
        // The number next to it that is one more than a multiple of 2q.
        let p = &near - &near % &double + &one;
        if p.bits() != 2048 || !is_prime::<32>(&p, &witnesses) {
            continue;
        }
        let power = (&p - &one) / &q;
        let Some(modulus) = Modulus::<32>::new(&p) else {
            continue;
        };
        let generator = (2u32..)
            .map(|base| modulus.power(&BigUint::from(base), &power))
            .find(|found| *found != one);
        let g = generator.unwrap_or_default();
        let x = random_below(scope, &q)?;
        let y = modulus.power(&g, &x);
        return Ok(integers(&[BigUint::ZERO, p, q, g, y, x]));
    }
}
