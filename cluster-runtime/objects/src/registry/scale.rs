//! The `scale` subresource: one view for every kind that has replicas.

use serde_json::{Value, json};

use crate::selector::LabelSelector;
use crate::{Object, Status};

use super::row::KindRow;

impl KindRow {
    /// The `autoscaling/v1 Scale` of an object; `None` when its kind cannot be scaled.
    pub fn scale_of(&self, object: &Object) -> Option<Object> {
        let paths = self.scale.as_ref()?;
        let at = |path: &str| object.at(&path.split('.').collect::<Vec<_>>());
        let mut metadata = serde_json::Map::new();
        for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
            if let Some(value) = object.at(&["metadata", key]) {
                metadata.insert(key.to_owned(), value.clone());
            }
        }
        let replicas = at(&paths.spec_replicas)
            .and_then(Value::as_i64)
            .unwrap_or_default();
        let mut status =
            json!({"replicas": at(&paths.status_replicas).and_then(Value::as_i64).unwrap_or_default()});
        if let Some(selector) = paths.selector.as_ref().and_then(|path| at(path)) {
            let text = match selector {
                Value::String(text) => Some(text.clone()),
                other => LabelSelector::from_value(other)
                    .ok()
                    .map(|selector| selector.to_string()),
            };
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                status["selector"] = text.into();
            }
        }
        let spec = if replicas == 0 {
            json!({})
        } else {
            json!({"replicas": replicas})
        };
        let scale = json!({
            "kind": "Scale", "apiVersion": "autoscaling/v1",
            "metadata": metadata, "spec": spec, "status": status,
        });
        Object::from_value(scale).ok()
    }

    /// Sets the wished replicas of an object to those of a `Scale`.
    pub fn set_scale(&self, object: &mut Object, scale: &Object) -> Result<(), Status> {
        let Some(paths) = &self.scale else {
            return Err(Status::not_found(&self.resource(), object.name()));
        };
        let replicas = match scale.at(&["spec", "replicas"]) {
            None | Some(Value::Null) => 0,
            Some(value) => value
                .as_i64()
                .ok_or_else(|| Status::bad_request("spec.replicas of Scale must be an integer"))?,
        };
        if !(0..=i64::from(i32::MAX)).contains(&replicas) {
            let cause = crate::StatusCause {
                reason: "FieldValueInvalid".to_owned(),
                message: format!("Invalid value: {replicas}: must be greater than or equal to 0"),
                field: "spec.replicas".to_owned(),
            };
            return Err(Status::invalid(
                "autoscaling",
                "Scale",
                object.name(),
                vec![cause],
            ));
        }
        let path: Vec<&str> = paths.spec_replicas.split('.').collect();
        object.set(&path, replicas);
        Ok(())
    }
}
