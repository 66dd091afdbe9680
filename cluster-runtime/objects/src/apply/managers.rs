//! Who owns which fields: `metadata.managedFields`.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::field_set::FieldSet;
use super::{Writer, field_text};
use crate::Object;

/// Most managers that own fields by ordinary writes; the oldest of more are taken together as [`ANCIENT`].
const UPDATE_MANAGERS_MAX: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// What tells managers apart. Ordered as the list in objects is, as far as it does not depend on time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager {
    pub(super) operation: Operation,
    pub(super) name: String,
    /// Version of the fields; appliers are the same one whatever version they write in.
    pub(super) api_version: String,
    pub(super) subresource: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// What a manager owns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Owned {
    pub(super) api_version: String,
    pub(super) time: Option<String>,
    pub(super) fields: Fields,
}

/// The fields of a manager, with the text that they were read from as long as they are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    set: Arc<FieldSet>,
    text: Option<Value>,
}

/// All managers of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Managers {
    pub(super) entries: BTreeMap<Manager, Owned>,
}

impl Manager {
    pub(super) fn of(writer: &Writer<'_>, operation: Operation) -> Self {
        Self {
            operation,
            name: writer.manager.to_owned(),
            api_version: match operation {
                Operation::Apply => String::new(),
                Operation::Update => writer.api_version.to_owned(),
            },
            subresource: writer.subresource.to_owned(),
        }
    }

    /// How messages name it.
    pub(super) fn readable(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

impl Fields {
    fn read(value: &Value) -> Option<Self> {
        Some(Self {
            set: field_text::read(value).ok()?,
            text: value.is_string().then(|| value.clone()),
        })
    }

    /// The set, to be changed.
    pub(super) fn make_mut(&mut self) -> &mut FieldSet {
        self.text = None;
        Arc::make_mut(&mut self.set)
    }

    /// Takes the fields of another set out.
    pub(super) fn subtract(&mut self, other: &FieldSet) {
        if self.meets(other) {
            self.make_mut().subtract(other);
        }
    }

    /// Puts the fields of another set in.
    pub(super) fn join(&mut self, more: FieldSet) {
        if !self.covers(&more) {
            let set = self.make_mut();
            *set = std::mem::take(set).joined(more);
        }
    }

    fn to_value(&self) -> Value {
        let written = || field_text::write(&self.set).into();
        self.text.clone().unwrap_or_else(written)
    }
}

impl From<FieldSet> for Fields {
    fn from(set: FieldSet) -> Self {
        Self {
            set: Arc::new(set),
            text: None,
        }
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.set == other.set
    }
}

impl Deref for Fields {
    type Target = FieldSet;

    fn deref(&self) -> &FieldSet {
        &self.set
    }
}

impl Managers {
    /// Reads the managers of an object; `None` when there are none or the list cannot be read.
    pub(super) fn of(object: &Object) -> Option<Self> {
        let mut managers = Self::default();
        for entry in object.list(&["metadata", "managedFields"]) {
            let text = |key: &str| {
                entry
                    .get(key)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let operation = match text("operation").as_str() {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return None,
            };
            let api_version = text("apiVersion");
            let manager = Manager {
                operation,
                name: text("manager"),
                api_version: if operation == Operation::Apply {
                    String::new()
                } else {
                    api_version.clone()
                },
                subresource: text("subresource"),
            };
            let fields = entry
                .get("fieldsV1")
                .map_or_else(|| Some(Fields::default()), Fields::read)?;
            let time = Some(text("time")).filter(|time| !time.is_empty());
            managers.entries.insert(
                manager,
                Owned {
                    api_version,
                    time,
                    fields,
                },
            );
        }
        (!managers.entries.is_empty()).then_some(managers)
    }

    /// Writes the managers into an object.
    pub(super) fn write(&self, object: &mut Object) {
        let mut entries: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, owned)| !owned.fields.is_empty())
            .collect();
        if entries.is_empty() {
            object.remove(&["metadata", "managedFields"]);
            return;
        }
        entries.sort_by_key(|(manager, owned)| (manager.operation, owned.time.clone()));
        let entries = entries.into_iter().map(|(manager, owned)| {
            let operation = match manager.operation {
                Operation::Apply => "Apply",
                Operation::Update => "Update",
            };
            let mut entry = json!({
                "manager": manager.name, "operation": operation, "apiVersion": owned.api_version,
                "fieldsType": "FieldsV1", "fieldsV1": owned.fields.to_value(),
            });
            if let Some(time) = &owned.time {
                entry["time"] = time.as_str().into();
            }
            if !manager.subresource.is_empty() {
                entry["subresource"] = manager.subresource.as_str().into();
            }
            entry
        });
        let entries: Vec<Value> = entries.collect();
        object.set(&["metadata", "managedFields"], entries);
    }

    /// Takes managers by update together, the oldest first, until there are not too many.
    pub(super) fn cap(&mut self) {
        let updates = |manager: &Manager| manager.operation == Operation::Update;
        while self.entries.keys().filter(|manager| updates(manager)).count() > UPDATE_MANAGERS_MAX {
            let candidates = self
                .entries
                .iter()
                .filter(|(manager, _)| updates(manager) && manager.name != ANCIENT);
            let oldest = candidates
                .min_by_key(|(_, owned)| owned.time.clone())
                .map(|(manager, _)| manager.clone());
            let Some(oldest) = oldest else {
                return;
            };
            let Some(owned) = self.entries.remove(&oldest) else {
                return;
            };
            let bucket = Manager {
                name: ANCIENT.to_owned(),
                subresource: String::new(),
                ..oldest
            };
            match self.entries.get_mut(&bucket) {
                Some(kept) => {
                    kept.fields.make_mut().extend(&owned.fields);
                    kept.time = kept.time.take().max(owned.time);
                }
                None => drop(self.entries.insert(bucket, owned)),
            }
        }
    }
}

/// A time as objects have it: whole seconds, UTC.
pub(super) fn api_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
