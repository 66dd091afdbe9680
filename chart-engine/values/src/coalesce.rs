//! Laying the values of users, parent charts and subcharts over each other.
//!
//! Values reach a chart from above: what a user gives lies over the values of the chart, and both, under the name of a
//! subchart, lie over the values of that. A `null` removes the default below it. The exact rules are Helm 4's, case by
//! case, including the ones that surprise.

use std::fmt;

use crate::number;
use crate::value::{Map, Value};

/// The key of the values that every subchart sees.
pub const GLOBAL: &str = "global";

/// A chart as seen by coalescing: its name, its own values, and its enabled subcharts.
#[derive(Debug, Clone)]
pub struct Scope<'c> {
    /// The name, or the alias.
    pub name: &'c str,
    /// The chart's `values.yaml`.
    pub defaults: &'c Map,
    /// Its subcharts.
    pub subcharts: Vec<Scope<'c>>,
}

/// What to do with `null`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// A `null` removes the default below it, and goes itself.
    Remove,
    /// A `null` stays, so that a later pass can still act on it.
    Keep,
}

/// Why values cannot be laid over a chart's.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CoalesceError {
    /// The key of a subchart holds something other than a table.
    #[error("type mismatch on {subchart}: {}", go_t(.found))]
    SubchartIsNoTable {
        /// The name of the subchart.
        subchart: String,
        /// What its key holds.
        found: Value,
    },
}

/// A value that does not fit where it was given and was left out.
#[derive(Debug, Clone, PartialEq)]
pub struct CoalesceWarning {
    /// The key with the names of the charts before it, joined by points.
    pub key: String,
    /// What happened.
    pub kind: CoalesceWarningKind,
}

/// What a [`CoalesceWarning`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoalesceWarningKind {
    /// A table is given where the chart has none; the default was dropped.
    DefaultIsNoTable,
    /// The chart has a table where something else is given; the default was dropped.
    NotATable,
    /// The chart has something else where a table is given; the default was dropped.
    IsATable,
    /// `global` is no table, so nothing is handed down.
    GlobalsAreNoTable,
}

impl fmt::Display for CoalesceWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match self.kind {
            CoalesceWarningKind::DefaultIsNoTable => write!(f, "skipped value for {key}: Not a table."),
            CoalesceWarningKind::NotATable => write!(f, "cannot overwrite table with non table for {key}"),
            CoalesceWarningKind::IsATable => {
                write!(f, "destination for {key} is a table. Ignoring non-table value")
            }
            CoalesceWarningKind::GlobalsAreNoTable => {
                write!(f, "skipping globals because {key} is not a table.")
            }
        }
    }
}

/// Lays `over` over `under`: tables merge, anything else replaces, `null` included.
///
/// This is how values files and flags combine before a chart is looked at.
pub fn overlay(under: &mut Map, over: Map) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Map(below)), Value::Map(above)) => overlay(below, above),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

/// Lays `values` over the values of a chart and all its subcharts.
///
/// Afterwards every subchart's name is a table that holds what that subchart sees, with a `global` table in it.
/// `warnings` gets what was left out.
pub fn coalesce(
    chart: &Scope<'_>,
    mut values: Map,
    nulls: Nulls,
    warnings: &mut Vec<CoalesceWarning>,
) -> Result<Map, CoalesceError> {
    chart_values(chart, &mut values, "", nulls, warnings)?;
    spread_globals(chart, &mut values);
    Ok(values)
}

/// Lays `over` over `under` in place; `over` wins, and its `null`s remove what is below if `nulls` says so.
pub fn coalesce_tables(over: &mut Map, under: &Map, nulls: Nulls) {
    tables(over, under, "", nulls, &mut Vec::new());
}

/// Removes every `null` from a table and the tables in it.
pub fn without_nulls(map: &Map) -> Map {
    map.iter()
        .filter_map(|(key, value)| match value {
            Value::Null => None,
            Value::Map(inner) => Some((key.clone(), Value::Map(without_nulls(inner)))),
            other => Some((key.clone(), other.clone())),
        })
        .collect()
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}.{name}")
    }
}

fn chart_values(
    chart: &Scope<'_>,
    values: &mut Map,
    prefix: &str,
    nulls: Nulls,
    warnings: &mut Vec<CoalesceWarning>,
) -> Result<(), CoalesceError> {
    let prefix = join(prefix, chart.name);
    over_defaults(chart, values, &prefix, nulls, warnings);
    for subchart in &chart.subcharts {
        // Taken out, because the globals beside it are handed down into it.
        let mut inner = match values.remove(subchart.name) {
            None => Map::new(),
            Some(Value::Map(inner)) => inner,
            Some(found) => {
                return Err(CoalesceError::SubchartIsNoTable {
                    subchart: subchart.name.to_owned(),
                    found,
                });
            }
        };
        hand_down_globals(&mut inner, values, &prefix, warnings);
        chart_values(subchart, &mut inner, &prefix, nulls, warnings)?;
        share_globals(&inner, values);
        values.insert(subchart.name.to_owned(), Value::Map(inner));
    }
    Ok(())
}

/// Gives every subchart what its siblings added to the globals that all share.
fn spread_globals(chart: &Scope<'_>, values: &mut Map) {
    for subchart in &chart.subcharts {
        if let Some(Value::Map(mut inner)) = values.remove(subchart.name) {
            share_globals(values, &mut inner);
            spread_globals(subchart, &mut inner);
            values.insert(subchart.name.to_owned(), Value::Map(inner));
        }
    }
}

/// Takes over the globals that a chart and its subchart share: Helm copies the globals of the parent and the tables in
/// them, but not the tables in those, so that what a subchart adds there is seen by all.
fn share_globals(from: &Map, to: &mut Map) {
    let (Some(Value::Map(from)), Some(Value::Map(to))) = (from.get(GLOBAL), to.get_mut(GLOBAL)) else {
        return;
    };
    for (key, value) in to {
        let (Some(Value::Map(from)), Value::Map(to)) = (from.get(key), value) else {
            continue;
        };
        for (key, value) in to {
            match from.get(key) {
                Some(shared @ Value::Map(_)) if matches!(value, Value::Map(_)) && value != shared => {
                    *value = shared.clone();
                }
                _ => {}
            }
        }
    }
}

fn over_defaults(
    chart: &Scope<'_>,
    values: &mut Map,
    prefix: &str,
    nulls: Nulls,
    warnings: &mut Vec<CoalesceWarning>,
) {
    for (key, default) in chart.defaults {
        match (values.get_mut(key), default) {
            (Some(Value::Null), _) if nulls == Nulls::Remove => {
                values.remove(key);
            }
            (Some(Value::Map(over)), Value::Map(under)) => {
                // Nulls for a subchart have to last until its own turn.
                let is_subchart = chart.subcharts.iter().any(|subchart| subchart.name == key);
                let prefix = join(prefix, key);
                if nulls == Nulls::Remove && !is_subchart {
                    tables(over, &without_nulls(under), &prefix, Nulls::Remove, warnings);
                } else {
                    tables(over, under, &prefix, Nulls::Keep, warnings);
                }
            }
            (None, Value::Null) if nulls == Nulls::Remove => {}
            (Some(Value::Map(_)), Value::Null) => {}
            (Some(Value::Map(_)), _) => warnings.push(CoalesceWarning {
                key: join(prefix, key),
                kind: CoalesceWarningKind::DefaultIsNoTable,
            }),
            (Some(_), _) => {}
            (None, Value::Map(under)) if nulls == Nulls::Remove => {
                values.insert(key.clone(), Value::Map(without_nulls(under)));
            }
            (None, default) => {
                values.insert(key.clone(), default.clone());
            }
        }
    }
}

fn tables(over: &mut Map, under: &Map, prefix: &str, nulls: Nulls, warnings: &mut Vec<CoalesceWarning>) {
    for (key, default) in under {
        let kind = match (over.get_mut(key), default) {
            (None, _) => {
                over.insert(key.clone(), default.clone());
                continue;
            }
            (Some(Value::Null), default) => {
                if nulls == Nulls::Remove && !default.is_null() {
                    over.remove(key);
                }
                continue;
            }
            (Some(Value::Map(over)), Value::Map(under)) => {
                tables(over, under, &join(prefix, key), nulls, warnings);
                continue;
            }
            (Some(_), Value::Map(_)) => CoalesceWarningKind::NotATable,
            (Some(Value::Map(_)), default) if !default.is_null() => CoalesceWarningKind::IsATable,
            _ => continue,
        };
        warnings.push(CoalesceWarning {
            key: join(prefix, key),
            kind,
        });
    }
}

/// Lays the globals of the parent over those of the subchart: the parent's win.
fn hand_down_globals(inner: &mut Map, parent: &Map, prefix: &str, warnings: &mut Vec<CoalesceWarning>) {
    let no_table = |warnings: &mut Vec<CoalesceWarning>| {
        warnings.push(CoalesceWarning {
            key: join(prefix, GLOBAL),
            kind: CoalesceWarningKind::GlobalsAreNoTable,
        });
    };
    let empty = Map::new();
    let source = match parent.get(GLOBAL) {
        None => &empty,
        Some(Value::Map(source)) => source,
        Some(_) => return no_table(warnings),
    };
    let entry = inner.entry(GLOBAL.to_owned());
    let Value::Map(target) = entry.or_insert_with(|| Value::Map(Map::new())) else {
        return no_table(warnings);
    };
    for (key, value) in source {
        match (target.get_mut(key), value) {
            (Some(Value::Map(under)), Value::Map(above)) => {
                let mut merged = above.clone();
                tables(&mut merged, under, &join(prefix, key), Nulls::Keep, warnings);
                *under = merged;
            }
            (Some(Value::Map(_)), _) | (Some(_), Value::Map(_)) => warnings.push(CoalesceWarning {
                key: join(prefix, key),
                kind: CoalesceWarningKind::IsATable,
            }),
            _ => {
                target.insert(key.clone(), value.clone());
            }
        }
    }
}

/// A value as Go's `%t` writes it, which is made for truth values and says so about all others.
fn go_t(value: &Value) -> String {
    match value {
        Value::Null => "%!t(<nil>)".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => format!("%!t(int64={number})"),
        Value::Float(number) => format!("%!t(float64={})", number::go_g(*number)),
        Value::String(text) => format!("%!t(string={text})"),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(go_t).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Map(map) => {
            let entries: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("%!t(string={key}):{}", go_t(value)))
                .collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{from_json, to_json};
    use crate::yaml::map_from_yaml;

    fn check(parent: &str, child: &str, user: &str, wanted: &str) {
        let (parent, child) = (map_from_yaml(parent).unwrap(), map_from_yaml(child).unwrap());
        let scope = Scope {
            name: "parent",
            defaults: &parent,
            subcharts: vec![Scope {
                name: "sub",
                defaults: &child,
                subcharts: vec![],
            }],
        };
        let values = coalesce(
            &scope,
            map_from_yaml(user).unwrap(),
            Nulls::Remove,
            &mut Vec::new(),
        )
        .unwrap();
        let wanted = to_json(&from_json(wanted).unwrap());
        assert_eq!(
            to_json(&Value::Map(values)),
            wanted,
            "{parent:?} {child:?} {user}"
        );
    }

    #[test]
    fn values_lie_over_defaults() {
        check(
            "a: 1\nb: {c: 1, d: 1}",
            "{}",
            "b: {c: 2}",
            r#"{"a":1,"b":{"c":2,"d":1},"sub":{"global":{}}}"#,
        );
        check("a: [1, 2]", "{}", "a: [3]", r#"{"a":[3],"sub":{"global":{}}}"#);
        check("a: {b: 1}", "{}", "a: x", r#"{"a":"x","sub":{"global":{}}}"#);
        check("a: x", "{}", "a: {b: 1}", r#"{"a":{"b":1},"sub":{"global":{}}}"#);
    }

    #[test]
    fn nulls_remove_defaults() {
        check(
            "a: 1\nb: {c: 1}",
            "{}",
            "{a: null, b: {c: null}}",
            r#"{"b":{},"sub":{"global":{}}}"#,
        );
        check("{}", "a: 1", "sub: {a: null}", r#"{"sub":{"global":{}}}"#);
        check(
            "{}",
            "a: 1",
            "{z: null, sub: {z: null}}",
            r#"{"z":null,"sub":{"global":{},"a":1,"z":null}}"#,
        );
        check(
            "a: null\nb: {c: null}",
            "a: null",
            "{}",
            r#"{"b":{},"sub":{"global":{}}}"#,
        );
    }

    #[test]
    fn nulls_of_a_parent_count_only_where_the_user_touches_the_subchart() {
        check(
            "sub: {a: null}",
            "a: 1\nb: 1",
            "{}",
            r#"{"sub":{"a":1,"b":1,"global":{}}}"#,
        );
        check(
            "sub: {a: null}",
            "a: 1\nb: 1",
            "sub: {b: 2}",
            r#"{"sub":{"b":2,"global":{}}}"#,
        );
    }

    #[test]
    fn globals_are_handed_down_and_the_parents_win() {
        check(
            "global: {a: 1, t: {x: 1}}",
            "global: {a: 2, b: 2, t: {x: 2, z: 2}}",
            "global: {c: 3}",
            r#"{"global":{"a":1,"c":3,"t":{"x":1}},"sub":{"global":{"a":1,"b":2,"c":3,"t":{"x":1,"z":2}}}}"#,
        );
    }

    /// As observed with Helm 4.3.1: a quirk, but charts are rendered by it.
    #[test]
    fn tables_in_tables_of_globals_are_shared() {
        check(
            "global: {a: {b: {}}}",
            "global: {a: {b: {c: 1}, d: {}}}",
            "{}",
            r#"{"global":{"a":{"b":{"c":1}}},"sub":{"global":{"a":{"b":{"c":1},"d":{}}}}}"#,
        );
        check(
            "global: {a: {b: {x: {}}}}\nsub: {global: {a: {b: {x: {c: 1}}}}}",
            "{}",
            "{}",
            r#"{"global":{"a":{"b":{"x":{"c":1}}}},"sub":{"global":{"a":{"b":{"x":{"c":1}}}}}}"#,
        );
        let parent = map_from_yaml("global: {a: {b: {}}}").unwrap();
        let [one, two] = ["{b: {one: 1}}", "{b: {two: 2}}"]
            .map(|globals| map_from_yaml(&format!("global: {{a: {globals}}}")).unwrap());
        let subchart = |name, defaults| Scope {
            name,
            defaults,
            subcharts: vec![],
        };
        let scope = Scope {
            name: "parent",
            defaults: &parent,
            subcharts: vec![subchart("one", &one), subchart("two", &two)],
        };
        let values = coalesce(&scope, Map::new(), Nulls::Remove, &mut Vec::new()).unwrap();
        let both = r#"{"global":{"a":{"b":{"one":1,"two":2}}}}"#;
        for name in ["one", "two"] {
            assert_eq!(to_json(&values[name]), both, "{name}");
        }
    }

    #[test]
    fn err_a_subchart_needs_a_table() {
        let empty = Map::new();
        let sub = Scope {
            name: "sub",
            defaults: &empty,
            subcharts: vec![],
        };
        let scope = Scope {
            name: "parent",
            defaults: &empty,
            subcharts: vec![sub],
        };
        for (user, message) in [
            ("sub: null", "type mismatch on sub: %!t(<nil>)"),
            ("sub: x", "type mismatch on sub: %!t(string=x)"),
            ("sub: [1]", "type mismatch on sub: [%!t(float64=1)]"),
        ] {
            let error = coalesce(
                &scope,
                map_from_yaml(user).unwrap(),
                Nulls::Remove,
                &mut Vec::new(),
            )
            .unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }
}
