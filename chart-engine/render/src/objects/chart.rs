//! `.Chart`

use chart_model::{Chart, Dependency, ImportValues, Metadata};
use chart_template::{Map, MapType, Text, Value};

/// The chart's metadata with the names that Go gives the fields.
pub(crate) fn chart_object(chart: &Chart, is_root: bool) -> Value {
    let metadata = &chart.metadata;
    let maintainers = metadata.maintainers.iter().map(|maintainer| {
        record([
            ("Name", maintainer.name.as_str().into()),
            ("Email", maintainer.email.as_str().into()),
            ("URL", maintainer.url.as_str().into()),
        ])
    });
    record([
        ("Name", metadata.name.as_str().into()),
        ("Home", metadata.home.as_str().into()),
        ("Sources", texts(&metadata.sources)),
        ("Version", metadata.version.as_str().into()),
        ("Description", metadata.description.as_str().into()),
        ("Keywords", texts(&metadata.keywords)),
        ("Maintainers", Value::list(maintainers.collect())),
        ("Icon", metadata.icon.as_str().into()),
        ("APIVersion", metadata.api_version.as_str().into()),
        ("Condition", metadata.condition.as_str().into()),
        ("Tags", metadata.tags.as_str().into()),
        ("AppVersion", metadata.app_version.as_str().into()),
        ("Deprecated", metadata.deprecated.into()),
        ("Annotations", annotations(metadata)),
        ("KubeVersion", metadata.kube_version.as_str().into()),
        (
            "Dependencies",
            Value::list(metadata.dependencies.iter().map(dependency).collect()),
        ),
        ("Type", metadata.kind.as_str().into()),
        ("IsRoot", is_root.into()),
    ])
}

fn annotations(metadata: &Metadata) -> Value {
    let Some(annotations) = &metadata.annotations else {
        return Value::Map(Map::nil().into());
    };
    let entries = annotations
        .iter()
        .map(|(key, value)| (Text::from(key.as_str()), value.as_str().into()));
    Value::typed_map(MapType::Strings, entries)
}

fn record<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::map(fields.map(|(name, value)| (Text::from(name), value)))
}

fn texts(items: &[String]) -> Value {
    Value::list(items.iter().map(|item| Value::from(item.as_str())).collect())
}

fn dependency(dependency: &Dependency) -> Value {
    let imports = dependency.import_values.iter().map(|import| match import {
        ImportValues::Export(name) => name.as_str().into(),
        ImportValues::Table { child, parent } => Value::typed_map(
            MapType::Strings,
            [("child", child), ("parent", parent)].map(|(key, path)| (Text::from(key), path.as_str().into())),
        ),
        ImportValues::Other(value) => Value::from(value),
    });
    record([
        ("Name", dependency.name.as_str().into()),
        ("Version", dependency.version.as_str().into()),
        ("Repository", dependency.repository.as_str().into()),
        ("Condition", dependency.condition.as_str().into()),
        ("Tags", texts(&dependency.tags)),
        ("Enabled", dependency.enabled.into()),
        ("ImportValues", Value::list(imports.collect())),
        ("Alias", dependency.alias.as_str().into()),
    ])
}
