//! Workloads that replace their pods in another way when they go back than when they go on.
//!
//! Kubernetes has one strategy for both, Swarm has two: `update_config` and `rollback_config`.

use cluster_objects::Object;
use serde_json::{Map, Value};

use crate::cluster::Cluster;
use crate::progress::Event;
use crate::record::Release;
use crate::resource::Resource;

/// The annotation with the fields of `spec` that a rollback sets: a JSON object.
const ROLLBACK_STRATEGY: &str = "tug.dev/rollback-strategy";
/// The fields that it may set.
const FIELDS: [&str; 3] = ["strategy", "updateStrategy", "minReadySeconds"];

/// Gives workloads the strategy for the way back where that is where a release goes. Its next upgrade takes it away.
pub(crate) fn take(cluster: &Cluster, release: &Release, resources: &mut [Resource]) {
    if release.info.rollback_revision == 0 {
        return;
    }
    for resource in resources {
        let Some(text) = resource.object.annotation(ROLLBACK_STRATEGY) else {
            continue;
        };
        match fields(text) {
            Ok(fields) => set(&mut resource.object, fields),
            Err(why) => {
                let text = format!(
                    "{}: the annotation `{ROLLBACK_STRATEGY}` is left out of account: {why}",
                    resource.label()
                );
                cluster.observer.event(Event::Warning(text));
            }
        }
    }
}

fn fields(text: &str) -> Result<Map<String, Value>, String> {
    let fields: Map<String, Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        Some(field) => Err(format!("`{field}` is none of {}", FIELDS.join(", "))),
        None => Ok(fields),
    }
}

fn set(object: &mut Object, fields: Map<String, Value>) {
    for (field, value) in fields {
        object.set(&["spec", &field], value);
    }
}

#[cfg(test)]
mod tests {
    use super::fields;

    #[test]
    fn only_the_strategy_can_be_set() {
        assert!(fields(r#"{"strategy": {"type": "Recreate"}, "minReadySeconds": 3}"#).is_ok());
        let refused = fields(r#"{"replicas": 0}"#).unwrap_err();
        assert!(refused.contains("`replicas` is none of strategy"), "{refused}");
        assert!(fields("3").is_err());
    }
}
