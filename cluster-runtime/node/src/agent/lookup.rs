//! Fetching what pods refer to.

use std::collections::BTreeSet;
use std::sync::Arc;

use cluster_client::{Api, Collection, ListOptions, Target};
use cluster_objects::{Object, Status};
use futures::future::try_join_all;

use super::environment::Fetched;

/// Fetches config maps and secrets of a namespace by name. One that is not there is `None`, other refusals are errors.
pub(crate) async fn fetch(
    api: &dyn Api,
    namespace: &str,
    config_maps: &BTreeSet<String>,
    secrets: &BTreeSet<String>,
) -> Result<Fetched, Status> {
    let one = |resource: &'static str, name: &String| {
        let (target, name) = (Target::namespaced("v1", resource, namespace, name), name.clone());
        async move { Ok::<_, Status>((name, get(api, &target).await?)) }
    };
    let (config_maps, secrets) = futures::try_join!(
        try_join_all(config_maps.iter().map(|name| one("configmaps", name))),
        try_join_all(secrets.iter().map(|name| one("secrets", name))),
    )?;
    Ok(Fetched {
        config_maps: config_maps.into_iter().collect(),
        secrets: secrets.into_iter().collect(),
        services: Vec::new(),
    })
}

/// One object, `None` where there is none.
pub(crate) async fn get(api: &dyn Api, target: &Target) -> Result<Option<Arc<Object>>, Status> {
    match api.get(target).await {
        Ok(object) => Ok(Some(object)),
        Err(status) if status.is_not_found() => Ok(None),
        Err(status) => Err(status),
    }
}

/// The services whose variables a pod gets: those of its namespace, and the API's own.
pub(crate) async fn services(
    api: &dyn Api,
    namespace: &str,
    linked: bool,
) -> Result<Vec<Arc<Object>>, Status> {
    let master = Target::namespaced("v1", "services", "default", "kubernetes");
    let mut services: Vec<Arc<Object>> = get(api, &master).await?.into_iter().collect();
    if linked {
        let own = Collection::namespaced("v1", "services", namespace);
        services.extend(api.list(&own, &ListOptions::default()).await?.items);
    }
    Ok(services)
}
