//! The loaded project.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::node::{Data, Node, Sources};
use crate::position::Position;

/// Something that was accepted but that its author should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What.
    pub message: String,
    /// Where, if it has a place.
    pub position: Option<Position>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = &self.position {
            write!(f, "{position}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// A project, loaded and (unless the options say otherwise) normalised.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// Its name: checked, `[a-z0-9][a-z0-9_-]*`.
    pub name: String,
    /// The folder that its relative paths start from; absolute.
    pub working_dir: PathBuf,
    /// The files that were named or found, in order; included files are not among them.
    pub compose_files: Vec<PathBuf>,
    /// The variables for interpolation: those of the process and of `.env` files.
    pub environment: BTreeMap<String, String>,
    /// The project in exactly the shape of `docker compose config --format json`: an object with `name`, `services`, and,
    /// where there are any, `networks`, `volumes`, `configs`, `secrets`, `models` and `x-*`. Every short form is written out
    /// (ports, volumes, `depends_on`, `build`, `env_file` ...), environments hold what `env_file` gave, what is unset is
    /// absent, except `command` and `entrypoint`, which are then `null`. Durations are Go's (`1m30s`), sizes are texts of
    /// bytes (`"1048576"`).
    ///
    /// Two things differ from the printed form ([`Project::config_json`]): a `$` is a single `$`, and `x-` keys and `models`,
    /// which that leaves out, are there.
    pub model: Value,
    /// The services that no enabled profile wants, in the same shape.
    pub disabled_services: Map<String, Value>,
    /// What should be told to the user.
    pub warnings: Vec<Warning>,
    pub(crate) positions: Positions,
    /// Whether the model has its types, or is as it was read.
    pub(crate) is_typed: bool,
    /// Where `x-` keys stand below the top.
    pub(crate) extensions: Vec<Vec<String>>,
}

impl Project {
    /// The services that are enabled, by name.
    pub fn services(&self) -> impl Iterator<Item = (&str, &Map<String, Value>)> {
        self.resources("services")
    }

    /// The entries of a top-level key (`networks`, `volumes`, `configs`, `secrets`, `models`), by their key in the file.
    pub fn resources(&self, kind: &str) -> impl Iterator<Item = (&str, &Map<String, Value>)> {
        let entries = self.model.get(kind).and_then(Value::as_object);
        entries
            .into_iter()
            .flatten()
            .filter_map(|(name, entry)| Some((name.as_str(), entry.as_object()?)))
    }

    /// The names of the enabled services, each after those that it depends on, and otherwise by the alphabet.
    pub fn services_in_order(&self) -> impl Iterator<Item = &str> {
        let mut order: Vec<&str> = Vec::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let dependencies = |name: &str| -> Vec<&str> {
            let on = self
                .model
                .get("services")
                .and_then(|services| services.get(name)?.get("depends_on")?.as_object());
            on.into_iter().flatten().map(|(name, _)| name.as_str()).collect()
        };
        let mut names: Vec<&str> = self.services().map(|(name, _)| name).collect();
        names.sort_unstable();
        for start in names {
            // The services on the way, each with the dependencies that are still to come.
            let mut way: Vec<(&str, Vec<&str>)> = Vec::new();
            if seen.insert(start) {
                way.push((start, dependencies(start)));
            }
            while let Some((name, waiting)) = way.last_mut() {
                match waiting.pop() {
                    Some(other) => {
                        if seen.insert(other) {
                            way.push((other, dependencies(other)));
                        }
                    }
                    None => {
                        order.push(name);
                        way.pop();
                    }
                }
            }
        }
        order.into_iter().filter(|name| {
            self.model
                .get("services")
                .is_some_and(|services| services.get(*name).is_some())
        })
    }

    /// The image of a service: as named, else as a build names it.
    pub fn image(&self, service: &str) -> String {
        let named = self
            .model
            .get("services")
            .and_then(|services| services.get(service)?.get("image")?.as_str());
        named.map_or_else(|| format!("{}-{service}", self.name), str::to_owned)
    }

    /// Where the value at a path of [`Project::model`] was written, such as `["services", "web", "ports", "0", "target"]`.
    ///
    /// What is written in no file (a default, a part of a short form) is placed at the nearest thing around it that is;
    /// an entry of a mapping is placed at its key. `None` if nothing on the way there was written.
    pub fn position(&self, path: &[&str]) -> Option<Position> {
        self.positions.find(path)
    }
}

/// Places of what was written: the tree that the model was made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Positions {
    pub(crate) root: Option<Node>,
    pub(crate) sources: Sources,
}

impl Positions {
    pub(crate) fn find(&self, path: &[&str]) -> Option<Position> {
        let mut node = self.root.as_ref()?;
        let mut found = self.sources.position(node.at);
        for step in path {
            let next = match &node.data {
                Data::Map(map) => map.get(*step),
                Data::List(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => None,
            };
            let Some(next) = next else { break };
            found = self.sources.position(next.at).or(found);
            node = next;
        }
        found
    }
}
