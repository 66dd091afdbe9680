//! A cluster in memory, charts made of texts, and somebody who plays the controllers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chart_model::{Chart, File};
use chart_release::action::{DeployOptions, History, Install, Rollback, Uninstall, Upgrade};
use chart_release::cluster::Cluster;
use chart_release::lease::Lease;
use chart_release::progress::{Event, Observer};
use chart_release::{Release, ReleaseStatus};
use cluster_apiserver::LocalApi;
use cluster_client::{Api, Collection, ListOptions, Patch, Target, WatchEvent, WatchOptions, WriteOptions};
use cluster_objects::Object;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::Notify;

/// Longest that any test waits for something.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A cluster in memory and what was told while actions ran.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) api: Arc<dyn Api>,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    lines: Mutex<Vec<String>>,
    more: Notify,
}

impl Observer for Told {
    fn event(&self, event: Event<'_>) {
        let line = match event {
            Event::Warning(text) => format!("warning: {text}"),
            Event::Hook { event, hook } => format!("{event}: {hook}"),
            Event::Applied { object, .. } => format!("applied {}/{}", object.kind(), object.name()),
            Event::Deleted { label } => format!("deleted {label}"),
            Event::Waiting { pending, .. } => format!("waiting for {pending:?}"),
            Event::Log { text, .. } => format!("log: {text}"),
        };
        self.lines.lock().unwrap().push(line);
        self.more.notify_one();
    }
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let api: Arc<dyn Api> = Arc::new(LocalApi::in_memory().await.unwrap());
        let told = Arc::new(Told::default());
        let mut cluster = Cluster::new(api.clone(), "default");
        cluster.observer = told.clone();
        Self { cluster, api, told }
    }

    /// What was told so far that begins with these words.
    pub(crate) fn told(&self, prefix: &str) -> Vec<String> {
        let told = self.told.lines.lock().unwrap();
        told.iter()
            .filter(|line| line.starts_with(prefix))
            .cloned()
            .collect()
    }

    /// Waits until something is told that begins with these words.
    pub(crate) async fn until_told(&self, prefix: &str) {
        let told = async {
            while self.told(prefix).is_empty() {
                self.told.more.notified().await;
            }
        };
        tokio::time::timeout(LIMIT, told).await.expect("it is told");
    }

    pub(crate) async fn config_map(&self, name: &str) -> Option<Arc<Object>> {
        self.get("v1", "configmaps", name).await
    }

    pub(crate) async fn get(&self, api_version: &str, resource: &str, name: &str) -> Option<Arc<Object>> {
        let target = Target::namespaced(api_version, resource, "default", name);
        match self.api.get(&target).await {
            Ok(object) => Some(object),
            Err(status) if status.is_not_found() => None,
            Err(status) => panic!("{status}"),
        }
    }

    pub(crate) async fn create(&self, object: Value) {
        let object = Object::from_value(object).unwrap();
        let discovery = self.api.discovery().await.unwrap();
        let (group, version) = object
            .api_version()
            .rsplit_once('/')
            .unwrap_or(("", object.api_version()));
        let served = discovery.resource_of(group, version, object.kind()).unwrap();
        let collection = Collection {
            resource: served.resource.clone(),
            namespace: served.namespaced.then(|| "default".to_owned()),
        };
        let created = self
            .api
            .create(&collection, object, &WriteOptions::default())
            .await;
        created.unwrap();
    }

    /// Merges into the status of every object of a collection as it appears, until the stage goes.
    pub(crate) async fn play_controller(
        &self,
        api_version: &str,
        resource: &str,
        status_of: impl Fn(&Object) -> Option<Value> + Send + 'static,
    ) {
        let collection = Collection::namespaced(api_version, resource, "default");
        let api = self.api.clone();
        let mut changes = api.watch(&collection, &WatchOptions::default()).await.unwrap();
        tokio::spawn(async move {
            while let Some(change) = changes.next().await {
                let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = change else {
                    continue;
                };
                let Some(status) = status_of(&object) else {
                    continue;
                };
                if object.at(&["status"]) == Some(&status) {
                    continue;
                }
                let target = collection.target(object.name()).subresource("status");
                let patch = Patch::Merge(json!({ "status": status }));
                // The object may be gone already.
                let _ = api.patch(&target, patch, &WriteOptions::default()).await;
            }
        });
    }

    /// Installs a chart as `web`, which must go well.
    pub(crate) async fn installed(&self, templates: &[(&str, &str)]) -> Release {
        install("web", chart(templates)).run(&self.cluster).await.unwrap()
    }

    /// Upgrades `web`, which must go well.
    pub(crate) async fn upgraded(&self, templates: &[(&str, &str)]) -> Release {
        upgrade("web", chart(templates)).run(&self.cluster).await.unwrap()
    }

    /// Leaves a further revision of `web` that somebody is, or was, at work on, with more in its manifest.
    pub(crate) async fn leave_begun(&self, status: ReleaseStatus, lease: Option<Lease>, manifest: &str) {
        let storage = self.cluster.storage();
        let mut begun = storage.get("web", None).await.unwrap();
        begun.revision += 1;
        begun.manifest += manifest;
        begun.set_status(status, "Preparing upgrade");
        begun.lease = lease;
        storage.create(&mut begun).await.unwrap();
    }

    /// State and description of every revision, oldest first.
    pub(crate) async fn history(&self, name: &str) -> Vec<(u32, ReleaseStatus, String)> {
        let action = History {
            name: name.into(),
            ..History::default()
        };
        let releases = action.run(&self.cluster).await.unwrap();
        let row = |release: &Release| {
            (
                release.revision,
                release.info.status.clone(),
                release.info.description.clone(),
            )
        };
        releases.iter().map(row).collect()
    }

    /// States of every revision, oldest first.
    pub(crate) async fn statuses(&self, name: &str) -> Vec<ReleaseStatus> {
        let history = self.history(name).await;
        history.into_iter().map(|(_, status, _)| status).collect()
    }

    /// Names of the Secrets that hold records.
    pub(crate) async fn records(&self) -> Vec<String> {
        let secrets = Collection::namespaced("v1", "secrets", "default");
        let list = self.api.list(&secrets, &ListOptions::default()).await.unwrap();
        let names = list.items.iter().map(|secret| secret.name().to_owned());
        names.filter(|name| name.starts_with("sh.helm.release")).collect()
    }
}

/// A chart of templates, each a name and a text, with one value: `greeting`.
pub(crate) fn chart(templates: &[(&str, &str)]) -> Chart {
    let file = |name: &str, text: &str| File {
        name: name.to_owned(),
        data: text.as_bytes().into(),
    };
    let mut files = vec![
        file(
            "Chart.yaml",
            "apiVersion: v2\nname: parcel\nversion: 1.0.0\nappVersion: '3'\n",
        ),
        file("values.yaml", "greeting: hello\n"),
    ];
    for (name, text) in templates {
        let path = if name.contains('/') {
            (*name).to_owned()
        } else {
            format!("templates/{name}")
        };
        files.push(file(&path, text));
    }
    Chart::from_files(files).unwrap()
}

/// A ConfigMap that holds the greeting.
pub(crate) const CONFIG: (&str, &str) = (
    "config.yaml",
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-config\ndata:\n  \
     greeting: {{ .Values.greeting | quote }}\n  revision: {{ .Release.Revision | quote }}\n",
);

/// A ConfigMap of a name.
pub(crate) fn config_map(name: &str, annotations: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  annotations: {{{annotations}}}\ndata: {{}}\n"
    )
}

pub(crate) fn values(text: &str) -> chart_values::Map {
    chart_values::yaml::map_from_yaml(text).unwrap()
}

fn deploy() -> DeployOptions {
    DeployOptions {
        timeout: LIMIT,
        ..DeployOptions::default()
    }
}

pub(crate) fn install(name: &str, chart: Chart) -> Install {
    Install {
        name: name.into(),
        chart,
        deploy: deploy(),
        ..Install::default()
    }
}

pub(crate) fn upgrade(name: &str, chart: Chart) -> Upgrade {
    Upgrade {
        name: name.into(),
        chart,
        deploy: deploy(),
        ..Upgrade::default()
    }
}

pub(crate) fn rollback(name: &str, revision: Option<u32>) -> Rollback {
    Rollback {
        name: name.into(),
        revision,
        deploy: deploy(),
        ..Rollback::default()
    }
}

pub(crate) fn uninstall(name: &str) -> Uninstall {
    Uninstall {
        name: name.into(),
        timeout: LIMIT,
        ..Uninstall::default()
    }
}
