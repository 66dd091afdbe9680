//! Objects as a client wants to see them: whole, as a table, or only their metadata.

use std::sync::Arc;

use bytes::Bytes;
use cluster_objects::Object;
use cluster_objects::registry::KindRow;
use cluster_objects::table::{IncludeObject, partial_metadata, table};
use futures::stream;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::{self, encode};
use super::compress;
use super::encoded::Encoded;
use super::negotiate::{Accepted, Format, View};
use crate::engine::{Change, Page};
use axum::response::Response;

/// Size of the pieces in which a list is written.
const PIECE_BYTES: usize = compress::BYTES_MIN;

/// How a client wants to see objects of a kind.
#[derive(Clone)]
pub(crate) struct Viewer {
    /// The kind.
    pub(crate) row: Arc<KindRow>,
    /// The agreed form.
    pub(crate) accepted: Accepted,
    /// What rows of tables carry.
    pub(crate) include: IncludeObject,
    /// Time that ages are counted from.
    pub(crate) now: Timestamp,
}

impl Viewer {
    /// Shows one object.
    pub(crate) fn object(&self, object: &Object) -> Vec<u8> {
        let format = self.accepted.format;
        match self.accepted.view {
            View::Object | View::AggregatedDiscovery if format == Format::Json => {
                let mut out = Vec::new();
                object.write_wire_json(&mut out);
                out
            }
            View::Object | View::AggregatedDiscovery => encode(format, object),
            View::Metadata => encode(format, &partial_metadata(object)),
            View::Table => {
                let mut shown = table(&self.row, [object], self.now, self.include, true);
                shown["metadata"] = json!({"resourceVersion": object.resource_version()});
                encode(format, &shown)
            }
        }
    }

    /// Answers a list, in pieces where it is long.
    pub(crate) fn page(&self, page: Page, gzip: bool) -> Response {
        let mut writer = ListWriter::new(self.clone(), page);
        let content_type = answer::content_type(self.accepted.format);
        let first = writer.piece().unwrap_or_default();
        if self.accepted.format == Format::Yaml {
            let mut text = first.to_vec();
            while let Some(piece) = writer.piece() {
                text.extend_from_slice(&piece);
            }
            let value: Value = serde_json::from_slice(&text).unwrap_or_default();
            return answer::whole(200, content_type, encode(Format::Yaml, &value), gzip);
        }
        if writer.is_done() {
            return answer::whole(200, content_type, first.to_vec(), gzip);
        }
        let pieces = stream::iter(std::iter::once(first).chain(std::iter::from_fn(move || writer.piece())));
        if gzip {
            let response = answer::answer(200, content_type, axum::body::Body::empty());
            return compress::pieces(response, pieces);
        }
        use futures::StreamExt;
        let body = axum::body::Body::from_stream(pieces.map(Ok::<_, std::convert::Infallible>));
        answer::answer(200, content_type, body)
    }

    /// Writes one change of a watch as a line; `first` of a table carries its columns.
    pub(crate) fn change(&self, change: &Change, first: bool, encoded: &Encoded, out: &mut Vec<u8>) {
        let (kind, object) = match change {
            Change::Added(object) => ("ADDED", object),
            Change::Modified(object) => ("MODIFIED", object),
            Change::Deleted(object) => ("DELETED", object),
            Change::Bookmark {
                revision,
                initial_events_end,
            } => {
                let bookmark = self.bookmark(&revision.to_string(), *initial_events_end);
                return line("BOOKMARK", &bookmark, out);
            }
            Change::Error(status) => return line("ERROR", &status.to_value(), out),
        };
        match self.accepted.view {
            View::Object | View::AggregatedDiscovery if kind != "DELETED" => {
                let json = encoded.json(&self.row, object);
                framed(kind, out, |out| out.extend_from_slice(&json));
            }
            View::Object | View::AggregatedDiscovery => line(kind, &**object, out),
            View::Metadata => line(kind, &partial_metadata(object), out),
            View::Table => {
                let mut shown = table(&self.row, [&**object], self.now, self.include, first);
                shown["metadata"] = json!({"resourceVersion": object.resource_version()});
                line(kind, &shown, out);
            }
        }
    }

    fn bookmark(&self, revision: &str, initial_events_end: bool) -> Value {
        let mut metadata = json!({"resourceVersion": revision, "creationTimestamp": null});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        match self.accepted.view {
            View::Object | View::AggregatedDiscovery => {
                json!({"kind": self.row.kind, "apiVersion": self.row.api_version(), "metadata": metadata})
            }
            View::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            View::Table => {
                // The bookmark of a table is a row without an object of its own.
                let object = json!({
                    "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                });
                json!({
                    "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": revision},
                    "columnDefinitions": [], "rows": [{"cells": [], "object": object}],
                })
            }
        }
    }
}

fn line(kind: &str, object: &impl serde::Serialize, out: &mut Vec<u8>) {
    // Writing a map with text for keys into memory does not fail.
    framed(kind, out, |out| _ = serde_json::to_writer(out, object));
}

/// One line of a watch around an object.
fn framed(kind: &str, out: &mut Vec<u8>, write_object: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    write_object(out);
    out.extend_from_slice(b"}\n");
}

/// Writes a list piece by piece, so that no answer is in memory twice.
struct ListWriter {
    viewer: Viewer,
    head: Option<Vec<u8>>,
    items: std::vec::IntoIter<Arc<Object>>,
    written: bool,
    closed: bool,
}

impl ListWriter {
    fn new(viewer: Viewer, page: Page) -> Self {
        let mut metadata = json!({"resourceVersion": page.revision.to_string()});
        if !page.continue_token.is_empty() {
            metadata["continue"] = page.continue_token.into();
        }
        let row = &page.row;
        let (kind, api_version, items) = match viewer.accepted.view {
            View::Object | View::AggregatedDiscovery => (row.list_kind.as_ref(), row.api_version(), "items"),
            View::Metadata => ("PartialObjectMetadataList", "meta.k8s.io/v1".to_owned(), "items"),
            View::Table => ("Table", "meta.k8s.io/v1".to_owned(), "rows"),
        };
        let mut head = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        if viewer.accepted.view == View::Table {
            let empty = table(row, [], viewer.now, viewer.include, true);
            head["columnDefinitions"] = empty["columnDefinitions"].clone();
        }
        let mut head = head.to_string().into_bytes();
        head.pop();
        head.extend_from_slice(format!(",\"{items}\":[").as_bytes());
        Self {
            viewer,
            head: Some(head),
            items: page.items.into_iter(),
            written: false,
            closed: false,
        }
    }

    fn is_done(&self) -> bool {
        self.closed
    }

    fn piece(&mut self) -> Option<Bytes> {
        if self.closed {
            return None;
        }
        let mut out = self.head.take().unwrap_or_default();
        while out.len() < PIECE_BYTES {
            let Some(item) = self.items.next() else {
                out.extend_from_slice(b"]}\n");
                self.closed = true;
                break;
            };
            if self.written {
                out.push(b',');
            }
            self.written = true;
            self.item(&item, &mut out);
        }
        Some(out.into())
    }

    fn item(&self, item: &Object, out: &mut Vec<u8>) {
        let viewer = &self.viewer;
        let shown = match viewer.accepted.view {
            View::Object | View::AggregatedDiscovery => return item.write_wire_json(out),
            View::Metadata => partial_metadata(item),
            View::Table => table(&viewer.row, [item], viewer.now, viewer.include, false)["rows"][0].take(),
        };
        // Writing a map with text for keys into memory does not fail.
        _ = serde_json::to_writer(out, &shown);
    }
}
