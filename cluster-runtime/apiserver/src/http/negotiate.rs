//! Which form of an answer a client asks for.

use cluster_objects::{Status, StatusReason};

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// JSON, also for watches.
    #[default]
    Json,
    /// YAML.
    Yaml,
}

/// What of the objects is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum View {
    /// The objects themselves.
    #[default]
    Object,
    /// `meta.k8s.io/v1 Table`, as `kubectl get` prints.
    Table,
    /// `meta.k8s.io/v1 PartialObjectMetadata`.
    Metadata,
    /// `apidiscovery.k8s.io/v2 APIGroupDiscoveryList`.
    AggregatedDiscovery,
}

/// The form that was agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// How the answer is written.
    pub(crate) format: Format,
    /// What is shown.
    pub(crate) view: View,
}

/// Picks the first acceptable form of an `Accept` header, among those whose view is in `views`.
///
/// Quality weights order the ranges, equal weights keep the client's order. No header and an empty one accept
/// anything. 406 when nothing fits, as for clients that read nothing but protobuf.
pub(crate) fn negotiate(accept: &str, views: &[View]) -> Result<Accepted, Status> {
    if accept.trim().is_empty() {
        return Ok(Accepted::default());
    }
    let mut ranges: Vec<(u32, &str)> = accept.split(',').map(|range| (weight(range), range)).collect();
    ranges.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    ranges
        .iter()
        .filter(|(weight, _)| *weight > 0)
        .find_map(|(_, range)| accepted(range).filter(|found| views.contains(&found.view)))
        .ok_or_else(|| {
            Status::new(
                406,
                StatusReason::NotAcceptable,
                "only the following media types are accepted: application/json, application/yaml",
            )
        })
}

/// Quality of a media range in thousandths.
fn weight(range: &str) -> u32 {
    let quality = range.split(';').find_map(|part| part.trim().strip_prefix("q="));
    match quality.map(str::parse::<f32>) {
        Some(Ok(quality)) => (quality.clamp(0.0, 1.0) * 1000.0) as u32,
        _ => 1000,
    }
}

/// The form that one media range names, if we have it.
fn accepted(range: &str) -> Option<Accepted> {
    let mut parts = range.split(';').map(str::trim);
    let format = match parts.next()? {
        "application/json" | "application/*" | "*/*" => Format::Json,
        "application/yaml" => Format::Yaml,
        _ => return None,
    };
    let (mut kind, mut group, mut version) = ("", "", "");
    for part in parts {
        match part.split_once('=') {
            Some(("as", value)) => kind = value,
            Some(("g", value)) => group = value,
            Some(("v", value)) => version = value,
            _ => {}
        }
    }
    let view = match (kind, group, version) {
        ("", _, _) => View::Object,
        ("Table", "meta.k8s.io", "v1") => View::Table,
        ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") => View::Metadata,
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => View::AggregatedDiscovery,
        _ => return None,
    };
    Some(Accepted { format, view })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECTS: &[View] = &[View::Object, View::Table, View::Metadata];

    #[test]
    fn the_first_form_that_we_have_is_taken() {
        for (accept, format, view) in [
            ("", Format::Json, View::Object),
            ("*/*", Format::Json, View::Object),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
                Format::Json,
                View::Table,
            ),
            (
                "application/json;as=Table;v=v1beta1;g=meta.k8s.io, application/json",
                Format::Json,
                View::Object,
            ),
            (
                "application/vnd.kubernetes.protobuf,application/json",
                Format::Json,
                View::Object,
            ),
            (
                "application/json;q=0.5, application/yaml",
                Format::Yaml,
                View::Object,
            ),
            (
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
                Format::Json,
                View::Object,
            ),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,\
                 application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
                Format::Json,
                View::Metadata,
            ),
        ] {
            let expected = Accepted { format, view };
            assert_eq!(negotiate(accept, OBJECTS), Ok(expected), "{accept}");
        }
    }

    #[test]
    fn err_protobuf_alone_is_not_acceptable() {
        let refused = negotiate("application/vnd.kubernetes.protobuf", OBJECTS).unwrap_err();
        assert_eq!((refused.code, refused.reason), (406, StatusReason::NotAcceptable));
        assert!(negotiate("application/json;q=0", OBJECTS).is_err());
    }
}
