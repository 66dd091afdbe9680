//! Which values a new revision gets: the user's, the old ones, or both.

use chart_values::coalesce::{self, Nulls, Scope};
use chart_values::{Map, Value};

use crate::json;
use crate::record::Release;

/// What happens to the values of the revision before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReuseValues {
    /// They are used when no new ones are given, merged as [`ReuseValues::Merge`] says.
    #[default]
    WhenNoneGiven,
    /// New ones lie over them, and they over the defaults of the new chart; a value that is what the old chart had as
    /// its default gives way where the new chart has another (a three-way merge).
    Merge,
    /// They are not used.
    Reset,
    /// New ones lie over them, and they over the defaults that the old chart had.
    Reuse,
    /// New ones lie over them, and they over the defaults of the new chart.
    ResetThenReuse,
}

/// The values for a new revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Values of the user, as the record will hold them.
    pub config: Map,
    /// Defaults that stand in for those of the chart.
    pub defaults: Option<Map>,
    /// Paths of defaults of the new chart that are lost by that, since the old one had none.
    pub unused: Vec<String>,
}

/// Puts the new values and those of the revision before together.
pub fn plan(reuse: ReuseValues, given: Map, before: &Release, new_defaults: &Map) -> Planned {
    let old = || json::to_map(&before.config);
    match reuse {
        ReuseValues::Reset => Planned {
            config: given,
            defaults: None,
            unused: Vec::new(),
        },
        ReuseValues::Reuse => {
            let mut config = old();
            let defaults = computed(before);
            coalesce::overlay(&mut config, given);
            let mut unused = Vec::new();
            find_unused("", new_defaults, &defaults, &mut unused);
            Planned {
                config,
                defaults: Some(defaults),
                unused,
            }
        }
        ReuseValues::ResetThenReuse => {
            let mut config = old();
            coalesce::overlay(&mut config, given);
            Planned {
                config,
                defaults: None,
                unused: Vec::new(),
            }
        }
        ReuseValues::WhenNoneGiven if given.is_empty() => Planned {
            config: merged(old(), before, new_defaults),
            defaults: None,
            unused: Vec::new(),
        },
        ReuseValues::Merge => {
            let mut config = merged(old(), before, new_defaults);
            coalesce::overlay(&mut config, given);
            Planned {
                config,
                defaults: None,
                unused: Vec::new(),
            }
        }
        ReuseValues::WhenNoneGiven => Planned {
            config: given,
            defaults: None,
            unused: Vec::new(),
        },
    }
}

/// Collects the paths of defaults that the values in their place lack.
fn find_unused(path: &str, defaults: &Map, used: &Map, unused: &mut Vec<String>) {
    for (key, value) in defaults {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        match (value, used.get(key)) {
            (_, None) => unused.push(format!("`{path}`")),
            (Value::Map(defaults), Some(Value::Map(used))) => find_unused(&path, defaults, used, unused),
            _ => {}
        }
    }
}

/// The values of the user without those that only repeat a default that has changed since.
fn merged(mut config: Map, before: &Release, defaults: &Map) -> Map {
    let old = before.chart.as_ref().and_then(|chart| chart.values());
    if let Some(old) = old {
        drop_repeated(&mut config, &json::to_map(old), defaults);
    }
    config
}

fn drop_repeated(config: &mut Map, old: &Map, new: &Map) {
    let keys: Vec<String> = config.keys().cloned().collect();
    for key in keys {
        let (Some(was), Some(is)) = (old.get(&key), new.get(&key)) else {
            continue;
        };
        match (config.get_mut(&key), was, is) {
            (Some(Value::Map(config)), Value::Map(old), Value::Map(new)) => drop_repeated(config, old, new),
            (Some(value), was, is)
                if json::from_value(value) == json::from_value(was)
                    && json::from_value(was) != json::from_value(is) =>
            {
                config.remove(&key);
            }
            _ => {}
        }
    }
}

/// The values of the user over the defaults of the chart, as far as the record holds it.
///
/// Subcharts are not stored, so their defaults are missing, as they are in Helm.
pub fn computed(release: &Release) -> Map {
    let no_defaults = serde_json::Map::new();
    let chart = release.chart.as_ref();
    let defaults = json::to_map(chart.and_then(|chart| chart.values()).unwrap_or(&no_defaults));
    let scope = Scope {
        name: chart.map_or("", |chart| chart.name()),
        defaults: &defaults,
        subcharts: Vec::new(),
    };
    let config = json::to_map(&release.config);
    // Only a subchart can refuse, and there is none.
    coalesce::coalesce(&scope, config, Nulls::Remove, &mut Vec::new()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::StoredChart;
    use serde_json::json;

    fn before() -> Release {
        let chart = json!({"metadata": {"name": "a"}, "values": {"size": 1, "shape": "round", "gone": "x"}});
        let config = json!({"color": "red", "size": 2, "shape": "round"});
        Release {
            chart: chart.as_object().cloned().map(StoredChart),
            config: config.as_object().cloned().unwrap(),
            ..Release::default()
        }
    }

    fn map(value: &serde_json::Value) -> Map {
        json::to_map(value.as_object().unwrap())
    }

    #[track_caller]
    fn check(
        reuse: ReuseValues,
        given: &serde_json::Value,
        config: &serde_json::Value,
        defaults: Option<&str>,
    ) {
        let new = json!({"size": 1, "shape": "square"});
        let planned = plan(reuse, map(given), &before(), &map(&new));
        assert_eq!(planned.config, map(config));
        let found = planned
            .defaults
            .map(|defaults| json::from_value(&Value::Map(defaults)).to_string());
        assert_eq!(found.as_deref(), defaults);
    }

    #[test]
    fn new_defaults_that_reused_values_lack_are_named() {
        let new = map(&json!({"size": 1, "shape": {"edges": 4}, "port": 80, "probe": {"path": "/"}}));
        let planned = plan(ReuseValues::Reuse, Map::new(), &before(), &new);
        assert_eq!(planned.unused, ["`port`", "`probe`"]);
        assert!(
            plan(ReuseValues::Merge, Map::new(), &before(), &new)
                .unused
                .is_empty()
        );
    }

    #[test]
    fn old_values_are_used_as_asked() {
        let (none, given) = (json!({}), json!({"size": 3}));
        let united = json!({"color": "red", "size": 3, "shape": "round"});
        // Its shape was the default, which is another one now.
        let merged = json!({"color": "red", "size": 3});
        check(ReuseValues::WhenNoneGiven, &given, &given, None);
        check(
            ReuseValues::WhenNoneGiven,
            &none,
            &json!({"color": "red", "size": 2}),
            None,
        );
        check(ReuseValues::Merge, &given, &merged, None);
        check(ReuseValues::Reset, &none, &none, None);
        check(ReuseValues::ResetThenReuse, &given, &united, None);
        let defaults = r#"{"color":"red","gone":"x","shape":"round","size":2}"#;
        check(ReuseValues::Reuse, &given, &united, Some(defaults));
    }
}
