//! The resource definitions that a chart brings: they come before everything else.

use std::time::Duration;

use chart_model::Chart;

use crate::action::{ActionError, deploy};
use crate::apply::{self, ApplyOptions};
use crate::cluster::Cluster;
use crate::manifest::{self, ManifestObject};
use crate::readiness::Finish;
use crate::resource::{self, Resource};
use crate::wait::{self, WaitOptions};

/// Creates the definitions that are not there yet, and waits until they are served.
///
/// Those that are there are left as they are, as Helm leaves them.
pub(crate) async fn create(cluster: &Cluster, chart: &Chart, timeout: Duration) -> Result<(), ActionError> {
    let mut objects: Vec<ManifestObject> = Vec::new();
    for crd in chart.crds() {
        let parsed = manifest::parse(&crd.file.text()).map_err(ActionError::Manifest)?;
        objects.extend(parsed);
    }
    if objects.is_empty() {
        return Ok(());
    }
    let discovery = cluster.discovery().await.map_err(ActionError::Unreachable)?;
    let resolved = resource::resolve(objects, &discovery, &cluster.namespace);
    let mut missing: Vec<Resource> = Vec::new();
    for resource in resolved.map_err(ActionError::UnknownKinds)? {
        match cluster.api.get(&resource.target()).await {
            Ok(_) => {}
            Err(status) if status.is_not_found() => missing.push(resource),
            Err(status) => return Err(ActionError::Unreachable(status)),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let observer = cluster.observer.as_ref();
    let options = ApplyOptions::default();
    apply::apply_all(&cluster.api, &missing, &options, observer, &cluster.cancel).await?;
    let awaited: Vec<_> = missing.iter().map(deploy::awaited).collect();
    let options = WaitOptions {
        timeout,
        finish: Finish::default(),
        cancel: cluster.cancel.clone(),
    };
    wait::until_ready(&cluster.api, &awaited, &options, observer).await?;
    cluster.forget_discovery().await;
    Ok(())
}
