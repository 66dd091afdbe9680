//! Whether the parts of a project fit together.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::error::Fault;
use crate::project::Positions;

/// A project whose parts are compared.
pub(crate) struct Parts<'a> {
    pub(crate) enabled: &'a Map<String, Value>,
    pub(crate) disabled: &'a Map<String, Value>,
    pub(crate) model: &'a Map<String, Value>,
    pub(crate) positions: &'a Positions,
}

/// All that does not fit.
pub(crate) fn check(parts: &Parts<'_>) -> Vec<Fault> {
    let mut checker = Checker {
        parts,
        faults: Vec::new(),
    };
    for (name, service) in parts.enabled {
        checker.service(name, service);
    }
    checker.secrets();
    if checker.faults.is_empty() {
        checker.circles();
    }
    checker.faults
}

struct Checker<'a> {
    parts: &'a Parts<'a>,
    faults: Vec<Fault>,
}

const INVALID: &str = "invalid compose project";

/// The entries of an object under a key.
fn object<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    value.get(key).and_then(Value::as_object).into_iter().flatten()
}

/// The items of a list under a key.
fn list<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}

impl Checker<'_> {
    fn fault(&mut self, path: &[&str], message: String) {
        let mut full = vec!["services"];
        full.extend(path);
        self.faults
            .push(Fault::new(message).at(self.parts.positions.find(&full)));
    }

    /// Whether a resource is declared.
    fn knows(&self, kind: &str, name: &str) -> bool {
        self.parts
            .model
            .get(kind)
            .and_then(Value::as_object)
            .is_some_and(|entries| entries.contains_key(name))
    }

    fn is_service(&self, name: &str) -> bool {
        self.parts.enabled.contains_key(name) || self.parts.disabled.contains_key(name)
    }

    fn service(&mut self, name: &str, service: &Value) {
        if service.get("build").is_none()
            && text(service, "image").is_none()
            && service.get("provider").is_none()
        {
            self.fault(
                &[name],
                format!("service \"{name}\" has neither an image nor a build context specified: {INVALID}"),
            );
        }
        if let Some(build) = service.get("build") {
            self.build(name, service, build);
        }
        let mode = text(service, "network_mode");
        if mode.is_some() && object(service, "networks").next().is_some() {
            self.fault(
                &[name, "network_mode"],
                format!(
                    "service {name} declares mutually exclusive `network_mode` and `networks`: {INVALID}"
                ),
            );
        }
        for (network, _) in object(service, "networks") {
            if !self.knows("networks", network) {
                self.fault(
                    &[name, "networks", network],
                    format!("service \"{name}\" refers to undefined network {network}: {INVALID}"),
                );
            }
        }
        if let Some(test) = service
            .get("healthcheck")
            .and_then(|check| list(check, "test").next())
            && !matches!(test.as_str(), Some("CMD" | "CMD-SHELL" | "NONE"))
        {
            self.fault(
                &[name, "healthcheck", "test"],
                "healthcheck.test must start either by \"CMD\", \"CMD-SHELL\" or \"NONE\"".to_owned(),
            );
        }
        self.dependencies(name, service);
        self.references(name, service);
        self.limits(name, service);
        self.mounts(name, service);
        for (index, watch) in service
            .get("develop")
            .into_iter()
            .flat_map(|develop| list(develop, "watch"))
            .enumerate()
        {
            let action = text(watch, "action");
            if action != Some("rebuild") && action != Some("restart") && text(watch, "target").is_none() {
                self.fault(
                    &[name, "develop", "watch", &index.to_string()],
                    format!(
                        "services.{name}.develop.watch: target is required for non-rebuild actions: {INVALID}"
                    ),
                );
            }
        }
    }

    fn build(&mut self, name: &str, service: &Value, build: &Value) {
        if text(build, "dockerfile").is_some() && text(build, "dockerfile_inline").is_some() {
            self.fault(
                &[name, "build", "dockerfile_inline"],
                format!("service \"{name}\" declares mutualy exclusive dockerfile and dockerfile_inline: {INVALID}"),
            );
        }
        for (context, target) in object(build, "additional_contexts") {
            let Some(other) = target.as_str().and_then(|target| target.strip_prefix("service:")) else {
                continue;
            };
            let path = [name, "build", "additional_contexts", context];
            match self.parts.enabled.get(other).or_else(|| self.parts.disabled.get(other)) {
                None => self.fault(
                    &path,
                    format!("service \"{name}\" declares unknown service \"{other}\" as additional contexts {context}"),
                ),
                Some(other_service) if other_service.get("build").is_none() => self.fault(
                    &path,
                    format!(
                        "service \"{name}\" declares non-buildable service \"{other}\" as additional contexts {context}"
                    ),
                ),
                Some(_) => {}
            }
        }
        let mut platforms = list(build, "platforms").peekable();
        if let Some(platform) = text(service, "platform")
            && platforms.peek().is_some()
            && !platforms.any(|known| known.as_str() == Some(platform))
        {
            self.fault(
                &[name, "build", "platforms"],
                format!("service.build.platforms MUST include service.platform \"{platform}\": {INVALID}"),
            );
        }
        for secret in list(build, "secrets").filter_map(|secret| text(secret, "source")) {
            if !self.knows("secrets", secret) {
                self.fault(
                    &[name, "build", "secrets"],
                    format!("service \"{name}\" refers to undefined build secret {secret}: {INVALID}"),
                );
            }
        }
    }

    fn dependencies(&mut self, name: &str, service: &Value) {
        for (other, dependency) in object(service, "depends_on") {
            let required = dependency.get("required") != Some(&Value::Bool(false));
            if self.parts.enabled.contains_key(other)
                || (self.parts.disabled.contains_key(other) && !required)
            {
                continue;
            }
            let mut fault = Fault::new(format!(
                "service \"{name}\" depends on undefined service \"{other}\": {INVALID}"
            ))
            .at(self
                .parts
                .positions
                .find(&["services", name, "depends_on", other]));
            let known = self.parts.enabled.keys().map(String::as_str);
            if let Some(disabled) = self.parts.disabled.get(other) {
                let profile = list(disabled, "profiles").filter_map(Value::as_str).next();
                if let Some(profile) = profile {
                    fault = fault.with_hint(format!("`--profile {profile}` enables `{other}`"));
                }
            } else if let Some(near) = crate::nearest::nearest(other, known) {
                fault = fault.with_hint(format!("the nearest service is `{near}`"));
            }
            self.faults.push(fault);
        }
        if let Some(other) = text(service, "network_mode").and_then(|mode| mode.strip_prefix("service:"))
            && !self.is_service(other)
        {
            self.fault(
                &[name, "network_mode"],
                format!("service \"{other}\" not found for network_mode 'service:{other}'"),
            );
        }
    }

    fn references(&mut self, name: &str, service: &Value) {
        for (index, volume) in list(service, "volumes").enumerate() {
            if text(volume, "type") == Some("volume")
                && let Some(source) = text(volume, "source")
                && !self.knows("volumes", source)
            {
                self.fault(
                    &[name, "volumes", &index.to_string()],
                    format!("service \"{name}\" refers to undefined volume {source}: {INVALID}"),
                );
            }
        }
        for (kind, word) in [("configs", "config"), ("secrets", "secret")] {
            for (index, source) in list(service, kind).map(|entry| text(entry, "source")).enumerate() {
                let source = source.unwrap_or_default();
                if !self.knows(kind, source) {
                    self.fault(
                        &[name, kind, &index.to_string()],
                        format!("service \"{name}\" refers to undefined {word} {source}: {INVALID}"),
                    );
                }
            }
        }
        for (model, _) in object(service, "models") {
            if !self.knows("models", model) {
                self.fault(
                    &[name, "models", model],
                    format!("service \"{name}\" refers to undefined model {model}: {INVALID}"),
                );
            }
        }
    }

    fn limits(&mut self, name: &str, service: &Value) {
        let pairs: [(&str, &[&str]); 5] = [
            ("scale", &["deploy", "replicas"]),
            ("cpus", &["deploy", "resources", "limits", "cpus"]),
            ("mem_limit", &["deploy", "resources", "limits", "memory"]),
            (
                "mem_reservation",
                &["deploy", "resources", "reservations", "memory"],
            ),
            ("pids_limit", &["deploy", "resources", "limits", "pids"]),
        ];
        for (key, path) in pairs {
            let deep = path.iter().try_fold(service, |value, step| value.get(step));
            if let (Some(short), Some(deep)) = (service.get(key), deep)
                && short != deep
            {
                self.fault(
                    &[name, key],
                    format!(
                        "services.{name}: can't set distinct values on '{key}' and '{}': {INVALID}",
                        path.join(".")
                    ),
                );
            }
        }
        let replicas = service
            .get("scale")
            .or_else(|| service.get("deploy")?.get("replicas"))
            .and_then(Value::as_i64)
            .unwrap_or(1);
        if text(service, "container_name").is_some() && replicas > 1 {
            self.fault(
                &[name, "container_name"],
                format!(
                    "services.{name}: can't set container_name and scale as container name must be unique: {INVALID}"
                ),
            );
        }
    }

    fn mounts(&mut self, name: &str, service: &Value) {
        let mut taken: BTreeMap<String, String> = BTreeMap::new();
        let mut clashes = Vec::new();
        let mut take = |target: &str, key: &str, index: usize| {
            let place = format!("services.{name}.{key}[{index}]");
            if let Some(first) = taken.insert(target.to_owned(), place.clone())
                && !(key == "volumes" && first.contains(".volumes["))
            {
                clashes.push((
                    key.to_owned(),
                    index,
                    format!("{place}: target {target} already mounted as {first}"),
                ));
            }
        };
        for (index, tmpfs) in list(service, "tmpfs").enumerate() {
            let target = tmpfs.as_str().unwrap_or_default();
            take(target.split(':').next().unwrap_or_default(), "tmpfs", index);
        }
        for (index, volume) in list(service, "volumes").enumerate() {
            if let Some(target) = text(volume, "target") {
                take(target, "volumes", index);
            }
        }
        for (key, index, message) in clashes {
            self.fault(&[name, &key, &index.to_string()], message);
        }
    }

    fn secrets(&mut self) {
        for (name, secret) in self
            .parts
            .model
            .get("secrets")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let external = secret.get("external") == Some(&Value::Bool(true));
            if !external && text(secret, "file").is_none() && text(secret, "environment").is_none() {
                let message =
                    format!("secret \"{name}\" must declare either `file` or `environment`: {INVALID}");
                let position = self.parts.positions.find(&["secrets", name]);
                self.faults.push(Fault::new(message).at(position));
            }
        }
    }

    /// Names the first circle of dependencies.
    fn circles(&mut self) {
        let services: BTreeMap<&String, &Value> =
            self.parts.enabled.iter().chain(self.parts.disabled).collect();
        let mut done: BTreeSet<&str> = BTreeSet::new();
        for start in services.keys() {
            // A path from the start, and per step the dependencies that are still to be looked at.
            let mut path: Vec<(&str, Vec<&str>)> = Vec::new();
            let next = |name: &str| -> Vec<&str> {
                let service = self
                    .parts
                    .enabled
                    .get(name)
                    .or_else(|| self.parts.disabled.get(name));
                let mut names: Vec<&str> = service
                    .into_iter()
                    .flat_map(|service| object(service, "depends_on"))
                    .map(|(name, _)| name.as_str())
                    .collect();
                names.reverse();
                names
            };
            if !done.contains(start.as_str()) {
                path.push((start, next(start)));
            }
            while let Some((name, waiting)) = path.last_mut() {
                let Some(other) = waiting.pop() else {
                    done.insert(name);
                    path.pop();
                    continue;
                };
                if let Some(at) = path.iter().position(|(name, _)| *name == other) {
                    let mut names: Vec<&str> = path[at..].iter().map(|(name, _)| *name).collect();
                    let last = names.last().copied().unwrap_or_default();
                    names.push(other);
                    let message = format!("dependency cycle detected: {}", names.join(" -> "));
                    let position = self
                        .parts
                        .positions
                        .find(&["services", last, "depends_on", other]);
                    self.faults.push(Fault::new(message).at(position));
                    return;
                }
                if !done.contains(other) {
                    path.push((other, next(other)));
                }
            }
        }
    }
}
