//! Healthchecks as probes, hooks as lifecycle handlers.

use serde_json::{Value, json};

use crate::quantity;
use crate::service::{Service, says_something};

/// docker compose's defaults.
const INTERVAL_SECONDS: i64 = 30;
const TIMEOUT_SECONDS: i64 = 30;
const START_INTERVAL_SECONDS: i64 = 5;
const RETRIES: i64 = 3;

/// Sets the probes of a container.
///
/// An unhealthy container is not restarted by docker compose, only no longer healthy: that is a readiness probe.
/// While `start_period` lasts, failures do not count: that is a startup probe before it.
///
/// Swarm ends a task that is not healthy, which a liveness probe does.
pub(crate) fn probes(service: &Service<'_>, swarm: bool, container: &mut Value) {
    if let Some(check) = service.get("healthcheck") {
        healthcheck(service, check, container);
        if swarm && container["readinessProbe"].is_object() {
            container["livenessProbe"] = container["readinessProbe"].clone();
        }
    }
    kompose_probes(service, container);
}

fn healthcheck(service: &Service<'_>, check: &Value, container: &mut Value) {
    if check.get("disable").is_some_and(|flag| flag == true) {
        return;
    }
    let words: Vec<&str> = match check.get("test") {
        Some(Value::String(text)) => vec!["CMD-SHELL", text.as_str()],
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let command = match words.split_first() {
        Some((&"NONE", _)) => return,
        Some((&"CMD-SHELL", rest)) => {
            let mut command = vec!["/bin/sh", "-c"];
            command.extend(rest);
            command
        }
        Some((&"CMD", rest)) => rest.to_vec(),
        _ => {
            service.tell(
                "healthcheck",
                "it has no test; the one of the image is not known to Kubernetes",
            );
            return;
        }
    };
    let seconds = |key: &str| {
        check
            .get(key)
            .filter(|value| says_something(value))
            .and_then(quantity::whole_seconds)
    };
    let interval = seconds("interval")
        .filter(|seconds| *seconds > 0)
        .unwrap_or(INTERVAL_SECONDS);
    let timeout = seconds("timeout")
        .filter(|seconds| *seconds > 0)
        .unwrap_or(TIMEOUT_SECONDS);
    let retries = check
        .get("retries")
        .and_then(quantity::integer)
        .filter(|count| *count > 0)
        .unwrap_or(RETRIES);
    let start_period = seconds("start_period").unwrap_or(0);
    container["readinessProbe"] = json!({
        "exec": {"command": command}, "periodSeconds": interval, "timeoutSeconds": timeout, "failureThreshold": retries,
    });
    if start_period > 0 {
        let period = seconds("start_interval").filter(|seconds| *seconds > 0);
        let period = period.unwrap_or(START_INTERVAL_SECONDS.min(interval));
        // The period, and then as many failures as are forgiven later.
        let failures = (start_period + interval * retries + period - 1) / period;
        container["startupProbe"] = json!({
            "exec": {"command": command}, "periodSeconds": period, "timeoutSeconds": timeout, "failureThreshold": failures,
        });
    }
}

/// Probes as Kompose's labels ask for them.
fn kompose_probes(service: &Service<'_>, container: &mut Value) {
    let steering = service.steering();
    for (kind, field) in [("readiness", "readinessProbe"), ("liveness", "livenessProbe")] {
        let label = |name: &str| {
            steering
                .get(format!("service.healthcheck.{kind}.{name}").as_str())
                .copied()
        };
        let port = |name: &str| label(name).and_then(|text| text.parse::<u16>().ok());
        if label("disable") == Some("true") {
            container.as_object_mut().map(|fields| fields.remove(field));
            continue;
        }
        let mut probe = if let Some(path) = label("http_get_path") {
            let Some(port) = port("http_get_port") else {
                service.tell(
                    "labels",
                    format!("`kompose.service.healthcheck.{kind}.http_get_port` is missing"),
                );
                continue;
            };
            json!({"httpGet": {"path": path, "port": port}})
        } else if let Some(port) = port("tcp_port") {
            json!({"tcpSocket": {"port": port}})
        } else if let Some(test) = label("test") {
            json!({"exec": {"command": test_words(test)}})
        } else {
            continue;
        };
        for (name, field) in [
            ("interval", "periodSeconds"),
            ("timeout", "timeoutSeconds"),
            ("start_period", "initialDelaySeconds"),
        ] {
            let given = label(name).and_then(|text| quantity::whole_seconds(&text.into()));
            let known = container["readinessProbe"].get(field).and_then(Value::as_i64);
            if let Some(seconds) = given.or(known).filter(|seconds| *seconds > 0) {
                probe[field] = json!(seconds);
            }
        }
        if let Some(retries) = label("retries").and_then(|text| text.parse::<i64>().ok()) {
            probe["failureThreshold"] = json!(retries);
        }
        if service.peek("healthcheck").is_some() {
            service.tell(
                "healthcheck",
                format!("the {kind} probe is the one of the labels `kompose.service.healthcheck.{kind}`"),
            );
        }
        container[field] = probe;
    }
}

/// `CMD-SHELL x`, `["CMD", "a"]` or plain words.
fn test_words(test: &str) -> Vec<String> {
    let listed: Option<Vec<String>> = serde_json::from_str(test).ok();
    let words = listed.unwrap_or_else(|| match test.strip_prefix("CMD-SHELL ") {
        Some(script) => vec!["CMD-SHELL".to_owned(), script.to_owned()],
        None => test.split_whitespace().map(str::to_owned).collect(),
    });
    match words.split_first() {
        Some((first, rest)) if first == "CMD" => rest.to_vec(),
        Some((first, rest)) if first == "CMD-SHELL" => ["/bin/sh".to_owned(), "-c".to_owned()]
            .into_iter()
            .chain(rest.iter().cloned())
            .collect(),
        _ => words,
    }
}

/// Sets what runs after a container's start and before its end, and the signal that ends it.
pub(crate) fn lifecycle(service: &Service<'_>, container: &mut Value) {
    for (attribute, field) in [("post_start", "postStart"), ("pre_stop", "preStop")] {
        let hooks = service.list(attribute);
        let mut commands = Vec::new();
        for hook in hooks {
            for field in ["user", "privileged"] {
                if hook.get(field).is_some_and(says_something) {
                    service.tell(attribute, format!("{field} of a hook is the container's own"));
                }
            }
            commands.push(hook_command(hook));
        }
        match commands.as_slice() {
            [] => {}
            [(words, true)] => container["lifecycle"][field] = json!({"exec": {"command": words}}),
            several => {
                let script: Vec<String> = several.iter().map(|(words, _)| shell_line(words)).collect();
                container["lifecycle"][field] =
                    json!({"exec": {"command": ["/bin/sh", "-c", script.join(" && ")]}});
            }
        }
    }
    if let Some(signal) = service.text("stop_signal") {
        match signal_name(signal) {
            Some(name) => container["lifecycle"]["stopSignal"] = json!(name),
            None => service.tell(
                "stop_signal",
                format!("`{signal}` is no signal that Kubernetes knows"),
            ),
        }
    }
}

/// The words of a hook, and whether they can stand alone, without a shell.
fn hook_command(hook: &Value) -> (Vec<String>, bool) {
    let words = hook.get("command").map(words).unwrap_or_default();
    let mut before = Vec::new();
    if let Some(folder) = hook
        .get("working_dir")
        .and_then(Value::as_str)
        .filter(|folder| !folder.is_empty())
    {
        before.extend(["env".to_owned(), "-C".to_owned(), folder.to_owned()]);
    }
    let variables: Vec<String> = match hook.get("environment") {
        Some(Value::Object(entries)) => entries
            .iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", scalar(value)?)))
            .collect(),
        Some(Value::Array(entries)) => entries
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    };
    if !variables.is_empty() {
        if before.is_empty() {
            before.push("env".to_owned());
        }
        before.extend(variables);
    }
    before.extend(words);
    (before, true)
}

/// A command, which is a list of words once the project is loaded.
pub(crate) fn words(command: &Value) -> Vec<String> {
    match command {
        Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
        Value::Array(words) => words.iter().filter_map(scalar).collect(),
        _ => Vec::new(),
    }
}

/// A scalar as a text; `None` for null.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn shell_line(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        let plain = !word.is_empty()
            && word
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || "-_./=:,@%+".contains(char));
        if plain {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

const SIGNALS: &[&str] = &[
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// A signal as Kubernetes names it: `TERM`, `sigterm` and `15` are `SIGTERM`.
fn signal_name(signal: &str) -> Option<String> {
    if let Ok(number) = signal.parse::<usize>() {
        return SIGNALS.get(number.checked_sub(1)?).map(|name| (*name).to_owned());
    }
    let upper = signal.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") {
        upper
    } else {
        format!("SIG{upper}")
    };
    let realtime = name
        .strip_prefix("SIGRTMIN+")
        .or_else(|| name.strip_prefix("SIGRTMAX-"));
    let known = SIGNALS.contains(&name.as_str())
        || matches!(name.as_str(), "SIGRTMIN" | "SIGRTMAX")
        || realtime
            .and_then(|text| text.parse::<u8>().ok())
            .is_some_and(|number| (1..=15).contains(&number));
    known.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_one_name() {
        for (given, name) in [
            ("TERM", "SIGTERM"),
            ("sigint", "SIGINT"),
            ("15", "SIGTERM"),
            ("RTMIN+3", "SIGRTMIN+3"),
        ] {
            assert_eq!(signal_name(given).as_deref(), Some(name));
        }
        assert_eq!(signal_name("SIGNONE"), None);
        assert_eq!(signal_name("0"), None);
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(
            shell_line(&["echo".into(), "it's $1".into()]),
            r"echo 'it'\''s $1'"
        );
    }
}
