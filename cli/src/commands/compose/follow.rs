//! The pods of a project, as their logs are shown: each line with the name of its pod.

use chart_release::cluster::Cluster;
use cluster_client::Collection;
use cluster_objects::Object;

use super::place::{Place, SERVICE};
use super::run::ONE_OFF;
use crate::pod_logs::{Follower, Lines, Source};

/// Pods of a project.
pub(super) struct ProjectPods<'a> {
    place: &'a Place,
    services: &'a [String],
    /// Only the pod of this name.
    pod: Option<String>,
    /// Labels of services that are not shown.
    hidden: Vec<String>,
}

impl<'a> ProjectPods<'a> {
    pub(super) fn new(place: &'a Place, services: &'a [String]) -> Self {
        Self {
            place,
            services,
            pod: None,
            hidden: Vec::new(),
        }
    }

    /// Shows nothing of some services.
    pub(super) fn without(mut self, services: &[String]) -> Self {
        self.hidden = services
            .iter()
            .map(|service| compose_convert::dns_label(service))
            .collect();
        self
    }

    /// Shows one pod only.
    pub(super) fn of_pod(mut self, name: &str) -> Self {
        self.pod = Some(name.to_owned());
        self
    }

    /// Shows their logs.
    pub(super) fn follower(self, cluster: &'a Cluster, lines: Lines) -> Follower<'a, Self> {
        let console = &self.place.settings.console;
        Follower::new(cluster, console, self, lines)
    }
}

impl Source for ProjectPods<'_> {
    fn pods(&self) -> (Collection, String, String) {
        let collection = Collection::namespaced("v1", "pods", &self.place.namespace);
        let selector = self.place.selector(self.services);
        match &self.pod {
            Some(name) => (collection, selector, format!("metadata.name={name}")),
            // Pods that `run` made are shown by their names only.
            None => (collection, format!("{selector},!{ONE_OFF}"), String::new()),
        }
    }

    async fn shows(&self, pod: &Object) -> bool {
        let service = self.group(pod);
        !self.hidden.iter().any(|hidden| hidden == service)
    }

    fn lists(&self) -> &'static [&'static str] {
        &["containers"]
    }

    fn group<'p>(&self, pod: &'p Object) -> &'p str {
        pod.label(SERVICE).unwrap_or_default()
    }

    fn name(&self, pod: &Object, _container: &str) -> String {
        pod.name().to_owned()
    }
}
