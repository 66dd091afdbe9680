//! Where a project's release lives, and its objects in the cluster.

use std::sync::Arc;

use chart_release::NAME_CHARS_MAX;
use chart_release::cluster::Cluster;
use cluster_client::{Collection, ListOptions};
use cluster_objects::Object;
use compose_convert::dns_label;
use compose_load::Project;

use super::project::ProjectArgs;
use crate::commands::block_on;
use crate::connection::{self, Start};
use crate::failure::Failure;
use crate::settings::Settings;

/// The label that says which project an object is of.
pub(super) const INSTANCE: &str = "app.kubernetes.io/instance";
/// The label that says which service an object is of.
pub(super) const SERVICE: &str = "app.kubernetes.io/name";
/// The label of records of releases that are Compose projects.
pub(super) const PROJECT: &str = "compose.tug.dev/project";

/// Loads a project: some services and what they depend on, or all.
pub(super) fn load(
    project: &ProjectArgs,
    services: &[String],
    settings: &Settings,
) -> Result<Project, Failure> {
    let mut options = project.options(settings)?;
    options.services = services.to_vec();
    project.load(&options, settings)
}

/// The release of a project, and the settings to work on it: its namespace is the project's own unless one is given,
/// since services of two projects may have one name.
pub(super) struct Place {
    pub(super) release: String,
    pub(super) namespace: String,
    pub(super) settings: Settings,
}

impl Place {
    /// The place of a project by its name.
    pub(super) fn of(project: &str, settings: &Settings) -> Self {
        let label = dns_label(project);
        let release = label
            .get(..NAME_CHARS_MAX)
            .unwrap_or(&label)
            .trim_end_matches('-')
            .to_owned();
        let namespace = settings.namespace.clone().unwrap_or_else(|| release.clone());
        let mut settings = settings.clone();
        settings.namespace = Some(namespace.clone());
        Self {
            release,
            namespace,
            settings,
        }
    }

    /// The place of the project that arguments name; its files are read only where no name is given.
    pub(super) fn find(project: &ProjectArgs, settings: &Settings) -> Result<Self, Failure> {
        let name = match &project.project_name {
            Some(name) => name.clone(),
            None => load(project, &[], settings)?.name,
        };
        Ok(Self::of(&name, settings))
    }

    /// Works on a cluster that must be there already.
    pub(super) fn work<T>(
        &self,
        work: impl AsyncFnOnce(&Cluster) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let config = connection::choose(&self.settings, Start::IfThere)?;
        block_on(async {
            let cluster = connection::connect(&self.settings, &config).await?;
            work(&cluster).await
        })
    }

    /// Selects what is of the project, or of some services of it.
    pub(super) fn selector(&self, services: &[String]) -> String {
        let mut selector = format!("{INSTANCE}={}", self.release);
        if !services.is_empty() {
            let labels: Vec<String> = services.iter().map(|service| dns_label(service)).collect();
            selector.push_str(&format!(",{SERVICE} in ({})", labels.join(",")));
        }
        selector
    }

    /// Objects of the project, by name; of some services, or of all.
    pub(super) async fn objects(
        &self,
        cluster: &Cluster,
        (api_version, resource): (&str, &str),
        services: &[String],
    ) -> Result<Vec<Arc<Object>>, Failure> {
        let collection = Collection::namespaced(api_version, resource, &self.namespace);
        let options = ListOptions {
            label_selector: self.selector(services),
            ..ListOptions::default()
        };
        let list = cluster.api.list(&collection, &options).await;
        let mut objects = list.map_err(|status| Failure::from_error(&status))?.items;
        objects.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(objects)
    }
}
