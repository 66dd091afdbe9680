//! The cluster as the function `lookup` of templates sees it.

use std::fmt;
use std::sync::Arc;

use chart_render::{Lookup, LookupError};
use chart_values::Value;
use cluster_client::{Api, Collection, Discovery, ListOptions, Target};
use cluster_objects::{GroupVersionKind, Object, Status};
use serde_json::Value as Json;
use tokio::runtime::Handle;

/// Answers `lookup` from a cluster. Must be asked from a thread that may block.
pub(crate) struct ClusterLookup {
    api: Arc<dyn Api>,
    discovery: Arc<Discovery>,
    runtime: Handle,
}

impl ClusterLookup {
    /// Made within the runtime that drives the API.
    pub(crate) fn new(api: Arc<dyn Api>, discovery: Arc<Discovery>) -> Self {
        Self {
            api,
            discovery,
            runtime: Handle::current(),
        }
    }
}

impl fmt::Debug for ClusterLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterLookup")
    }
}

impl Lookup for ClusterLookup {
    fn lookup(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Value, LookupError> {
        let wanted = GroupVersionKind::new(api_version, kind);
        let served = self
            .discovery
            .resource_of(&wanted.group, &wanted.version, &wanted.kind)
            .ok_or_else(|| LookupError {
                message: format!("no matches for kind {kind:?} in version {api_version:?}"),
            })?;
        let collection = Collection {
            resource: served.resource.clone(),
            namespace: Some(namespace.to_owned())
                .filter(|namespace| served.namespaced && !namespace.is_empty()),
        };
        let refuse = |status: Status| LookupError {
            message: status.message,
        };
        if name.is_empty() {
            let listed = self
                .runtime
                .block_on(self.api.list(&collection, &ListOptions::default()));
            let list = listed.map_err(refuse)?;
            let items = list.items.iter().map(|object| live(object)).collect();
            return Ok(Value::from_iter([
                ("apiVersion", Value::from(api_version)),
                ("kind", format!("{kind}List").into()),
                (
                    "metadata",
                    Value::from_iter([("resourceVersion", list.resource_version)]),
                ),
                ("items", Value::List(items)),
            ]));
        }
        let target: Target = collection.target(name);
        match self.runtime.block_on(self.api.get(&target)) {
            Ok(object) => Ok(live(&object)),
            Err(status) if status.is_not_found() => Ok(Value::Map(chart_values::Map::new())),
            Err(status) => Err(refuse(status)),
        }
    }
}

/// An object of the cluster as templates see it: whole numbers stay whole, other than those of values.
fn live(object: &Object) -> Value {
    fn value(json: &Json) -> Value {
        match json {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(*flag),
            Json::Number(number) => match number.as_i64() {
                Some(number) => Value::Int(number),
                None => Value::Float(number.as_f64().unwrap_or_default()),
            },
            Json::String(text) => Value::String(text.clone()),
            Json::Array(items) => Value::List(items.iter().map(value).collect()),
            Json::Object(map) => Value::Map(entries(map)),
        }
    }
    fn entries(map: &serde_json::Map<String, Json>) -> chart_values::Map {
        map.iter()
            .map(|(key, entry)| (key.clone(), value(entry)))
            .collect()
    }
    Value::Map(entries(object.fields()))
}
