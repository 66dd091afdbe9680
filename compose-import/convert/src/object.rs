//! Objects, with what a chart must know of them.

use serde_json::{Value, json};

/// What an object is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The namespace of the others.
    Namespace,
    /// Files.
    Config,
    /// Files that nobody should see.
    Secret,
    /// Room on a disk.
    Claim,
    /// Who may speak to whom.
    Policy,
    /// A service's name among the others.
    Name,
    /// A service's ports outside of the cluster.
    Published,
    /// A service under hosts and paths of HTTP.
    Ingress,
    /// A service's pods.
    Workload,
    /// How many pods a service has.
    Scaler,
}

/// An object of a project.
#[derive(Debug, Clone)]
pub struct Object {
    /// The object as it is applied.
    pub value: Value,
    /// What it is there for.
    pub role: Role,
    /// The compose service that it belongs to, or the key of the volume, config or secret that it is.
    pub of: String,
}

impl Object {
    pub(crate) fn new(role: Role, of: &str, value: Value) -> Self {
        Self {
            value,
            role,
            of: of.to_owned(),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap_or_default()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// The pods' template of a workload; null of others.
    pub(crate) fn pod_template(&self) -> &Value {
        let path = match self.kind() {
            "CronJob" => "/spec/jobTemplate/spec/template",
            _ => "/spec/template",
        };
        self.value.pointer(path).unwrap_or(&Value::Null)
    }

    /// What a workload's pods run; null of others.
    pub(crate) fn pod_spec(&self) -> &Value {
        &self.pod_template()["spec"]
    }

    /// A name for its file: `web-deployment`.
    pub fn file_stem(&self) -> String {
        format!("{}-{}", self.name(), self.kind().to_ascii_lowercase())
    }
}

/// `apiVersion`, `kind` and `metadata.name`.
pub(crate) fn head(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}})
}

/// A text in which Kubernetes would look for `$(NAME)`, written so that it finds none.
pub(crate) fn literal(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        escaped.push(char);
        if char == '$' && matches!(chars.peek(), Some('$' | '(')) {
            escaped.push('$');
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn dollars_stay_dollars() {
        for (text, escaped) in [
            ("a$b", "a$b"),
            ("$(x)", "$$(x)"),
            ("$$", "$$$"),
            ("$$(x)", "$$$$(x)"),
            ("$", "$"),
        ] {
            assert_eq!(literal(text), escaped, "{text}");
        }
    }
}
