//! From a project to its objects.

use std::collections::BTreeMap;

use compose_load::Project;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::attributes::{self, Fate};
use crate::jobs::{self, Expected};
use crate::kompose;
use crate::names::{Names, dns_label, service_label};
use crate::network;
use crate::object::{Object, Role, head};
use crate::options::{Controller, Options};
use crate::order;
use crate::policy;
use crate::quantity;
use crate::report::{Report, Warning};
use crate::service::{Service, says_something};
use crate::sources::Sources;
use crate::storage::Storage;
use crate::workload;

pub(crate) const NAME: &str = "app.kubernetes.io/name";
pub(crate) const INSTANCE: &str = "app.kubernetes.io/instance";
pub(crate) const PART_OF: &str = "app.kubernetes.io/part-of";

/// A project as objects, and what they do not honour of it.
#[derive(Debug, Clone)]
pub struct Conversion {
    /// The project's name, as its objects have it in labels.
    pub instance: String,
    /// The objects, in the order in which they can be applied.
    pub objects: Vec<Object>,
    /// What is not honoured, in the order of the files.
    pub warnings: Vec<Warning>,
}

/// What the parts of a conversion share.
pub(crate) struct Context<'a> {
    pub(crate) project: &'a Project,
    pub(crate) options: &'a Options,
    pub(crate) sources: &'a dyn Sources,
    pub(crate) report: &'a Report<'a>,
    pub(crate) services: BTreeMap<&'a str, Service<'a>>,
    pub(crate) instance: String,
    pub(crate) expected: Expected<'a>,
    /// Whether the project's networks become policies.
    pub(crate) policies: bool,
    alias_labels: BTreeMap<String, Vec<String>>,
    /// What labels of services say of the volumes that they mount.
    volume_steering: BTreeMap<String, BTreeMap<String, String>>,
}

/// Converts a project.
///
/// The same project, files and options always give the same objects. Nothing fails: what cannot be carried over is a
/// warning, and whoever wants it strict makes an error of it.
pub fn convert(project: &Project, sources: &dyn Sources, options: &Options) -> Conversion {
    let report = Report::new(project);
    tell_top_level(project, &report);
    let services = named_services(project, &report);
    let expected = Expected::of(services.values());
    let mut cx = Context {
        project,
        options,
        sources,
        report: &report,
        services,
        instance: dns_label(&project.name),
        expected,
        policies: false,
        alias_labels: BTreeMap::new(),
        volume_steering: BTreeMap::new(),
    };
    cx.policies = policy::are_needed(&cx);
    cx.alias_labels = network::alias_labels(&cx);
    cx.volume_steering = volume_steering(&cx);
    let mut objects = objects(&cx);
    drop(cx);
    if let Some(namespace) = &options.namespace {
        for object in &mut objects {
            object.value["metadata"]["namespace"] = json!(namespace);
        }
        let made = head("v1", "Namespace", namespace);
        objects.insert(0, Object::new(Role::Namespace, namespace, made));
    }
    Conversion {
        instance: dns_label(&project.name),
        objects,
        warnings: report.finish(),
    }
}

fn objects(cx: &Context<'_>) -> Vec<Object> {
    let mut storage = Storage::new(cx);
    let mut named = network::services(cx);
    let policies = policy::policies(cx);
    let mut workloads = Vec::new();
    let mut guests: BTreeMap<&str, Vec<&Service<'_>>> = BTreeMap::new();
    for service in cx.services.values() {
        let owner = cx.owner(service);
        if owner.name != service.name {
            guests.entry(owner.name).or_default().push(service);
        }
    }
    for service in cx.services.values() {
        if cx.owner(service).name != service.name {
            continue;
        }
        let guests = guests.remove(service.name).unwrap_or_default();
        workloads.push(workload::workload(cx, service, &guests, &mut storage));
        let controller = cx.controller(service);
        named.extend(kompose::ingress(cx, service));
        workloads.extend(kompose::autoscaler(cx, service, controller));
    }
    let mut objects = storage.into_objects();
    roll_with_contents(&objects, &mut workloads);
    objects.extend(policies);
    objects.extend(named);
    objects.extend(workloads);
    order::order(cx, &mut objects);
    for service in cx.services.values() {
        service.tell_unread();
        kompose::tell_unknown(service);
    }
    objects.sort_by(|a, b| (a.role, a.name(), a.kind()).cmp(&(b.role, b.name(), b.kind())));
    objects
}

/// Services by name, each with its name in Kubernetes; those of providers are left to them.
fn named_services<'a>(project: &'a Project, report: &'a Report<'a>) -> BTreeMap<&'a str, Service<'a>> {
    let mut names = Names::default();
    let mut labels = BTreeMap::new();
    // Who need not be renamed is not.
    for exact in [true, false] {
        for (name, model) in project.services() {
            if (service_label(name) == name) == exact && !model.contains_key("provider") {
                labels.insert(name, names.claim(&service_label(name)));
            }
        }
    }
    let mut services = BTreeMap::new();
    for (name, model) in project.services() {
        let Some(label) = labels.remove(name) else {
            let reason = attributes::of_service("provider").map_or("", |row| row.becomes);
            report.service(name, "provider", reason);
            continue;
        };
        if label != name {
            report.service(name, "name", format!("it is called `{label}` in Kubernetes"));
        }
        services.insert(name, Service::new(name, label, model, report));
    }
    services
}

fn tell_top_level(project: &Project, report: &Report<'_>) {
    for (key, value) in project.model.as_object().into_iter().flatten() {
        if key.starts_with("x-") || !says_something(value) {
            continue;
        }
        match attributes::of_top_level(key) {
            Some(row) if row.fate == Fate::Reported => report.top(key, row.becomes),
            Some(_) => {}
            None => report.top(key, "it is not known, and not carried over"),
        }
    }
}

/// Kompose's labels of services for the volumes that they mount; the first service by name counts.
fn volume_steering(cx: &Context<'_>) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for service in cx.services.values() {
        let steering = service.steering();
        let labels: Vec<_> = steering
            .iter()
            .filter_map(|(label, value)| Some((label.strip_prefix("volume.")?, *value)))
            .collect();
        if labels.is_empty() {
            continue;
        }
        let mounts = service
            .peek("volumes")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for key in mounts.filter_map(|mount| mount.get("source")?.as_str()) {
            let known = all.entry(key.to_owned()).or_default();
            for (label, value) in &labels {
                known
                    .entry((*label).to_owned())
                    .or_insert_with(|| (*value).to_owned());
            }
        }
    }
    all
}

/// Makes pods change with the content of what they mount.
fn roll_with_contents(files: &[Object], workloads: &mut [Object]) {
    let mut digests = BTreeMap::new();
    for object in files
        .iter()
        .filter(|object| matches!(object.role, Role::Config | Role::Secret))
    {
        let mut hash = Sha256::new();
        for key in ["data", "binaryData"] {
            hash.update(object.value.get(key).map(Value::to_string).unwrap_or_default());
        }
        let digest: String = hash
            .finalize()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        digests.insert((object.kind().to_owned(), object.name().to_owned()), digest);
    }
    for workload in workloads
        .iter_mut()
        .filter(|object| object.role == Role::Workload)
    {
        let template = match workload.kind() {
            "CronJob" => workload.value.pointer_mut("/spec/jobTemplate/spec/template"),
            _ => workload.value.pointer_mut("/spec/template"),
        };
        let Some(template) = template else { continue };
        let mut found = BTreeMap::new();
        for volume in template["spec"]["volumes"].as_array().into_iter().flatten() {
            let config = volume
                .pointer("/configMap/name")
                .and_then(Value::as_str)
                .map(|name| ("ConfigMap", name));
            let secret = volume
                .pointer("/secret/secretName")
                .and_then(Value::as_str)
                .map(|name| ("Secret", name));
            for (kind, name) in config.into_iter().chain(secret) {
                if let Some(digest) = digests.get(&(kind.to_owned(), name.to_owned())) {
                    found.insert(format!("{}/{name}", kind.to_ascii_lowercase()), digest);
                }
            }
        }
        if found.is_empty() {
            continue;
        }
        let text = found
            .iter()
            .map(|(name, digest)| format!("{name}={digest}"))
            .collect::<Vec<_>>()
            .join(",");
        template["metadata"]["annotations"]["compose.tug.dev/contents"] = json!(text);
    }
}

impl<'a> Context<'a> {
    /// The kind of a service's workload.
    pub(crate) fn controller(&self, service: &Service<'_>) -> Controller {
        jobs::controller(self, service)
    }

    /// The service in whose pod a service runs: itself, or the one whose network it shares.
    pub(crate) fn owner<'s>(&'s self, service: &'s Service<'a>) -> &'s Service<'a> {
        let mut owner = service;
        // A chain of owners is finite, a ring is cut.
        for _ in 0..self.services.len() {
            match jobs::network_owner(owner).and_then(|name| self.services.get(name)) {
                Some(next) if next.name != service.name => owner = next,
                _ => break,
            }
        }
        owner
    }

    /// How many pods a service has.
    pub(crate) fn replicas(&self, service: &Service<'_>) -> i64 {
        let said = ["deploy.replicas", "scale"]
            .into_iter()
            .find_map(|path| quantity::integer(service.peek(path)?));
        said.unwrap_or_else(|| i64::from(self.options.replicas.unwrap_or(1)))
            .max(0)
    }

    /// The labels by which the pods of a service are found.
    pub(crate) fn selector(&self, service: &Service<'_>) -> Value {
        let owner = self
            .services
            .get(service.name)
            .map_or(&service.label, |service| &self.owner(service).label);
        json!({NAME: owner, INSTANCE: self.instance})
    }

    /// The labels of a service's pods.
    pub(crate) fn pod_labels(&self, service: &Service<'_>) -> Map<String, Value> {
        let mut labels = Map::new();
        labels.insert(NAME.to_owned(), json!(service.label));
        labels.insert(INSTANCE.to_owned(), json!(self.instance));
        labels.insert(PART_OF.to_owned(), json!(self.instance));
        for label in self.alias_labels.get(service.name).into_iter().flatten() {
            labels.insert(label.clone(), json!("true"));
        }
        labels
    }

    /// Labels an object as the project's, and as a service's.
    pub(crate) fn label(&self, object: &mut Value, service: Option<&Service<'_>>) {
        let labels = &mut object["metadata"]["labels"];
        if let Some(service) = service {
            labels[NAME] = json!(service.label);
        }
        labels[INSTANCE] = json!(self.instance);
        labels[PART_OF] = json!(self.instance);
    }

    /// Tells of the attributes of an entry of a top-level key that nothing is made of.
    pub(crate) fn tell_reported(&self, kind: &str, key: &str, entry: &Map<String, Value>) {
        for (field, value) in entry {
            if field.starts_with("x-") || !says_something(value) {
                continue;
            }
            match attributes::of_top_level(&format!("{kind}.*.{field}")) {
                Some(row) if row.fate == Fate::Reported => {
                    self.report.resource(kind, key, field, row.becomes);
                }
                Some(_) => {}
                None => self
                    .report
                    .resource(kind, key, field, "it is not known, and not carried over"),
            }
        }
    }

    /// What Kompose's labels say of a volume: its own, or those of a service that mounts it.
    pub(crate) fn steering_of_volume(
        &self,
        key: &str,
        volume: &Map<String, Value>,
    ) -> BTreeMap<String, String> {
        let mut steering = self.volume_steering.get(key).cloned().unwrap_or_default();
        for (label, value) in volume
            .get("labels")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            if let (Some(label), Some(value)) = (label.strip_prefix("kompose.volume."), value.as_str()) {
                steering.insert(label.to_owned(), value.to_owned());
            }
        }
        steering
    }
}
