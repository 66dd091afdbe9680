//! Objects that every cluster has from the start.

use std::sync::atomic::Ordering;

use cluster_client::{Collection, FieldValidation, WriteOptions};
use cluster_objects::{Object, Status};

use super::{Body, Engine};
use crate::user::Caller;

/// The namespaces that are always there.
pub const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

impl Engine {
    /// Makes the namespaces that every cluster has, where they are missing; from then on the engine is ready.
    pub async fn bootstrap(&self) -> Result<(), Status> {
        let caller = Caller::system("tug-apiserver");
        let options = WriteOptions {
            field_validation: FieldValidation::Ignore,
            ..WriteOptions::default()
        };
        let namespaces = Collection::all("v1", "namespaces");
        for name in NAMESPACES {
            let namespace = Object::new("v1", "Namespace", None, name);
            match self
                .create(&caller, &namespaces, Body::from(namespace), &options)
                .await
            {
                Ok(_) => {}
                Err(status) if status.is_already_exists() => {}
                Err(status) => return Err(status),
            }
        }
        self.inner.ready.store(true, Ordering::Release);
        Ok(())
    }
}
