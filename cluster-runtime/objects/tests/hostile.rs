//! Whatever comes over the wire, nothing here panics or runs away.

use cluster_objects::apply::{FieldSet, Writer, apply, track};
use cluster_objects::quantity::Quantity;
use cluster_objects::registry::Registry;
use cluster_objects::selector::{FieldSelector, LabelSelector};
use cluster_objects::table::{IncludeObject, table};
use cluster_objects::{Object, names, patch};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Random values from a seed, made of the words that the code looks for.
struct Source(u64);

/// Field names that lead deep into the code, and directives.
const WORDS: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "namespace",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "managedFields",
    "fieldsV1",
    "manager",
    "operation",
    "f:spec",
    "k:{\"name\":\"a\"}",
    "v:1",
    ".",
    "spec",
    "status",
    "template",
    "containers",
    "initContainers",
    "image",
    "ports",
    "containerPort",
    "protocol",
    "env",
    "valueFrom",
    "resources",
    "limits",
    "requests",
    "cpu",
    "volumes",
    "volumeMounts",
    "livenessProbe",
    "httpGet",
    "port",
    "selector",
    "matchLabels",
    "matchExpressions",
    "operator",
    "values",
    "key",
    "replicas",
    "strategy",
    "rollingUpdate",
    "maxSurge",
    "type",
    "clusterIP",
    "clusterIPs",
    "rules",
    "http",
    "paths",
    "backend",
    "service",
    "schedule",
    "jobTemplate",
    "data",
    "stringData",
    "metrics",
    "conditions",
    "containerStatuses",
    "state",
    "terminated",
    "$patch",
    "$retainKeys",
    "$setElementOrder/containers",
    "$deleteFromPrimitiveList/finalizers",
    "subsets",
    "addresses",
    "ip",
    "versions",
    "webhooks",
    "clientConfig",
    "op",
    "path",
    "from",
    "value",
    "limited",
    "involvedObject",
    "series",
    "behavior",
];

const TEXTS: &[&str] = &[
    "",
    "a",
    "1",
    "100m",
    "1Gi",
    "-1",
    "25%",
    "é\u{0}\u{feff}",
    "/spec/containers/0",
    "/-",
    "delete",
    "replace",
    "In",
    "RollingUpdate",
    "Running",
    "2026-01-01T00:00:00Z",
    "* * * * *",
    "LoadBalancer",
    "None",
    "add",
    "remove",
    "copy",
    "Apply",
    "Update",
    "99999999999999999999",
    "a,b",
    "a=b",
    "a in (b",
    "\\",
    "TCP",
    "10.0.0.1",
    "x/y/z",
];

impl Source {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most as u64).unwrap_or_default()
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    fn value(&mut self, depth: usize) -> Value {
        let leaf = depth == 0;
        match self.below(if leaf { 6 } else { 12 }) {
            0 => Value::Null,
            1 => Value::Bool(self.next() & 1 == 0),
            2 => json!(self.next() as i64),
            3 => json!(self.below(100) as f64 / 7.0),
            4 | 5 => self.pick(TEXTS).into(),
            6..=8 => {
                let length = self.below(4);
                (0..length).map(|_| self.value(depth - 1)).collect()
            }
            _ => self.map(depth).into(),
        }
    }

    fn map(&mut self, depth: usize) -> Map<String, Value> {
        let length = self.below(6);
        let entry = |source: &mut Self| (source.pick(WORDS).to_owned(), source.value(depth - 1));
        (0..length).map(|_| entry(self)).collect()
    }

    /// An object that has at least the usual parts.
    fn object(&mut self) -> Object {
        let mut fields = self.map(6);
        for key in ["metadata", "spec", "status"] {
            if self.below(3) > 0 {
                fields.insert(key.to_owned(), self.map(6).into());
            }
        }
        Object::from(fields)
    }

    fn text(&mut self) -> String {
        let length = self.below(5);
        (0..length)
            .map(|_| {
                if self.next() & 1 == 0 {
                    self.pick(TEXTS)
                } else {
                    self.pick(WORDS)
                }
            })
            .collect()
    }
}

#[test]
fn objects_of_any_shape_pass_through_every_step() {
    let registry = Registry::builtin();
    let rows: Vec<_> = registry.rows().cloned().collect();
    let mut source = Source(7);
    for round in 0..400 {
        let row = &rows[round % rows.len()];
        let (old, mut new) = (source.object(), source.object());
        let version = row.api_version();
        let now = Timestamp::UNIX_EPOCH;
        for subresource in ["", "status"] {
            let writer = Writer {
                manager: "m",
                api_version: &version,
                subresource,
                now,
            };
            row.schema.check(&new);
            row.apply_defaults(&mut new);
            row.prepare_for_create(&mut new);
            row.prepare_for_update(&mut new, &old);
            row.prepare_for_status_update(&mut new, &old);
            row.validate_create(&new);
            row.validate_update(&new, &old);
            track(Some(&old), &mut new, writer, &row.schema);
            let applied = apply(Some(&new), &source.object(), writer, round % 2 == 0, &row.schema);
            let applied = applied.unwrap_or_else(|_| new.clone());
            let _ = apply(Some(&applied), &source.object(), writer, true, &row.schema);
        }
        row.from_stored(&mut new);
        row.to_stored(&mut new);
        if let Some(scale) = row.scale_of(&new) {
            let _ = row.set_scale(&mut new, &scale);
        }
        table(row, [&new, &old], now, IncludeObject::Object, true);
        let changes = source.value(6);
        let _ = patch::merge(&new, &changes);
        let _ = patch::strategic(&new, &changes, &row.schema);
        let operations: Value = (0..4).map(|_| Value::Object(source.map(3))).collect();
        let _ = patch::json(&new, &operations);
        let _ = FieldSet::from_value(&changes);
        if let Ok(selector) = LabelSelector::from_value(&changes) {
            selector.matches(new.labels());
        }
    }
}

#[test]
fn texts_of_any_kind_are_read_or_refused() {
    let mut source = Source(11);
    for _ in 0..5_000 {
        let text = source.text();
        if let Ok(selector) = LabelSelector::parse(&text) {
            assert_eq!(LabelSelector::parse(&selector.to_string()), Ok(selector));
        }
        if let Ok(selector) = FieldSelector::parse(&text) {
            assert_eq!(FieldSelector::parse(&selector.to_string()), Ok(selector));
        }
        if let Ok(quantity) = Quantity::parse(&text) {
            assert_eq!(Quantity::parse(&quantity.to_string()), Ok(quantity));
        }
        names::qualified_name_faults(&text);
        names::dns1123_subdomain_faults(&text);
        names::generate_name(&text, source.next());
    }
}

#[test]
fn err_deep_values_are_refused_and_not_followed() {
    let registry = Registry::builtin();
    let row = registry.by_group_kind("apps", "Deployment").unwrap();
    let deep = (0..400).fold(json!({}), |value, _| json!({"spec": value}));
    let object = Object::default();
    assert_eq!(patch::merge(&object, &deep).unwrap_err().code, 400);
    assert_eq!(
        patch::strategic(&object, &deep, &row.schema).unwrap_err().code,
        400
    );
    assert!(FieldSet::from_value(&deep).is_err());
    let writer = Writer {
        manager: "m",
        api_version: "apps/v1",
        subresource: "",
        now: Timestamp::UNIX_EPOCH,
    };
    let deep = Object::from_value(deep).unwrap();
    assert_eq!(
        apply(None, &deep, writer, false, &row.schema).unwrap_err().code,
        400
    );
}
