//! Records that are too big for one Secret.
//!
//! What is big and never changes goes into further Secrets: the files and templates of the chart, and the manifest
//! where the rest is too big even so. The first Secret keeps everything else, so that a change of status is one write
//! as ever, and Helm reads it as long as the manifest is in it. Where it is not, the record stands under a key that
//! Helm does not know: without its objects a release must not be worked on.
//!
//! The further Secrets are named after their content and written before the first one, which says what there must be;
//! so it never goes with those of another record.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cluster_objects::{GroupVersionResource, Object};
use flate2::Crc;
use serde_json::{Map, Value, json};

use crate::codec::{self, DecodeError};
use crate::record::Release;
use crate::resource::Resource;
use crate::storage::{RECORD_BYTES_MAX, StorageError};

/// Annotation of a first Secret that says what is in further ones.
pub(crate) const LAYOUT: &str = "tug.dev/record-chunks";
/// Value of the label `owner` of further Secrets, which Helm does not look for.
pub(crate) const OWNER: &str = "tug";
/// Key of a record that Helm must not take for whole.
const BARE_KEY: &str = "record";
/// Type of further Secrets.
const CHUNK_TYPE: &str = "tug.dev/release-chunk";
/// Bytes in one of them.
const CHUNK_BYTES: usize = 1_000_000;
/// What a record may still grow by when its state and its hooks change.
const MARGIN_BYTES: usize = 64 << 10;

/// How a record is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// In one Secret.
    #[default]
    Whole,
    /// With files and templates of the chart apart; Helm reads the rest.
    Readable(Chunks),
    /// With the manifest apart too; Helm does not read it.
    Bare(Chunks),
}

/// Further Secrets of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunks {
    /// How many.
    count: usize,
    /// The checksum of what is in them.
    checksum: u32,
}

impl Layout {
    pub(crate) fn of(secret: &Object) -> Self {
        let read = |text: &str| -> Option<Self> {
            let mut words = text.split(' ');
            let form = words.next()?;
            let chunks = Chunks {
                count: words.next()?.parse().ok()?,
                checksum: u32::from_str_radix(words.next()?, 16).ok()?,
            };
            match form {
                "readable" => Some(Self::Readable(chunks)),
                "bare" => Some(Self::Bare(chunks)),
                _ => None,
            }
        };
        secret.annotation(LAYOUT).and_then(read).unwrap_or_default()
    }

    /// The value of the annotation; `None` where all is in one Secret.
    pub(crate) fn annotation(&self) -> Option<String> {
        let (form, chunks) = match self {
            Self::Whole => return None,
            Self::Readable(chunks) => ("readable", chunks),
            Self::Bare(chunks) => ("bare", chunks),
        };
        Some(format!("{form} {} {:08x}", chunks.count, chunks.checksum))
    }

    /// The key of the record in the data of its Secret.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            Self::Whole | Self::Readable(_) => "release",
            Self::Bare(_) => BARE_KEY,
        }
    }

    pub(crate) fn chunks(&self) -> Option<&Chunks> {
        match self {
            Self::Whole => None,
            Self::Readable(chunks) | Self::Bare(chunks) => Some(chunks),
        }
    }
}

/// Decides how a new record is kept; gives the Secrets that must be there before its first one.
pub(crate) fn lay_out(release: &mut Release) -> Result<Vec<Resource>, StorageError> {
    release.layout = Layout::Whole;
    if packed_bytes(release)? <= RECORD_BYTES_MAX - MARGIN_BYTES {
        return Ok(Vec::new());
    }
    for form in [Layout::Readable, Layout::Bare] {
        let layout = form(Chunks::default());
        let (slim, apart) = split(release, &layout);
        let bytes = packed_bytes(&slim)?;
        if bytes > RECORD_BYTES_MAX - MARGIN_BYTES {
            if matches!(layout, Layout::Bare(_)) {
                let name = release.name.clone();
                return Err(StorageError::TooLarge { name, bytes });
            }
            continue;
        }
        let packed = codec::pack(&apart).map_err(|source| encode_error(release, source))?;
        let mut crc = Crc::new();
        crc.update(&packed);
        let chunks = Chunks {
            count: packed.len().div_ceil(CHUNK_BYTES),
            checksum: crc.sum(),
        };
        let pieces = packed.chunks(CHUNK_BYTES).enumerate();
        let secrets = pieces
            .map(|(number, piece)| secret(release, &chunks, number, piece))
            .collect();
        release.layout = form(chunks);
        return Ok(secrets);
    }
    Ok(Vec::new())
}

/// Bytes of a record in its Secret.
fn packed_bytes(release: &Release) -> Result<usize, StorageError> {
    let encoded = codec::encode(release).map_err(|source| encode_error(release, source))?;
    Ok(encoded.len())
}

fn encode_error(release: &Release, source: serde_json::Error) -> StorageError {
    StorageError::Encode {
        name: release.name.clone(),
        source,
    }
}

/// A record without what its layout puts apart, and that.
pub(crate) fn split(release: &Release, layout: &Layout) -> (Release, Value) {
    let mut slim = release.clone();
    let mut apart = Map::new();
    if *layout == Layout::Whole {
        return (slim, Value::Null);
    }
    if let Some(chart) = &mut slim.chart {
        for part in ["files", "templates"] {
            let empty = Value::Array(Vec::new());
            let taken = chart.0.insert(part.to_owned(), empty).unwrap_or_default();
            apart.insert(part.to_owned(), taken);
        }
    }
    if matches!(layout, Layout::Bare(_)) {
        apart.insert("manifest".to_owned(), std::mem::take(&mut slim.manifest).into());
    }
    (slim, apart.into())
}

fn chunk_name(release: &Release, chunks: &Chunks, number: usize) -> String {
    let first = codec::secret_name(&release.name, release.revision);
    format!("{first}.{:08x}.{number}", chunks.checksum)
}

fn secret(release: &Release, chunks: &Chunks, number: usize, piece: &[u8]) -> Resource {
    let name = chunk_name(release, chunks, number);
    let mut secret = Object::new("v1", "Secret", Some(&release.namespace), &name);
    secret.set(
        &["metadata", "labels"],
        json!({ "name": release.name, "owner": OWNER, "version": release.revision.to_string() }),
    );
    secret.set(&["type"], CHUNK_TYPE);
    secret.set(&["data", "chunk"], STANDARD.encode(piece));
    Resource {
        resource: GroupVersionResource::new("v1", "secrets"),
        object: secret,
        source: String::new(),
        waits_for: None,
    }
}

/// The chunks of a record whose annotation Helm has forgotten.
///
/// Only where the record has nothing of what they hold: those of an older release of the same name are none of its.
pub(crate) fn found(release: &Release, secrets: &[Arc<Object>]) -> Layout {
    let is_empty = |part: &str| {
        let chart = release.chart.as_ref().map(|chart| &chart.0);
        let part = chart.and_then(|chart| chart.get(part)).and_then(Value::as_array);
        part.is_none_or(Vec::is_empty)
    };
    let first = codec::secret_name(&release.name, release.revision);
    let checksum = |secret: &Arc<Object>| {
        let rest = secret.name().strip_prefix(&first)?.strip_prefix('.')?;
        u32::from_str_radix(rest.split_once('.')?.0, 16).ok()
    };
    let mut checksums: Vec<u32> = secrets.iter().filter_map(checksum).collect();
    let count = checksums.len();
    checksums.dedup();
    match checksums[..] {
        [checksum] if is_empty("templates") && is_empty("files") => {
            Layout::Readable(Chunks { count, checksum })
        }
        _ => Layout::Whole,
    }
}

/// Puts back what was apart. Without it, a record that Helm reads too lacks only what shows the chart.
pub(crate) fn join(release: &mut Release, secrets: &[Arc<Object>]) -> Result<(), DecodeError> {
    let Some(chunks) = release.layout.chunks() else {
        return Ok(());
    };
    let mut packed = Vec::new();
    for number in 0..chunks.count {
        let name = chunk_name(release, chunks, number);
        let found = secrets.iter().find(|secret| secret.name() == name);
        let piece = found.and_then(|secret| secret.text(&["data", "chunk"]));
        match (piece, &release.layout) {
            (Some(piece), _) => packed.extend(STANDARD.decode(piece).map_err(DecodeError::Base64)?),
            (None, Layout::Bare(_)) => return Err(DecodeError::ChunkMissing { name }),
            (None, _) => return Ok(()),
        }
    }
    let mut parts: Map<String, Value> = codec::unpack(&packed)?;
    if let Some(Value::String(manifest)) = parts.remove("manifest") {
        release.manifest = manifest;
    }
    if let Some(chart) = &mut release.chart {
        chart.0.extend(parts);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Written;
    use crate::record::StoredChart;
    use jiff::Timestamp;

    /// Text that does not pack.
    fn noise(bytes: usize) -> String {
        let mut state = 88_172_645_463_325_252_u64;
        let mut noise = Vec::with_capacity(bytes);
        while noise.len() < bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            noise.extend_from_slice(&state.to_le_bytes());
        }
        let mut text = STANDARD.encode(noise);
        text.truncate(bytes);
        text
    }

    fn release(file_bytes: usize, manifest_bytes: usize, config_bytes: usize) -> Release {
        let chart = json!({ "metadata": {"name": "big"}, "files": [{"name": "a", "data": noise(file_bytes)}],
            "templates": [{"name": "b", "data": "eA=="}], "values": {} });
        Release {
            name: "web".to_owned(),
            namespace: "default".to_owned(),
            revision: 3,
            manifest: noise(manifest_bytes),
            config: Map::from_iter([("text".to_owned(), noise(config_bytes).into())]),
            chart: chart.as_object().cloned().map(StoredChart),
            ..Release::default()
        }
    }

    /// Writes a record, reads it back, and gives the annotation, the number of chunks and the key.
    #[track_caller]
    fn check(mut release: Release, expected: Option<(&str, usize)>) {
        let secrets = lay_out(&mut release).unwrap();
        let first = codec::to_secret(&release, Written::Created(Timestamp::UNIX_EPOCH)).unwrap();
        let annotation = first.annotation(LAYOUT).map(str::to_owned);
        let form = annotation.as_deref().and_then(|text| text.split(' ').next());
        assert_eq!(form, expected.map(|(form, _)| form));
        assert_eq!(secrets.len(), expected.map_or(0, |(_, count)| count));
        let key = if form == Some("bare") { "record" } else { "release" };
        assert!(first.text(&["data", key]).is_some());
        assert_eq!(first.at(&["data"]).unwrap().as_object().unwrap().len(), 1);
        for resource in &secrets {
            let data = resource.object.text(&["data", "chunk"]).unwrap();
            assert!(data.len() / 4 * 3 <= RECORD_BYTES_MAX);
        }
        let chunks: Vec<Arc<Object>> = secrets.iter().map(|one| Arc::new(one.object.clone())).collect();
        if form == Some("readable") {
            // As Helm leaves it.
            let mut forgotten = first.clone();
            forgotten.remove(&["metadata", "annotations", LAYOUT]);
            let read = codec::from_secret(&forgotten, &chunks).unwrap();
            assert_eq!((&read.chart, &read.layout), (&release.chart, &release.layout));
        }
        let read = codec::from_secret(&first, &chunks).unwrap();
        assert_eq!(
            (&read.chart, &read.manifest, &read.layout),
            (&release.chart, &release.manifest, &release.layout)
        );
        match codec::from_secret(&first, &[]) {
            Ok(read) => assert_eq!(read.manifest, release.manifest, "at least the objects are known"),
            Err(error) => assert!(
                form == Some("bare") && matches!(error, DecodeError::ChunkMissing { .. }),
                "{error}"
            ),
        }
    }

    #[test]
    fn a_record_is_kept_in_as_many_secrets_as_it_needs() {
        check(release(100, 100, 100), None);
        check(release(2_500_000, 100, 100), Some(("readable", 2)));
        check(release(100, 2_500_000, 100), Some(("bare", 2)));
    }

    #[test]
    fn err_values_that_are_too_big() {
        let error = lay_out(&mut release(100, 100, 2_000_000)).unwrap_err();
        assert!(matches!(error, StorageError::TooLarge { .. }), "{error}");
    }
}
