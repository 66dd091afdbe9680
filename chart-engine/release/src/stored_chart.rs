//! A chart as its record holds it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chart_model::{Chart, Dependency, File, ImportValues, Lock, Metadata};
use serde_json::{Map, Value, json};

use crate::json;
use crate::record::StoredChart;

/// Stores a chart without its subcharts, which Helm does not store.
pub(crate) fn stored(chart: &Chart) -> StoredChart {
    let mut fields = Map::new();
    fields.insert("metadata".into(), metadata(&chart.metadata));
    fields.insert("lock".into(), chart.lock.as_ref().map_or(Value::Null, lock));
    fields.insert("templates".into(), files(&chart.templates));
    fields.insert("values".into(), json::from_map(&chart.values).into());
    let schema = chart.schema.as_ref().map(|schema| STANDARD.encode(schema));
    fields.insert("schema".into(), schema.into());
    fields.insert("files".into(), files(&chart.files));
    StoredChart(fields)
}

fn files(files: &[File]) -> Value {
    files
        .iter()
        .map(|file| json!({ "name": file.name, "data": STANDARD.encode(&file.data) }))
        .collect()
}

/// A map of which empty fields are left out, as Go's `omitempty`.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        let empty = match &value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if !empty {
            self.0.insert(key.to_owned(), value);
        }
    }

    fn text(&mut self, key: &str, text: &str) {
        self.put(key, text);
    }
}

impl From<Fields> for Value {
    fn from(fields: Fields) -> Self {
        Self::Object(fields.0)
    }
}

fn metadata(metadata: &Metadata) -> Value {
    let mut fields = Fields::default();
    fields.text("name", &metadata.name);
    fields.text("home", &metadata.home);
    fields.put("sources", metadata.sources.clone());
    fields.text("version", &metadata.version);
    fields.text("description", &metadata.description);
    fields.put("keywords", metadata.keywords.clone());
    let maintainers = metadata.maintainers.iter().map(|maintainer| {
        let mut fields = Fields::default();
        fields.text("name", &maintainer.name);
        fields.text("email", &maintainer.email);
        fields.text("url", &maintainer.url);
        Value::from(fields)
    });
    fields.put("maintainers", maintainers.collect::<Value>());
    fields.text("icon", &metadata.icon);
    fields.text("apiVersion", &metadata.api_version);
    fields.text("condition", &metadata.condition);
    fields.text("tags", &metadata.tags);
    fields.text("appVersion", &metadata.app_version);
    fields.put("deprecated", metadata.deprecated);
    let annotations = metadata.annotations.iter().flatten();
    let annotations: Map<String, Value> = annotations
        .map(|(key, value)| (key.clone(), value.as_str().into()))
        .collect();
    fields.put("annotations", annotations);
    fields.text("kubeVersion", &metadata.kube_version);
    let dependencies = metadata.dependencies.iter().map(dependency);
    fields.put("dependencies", dependencies.collect::<Value>());
    fields.text("type", &metadata.kind);
    fields.into()
}

fn dependency(dependency: &Dependency) -> Value {
    let mut fields = Fields::default();
    fields.0.insert("name".into(), dependency.name.as_str().into());
    fields.text("version", &dependency.version);
    fields
        .0
        .insert("repository".into(), dependency.repository.as_str().into());
    fields.text("condition", &dependency.condition);
    fields.put("tags", dependency.tags.clone());
    fields.put("enabled", dependency.enabled);
    let imports = dependency.import_values.iter().map(|import| match import {
        ImportValues::Export(name) => name.as_str().into(),
        ImportValues::Table { child, parent } => json!({ "child": child, "parent": parent }),
        ImportValues::Other(value) => json::from_value(value),
    });
    fields.put("import-values", imports.collect::<Value>());
    fields.text("alias", &dependency.alias);
    fields.put("depends-on", dependency.depends_on.clone());
    fields.into()
}

fn lock(lock: &Lock) -> Value {
    let dependencies = lock.dependencies.iter().map(|dependency| {
        json!({ "name": dependency.name, "version": dependency.version, "repository": dependency.repository })
    });
    let mut fields = Fields::default();
    fields.text("generated", &lock.generated);
    fields.text("digest", &lock.digest);
    fields.put("dependencies", dependencies.collect::<Value>());
    fields.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> File {
        File {
            name: name.to_owned(),
            data: text.as_bytes().into(),
        }
    }

    #[test]
    fn a_chart_is_stored_as_helm_stores_it() {
        let chart = Chart::from_files(vec![
            file(
                "Chart.yaml",
                "apiVersion: v2\nname: a\nversion: 1.0.0\ndependencies: [{name: b, version: '*'}]\n",
            ),
            file("values.yaml", "count: 2\n"),
            file("values.schema.json", "{}"),
            file("templates/x.yaml", "x"),
            file("charts/b/Chart.yaml", "apiVersion: v2\nname: b\nversion: 2.0.0\n"),
        ])
        .unwrap();
        let StoredChart(fields) = stored(&chart);
        let expected = json!({
            "metadata": {"apiVersion": "v2", "name": "a", "version": "1.0.0",
                "dependencies": [{"name": "b", "version": "*", "repository": ""}]},
            "lock": null,
            "templates": [{"name": "templates/x.yaml", "data": "eA=="}],
            "values": {"count": 2},
            "schema": "e30=",
            "files": [],
        });
        assert_eq!(Value::Object(fields), expected);
    }
}
