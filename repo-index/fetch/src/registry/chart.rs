//! Charts as artifacts of registries: which media types, which annotations.

use std::collections::BTreeMap;

use bytes::Bytes;
use chart_model::{Chart, Metadata};
use chart_values::json::to_json;
use repo_index::{Digest, OciReference};
use serde::{Deserialize, Serialize};

use super::client::Registry;
use super::error::RegistryError;
use crate::observer::Observer;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
const ARCHIVE: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
const OLD_ARCHIVE: &str = "application/tar+gzip";
const PROVENANCE: &str = "application/vnd.cncf.helm.chart.provenance.v1.prov";
/// The most bytes of a manifest, as the specification proposes.
const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// A chart that was pulled.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The archive.
    pub archive: Bytes,
    /// The provenance file, if it was wanted and is there.
    pub provenance: Option<Bytes>,
    /// The digest of the manifest.
    pub manifest_digest: Digest,
}

/// A chart that was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Where it is now, with its tag.
    pub reference: OciReference,
    /// The digest of the manifest.
    pub manifest_digest: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImageManifest {
    schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
}

impl Descriptor {
    fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes).to_string(),
            size: bytes.len() as u64,
        }
    }
}

impl Registry {
    /// Pulls a chart by the tag or digest of a reference.
    pub async fn pull_chart(
        &self,
        reference: &OciReference,
        with_provenance: bool,
        observer: &dyn Observer,
    ) -> Result<Pulled, RegistryError> {
        let (manifest_digest, manifest) = self.chart_manifest(reference).await?;
        let no_chart = |reason: &str| RegistryError::NoChart {
            reference: reference.to_string(),
            reason: reason.to_owned(),
        };
        let layer = |media_types: &[&str]| {
            let mut layers = manifest.layers.iter();
            layers.find(|layer| media_types.contains(&layer.media_type.as_str()))
        };
        let archive =
            layer(&[ARCHIVE, OLD_ARCHIVE]).ok_or_else(|| no_chart("there is no archive in its manifest"))?;
        let archive = self.layer(reference, archive, observer).await?;
        let provenance = match layer(&[PROVENANCE]).filter(|_| with_provenance) {
            Some(layer) => Some(self.layer(reference, layer, observer).await?),
            None => None,
        };
        Ok(Pulled {
            archive,
            provenance,
            manifest_digest,
        })
    }

    /// What the chart says of itself, without pulling it.
    pub async fn chart_metadata(
        &self,
        reference: &OciReference,
        observer: &dyn Observer,
    ) -> Result<Metadata, RegistryError> {
        let (_, manifest) = self.chart_manifest(reference).await?;
        let no_chart = |reason: String| RegistryError::NoChart {
            reference: reference.to_string(),
            reason,
        };
        let config = manifest
            .config
            .ok_or_else(|| no_chart("its manifest has no config".to_owned()))?;
        let json = self.layer(reference, &config, observer).await?;
        let text = str::from_utf8(&json).map_err(|error| no_chart(error.to_string()))?;
        let value = chart_values::json::from_json(text).map_err(|error| no_chart(error.to_string()))?;
        Metadata::from_value(&value).map_err(|error| no_chart(error.to_string()))
    }

    /// Pushes an archive below the place `parent`, as `parent/NAME:VERSION`. `created` is now, RFC 3339.
    pub async fn push_chart(
        &self,
        parent: &OciReference,
        archive: Bytes,
        provenance: Option<Bytes>,
        created: &str,
    ) -> Result<Pushed, RegistryError> {
        let misplaced = |reason: String| RegistryError::PushPlace {
            reference: parent.to_string(),
            reason,
        };
        if parent.tag.is_some() || parent.digest.is_some() {
            return Err(misplaced(
                "the tag comes from the chart's version; give the place above it alone".to_owned(),
            ));
        }
        let chart = Chart::from_archive(&archive).map_err(|error| RegistryError::NoChart {
            reference: "the archive".to_owned(),
            reason: error.to_string(),
        })?;
        let target = parent.child(chart.name())?.with_version(&chart.metadata.version);
        // Checks the tag as well.
        let target: OciReference = target.to_string().parse()?;
        let config = Bytes::from(to_json(&chart.metadata.to_value()));
        let mut layers = vec![(Descriptor::of(ARCHIVE, &archive), archive)];
        if let Some(provenance) = provenance {
            layers.push((Descriptor::of(PROVENANCE, &provenance), provenance));
        }
        layers.sort_by(|a, b| a.0.digest.cmp(&b.0.digest));
        let manifest = ImageManifest {
            schema_version: 2,
            media_type: Some(MANIFEST.to_owned()),
            config: Some(Descriptor::of(CONFIG, &config)),
            layers: layers.iter().map(|(descriptor, _)| descriptor.clone()).collect(),
            annotations: annotations(&chart.metadata, created),
        };
        let manifest = serde_json::to_vec(&manifest).map_err(|error| misplaced(error.to_string()))?;
        for blob in layers.into_iter().map(|(_, bytes)| bytes).chain([config]) {
            self.push_blob(&target, blob).await?;
        }
        let manifest_digest = self.push_manifest(&target, MANIFEST, manifest.into()).await?;
        Ok(Pushed {
            reference: target,
            manifest_digest,
        })
    }

    async fn chart_manifest(
        &self,
        reference: &OciReference,
    ) -> Result<(Digest, ImageManifest), RegistryError> {
        let (digest, bytes) = self.manifest(reference).await?;
        let no_chart = |reason: String| RegistryError::NoChart {
            reference: reference.to_string(),
            reason,
        };
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(no_chart(format!(
                "its manifest is larger than {MANIFEST_BYTES_MAX} bytes"
            )));
        }
        let manifest: ImageManifest =
            serde_json::from_slice(&bytes).map_err(|error| no_chart(error.to_string()))?;
        let config = manifest.config.as_ref().map(|config| config.media_type.as_str());
        if config != Some(CONFIG) {
            return Err(no_chart(format!(
                "its config is of type `{}`",
                config.unwrap_or("none")
            )));
        }
        Ok((digest, manifest))
    }

    async fn layer(
        &self,
        reference: &OciReference,
        layer: &Descriptor,
        observer: &dyn Observer,
    ) -> Result<Bytes, RegistryError> {
        let digest = layer.digest.parse().map_err(|error| RegistryError::NoChart {
            reference: reference.to_string(),
            reason: format!("{error}"),
        })?;
        self.blob(reference, digest, observer).await
    }
}

/// The chart's own annotations, and those that say in general terms what the chart says of itself.
fn annotations(metadata: &Metadata, created: &str) -> BTreeMap<String, String> {
    let mut annotations: BTreeMap<String, String> = metadata.annotations.clone().unwrap_or_default();
    let authors: Vec<String> = metadata
        .maintainers
        .iter()
        .map(|maintainer| {
            if maintainer.email.is_empty() {
                maintainer.name.clone()
            } else {
                format!("{} ({})", maintainer.name, maintainer.email)
            }
        })
        .collect();
    let authors = authors.join(", ");
    let source = metadata.sources.first().map(String::as_str).unwrap_or_default();
    for (key, value, ours_alone) in [
        ("title", metadata.name.as_str(), true),
        ("version", metadata.version.as_str(), true),
        ("description", metadata.description.as_str(), false),
        ("url", metadata.home.as_str(), false),
        ("created", created, false),
        ("source", source, false),
        ("authors", authors.as_str(), false),
    ] {
        let key = format!("org.opencontainers.image.{key}");
        if !value.trim().is_empty() && (ours_alone || !annotations.contains_key(&key)) {
            annotations.insert(key, value.trim().to_owned());
        }
    }
    annotations
}
