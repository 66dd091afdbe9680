//! The same patches through the real `kubectl patch --local`: both must come to the same object.

#![expect(clippy::needless_pass_by_value, reason = "cases are made in place")]
#![expect(clippy::print_stdout, reason = "a skipped test says why")]

use std::io::Write as _;
use std::process::Command;

use cluster_objects::schema::Schema;
use cluster_objects::{Object, patch};
use serde_json::{Value, json};

/// Whether `kubectl` is there; tests that need it say so and pass when it is not, unless peers are required.
fn has_kubectl() -> bool {
    let found = Command::new("kubectl")
        .args(["version", "--client"])
        .output()
        .is_ok();
    if !found {
        assert!(
            std::env::var_os("TUG_TEST_REQUIRE_PEERS").is_none(),
            "kubectl is required and not there"
        );
        println!("skipped: kubectl is not there");
    }
    found
}

fn kubectl_patch(object: &Value, kind: &str, patch: &Value) -> Value {
    let mut file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
    write!(file, "{object}").unwrap();
    let output = Command::new("kubectl")
        .args([
            "patch",
            "--local",
            "-o",
            "json",
            "--type",
            kind,
            "-p",
            &patch.to_string(),
            "-f",
        ])
        .arg(file.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{patch}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    without_empty(serde_json::from_slice(&output.stdout).unwrap())
}

/// kubectl's typed objects leave empty parts out and add others; neither is what the patch is about.
fn without_empty(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| (key, without_empty(value)));
            let empty = |value: &Value| *value == json!({}) || *value == json!([]) || value.is_null();
            Value::Object(fields.filter(|(_, value)| !empty(value)).collect())
        }
        Value::Array(items) => items.into_iter().map(without_empty).collect(),
        other => other,
    }
}

fn check(spec: Value, patches: &[Value]) {
    let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web",
        "finalizers": ["a/x", "b/x"], "labels": {"a": "1", "b": "2"}}, "spec": spec});
    for patch in patches {
        let target = Object::from_value(object.clone()).unwrap();
        let ours = patch::strategic(&target, patch, &Schema::of_kind("", "v1", "Pod")).unwrap();
        assert_eq!(
            without_empty(ours.into_value()),
            kubectl_patch(&object, "strategic", patch),
            "{patch}"
        );
    }
}

#[test]
fn strategic_patches_come_to_what_kubectl_comes_to() {
    if !has_kubectl() {
        return;
    }
    let container = |name: &str, image: &str| json!({"name": name, "image": image});
    let spec = json!({
        "containers": [container("a", "1"), container("b", "1"), container("c", "1"), container("d", "1")],
        "volumes": [{"name": "v", "configMap": {"name": "x"}}],
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}],
    });
    let containers = |list: Value| json!({"spec": {"containers": list}});
    let ordered = |order: Value, list: Value| json!({"spec": {"$setElementOrder/containers": order, "containers": list}});
    let names = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Value>();
    check(
        spec,
        &[
            containers(json!([container("e", "2"), container("b", "2")])),
            containers(json!([
                container("d", "2"),
                container("e", "2"),
                container("a", "2")
            ])),
            containers(json!([{"name": "b", "$patch": "delete"}, container("f", "2")])),
            containers(json!([container("z", "2"), {"$patch": "replace"}])),
            ordered(names(&["d", "e", "a"]), json!([container("e", "2")])),
            ordered(names(&["b", "a"]), json!([])),
            ordered(
                names(&["c", "x", "b", "y", "a"]),
                json!([container("x", "2"), container("y", "2")]),
            ),
            ordered(
                names(&["a", "c"]),
                json!([{"name": "b", "$patch": "delete"}, {"name": "d", "$patch": "delete"}]),
            ),
            json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "emptyDir"], "emptyDir": {"medium": "Memory"}}]}}),
            json!({"spec": {"volumes": [{"name": "w", "secret": {"secretName": "s"}}]}}),
            json!({"spec": {"tolerations": [{"key": "other"}]}}),
            json!({"spec": {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["b"]}, {"ip": "10.0.0.2"}]}}),
            json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80, "$patch": "delete"}, {"containerPort": 81}]}]}}),
            json!({"metadata": {"labels": {"a": null, "c": "3"}, "finalizers": ["c/x"]}}),
            json!({"metadata": {"labels": {"$patch": "replace", "z": "1"}}}),
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/x"], "$setElementOrder/finalizers": ["c/x", "b/x"], "finalizers": ["c/x"]}}),
            json!({"spec": {"nodeSelector": {"a": "b", "c": null}, "securityContext": {"runAsUser": 5}}}),
        ],
    );
}
