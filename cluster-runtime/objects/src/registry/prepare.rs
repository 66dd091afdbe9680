//! What the server itself sets on an object before it is checked and stored.

use serde_json::Value;

use crate::Object;

use super::row::KindRow;

impl KindRow {
    /// Prepares a new object: the status is cleared where only its subresource may write it, the generation
    /// starts at 1.
    ///
    /// UID, creation time and name are the caller's to set, since they are not functions of the object.
    pub fn prepare_for_create(&self, object: &mut Object) {
        if self.has_status() {
            object.fields_mut().remove("status");
        }
        if self.counts_generation {
            object.set(&["metadata", "generation"], 1);
        } else {
            object.remove(&["metadata", "generation"]);
        }
        (self.hooks.prepare_create)(self, object);
    }

    /// Prepares a changed object: what only the server or a subresource may write is taken from the old one,
    /// the generation grows when the wish changed.
    pub fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        keep_server_metadata(new, old);
        if self.has_status() {
            restore(new, old, "status");
        }
        (self.hooks.prepare_update)(self, new, old);
        self.count_generation(new, old);
    }

    /// Prepares an object whose `status` is replaced: all but the status and the metadata is taken from the old one.
    pub fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        keep_server_metadata(new, old);
        let status = new.fields_mut().remove("status");
        let metadata = new.fields_mut().remove("metadata");
        *new = old.clone();
        if let Some(metadata) = metadata {
            new.fields_mut().insert("metadata".to_owned(), metadata);
        }
        match status {
            Some(status) => new.fields_mut().insert("status".to_owned(), status),
            None => new.fields_mut().remove("status"),
        };
        for key in ["generation", "ownerReferences", "finalizers"] {
            match old.at(&["metadata", key]) {
                Some(value) => new.set(&["metadata", key], value.clone()),
                None => drop(new.remove(&["metadata", key])),
            }
        }
        if self.group == "apps" {
            match old.at(&["metadata", "labels"]) {
                Some(labels) => new.set(&["metadata", "labels"], labels.clone()),
                None => drop(new.remove(&["metadata", "labels"])),
            }
        }
    }

    fn count_generation(&self, new: &mut Object, old: &Object) {
        if !self.counts_generation {
            return;
        }
        let mut generation = old.generation();
        let deleting = new.deletion_timestamp().is_some() && old.deletion_timestamp().is_none();
        if deleting || wish(new).ne(wish(old)) {
            generation += 1;
        }
        new.set(&["metadata", "generation"], generation);
    }
}

/// The fields that the user writes: all but type, metadata and status.
fn wish(object: &Object) -> impl Iterator<Item = (&String, &Value)> {
    let fields = object.fields().iter();
    fields.filter(|(key, _)| !matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "status"))
}

/// Takes from the old object the metadata that no request may change.
fn keep_server_metadata(new: &mut Object, old: &Object) {
    for key in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        match old.at(&["metadata", key]) {
            Some(value) => new.set(&["metadata", key], value.clone()),
            None => drop(new.remove(&["metadata", key])),
        }
    }
    new.remove(&["metadata", "selfLink"]);
}

fn restore(new: &mut Object, old: &Object, key: &str) {
    match old.fields().get(key) {
        Some(value) => new.fields_mut().insert(key.to_owned(), value.clone()),
        None => new.fields_mut().remove(key),
    };
}
