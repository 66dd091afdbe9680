//! Which objects wait for which: groups of resources and subcharts, by the annotations of HIP-0025.
//!
//! <https://github.com/helm/community/blob/main/hips/hip-0025.md>. A resource belongs to the group that its annotation
//! `helm.sh/resource-group` names, and says by `helm.sh/depends-on/resource-groups`, a list in JSON, which groups of
//! its chart must be ready before. What names no group comes after all groups of its chart. `Chart.yaml` says by the
//! annotation `helm.sh/depends-on/subcharts` which subcharts must be ready before the chart's own objects, and by
//! `depends-on` of a dependency which others must be ready before that one.
//!
//! Kubernetes takes no annotation with two slashes in its name: that one is read and taken off, and
//! `tug.dev/depends-on-resource-groups` says the same and stays. When an object is ready, it may say itself: `declared`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::declared::Declared;
use crate::resource::Resource;

const GROUP: &str = "helm.sh/resource-group";
pub(crate) const DEPENDS_ON_GROUPS: &str = "helm.sh/depends-on/resource-groups";
/// The same under a name that Kubernetes takes, for manifests that others apply too.
pub(crate) const DEPENDS_ON_GROUPS_TAKEN: &str = "tug.dev/depends-on-resource-groups";
const DEPENDS_ON_SUBCHARTS: &str = "helm.sh/depends-on/subcharts";

/// Objects that are brought together, and what they wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// `CHART`, or `CHART/GROUP`, for people.
    pub name: String,
    /// The objects, by their place in the list they came in.
    pub resources: Vec<usize>,
    /// Parts that must be ready before, by their place.
    pub after: Vec<usize>,
}

/// The parts of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// The parts; each stands behind those that it waits for.
    pub parts: Vec<Part>,
    /// What was asked for and means nothing.
    pub warnings: Vec<String>,
}

/// Parts that wait for each other in a circle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these wait for each other: {}", .parts.join(" -> "))]
pub struct Cycle {
    /// The parts on the circle; the last is the first again.
    pub parts: Vec<String>,
}

impl Order {
    /// Whether nothing waits for anything.
    pub fn is_flat(&self) -> bool {
        self.parts.iter().all(|part| part.after.is_empty())
    }
}

/// The name of a part: path of its chart, and its group, empty for what names none.
type Name = (String, String);

/// Finds the parts of resources and their order.
///
/// `chart` is the `Chart.yaml` of the release's chart; those of subcharts are not in records, so only the root chart
/// orders subcharts.
pub fn order(resources: &[Resource], chart: Option<&Map<String, Value>>) -> Result<Order, Cycle> {
    let mut warnings = Vec::new();
    let mut parts: BTreeMap<Name, (Vec<usize>, BTreeSet<Name>)> = BTreeMap::new();
    for (index, resource) in resources.iter().enumerate() {
        let path = chart_path(&resource.source).to_owned();
        let group = resource.object.annotation(GROUP).unwrap_or_default().trim();
        let part = parts.entry((path.clone(), group.to_owned())).or_default();
        part.0.push(index);
        if let Some(Err(why)) = Declared::of(&resource.object) {
            warnings.push(format!("{}: {why}", resource.label()));
        }
        let Some(text) = &resource.waits_for else {
            continue;
        };
        match names(&Value::String(text.clone())) {
            Some(_) if group.is_empty() => warnings.push(format!(
                "{}: `{DEPENDS_ON_GROUPS}` means nothing without `{GROUP}`",
                resource.label()
            )),
            Some(groups) => part
                .1
                .extend(groups.into_iter().map(|group| (path.clone(), group))),
            None => warnings.push(format!(
                "{}: `{DEPENDS_ON_GROUPS}` is no list of names in JSON",
                resource.label()
            )),
        }
    }
    let known: Vec<Name> = parts.keys().cloned().collect();
    for (name, (_, after)) in &mut parts {
        after.retain(|wanted| {
            let found = known.contains(wanted);
            if !found {
                warnings.push(format!(
                    "{} waits for group `{}`, which is not there",
                    shown(name),
                    wanted.1
                ));
            }
            found
        });
        if name.1.is_empty() {
            // What names no group comes after all groups.
            let groups = known
                .iter()
                .filter(|other| other.0 == name.0 && !other.1.is_empty());
            after.extend(groups.cloned());
        }
    }
    let edges = subchart_edges(chart, &known, &mut warnings);
    for (name, (_, after)) in &mut parts {
        for (dependant, needed) in &edges {
            if is_of(&name.0, dependant) {
                after.extend(known.iter().filter(|other| is_below(&other.0, needed)).cloned());
            }
        }
        after.remove(name);
    }
    let sorted = sort(&parts)?;
    let place = |name: &Name| sorted.iter().position(|other| other == name);
    let parts = sorted.iter().map(|name| Part {
        name: shown(name),
        resources: parts[name].0.clone(),
        after: parts[name].1.iter().filter_map(place).collect(),
    });
    Ok(Order {
        parts: parts.collect(),
        warnings,
    })
}

/// Which charts wait for which: the root's own objects, or a subchart with all below it, for a subchart.
enum Charts {
    /// Exactly this chart.
    Only(String),
    /// This chart and its subcharts.
    Below(String),
}

fn is_of(path: &str, charts: &Charts) -> bool {
    match charts {
        Charts::Only(chart) => path == chart,
        Charts::Below(chart) => is_below(path, chart),
    }
}

fn is_below(path: &str, chart: &str) -> bool {
    path.strip_prefix(chart)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn subchart_edges(
    chart: Option<&Map<String, Value>>,
    known: &[Name],
    warnings: &mut Vec<String>,
) -> Vec<(Charts, String)> {
    let mut edges = Vec::new();
    let Some(chart) = chart else {
        return edges;
    };
    let root = chart.get("name").and_then(Value::as_str).unwrap_or_default();
    let mut path_of = |subchart: &str| {
        let path = format!("{root}/charts/{subchart}");
        if !known.iter().any(|name| is_below(&name.0, &path)) {
            warnings.push(format!(
                "`{root}` waits for subchart `{subchart}`, which brings nothing"
            ));
        }
        path
    };
    if let Some(value) = chart
        .get("annotations")
        .and_then(|annotations| annotations.get(DEPENDS_ON_SUBCHARTS))
    {
        for subchart in names(value).unwrap_or_default() {
            edges.push((Charts::Only(root.to_owned()), path_of(&subchart)));
        }
    }
    let dependencies = chart.get("dependencies").and_then(Value::as_array);
    for dependency in dependencies.into_iter().flatten() {
        let own = ["alias", "name"]
            .into_iter()
            .find_map(|key| dependency.get(key)?.as_str().filter(|name| !name.is_empty()));
        let (Some(own), Some(value)) = (own, dependency.get("depends-on")) else {
            continue;
        };
        for needed in names(value).unwrap_or_default() {
            let dependant = Charts::Below(format!("{root}/charts/{own}"));
            edges.push((dependant, path_of(&needed)));
        }
    }
    edges
}

/// A list of names, as a list or as its JSON.
fn names(value: &Value) -> Option<Vec<String>> {
    let parsed;
    let items = match value {
        Value::Array(items) => items,
        Value::String(text) => {
            parsed = serde_json::from_str::<Value>(text).ok()?;
            parsed.as_array()?
        }
        _ => return None,
    };
    items
        .iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect()
}

/// The chart that a template belongs to: `shop/charts/db` of `shop/charts/db/templates/x.yaml`.
fn chart_path(source: &str) -> &str {
    let end = source.rfind("/templates/").or_else(|| source.rfind("/crds/"));
    end.map_or("", |end| &source[..end])
}

fn shown((path, group): &Name) -> String {
    match (path.as_str(), group.as_str()) {
        (path, "") => path.to_owned(),
        (path, group) => format!("{path}/{group}"),
    }
}

/// Each name behind those that it waits for; otherwise by name, so that the order is always the same.
fn sort(parts: &BTreeMap<Name, (Vec<usize>, BTreeSet<Name>)>) -> Result<Vec<Name>, Cycle> {
    let mut sorted: Vec<Name> = Vec::new();
    let mut open: Vec<&Name> = parts.keys().collect();
    while !open.is_empty() {
        let (ready, rest): (Vec<&Name>, Vec<&Name>) = open
            .iter()
            .partition(|name| parts[**name].1.iter().all(|needed| sorted.contains(needed)));
        if ready.is_empty() {
            return Err(cycle(parts, &rest));
        }
        sorted.extend(ready.into_iter().cloned());
        open = rest;
    }
    Ok(sorted)
}

/// A circle among names of which each waits for another of them.
fn cycle(parts: &BTreeMap<Name, (Vec<usize>, BTreeSet<Name>)>, open: &[&Name]) -> Cycle {
    let mut path: Vec<&Name> = Vec::new();
    let mut next = open.first().copied();
    while let Some(name) = next {
        if let Some(start) = path.iter().position(|seen| *seen == name) {
            let circle = path[start..].iter().chain(std::iter::once(&name));
            return Cycle {
                parts: circle.map(|name| shown(name)).collect(),
            };
        }
        path.push(name);
        next = parts[name].1.iter().find(|needed| open.contains(needed));
    }
    Cycle { parts: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_objects::{GroupVersionResource, Object};
    use serde_json::json;

    /// Resources as `CHART GROUP NEEDED`, `-` for none, and the root's `Chart.yaml`.
    fn resources(lines: &[&str]) -> Vec<Resource> {
        let resource = |line: &&str| {
            let words: Vec<&str> = line.split(' ').collect();
            let mut object = Object::new("v1", "ConfigMap", Some("default"), "x");
            if words[1] != "-" {
                object.set(&["metadata", "annotations", GROUP], words[1]);
            }
            let needed: Vec<&str> = words[2].split(',').collect();
            let waits_for = (words[2] != "-").then(|| json!(needed).to_string());
            Resource {
                resource: GroupVersionResource::new("v1", "configmaps"),
                object,
                source: format!("{}/templates/x.yaml", words[0]),
                waits_for,
            }
        };
        lines.iter().map(resource).collect()
    }

    fn orders(lines: &[&str], chart: &Value) -> Result<Order, Cycle> {
        order(&resources(lines), chart.as_object())
    }

    /// Shows each part as `NAME < NEEDED NEEDED`.
    #[track_caller]
    fn check(lines: &[&str], chart: &Value, expected: &[&str]) {
        let order = orders(lines, chart).unwrap();
        let shown: Vec<String> = order
            .parts
            .iter()
            .map(|part| {
                let after: Vec<&str> = part
                    .after
                    .iter()
                    .map(|place| order.parts[*place].name.as_str())
                    .collect();
                format!("{} < {}", part.name, after.join(" ")).trim().to_owned()
            })
            .collect();
        assert_eq!(shown, expected);
        assert_eq!(order.warnings, [""; 0]);
    }

    #[test]
    fn without_annotations_all_come_together() {
        let order = orders(
            &["shop - -", "shop - -", "shop/charts/db - -"],
            &json!({"name": "shop"}),
        )
        .unwrap();
        assert!(order.is_flat());
    }

    #[test]
    fn groups_wait_for_groups_and_the_rest_for_all_of_them() {
        check(
            &["shop - -", "shop app db,queue", "shop db -", "shop queue -"],
            &json!({"name": "shop"}),
            &[
                "shop/db <",
                "shop/queue <",
                "shop/app < shop/db shop/queue",
                "shop < shop/app shop/db shop/queue",
            ],
        );
    }

    #[test]
    fn charts_wait_for_subcharts_and_subcharts_for_each_other() {
        let chart = json!({
            "name": "shop", "annotations": {"helm.sh/depends-on/subcharts": "[\"web\"]"},
            "dependencies": [{"name": "db"}, {"name": "web", "depends-on": ["db"]}],
        });
        check(
            &[
                "shop - -",
                "shop/charts/web - -",
                "shop/charts/db/charts/disk - -",
                "shop/charts/db - -",
            ],
            &chart,
            &[
                "shop/charts/db <",
                "shop/charts/db/charts/disk <",
                "shop/charts/web < shop/charts/db shop/charts/db/charts/disk",
                "shop < shop/charts/web",
            ],
        );
    }

    #[test]
    fn err_a_circle_is_named() {
        let error = orders(&["shop a b", "shop b c", "shop c a", "shop d a"], &json!({})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "these wait for each other: shop/a -> shop/b -> shop/c -> shop/a"
        );
    }

    #[test]
    fn err_a_group_that_is_not_there_is_told() {
        let order = orders(&["shop a moon"], &json!({})).unwrap();
        assert!(order.is_flat());
        assert_eq!(
            order.warnings,
            ["shop/a waits for group `moon`, which is not there"]
        );
    }
}
