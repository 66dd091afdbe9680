//! The signed statement on a chart.

use chart_model::Metadata;
use chart_values::yaml::{from_yaml, to_yaml};
use chart_values::{Map, Value};
use pgp::composed::{CleartextSignedMessage, SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::types::{KeyDetails, KeyVersion, SigningKey as _, Timestamp, VerifyingKey};
use repo_index::Digest;

use crate::error::ProvenanceError;
use crate::keyring::{Keyring, SigningKey, fingerprint, names};

/// Stands between what the chart says and the digests.
const DIVIDER: &str = "\n...\n";

/// A provenance file that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The names of the key that signed.
    pub signed_by: Vec<String>,
    /// The fingerprint of that key, in capital hexadecimal digits.
    pub fingerprint: String,
    /// The archive's digest, which is the one in the file.
    pub digest: Digest,
    /// The archive's name in the file.
    pub file: String,
}

/// Makes the provenance file of an archive. `now` is in seconds of the epoch.
pub fn sign(
    metadata: &Metadata,
    file: &str,
    archive: &[u8],
    key: &SigningKey<'_>,
    now: u32,
) -> Result<String, ProvenanceError> {
    let primary = &key.key.primary_key;
    let cannot = |reason: String| ProvenanceError::CannotSign {
        key: names(&key.key.details).first().cloned().unwrap_or_default(),
        reason,
    };
    if primary.version() != KeyVersion::V4 {
        return Err(cannot(
            "only keys of version 4 are known to gpg and Helm alike".to_owned(),
        ));
    }
    let sums = Value::from_iter([(
        "files",
        Value::from_iter([(file, Value::from(Digest::of(archive).to_string()))]),
    )]);
    let text = format!(
        "{}\n{DIVIDER}{}\n",
        to_yaml(&metadata.to_value())?,
        to_yaml(&sums)?
    );
    let mut config = SignatureConfig::v4(SignatureType::Text, primary.algorithm(), primary.hash_alg());
    let made = || -> pgp::errors::Result<String> {
        config.hashed_subpackets = vec![
            Subpacket::regular(SubpacketData::SignatureCreationTime(Timestamp::from_secs(now)))?,
            Subpacket::regular(SubpacketData::IssuerFingerprint(primary.fingerprint()))?,
        ];
        config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(
            primary.legacy_key_id(),
        ))?];
        CleartextSignedMessage::new(&text, config, primary, &key.password)?
            .to_armored_string(pgp::composed::ArmorOptions::default())
    };
    made().map_err(|error| cannot(error.to_string()))
}

/// Checks that a key of the keyring signed the provenance file, and that it speaks of this archive. `file` is the name of
/// the archive's file, and `now` is in seconds of the epoch.
pub fn verify(
    provenance: &str,
    file: &str,
    archive: &[u8],
    keyring: &Keyring,
    now: u32,
) -> Result<Verification, ProvenanceError> {
    let (message, _) = CleartextSignedMessage::from_string(provenance)
        .map_err(|error| ProvenanceError::Format(error.to_string()))?;
    // What is checked and what is read below is one and the same text.
    let text = message.signed_text();
    let signer = signer(&message, &text, keyring, now)?;
    let text = text.replace("\r\n", "\n");
    let (_, sums) = text.split_once(DIVIDER).ok_or(ProvenanceError::Parts)?;
    let sums = from_yaml(sums)?;
    let files = sums.get("files").and_then(Value::as_map).unwrap_or(&EMPTY);
    let wanted = files.get(file).and_then(Value::as_str);
    let wanted = wanted.ok_or_else(|| ProvenanceError::OtherFile(file.to_owned()))?;
    let digest = Digest::of(archive);
    if wanted.parse::<Digest>()? != digest {
        return Err(ProvenanceError::Sum {
            file: file.to_owned(),
            wanted: wanted.to_owned(),
            found: digest.to_string(),
        });
    }
    Ok(Verification {
        signed_by: names(&signer.details),
        fingerprint: fingerprint(signer),
        digest,
        file: file.to_owned(),
    })
}

static EMPTY: Map = Map::new();

/// The key that signed: one of the keyring, which may sign, and did.
fn signer<'k>(
    message: &CleartextSignedMessage,
    text: &str,
    keyring: &'k Keyring,
    now: u32,
) -> Result<&'k SignedPublicKey, ProvenanceError> {
    let mut refusal = ProvenanceError::UnknownSigner;
    for signature in message.signatures() {
        for key in &keyring.public {
            let outcome = if is_issuer(signature, &key.primary_key) {
                check(signature, text, key, None, now)
            } else if let Some(subkey) = key
                .public_subkeys
                .iter()
                .find(|subkey| is_issuer(signature, &subkey.key))
            {
                check(signature, text, key, Some(subkey), now)
            } else {
                continue;
            };
            match outcome {
                Ok(()) => return Ok(key),
                Err(reason) => {
                    refusal = ProvenanceError::BadSignature {
                        signer: names(&key.details).first().cloned().unwrap_or_default(),
                        reason,
                    };
                }
            }
        }
    }
    Err(refusal)
}

fn is_issuer(signature: &Signature, key: &impl KeyDetails) -> bool {
    let fingerprints = signature.issuer_fingerprint();
    if fingerprints.is_empty() {
        return signature.issuer_key_id().contains(&&key.legacy_key_id());
    }
    fingerprints.contains(&&key.fingerprint())
}

fn check(
    signature: &Signature,
    text: &str,
    key: &SignedPublicKey,
    subkey: Option<&SignedPublicSubKey>,
    now: u32,
) -> Result<(), String> {
    match subkey {
        None => verifies(signature, text, &key.primary_key)?,
        Some(subkey) => {
            verifies(signature, text, &subkey.key)?;
            subkey
                .verify_bindings(&key.primary_key)
                .map_err(|error| format!("the subkey does not belong to the key: {error}"))?;
            if subkey
                .signatures
                .iter()
                .any(|binding| binding.typ() == Some(SignatureType::SubkeyRevocation))
            {
                return Err("the subkey is revoked".to_owned());
            }
            if !subkey.signatures.iter().any(|binding| binding.key_flags().sign()) {
                return Err("the subkey is not for signing".to_owned());
            }
            let bindings: Vec<&Signature> = subkey.signatures.iter().collect();
            not_expired(subkey.key.created_at(), &bindings, now)?;
        }
    }
    let revoked = key.details.revocation_signatures.iter();
    if revoked
        .into_iter()
        .any(|revocation| revocation.verify_key(&key.primary_key).is_ok())
    {
        return Err("the key is revoked".to_owned());
    }
    let certified: Vec<&Signature> = key
        .details
        .users
        .iter()
        .flat_map(|user| &user.signatures)
        .chain(&key.details.direct_signatures)
        .filter(|certification| is_issuer(certification, &key.primary_key))
        .collect();
    not_expired(key.primary_key.created_at(), &certified, now)?;
    let made = signature.created().map(Timestamp::as_secs).unwrap_or_default();
    let ends = signature
        .signature_expiration_time()
        .map(pgp::types::Duration::as_secs);
    match ends.filter(|seconds| *seconds > 0) {
        Some(seconds) if made.saturating_add(seconds) < now => Err("the signature is expired".to_owned()),
        _ => Ok(()),
    }
}

fn verifies(signature: &Signature, text: &str, key: &impl VerifyingKey) -> Result<(), String> {
    let verified = signature.verify(key, text.as_bytes());
    verified.map_err(|error| format!("it does not fit the text: {error}"))
}

/// What the newest certification says of the end of a key counts.
fn not_expired(created: Timestamp, certified: &[&Signature], now: u32) -> Result<(), String> {
    let newest = certified
        .iter()
        .max_by_key(|signature| signature.created().map(Timestamp::as_secs));
    let lasts = newest.and_then(|newest| newest.key_expiration_time());
    match lasts
        .map(pgp::types::Duration::as_secs)
        .filter(|seconds| *seconds > 0)
    {
        Some(seconds) if created.as_secs().saturating_add(seconds) < now => {
            Err("the key is expired".to_owned())
        }
        _ => Ok(()),
    }
}
