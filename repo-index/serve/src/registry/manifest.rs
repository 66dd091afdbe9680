//! What a manifest says, read without IO.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::digest::Digest;

pub(crate) const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const IMAGE_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const CHART_CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
pub(crate) const CHART_CONTENT: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
/// As Helm wrote it at first.
const CHART_CONTENT_OLD: &str = "application/tar+gzip";
pub(crate) const CHART_PROVENANCE: &str = "application/vnd.cncf.helm.chart.provenance.v1.prov";

/// A manifest of an image, an index, or of something else that is stored alike.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) media_type: String,
    /// What it refers to and what has to be there before it.
    pub(crate) blobs: Vec<Digest>,
    /// Manifests that an index lists; they need not be here.
    pub(crate) children: Vec<Digest>,
    pub(crate) subject: Option<Digest>,
    artifact_type: Option<String>,
    annotations: Value,
    config_type: Option<String>,
    layers: Vec<(String, Digest)>,
}

/// A body is no manifest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("the manifest is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the manifest says it is `{said}`, and is sent as `{sent}`")]
    MediaType { said: String, sent: String },
    #[error("manifests of schema version 1 are not taken")]
    Schema1,
    #[error("the manifest says `{0}`, which is no digest")]
    Digest(String),
    #[error("the manifest has no media type")]
    NoMediaType,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    /// Artifact manifests had this name for layers.
    #[serde(default)]
    blobs: Vec<Descriptor>,
    /// Of an index.
    #[serde(default)]
    manifests: Vec<Descriptor>,
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    urls: Vec<String>,
}

impl Descriptor {
    fn digest(&self) -> Result<Digest, ManifestError> {
        let wrong = |_| ManifestError::Digest(self.digest.clone());
        self.digest.parse().map_err(wrong)
    }

    /// Layers that are somewhere else need not be here.
    fn is_here(&self) -> bool {
        self.urls.is_empty()
            && !self.media_type.contains("nondistributable")
            && !self.media_type.contains("foreign")
    }
}

impl Manifest {
    /// Reads a manifest that was sent with a content type.
    pub(crate) fn read(bytes: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        let document: Document = serde_json::from_slice(bytes)?;
        let sent = content_type.map(|sent| sent.split(';').next().unwrap_or_default().trim());
        let sent = sent.filter(|sent| !sent.is_empty() && *sent != "application/octet-stream");
        let media_type = match (&document.media_type, sent) {
            (Some(said), Some(sent)) if said != sent => {
                return Err(ManifestError::MediaType {
                    said: said.clone(),
                    sent: sent.to_owned(),
                });
            }
            (Some(kind), _) => kind.clone(),
            (None, Some(kind)) => kind.to_owned(),
            (None, None) => return Err(ManifestError::NoMediaType),
        };
        if document.schema_version == Some(1)
            || media_type.contains("manifest.v1+") && media_type.contains("docker")
        {
            return Err(ManifestError::Schema1);
        }
        let layers = document.layers.iter().chain(&document.blobs);
        let mut blobs = Vec::new();
        for descriptor in document.config.iter().chain(layers.clone()) {
            let digest = descriptor.digest()?;
            if descriptor.is_here() {
                blobs.push(digest);
            }
        }
        let layers = layers.map(|layer| Ok((layer.media_type.clone(), layer.digest()?)));
        let children = document.manifests.iter().map(Descriptor::digest);
        Ok(Self {
            blobs,
            children: children.collect::<Result<_, ManifestError>>()?,
            subject: document.subject.as_ref().map(Descriptor::digest).transpose()?,
            artifact_type: document.artifact_type.filter(|kind| !kind.is_empty()),
            annotations: document.annotations,
            config_type: document.config.map(|config| config.media_type),
            layers: layers.collect::<Result<_, ManifestError>>()?,
            media_type,
        })
    }

    /// What kind of artifact it is, as the list of referrers says it.
    fn artifact_type(&self) -> Option<&str> {
        let of_config = || self.config_type.as_deref().filter(|kind| !kind.is_empty());
        let is_index = [IMAGE_INDEX, DOCKER_LIST].contains(&self.media_type.as_str());
        self.artifact_type
            .as_deref()
            .or_else(|| if is_index { None } else { of_config() })
    }

    /// How the list of referrers has it.
    pub(crate) fn descriptor(&self, digest: &Digest, size: usize) -> Value {
        let mut descriptor = json!({
            "mediaType": self.media_type,
            "digest": digest.to_string(),
            "size": size,
        });
        if let Some(kind) = self.artifact_type() {
            descriptor["artifactType"] = kind.into();
        }
        if self.annotations.as_object().is_some_and(|all| !all.is_empty()) {
            descriptor["annotations"] = self.annotations.clone();
        }
        descriptor
    }

    /// The archive and the provenance, if it is a Helm chart.
    pub(crate) fn chart(&self) -> Option<(&Digest, Option<&Digest>)> {
        if self.config_type.as_deref() != Some(CHART_CONFIG) {
            return None;
        }
        let layer = |wanted: &[&str]| {
            let found = self
                .layers
                .iter()
                .find(|(kind, _)| wanted.contains(&kind.as_str()));
            found.map(|(_, digest)| digest)
        };
        let archive = layer(&[CHART_CONTENT, CHART_CONTENT_OLD])?;
        Some((archive, layer(&[CHART_PROVENANCE])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> String {
        Digest::sha256(text.as_bytes()).to_string()
    }

    #[test]
    fn a_chart_is_known_by_its_config() {
        let body = json!({
            "schemaVersion": 2,
            "config": {"mediaType": CHART_CONFIG, "digest": digest("c"), "size": 1},
            "layers": [
                {"mediaType": CHART_PROVENANCE, "digest": digest("p"), "size": 1},
                {"mediaType": CHART_CONTENT, "digest": digest("a"), "size": 1},
                {"mediaType": "x", "digest": digest("f"), "size": 1, "urls": ["https://example.com"]},
            ],
            "subject": {"mediaType": "x", "digest": digest("s"), "size": 1},
            "annotations": {"k": "v"},
        });
        let manifest = Manifest::read(body.to_string().as_bytes(), Some(IMAGE_MANIFEST)).unwrap();
        let (archive, provenance) = manifest.chart().unwrap();
        assert_eq!(archive.to_string(), digest("a"));
        assert_eq!(provenance.unwrap().to_string(), digest("p"));
        assert_eq!(manifest.blobs.len(), 3);
        assert_eq!(manifest.subject.as_ref().unwrap().to_string(), digest("s"));
        let descriptor = manifest.descriptor(&Digest::sha256(b"m"), 5);
        assert_eq!(descriptor["artifactType"], CHART_CONFIG);
        assert_eq!(descriptor["annotations"]["k"], "v");
    }

    #[test]
    fn err_other_bodies_are_refused() {
        for (body, sent) in [
            ("{", Some(IMAGE_MANIFEST)),
            ("{}", None),
            ("[]", Some(IMAGE_MANIFEST)),
            ("{\"schemaVersion\":1}", Some(IMAGE_MANIFEST)),
            ("{\"mediaType\":\"a/b\"}", Some(IMAGE_MANIFEST)),
            (
                "{\"layers\":[{\"digest\":\"sha256:../..\"}]}",
                Some(IMAGE_MANIFEST),
            ),
            ("{\"manifests\":[{\"digest\":\"x\"}]}", Some(IMAGE_INDEX)),
        ] {
            assert!(Manifest::read(body.as_bytes(), sent).is_err(), "{body}");
        }
    }
}
