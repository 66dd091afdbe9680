//! Any text is a selector or is refused, and a selector decides about any object.

#![no_main]

use std::sync::LazyLock;

use cluster_objects::Object;
use cluster_objects::registry::Registry;
use cluster_objects::selector::{FieldSelector, LabelSelector};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::builtin);

fuzz_target!(|input: (&str, &str, &str)| {
    let (text, key, value) = input;
    let object = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": value, "namespace": "n", "labels": {key: value}},
        "spec": {"nodeName": key}, "status": {"phase": value},
    });
    let object = Object::from_value(object).unwrap_or_default();
    match LabelSelector::parse(text) {
        Ok(selector) => {
            let _ = selector.matches(object.labels());
            let _ = selector.matches(None);
            if selector.is_everything() {
                assert!(selector.matches(object.labels()));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    match FieldSelector::parse(text) {
        Ok(selector) => {
            for row in REGISTRY.rows().take(3) {
                let _ = selector.check(row);
            }
            let _ = selector.matches(&object);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(value) = serde_json::from_str::<Value>(text)
        && let Ok(selector) = LabelSelector::from_value(&value)
    {
        let _ = selector.matches(object.labels());
    }
});
