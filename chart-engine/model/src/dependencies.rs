//! Which subcharts take part, under which names, and what values they give to their parents.

use chart_values::coalesce::{CoalesceError, Nulls, coalesce, coalesce_tables};
use chart_values::constraint::{Constraint, Version};
use chart_values::{Map, Value};

use crate::chart::Chart;
use crate::metadata::{Dependency, ImportValues};

/// Something odd about a chart's dependencies that does not stop the chart.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DependencyWarning {
    /// A tag in `tags` is neither true nor false.
    #[error("tag `{tag}` of chart `{chart}` is neither true nor false")]
    TagIsNoFlag {
        /// The tag.
        tag: String,
        /// The dependency.
        chart: String,
    },
    /// The value at the path of a condition is neither true nor false.
    #[error("condition `{condition}` of chart `{chart}` is neither true nor false")]
    ConditionIsNoFlag {
        /// The path.
        condition: String,
        /// The dependency.
        chart: String,
    },
    /// A chart has no table where its parent wants to import one.
    #[error("chart `{chart}` has no table `{table}` to import values from")]
    NoTableToImport {
        /// The table's path.
        table: String,
        /// The dependency.
        chart: String,
    },
}

/// Tells whether `version` satisfies `constraint`; no if either cannot be read.
pub(crate) fn is_compatible(constraint: &str, version: &str) -> bool {
    match (constraint.parse::<Constraint>(), version.parse::<Version>()) {
        (Ok(constraint), Ok(version)) => constraint.allows(&version),
        _ => false,
    }
}

impl Chart {
    /// Leaves in the chart the subcharts that take part, under their aliases, and takes over the values they export.
    ///
    /// `values` are the user's. Conditions and tags look at them over the defaults of the charts; imported values come
    /// from the defaults alone, and lie below the chart's own.
    pub fn process_dependencies(&mut self, values: &Map) -> Result<Vec<DependencyWarning>, CoalesceError> {
        let mut warnings = Vec::new();
        enable(self, Some(values.clone()), "", &mut warnings)?;
        import_values(self, &mut warnings)?;
        Ok(warnings)
    }

    /// The names of the dependencies in `Chart.yaml` for which `charts/` holds no chart.
    pub fn missing_dependencies(&self) -> Vec<String> {
        self.metadata
            .dependencies
            .iter()
            .filter(|wanted| !self.dependencies.iter().any(|chart| chart.name() == wanted.name))
            .map(|wanted| wanted.name.clone())
            .collect()
    }

    /// Tells whether the chart's `kubeVersion` allows a cluster of the given version.
    pub fn allows_kube_version(&self, version: &str) -> bool {
        self.metadata.kube_version.is_empty() || is_compatible(&self.metadata.kube_version, version)
    }
}

/// Decides for the subcharts of `chart`, then for theirs.
///
/// In deeper charts conditions are looked up from the root, so their paths are given `path` in front. Without values, or
/// where they have no say, all take part.
fn enable(
    chart: &mut Chart,
    values: Option<Map>,
    path: &str,
    warnings: &mut Vec<DependencyWarning>,
) -> Result<(), CoalesceError> {
    if chart.metadata.dependencies.is_empty() {
        return Ok(());
    }
    rename(chart);
    let values = values
        .filter(|values| needs_values(chart, vec![values], Vec::new()))
        .map(|values| coalesce(&chart.scope(), values, Nulls::Remove, &mut Vec::new()))
        .transpose()?;
    for dependency in &mut chart.metadata.dependencies {
        let values = values.as_ref();
        dependency.enabled = values.is_none_or(|values| decide(dependency, values, path, warnings));
    }
    let disabled: Vec<String> = chart
        .metadata
        .dependencies
        .iter()
        .filter(|dependency| !dependency.enabled)
        .map(|dependency| dependency.name.clone())
        .collect();
    chart
        .dependencies
        .retain(|subchart| !disabled.contains(&subchart.metadata.name));
    chart
        .metadata
        .dependencies
        .retain(|dependency| !disabled.contains(&dependency.name));
    let inner = chart
        .dependencies
        .iter_mut()
        .filter(|subchart| !subchart.metadata.dependencies.is_empty());
    for subchart in inner {
        let path = format!("{path}{}.", subchart.metadata.name);
        enable(subchart, values.clone(), &path, warnings)?;
    }
    Ok(())
}

/// Whether it takes values to tell which subcharts take part: where a condition or a tag may speak against one, or where
/// something else is in the place of a subchart's values.
///
/// `tops` are the values of the charts above, which Helm lays over the chart as they are, and `inner` the parts of them that
/// are the chart's own.
fn needs_values<'c>(chart: &'c Chart, mut tops: Vec<&'c Map>, mut inner: Vec<&'c Map>) -> bool {
    tops.push(&chart.values);
    inner.extend(&tops);
    // Under its alias a chart takes other values.
    let is_special =
        |dependency: &Dependency| !(dependency.condition.is_empty() && dependency.alias.is_empty());
    chart.metadata.dependencies.iter().any(is_special)
        || tops.iter().any(|values| values.contains_key("tags"))
        || chart.dependencies.iter().any(|subchart| {
            let inner = inner.iter().filter_map(|values| values.get(subchart.name()));
            inner.clone().any(|values| values.as_map().is_none())
                || needs_values(subchart, tops.clone(), inner.filter_map(Value::as_map).collect())
        })
}

/// Puts the subcharts in the order of `Chart.yaml`, once per entry and under its alias, behind those that it does not
/// mention.
fn rename(chart: &mut Chart) {
    let fits = |wanted: &Dependency, subchart: &Chart| {
        subchart.name() == wanted.name && is_compatible(&wanted.version, &subchart.metadata.version)
    };
    let wanted = &mut chart.metadata.dependencies;
    let found = std::mem::take(&mut chart.dependencies);
    let place = |wanted: &Dependency| found.iter().position(|subchart| fits(wanted, subchart));
    // Per entry where its subchart is, which may serve several.
    let mut places: Vec<Option<usize>> = wanted.iter().map(place).collect();
    let mut found: Vec<Option<Chart>> = found
        .into_iter()
        .map(|subchart| {
            if wanted.iter().any(|wanted| fits(wanted, &subchart)) {
                return Some(subchart);
            }
            chart.dependencies.push(subchart);
            None
        })
        .collect();
    for (at, wanted) in wanted.iter_mut().enumerate() {
        if let Some(place) = places[at].take() {
            let is_last = !places.contains(&Some(place));
            let subchart = if is_last {
                found[place].take()
            } else {
                found[place].clone()
            };
            if let Some(mut subchart) = subchart {
                wanted.effective_name().clone_into(&mut subchart.metadata.name);
                chart.dependencies.push(subchart);
            }
        }
        if !wanted.alias.is_empty() {
            wanted.name.clone_from(&wanted.alias);
        }
    }
}

/// The first condition that names a flag decides, else the tags, else yes.
fn decide(dependency: &Dependency, values: &Map, path: &str, warnings: &mut Vec<DependencyWarning>) -> bool {
    let mut enabled = by_tags(dependency, values, warnings);
    for condition in dependency
        .condition
        .trim()
        .split(',')
        .filter(|condition| !condition.is_empty())
    {
        match value_at(values, &format!("{path}{condition}")) {
            Some(Value::Bool(flag)) => {
                enabled = *flag;
                break;
            }
            Some(_) => warnings.push(DependencyWarning::ConditionIsNoFlag {
                condition: condition.to_owned(),
                chart: dependency.name.clone(),
            }),
            None => {}
        }
    }
    enabled
}

fn by_tags(dependency: &Dependency, values: &Map, warnings: &mut Vec<DependencyWarning>) -> bool {
    let Some(Value::Map(tags)) = values.get("tags") else {
        return true;
    };
    let mut off = false;
    for tag in &dependency.tags {
        match tags.get(tag) {
            None => {}
            Some(Value::Bool(true)) => return true,
            Some(Value::Bool(false)) => off = true,
            Some(_) => {
                warnings.push(DependencyWarning::TagIsNoFlag {
                    tag: tag.clone(),
                    chart: dependency.name.clone(),
                });
            }
        }
    }
    !off
}

/// The value at a path with points between the names, unless it is a table.
fn value_at<'v>(values: &'v Map, path: &str) -> Option<&'v Value> {
    let (tables, name) = match path.rsplit_once('.') {
        None => (values, path),
        Some((tables, name)) => (table_at(values, tables)?, name),
    };
    tables.get(name).filter(|value| !matches!(value, Value::Map(_)))
}

fn table_at<'v>(values: &'v Map, path: &str) -> Option<&'v Map> {
    path.split('.')
        .try_fold(values, |table, name| table.get(name)?.as_map())
}

/// Takes over what the subcharts export, deepest charts first.
///
/// A chart that names dependencies then has the defaults of all its subcharts among its own values, `null`s included.
fn import_values(chart: &mut Chart, warnings: &mut Vec<DependencyWarning>) -> Result<(), CoalesceError> {
    for subchart in &mut chart.dependencies {
        import_values(subchart, warnings)?;
    }
    if chart.metadata.dependencies.is_empty() {
        return Ok(());
    }
    // Over no values its own come out as they are.
    let own = std::mem::take(&mut chart.values);
    let mut values = coalesce(&chart.scope(), own, Nulls::Keep, &mut Vec::new())?;
    let mut imported = Map::new();
    for dependency in &mut chart.metadata.dependencies {
        for import in &mut dependency.import_values {
            let (child, parent) = match import {
                ImportValues::Export(name) => (format!("exports.{name}"), ".".to_owned()),
                ImportValues::Table { child, parent } => (child.clone(), parent.clone()),
                ImportValues::Other(_) => continue,
            };
            match table_at(&values, &format!("{}.{child}", dependency.name)) {
                Some(table) => coalesce_tables(&mut imported, &nest(&parent, table.clone()), Nulls::Keep),
                None => warnings.push(DependencyWarning::NoTableToImport {
                    table: child.clone(),
                    chart: dependency.name.clone(),
                }),
            }
            *import = ImportValues::Table { child, parent };
        }
        dependency
            .import_values
            .retain(|import| matches!(import, ImportValues::Table { .. }));
    }
    coalesce_tables(&mut values, &imported, Nulls::Keep);
    chart.values = values;
    Ok(())
}

/// The table inside of tables so that it is found at `path`; `.` is the root.
fn nest(path: &str, table: Map) -> Map {
    if path == "." {
        return table;
    }
    path.rsplit('.').fold(table, |inner, name| {
        Map::from([(name.to_owned(), Value::Map(inner))])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::File;
    use chart_values::json::to_json;
    use chart_values::yaml::map_from_yaml;

    fn chart(files: &[(&str, &str)]) -> Chart {
        let files = files.iter().map(|(name, text)| File {
            name: (*name).to_owned(),
            data: text.as_bytes().into(),
        });
        Chart::from_files(files.collect()).unwrap()
    }

    /// A chart `web` with the subcharts `db` 1.2.0 and `mq` 1.0.0, the latter with a subchart `log` 1.0.0.
    fn web(dependencies: &str, values: &str) -> Chart {
        let parent = format!("apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies: {dependencies}\n");
        chart(&[
            ("Chart.yaml", &parent),
            ("values.yaml", values),
            (
                "charts/db/Chart.yaml",
                "apiVersion: v2\nname: db\nversion: 1.2.0\n",
            ),
            (
                "charts/db/values.yaml",
                "port: 1\nexports: {data: {host: h}}\ninner: {deep: {x: 1}}\n",
            ),
            (
                "charts/mq/Chart.yaml",
                "apiVersion: v2\nname: mq\nversion: 1.0.0\ndependencies: [{name: log, version: 1.x, condition: log.enabled, tags: [logs]}]\n",
            ),
            (
                "charts/mq/charts/log/Chart.yaml",
                "apiVersion: v2\nname: log\nversion: 1.0.0\n",
            ),
        ])
    }

    fn names(chart: &Chart) -> Vec<String> {
        chart
            .dependencies
            .iter()
            .flat_map(|subchart| {
                let inner = names(subchart)
                    .into_iter()
                    .map(|name| format!("{}.{name}", subchart.name()));
                std::iter::once(subchart.name().to_owned())
                    .chain(inner)
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn check(dependencies: &str, values: &str, user: &str, wanted: &[&str]) {
        let mut chart = web(dependencies, values);
        chart.process_dependencies(&map_from_yaml(user).unwrap()).unwrap();
        assert_eq!(names(&chart), wanted, "{dependencies} {values} {user}");
    }

    #[test]
    fn subcharts_that_nobody_mentions_are_enabled() {
        check("[]", "{}", "{}", &["db", "mq", "mq.log"]);
    }

    #[test]
    fn conditions_come_before_tags() {
        let db = "[{name: db, version: 1.x, condition: 'db.first,db.enabled', tags: [data, back]}]";
        for (user, enabled) in [
            ("{}", true),
            ("{db: {first: false}}", false),
            ("{db: {first: text, enabled: false}}", false),
            ("{db: {first: true, enabled: false}}", true),
            ("{tags: {data: false}}", false),
            ("{tags: {data: false, back: true}}", true),
            ("{tags: {data: false}, db: {first: true}}", true),
            ("{tags: {data: text}}", true),
        ] {
            let wanted: &[&str] = if enabled {
                &["mq", "mq.log", "db"]
            } else {
                &["mq", "mq.log"]
            };
            check(db, "{}", user, wanted);
        }
    }

    #[test]
    fn conditions_of_deeper_charts_are_looked_up_from_the_root() {
        let mq = "[{name: mq, version: 1.x, alias: queue}]";
        check(mq, "{}", "{queue: {log: {enabled: false}}}", &["db", "queue"]);
        check(mq, "queue: {log: {enabled: false}}", "{}", &["db", "queue"]);
        check(mq, "{}", "{tags: {logs: false}}", &["db", "queue"]);
        check(
            mq,
            "{}",
            "{mq: {log: {enabled: false}}}",
            &["db", "queue", "queue.log"],
        );
    }

    #[test]
    fn without_conditions_all_take_part_unless_values_have_tags_or_do_not_fit() {
        let tagged = |values: &str| {
            chart(&[
                (
                    "Chart.yaml",
                    "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies: [{name: mq, version: 1.x, tags: [queues]}]\n",
                ),
                ("values.yaml", values),
                (
                    "charts/mq/Chart.yaml",
                    "apiVersion: v2\nname: mq\nversion: 1.0.0\ndependencies: [{name: log, version: 1.x, tags: [logs]}]\n",
                ),
                (
                    "charts/mq/charts/log/Chart.yaml",
                    "apiVersion: v2\nname: log\nversion: 1.0.0\n",
                ),
            ])
        };
        for (values, user, wanted) in [
            ("{}", "{mq: {log: {a: 1}}}", Ok(&["mq", "mq.log"][..])),
            ("{}", "{tags: {logs: false}}", Ok(&["mq"])),
            ("tags: {queues: false}", "{}", Ok(&[])),
            ("{}", "{mq: 5}", Err("type mismatch on mq: %!t(float64=5)")),
            ("mq: {log: x}", "{}", Err("type mismatch on log: %!t(string=x)")),
            ("log: x", "{}", Err("type mismatch on log: %!t(string=x)")),
        ] {
            let mut chart = tagged(values);
            let done = chart.process_dependencies(&map_from_yaml(user).unwrap());
            let found = done.map(|_| names(&chart)).map_err(|error| error.to_string());
            let wanted = wanted
                .map(|names| names.iter().map(|name| (*name).to_owned()).collect())
                .map_err(str::to_owned);
            assert_eq!(found, wanted, "{values} {user}");
            let mut all = chart.metadata.dependencies.iter();
            assert!(
                all.all(|dependency| dependency.enabled || found.is_err()),
                "{values} {user}"
            );
        }
    }

    #[test]
    fn a_chart_can_take_part_under_several_names() {
        check(
            "[{name: db, version: 1.x, alias: a}, {name: db, version: ~1.2, alias: b}, {name: mq, version: 2.x}]",
            "{}",
            "{}",
            &["mq", "mq.log", "a", "b"],
        );
    }

    #[test]
    fn parents_import_values_of_subcharts() {
        let mut chart = web(
            "[{name: db, version: 1.x, import-values: [data, {child: inner.deep, parent: a.b}, {child: none, parent: c}]}]",
            "a: {b: {z: 1}}\nhost: own",
        );
        let warnings = chart.process_dependencies(&Map::new()).unwrap();
        assert_eq!(warnings.len(), 1);
        assert_eq!(chart.values["host"], "own".into());
        assert_eq!(to_json(&chart.values["a"]), r#"{"b":{"x":1,"z":1}}"#);
        assert_eq!(chart.values["db"].get("port"), Some(&1.0.into()));
    }

    #[test]
    fn missing_dependencies_are_named() {
        let chart = web("[{name: db, version: 1.x}, {name: other, version: 1.x}]", "{}");
        assert_eq!(chart.missing_dependencies(), ["other"]);
    }
}
