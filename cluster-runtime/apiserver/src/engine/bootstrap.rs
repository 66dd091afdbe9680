//! Objects that every cluster has from the start.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cluster_client::{Collection, FieldValidation, WriteOptions};
use cluster_objects::{GroupVersionKind, Object, Status};

use futures::future::try_join_all;

use super::priority::system_classes;
use super::roles::bootstrap_roles;
use super::{Body, Engine, key_of};
use crate::user::Caller;

/// The namespaces that are always there.
pub const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

impl Engine {
    /// Makes the namespaces, roles and priority classes that every cluster has, where they are missing; from then on the
    /// engine is ready.
    pub async fn bootstrap(&self) -> Result<(), Status> {
        let caller = Caller::system("tug-apiserver");
        let options = WriteOptions {
            field_validation: FieldValidation::Ignore,
            ..WriteOptions::default()
        };
        let namespaces = NAMESPACES.map(|name| Object::new("v1", "Namespace", None, name));
        let classes = system_classes().into_iter();
        let roles = bootstrap_roles()
            .into_iter()
            .chain(classes)
            .map(Object::from_value);
        let roles: Vec<Object> = roles.collect::<Result<_, _>>().map_err(Status::internal)?;
        let registry = self.registry();
        // At once, so that they share their way to the disk.
        let made = namespaces.into_iter().chain(roles).map(|object| {
            let row = registry.by_kind(&GroupVersionKind::new(object.api_version(), object.kind()));
            let row = row.map(Arc::clone);
            let (caller, options) = (&caller, &options);
            async move {
                let Some(row) = row else { return Ok(()) };
                // What was changed since stays changed.
                if self.store().get(&key_of(&row, None, object.name())).is_some() {
                    return Ok(());
                }
                let collection = Collection::all(&row.api_version(), &row.plural);
                match self
                    .create(caller, &collection, Body::from(object), options)
                    .await
                {
                    Err(status) if !status.is_already_exists() => Err(status),
                    _ => Ok(()),
                }
            }
        });
        try_join_all(made).await?;
        self.inner.ready.store(true, Ordering::Release);
        Ok(())
    }
}
