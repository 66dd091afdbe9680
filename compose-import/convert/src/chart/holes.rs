//! Where templates leave room for values.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::chart::values::content_of_secret;
use crate::chart::{ChartOptions, Dialect};
use crate::convert::{INSTANCE, NAME};
use crate::object::{Object, Role};
use crate::yaml::{Template, pointer_part};

type Lines = Box<dyn Fn(usize) -> String>;

/// What stands in an object instead of values, by JSON pointer.
pub(super) struct Holes {
    dialect: Dialect,
    inline: BTreeMap<String, String>,
    entries: BTreeMap<String, Lines>,
}

impl Template for Holes {
    fn entry(&self, path: &str, indent: usize) -> Option<String> {
        self.entries.get(path).map(|lines| lines(indent))
    }

    fn inline(&self, path: &str) -> Option<String> {
        self.inline.get(path).cloned()
    }

    fn escape(&self, text: String) -> String {
        self.dialect.escape(text)
    }
}

/// The name in Kubernetes of the service that an object belongs to, which is its key among the values.
pub(super) fn service_of(object: &Object) -> &str {
    object.value["metadata"]["labels"][NAME]
        .as_str()
        .unwrap_or_default()
}

/// The path of the pods' spec in a workload.
pub(super) fn pod_path(object: &Object) -> &'static str {
    if object.kind() == "CronJob" {
        "/spec/jobTemplate/spec/template/spec"
    } else {
        "/spec/template/spec"
    }
}

/// A key that sorts behind all others.
const LAST: &str = "\u{10fffd}";

/// The object with room for values, and what fills it.
pub(super) fn holes(object: &Object, options: &ChartOptions) -> (Value, Holes) {
    let dialect = options.dialect;
    let mut value = object.value.clone();
    let mut holes = Holes {
        dialect,
        inline: BTreeMap::new(),
        entries: BTreeMap::new(),
    };
    if let Some(metadata) = value["metadata"].as_object_mut() {
        metadata.remove("namespace");
    }
    instances(&value, &mut String::new(), &mut holes);
    value["metadata"]["labels"][LAST] = Value::Null;
    let chart = options.name.clone();
    holes.entries.insert(
        format!("/metadata/labels/{LAST}"),
        Box::new(move |indent| dialect.labels(&chart, indent)),
    );
    match object.role {
        Role::Workload => workload(object, options, &mut value, &mut holes),
        Role::Claim => claim(object, &mut value, &mut holes),
        Role::Secret => secret(object, &mut holes),
        Role::Published if object.name().ends_with("-published") => published(object, &mut value, &mut holes),
        _ => {}
    }
    (value, holes)
}

/// Every place that names the project's instance names the release instead.
fn instances(value: &Value, path: &mut String, holes: &mut Holes) {
    let mut deeper = |key: &str, value: &Value, holes: &mut Holes| {
        let length = path.len();
        path.push('/');
        path.push_str(&pointer_part(key));
        if key == INSTANCE {
            holes
                .inline
                .insert(path.clone(), holes.dialect.release_name().to_owned());
        } else {
            instances(value, path, holes);
        }
        path.truncate(length);
    };
    match value {
        Value::Object(entries) => entries.iter().for_each(|(key, value)| deeper(key, value, holes)),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(number, value)| deeper(&number.to_string(), value, holes));
        }
        _ => {}
    }
}

/// Makes an entry of a table that something else is written for.
fn entry(
    value: &mut Value,
    holes: &mut Holes,
    path: &str,
    key: &str,
    lines: impl Fn(usize) -> String + 'static,
) {
    if let Some(Value::Object(table)) = value.pointer_mut(path) {
        table.insert(key.to_owned(), Value::Null);
        holes
            .entries
            .insert(format!("{path}/{}", pointer_part(key)), Box::new(lines));
    }
}

fn workload(object: &Object, options: &ChartOptions, value: &mut Value, holes: &mut Holes) {
    let dialect = options.dialect;
    let service = service_of(object);
    if value.pointer("/spec/replicas").is_some() {
        let replicas = dialect.value(&["services", service, "replicas"]);
        holes
            .inline
            .insert("/spec/replicas".to_owned(), dialect.integer(&replicas));
    }
    if object.kind() == "Job" {
        // What a Job runs cannot be changed, so each revision has its own.
        let name = format!("{}-{}", object.name(), dialect.revision());
        holes.inline.insert("/metadata/name".to_owned(), name);
    }
    let pod = pod_path(object);
    let containers = value
        .pointer(&format!("{pod}/containers"))
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for (number, container) in containers.iter().enumerate() {
        let name = container["name"].as_str().unwrap_or_default().to_owned();
        let path = format!("{pod}/containers/{number}");
        let field = |field: &str| dialect.value(&["services", &name, field]);
        holes.inline.insert(
            format!("{path}/image"),
            dialect.image(&options.name, &field("image")),
        );
        let policy = field("pullPolicy");
        entry(value, holes, &path, "imagePullPolicy", move |indent| {
            dialect.text_entry("imagePullPolicy", &policy, indent)
        });
        let environment = field("env");
        entry(value, holes, &path, "env", move |indent| {
            dialect.environment(&environment, indent)
        });
        let resources = field("resources");
        entry(value, holes, &path, "resources", move |indent| {
            dialect.yaml_entry("resources", &resources, indent)
        });
    }
    let given = value.pointer(&format!("{pod}/imagePullSecrets")).is_some();
    if !given {
        let secrets = dialect.value(&["imagePullSecrets"]);
        entry(value, holes, pod, "imagePullSecrets", move |indent| {
            dialect.yaml_entry("imagePullSecrets", &secrets, indent)
        });
    }
    let volumes = value.pointer(&format!("{pod}/volumes")).and_then(Value::as_array);
    if volumes
        .into_iter()
        .flatten()
        .any(|volume| volume.get("secret").is_some())
    {
        let path = pod.trim_end_matches("/spec");
        if let Some(template) = value.pointer_mut(path) {
            template["metadata"]["annotations"]["checksum/secrets"] = Value::Null;
            let path = format!("{path}/metadata/annotations/checksum~1secrets");
            holes.inline.insert(path, dialect.secrets_digest().to_owned());
        }
    }
}

fn claim(object: &Object, value: &mut Value, holes: &mut Holes) {
    let dialect = holes.dialect;
    // What a volume holds outlives the release, as it outlives `docker compose down`.
    value["metadata"]["annotations"]["helm.sh/resource-policy"] = json!("keep");
    let field = |field: &str| dialect.value(&["volumes", object.name(), field]);
    holes.inline.insert(
        "/spec/resources/requests/storage".to_owned(),
        dialect.quoted(&field("size")),
    );
    let modes = field("accessModes");
    entry(value, holes, "/spec", "accessModes", move |indent| {
        dialect.yaml_entry("accessModes", &modes, indent)
    });
    let class = field("storageClass");
    entry(value, holes, "/spec", "storageClassName", move |indent| {
        dialect.text_entry("storageClassName", &class, indent)
    });
}

fn secret(object: &Object, holes: &mut Holes) {
    let content = holes.dialect.value(&["secrets", object.name()]);
    let is_encoded = content_of_secret(object).is_some_and(|(_, is_encoded)| is_encoded);
    for key in object.value["data"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key)
    {
        holes.inline.insert(
            format!("/data/{}", pointer_part(key)),
            if is_encoded {
                holes.dialect.quoted(&content)
            } else {
                holes.dialect.encoded(&content)
            },
        );
    }
}

fn published(object: &Object, value: &mut Value, holes: &mut Holes) {
    let dialect = holes.dialect;
    let service = service_of(object);
    let field = |field: &str| dialect.value(&["services", service, "published", field]);
    holes
        .inline
        .insert("/spec/type".to_owned(), dialect.print(&field("type")));
    let annotations = field("annotations");
    if value["metadata"].get("annotations").is_none() {
        entry(value, holes, "/metadata", "annotations", move |indent| {
            dialect.yaml_entry("annotations", &annotations, indent)
        });
    }
    for (number, port) in object.value["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let name = port["name"].as_str().unwrap_or_default();
        let outside = dialect.value(&["services", service, "published", "ports", name]);
        holes
            .inline
            .insert(format!("/spec/ports/{number}/port"), dialect.integer(&outside));
    }
    value["spec"]["type"] = json!("");
}
