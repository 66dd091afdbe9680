//! Variables in the values of a file, and the types that their texts stand for.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Fault;
use crate::node::{Data, Node, Path, Sources};
use crate::project::Warning;
use crate::template::{Lookup, TemplateFault, substitute};

/// Variables by name.
pub(crate) type Environment = BTreeMap<String, String>;

/// Fills in variables, and turns texts into numbers and booleans where attributes are such.
///
/// All faults are found; of those, values stay as they are.
pub(crate) fn interpolate(
    node: &mut Node,
    environment: &Environment,
    sources: &Sources,
    told: &mut BTreeSet<String>,
    warnings: &mut Vec<Warning>,
) -> Result<(), Vec<Fault>> {
    let mut walk = Walk {
        environment,
        sources,
        told,
        warnings,
        faults: Vec::new(),
        path: Path::default(),
    };
    walk.node(node);
    if walk.faults.is_empty() {
        Ok(())
    } else {
        Err(walk.faults)
    }
}

struct Walk<'a> {
    environment: &'a Environment,
    sources: &'a Sources,
    /// Warnings already given.
    told: &'a mut BTreeSet<String>,
    warnings: &'a mut Vec<Warning>,
    faults: Vec<Fault>,
    path: Path,
}

struct Variables<'a> {
    environment: &'a Environment,
    unset: Vec<String>,
}

impl Lookup for Variables<'_> {
    fn value(&mut self, name: &str) -> Option<String> {
        self.environment.get(name).cloned()
    }

    fn unset(&mut self, name: &str) {
        self.unset.push(name.to_owned());
    }
}

impl Walk<'_> {
    fn node(&mut self, node: &mut Node) {
        match &mut node.data {
            Data::Map(map) => {
                for (key, entry) in map {
                    self.path.push(key.as_str());
                    self.node(entry);
                    self.path.pop();
                }
            }
            Data::List(items) => {
                for item in items {
                    self.path.push("[]");
                    self.node(item);
                    self.path.pop();
                }
            }
            Data::Text(text) => {
                let filled = if text.contains('$') {
                    match self.fill(&text.clone(), node) {
                        Some(filled) => filled,
                        None => return,
                    }
                } else {
                    std::mem::take(text)
                };
                node.data = match cast_at(&self.path) {
                    None => Data::Text(filled),
                    Some(cast) => self.cast(cast, filled, node),
                };
            }
            _ => {}
        }
    }

    fn fill(&mut self, text: &str, node: &Node) -> Option<String> {
        let mut variables = Variables {
            environment: self.environment,
            unset: Vec::new(),
        };
        let filled = substitute(text, &mut variables);
        for name in variables.unset {
            self.warn(
                format!("The \"{name}\" variable is not set. Defaulting to a blank string."),
                node,
            );
        }
        let fault = match filled {
            Ok(filled) => return Some(filled),
            Err(fault) => fault,
        };
        let message = match fault {
            TemplateFault::Invalid => format!(
                "invalid interpolation format for {}.\nYou may need to escape any $ with another $.\n{text}",
                self.path
            ),
            TemplateFault::TooDeep => format!(
                "error while interpolating {}: defaults nest too deeply",
                self.path
            ),
            TemplateFault::Required { variable, message } => {
                let colon = if message.is_empty() { "" } else { ": " };
                format!(
                    "error while interpolating {}: required variable {variable} is missing a value{colon}{message}",
                    self.path
                )
            }
        };
        self.faults
            .push(Fault::new(message).at(self.sources.position(node.at)));
        None
    }

    fn warn(&mut self, message: String, node: &Node) {
        if self.told.insert(message.clone()) {
            let position = self.sources.position(node.at);
            self.warnings.push(Warning { message, position });
        }
    }

    fn cast(&mut self, cast: Cast, text: String, node: &Node) -> Data {
        let result = match cast {
            Cast::Bool => match to_bool(&text) {
                Some((flag, plain)) => {
                    if !plain {
                        let wanted = if flag { "true" } else { "false" };
                        self.warn(
                            format!(
                                "\"{text}\" for boolean is not supported by YAML 1.2, please use `{wanted}`"
                            ),
                            node,
                        );
                    }
                    Ok(Data::Bool(flag))
                }
                None => Err(format!("invalid boolean: {text}")),
            },
            Cast::Int => go_int(&text).map(Data::Int).map_err(|why| {
                let function = if is_atoi(&self.path) { "Atoi" } else { "ParseInt" };
                format!("strconv.{function}: parsing {text:?}: {why}")
            }),
            Cast::Float => match text.parse::<f64>() {
                Ok(number) => Ok(Data::Float(number)),
                Err(_) => Err(format!("strconv.ParseFloat: parsing {text:?}: invalid syntax")),
            },
        };
        match result {
            Ok(data) => data,
            Err(why) => {
                let message = format!(
                    "error while interpolating {}: failed to cast to expected type: {why}",
                    self.path
                );
                self.faults
                    .push(Fault::new(message).at(self.sources.position(node.at)));
                Data::Text(text)
            }
        }
    }
}

/// A boolean as YAML 1.1 writes it, and whether YAML 1.2 does so, too.
fn to_bool(text: &str) -> Option<(bool, bool)> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some((true, true)),
        "false" => Some((false, true)),
        "y" | "yes" | "on" => Some((true, false)),
        "n" | "no" | "off" => Some((false, false)),
        _ => None,
    }
}

/// A whole number as Go reads it: a sign and digits.
fn go_int(text: &str) -> Result<i64, &'static str> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("invalid syntax");
    }
    text.parse().map_err(|_| "value out of range")
}

/// What the text of an attribute stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cast {
    Bool,
    Int,
    Float,
}

/// Whether Go reads the number at a path with the function for small ones.
fn is_atoi(path: &Path) -> bool {
    !matches!(
        path.steps().last().map(String::as_str),
        Some(
            "cpu_count"
                | "cpu_period"
                | "cpu_quota"
                | "cpu_rt_period"
                | "cpu_rt_runtime"
                | "cpu_shares"
                | "oom_score_adj"
                | "pids_limit"
        )
    )
}

/// The attributes whose texts are numbers or booleans.
fn cast_at(path: &Path) -> Option<Cast> {
    let steps: Vec<&str> = path.steps().iter().map(String::as_str).collect();
    let cast = match steps.as_slice() {
        ["services", _, rest @ ..] => match rest {
            [
                "cpu_count" | "cpu_period" | "cpu_quota" | "cpu_rt_period" | "cpu_rt_runtime" | "cpu_shares",
            ]
            | ["oom_score_adj" | "pids_limit" | "scale"]
            | ["deploy", "replicas"]
            | ["deploy", "update_config" | "rollback_config", "parallelism"]
            | ["deploy", "restart_policy", "max_attempts"]
            | ["deploy", "placement", "max_replicas_per_node"]
            | ["healthcheck", "retries"]
            | ["ports", _, "target"]
            | ["ulimits", _]
            | ["ulimits", _, "hard" | "soft"] => Cast::Int,
            ["cpu_percent" | "cpus"]
            | ["deploy", "update_config" | "rollback_config", "max_failure_ratio"] => Cast::Float,
            ["init" | "oom_kill_disable" | "privileged" | "read_only" | "stdin_open" | "tty"]
            | ["depends_on", _, "restart"]
            | ["healthcheck", "disable"]
            | ["volumes", _, "read_only"]
            | ["volumes", _, "volume", "nocopy"] => Cast::Bool,
            _ => return None,
        },
        [
            "networks",
            _,
            "external" | "internal" | "attachable" | "enable_ipv4" | "enable_ipv6",
        ]
        | ["volumes" | "secrets" | "configs", _, "external"] => Cast::Bool,
        _ => return None,
    };
    Some(cast)
}
