//! Tables as `kubectl get` shows them: `meta.k8s.io/v1 Table`.

mod cells;
mod columns;
mod custom;
pub mod duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Object;
use crate::object::expand_managed_fields;
use crate::registry::KindRow;

pub use columns::{Column, Columns};
pub use custom::CustomColumn;

/// What each row of a table carries of its object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata, as `PartialObjectMetadata`.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

/// Makes the table of some objects of a kind, as they are at `now`.
///
/// `columns` asks for the column definitions, which a watch sends only with its first event.
pub fn table<'a>(
    row: &KindRow,
    objects: impl IntoIterator<Item = &'a Object>,
    now: Timestamp,
    include: IncludeObject,
    columns: bool,
) -> Value {
    let rows: Vec<Value> = objects
        .into_iter()
        .map(|object| {
            let mut entry = json!({"cells": row.columns.cells(object, now)});
            if let Some(conditions) = cells::row_conditions(object) {
                entry["conditions"] = conditions;
            }
            match include {
                IncludeObject::None => {}
                IncludeObject::Metadata => entry["object"] = partial_metadata(object),
                IncludeObject::Object => entry["object"] = object.wire_value(),
            }
            entry
        })
        .collect();
    let definitions: Vec<Value> = if columns {
        row.columns.definitions().iter().map(Column::to_value).collect()
    } else {
        Vec::new()
    };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {},
        "columnDefinitions": definitions, "rows": rows,
    })
}

/// The `PartialObjectMetadata` of an object.
pub fn partial_metadata(object: &Object) -> Value {
    let mut metadata = object.at(&["metadata"]).cloned().unwrap_or_else(|| json!({}));
    expand_managed_fields(&mut metadata);
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata })
}
