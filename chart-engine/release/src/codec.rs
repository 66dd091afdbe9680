//! A record inside its Secret: JSON, gzip, base64, and base64 once more by the API.

use std::io::{self, Read, Write};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cluster_objects::Object;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::chunks::{self, Layout};
use crate::lease::Lease;
use crate::record::Release;

/// Type of the Secrets that hold records.
pub const SECRET_TYPE: &str = "helm.sh/release.v1";

/// Labels of a Secret that users may not give.
pub const SYSTEM_LABELS: [&str; 6] = ["name", "owner", "status", "version", "createdAt", "modifiedAt"];

/// Most bytes of a record's JSON; what unpacks to more is no record but an attack.
const JSON_BYTES_MAX: u64 = 256 << 20;

/// Why a Secret holds no record.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// There is no `data.release`.
    #[error("the Secret has no `release`")]
    Missing,
    /// It is not base64.
    #[error("the record is not base64")]
    Base64(#[source] base64::DecodeError),
    /// It does not unpack.
    #[error("the record does not unpack")]
    Gzip(#[source] io::Error),
    /// It is not the JSON of a record.
    #[error("the record is not understood")]
    Json(#[source] serde_json::Error),
    /// A further Secret of it is gone.
    #[error("its part `{name}` is missing")]
    ChunkMissing {
        /// The Secret.
        name: String,
    },
    /// It unpacks to more than any record.
    #[error("the record unpacks to more than {JSON_BYTES_MAX} bytes")]
    TooLarge,
}

/// Name of the Secret of a revision.
pub fn secret_name(release: &str, revision: u32) -> String {
    format!("sh.helm.release.v1.{release}.v{revision}")
}

/// Packs a record as Helm does: JSON, gzip, base64.
pub fn encode(release: &Release) -> Result<String, serde_json::Error> {
    Ok(STANDARD.encode(pack(release)?))
}

/// Packs a value: JSON, gzip.
pub(crate) fn pack(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let json = serde_json::to_vec(value)?;
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    // Writing to memory does not fail.
    packer
        .write_all(&json)
        .and_then(|()| packer.finish())
        .map_err(serde_json::Error::io)
}

/// Unpacks a record; one that is not gzipped is taken as JSON, as old versions of Helm wrote it.
pub fn decode(text: &str) -> Result<Release, DecodeError> {
    let bytes = STANDARD.decode(text.trim_end()).map_err(DecodeError::Base64)?;
    if !bytes.starts_with(&[0x1f, 0x8b, 0x08]) {
        return serde_json::from_slice(&bytes).map_err(DecodeError::Json);
    }
    unpack(&bytes)
}

/// Unpacks what [`pack`] packed.
pub(crate) fn unpack<T: DeserializeOwned>(packed: &[u8]) -> Result<T, DecodeError> {
    let mut json = Vec::new();
    let mut unpacker = GzDecoder::new(packed).take(JSON_BYTES_MAX + 1);
    unpacker.read_to_end(&mut json).map_err(DecodeError::Gzip)?;
    if json.len() as u64 > JSON_BYTES_MAX {
        return Err(DecodeError::TooLarge);
    }
    serde_json::from_slice(&json).map_err(DecodeError::Json)
}

/// When a Secret is written, for its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Created(Timestamp),
    Modified(Timestamp),
}

/// Makes the Secret of a record.
pub(crate) fn to_secret(release: &Release, written: Written) -> Result<Object, serde_json::Error> {
    let name = secret_name(&release.name, release.revision);
    let mut secret = Object::new("v1", "Secret", Some(&release.namespace), &name);
    let (key, at) = match written {
        Written::Created(at) => ("createdAt", at),
        Written::Modified(at) => ("modifiedAt", at),
    };
    let labels = secret.at_mut(&["metadata", "labels"]);
    for (label, value) in &release.labels {
        labels.insert(label.clone(), value.as_str().into());
    }
    labels.insert("name".into(), release.name.as_str().into());
    labels.insert("owner".into(), "helm".into());
    labels.insert("status".into(), release.info.status.as_str().into());
    labels.insert("version".into(), release.revision.to_string().into());
    labels.insert(key.into(), at.as_second().to_string().into());
    if let Some(lease) = &release.lease {
        let lease = Lease {
            renewed: at,
            ..lease.clone()
        };
        lease.write(&mut secret);
    }
    secret.set(&["type"], SECRET_TYPE);
    let encoded = match release.layout.annotation() {
        None => encode(release)?,
        Some(layout) => {
            secret.set(&["metadata", "annotations", chunks::LAYOUT], layout);
            encode(&chunks::split(release, &release.layout).0)?
        }
    };
    secret.set(&["data", release.layout.key()], STANDARD.encode(encoded));
    Ok(secret)
}

/// Reads the record of a Secret and its further ones, with the labels that the user gave.
pub(crate) fn from_secret(secret: &Object, further: &[Arc<Object>]) -> Result<Release, DecodeError> {
    let layout = Layout::of(secret);
    let data = secret.text(&["data", layout.key()]).ok_or(DecodeError::Missing)?;
    let inner = STANDARD.decode(data).map_err(DecodeError::Base64)?;
    let text = String::from_utf8_lossy(&inner);
    let mut release = decode(&text)?;
    release.lease = Lease::of(secret);
    release.layout = match layout {
        Layout::Whole => chunks::found(&release, further),
        layout => layout,
    };
    chunks::join(&mut release, further)?;
    for (label, value) in secret.labels().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        release.stored_labels.insert(label.clone(), value.to_owned());
        if !SYSTEM_LABELS.contains(&label.as_str()) {
            release.labels.insert(label.clone(), value.to_owned());
        }
    }
    Ok(release)
}

/// The JSON of a record, as Helm's `-o json` prints it.
pub fn to_json(release: &Release) -> Value {
    serde_json::to_value(release).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{ApplyMethod, HookPhase, ReleaseStatus};

    const HELM_3: &str = include_str!("../tests/records/helm3.json");
    const HELM_4: &str = include_str!("../tests/records/helm4.json");

    fn secret(text: &str) -> Object {
        serde_json::from_str(text).unwrap()
    }

    /// The JSON inside a Secret, untouched by our types.
    fn raw(secret: &Object) -> Value {
        let inner = STANDARD
            .decode(secret.text(&["data", "release"]).unwrap())
            .unwrap();
        let packed = STANDARD.decode(inner).unwrap();
        let mut json = String::new();
        GzDecoder::new(packed.as_slice())
            .read_to_string(&mut json)
            .unwrap();
        serde_json::from_str(&json).unwrap()
    }

    /// Reads a record that Helm wrote, writes it, and compares everything that Helm wrote.
    fn check(text: &str, forgiven: &[&str]) {
        let secret = secret(text);
        let release = from_secret(&secret, &[]).unwrap();
        let mut expected = raw(&secret);
        for pointer in forgiven {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            expected
                .pointer_mut(parent)
                .unwrap()
                .as_object_mut()
                .unwrap()
                .remove(key);
        }
        let written = to_secret(&release, Written::Created(Timestamp::UNIX_EPOCH)).unwrap();
        assert_eq!(raw(&written), expected);
        assert_eq!(written.name(), secret.name());
        assert_eq!(written.text(&["type"]), secret.text(&["type"]));
        let mut labels = secret.labels().unwrap().clone();
        labels.remove("modifiedAt");
        labels.insert("createdAt".into(), "0".into());
        assert_eq!(written.labels().unwrap(), &labels);
    }

    #[test]
    fn a_record_of_helm_4_comes_out_as_it_went_in() {
        check(HELM_4, &[]);
        let release = from_secret(&secret(HELM_4), &[]).unwrap();
        assert_eq!(release.info.status, ReleaseStatus::Deployed);
        assert_eq!(release.apply_method, ApplyMethod::Server);
        assert_eq!(release.chart_label(), "parcel-1.2.3");
        assert_eq!(release.hooks[0].last_run.phase, HookPhase::Succeeded);
        assert_eq!(release.labels["team"], "desk");
    }

    #[test]
    fn a_record_of_helm_3_comes_out_as_it_went_in() {
        // Helm 3 writes a time that never was as "", Helm 4 leaves it out.
        check(HELM_3, &["/info/deleted"]);
    }

    #[test]
    fn a_record_without_gzip_is_read() {
        let text = STANDARD.encode(r#"{"name":"old","version":3,"hooks":null}"#);
        let release = decode(&text).unwrap();
        assert_eq!((release.name.as_str(), release.revision), ("old", 3));
    }

    #[test]
    fn err_what_is_no_record() {
        assert!(matches!(decode("%"), Err(DecodeError::Base64(_))));
        assert!(matches!(
            decode(&STANDARD.encode("nothing")),
            Err(DecodeError::Json(_))
        ));
        assert!(matches!(
            decode(&STANDARD.encode(b"\x1f\x8b\x08rest")),
            Err(DecodeError::Gzip(_))
        ));
        assert!(matches!(
            from_secret(&Object::new("v1", "Secret", None, "x"), &[]),
            Err(DecodeError::Missing)
        ));
    }
}
