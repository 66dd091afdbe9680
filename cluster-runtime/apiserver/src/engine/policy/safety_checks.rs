//! The checks of the pod security standards, one function each.

use cluster_objects::Object;
use serde_json::Value;

/// A level of the standard that asks for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Nothing that is known to gain rights on the node.
    Baseline,
    /// Hardened as is good practice.
    Restricted,
}

/// One check that a pod does not pass.
#[derive(Debug)]
pub(super) struct Violation {
    /// What is wrong, in few words.
    pub(super) reason: String,
    /// Where.
    pub(super) detail: String,
}

impl Level {
    /// The level of a label; `privileged` asks for nothing.
    pub(super) fn named(text: &str) -> Option<Self> {
        Self::named_or_none(text).flatten()
    }

    /// The level of a label; the outer `None` is no level at all.
    pub(super) fn named_or_none(text: &str) -> Option<Option<Self>> {
        match text {
            "privileged" => Some(None),
            "baseline" => Some(Some(Self::Baseline)),
            "restricted" => Some(Some(Self::Restricted)),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

type Check = fn(&Pod<'_>) -> Option<(String, String)>;

/// The checks of the baseline; some give way to a stricter one of the restricted level.
const BASELINE: &[(Check, bool)] = &[
    (app_armor, true),
    (added_capabilities, false),
    (host_namespaces, true),
    (host_paths, false),
    (host_ports, true),
    (privileged, true),
    (proc_mount, true),
    (se_linux, true),
    (seccomp_baseline, false),
    (sysctls, true),
    (host_process, true),
];

const RESTRICTED: &[Check] = &[
    privilege_escalation,
    dropped_capabilities,
    volume_types,
    run_as_non_root,
    run_as_user,
    seccomp_restricted,
];

/// What a pod does that a level does not allow.
pub(super) fn violations(pod: &Object, level: Level) -> Vec<Violation> {
    let pod = Pod::new(pod);
    let baseline = BASELINE
        .iter()
        .filter(|(_, stays)| *stays || level == Level::Baseline)
        .map(|(check, _)| check);
    let restricted = RESTRICTED.iter().filter(|_| level == Level::Restricted);
    let found = baseline.chain(restricted).filter_map(|check| check(&pod));
    found
        .map(|(reason, detail)| Violation { reason, detail })
        .collect()
}

struct Pod<'a> {
    object: &'a Object,
    containers: Vec<&'a Value>,
    on_windows: bool,
}

impl<'a> Pod<'a> {
    fn new(object: &'a Object) -> Self {
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        Self {
            object,
            containers: lists.iter().flat_map(|key| object.list(&["spec", key])).collect(),
            on_windows: object.text(&["spec", "os", "name"]) == Some("windows"),
        }
    }

    /// A field of the pod's own security context.
    fn own(&self, path: &[&str]) -> Option<&'a Value> {
        let whole = [&["spec", "securityContext"], path].concat();
        self.object.at(&whole)
    }

    /// Names of the containers of which something holds.
    fn named(&self, holds: impl Fn(&Value) -> bool) -> Vec<&'a str> {
        self.containers
            .iter()
            .filter(|container| holds(container))
            .map(|container| name(container))
            .collect()
    }
}

fn name(container: &Value) -> &str {
    container.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn context<'a>(container: &'a Value, path: &str) -> Option<&'a Value> {
    container
        .pointer(&format!("/securityContext/{path}"))
        .filter(|value| !value.is_null())
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// `container "a"`, `containers "a", "b"`.
fn containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", names.len()), quoted(names))
}

fn plural(word: &str, count: usize) -> String {
    if count == 1 {
        word.to_owned()
    } else {
        format!("{word}s")
    }
}

fn quoted(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("{name:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn found(reason: &str, detail: String) -> Option<(String, String)> {
    Some((reason.to_owned(), detail))
}

fn text(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str)
}

fn app_armor(pod: &Pod<'_>) -> Option<(String, String)> {
    const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
    let mut bad: Vec<String> = Vec::new();
    let mut who: Vec<String> = Vec::new();
    let is_bad =
        |kind: Option<&str>| kind.is_some_and(|kind| !matches!(kind, "RuntimeDefault" | "Localhost"));
    if is_bad(text(pod.own(&["appArmorProfile", "type"]))) {
        who.push("pod".to_owned());
        bad.extend(text(pod.own(&["appArmorProfile", "type"])).map(|kind| format!("{kind:?}")));
    }
    let names = pod.named(|container| is_bad(text(context(container, "appArmorProfile/type"))));
    if !names.is_empty() {
        who.push(containers(&names));
        bad.push("\"Unconfined\"".to_owned());
    }
    let annotations = pod
        .object
        .at(&["metadata", "annotations"])
        .and_then(Value::as_object);
    for (key, value) in annotations
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with(ANNOTATION))
    {
        let value = value.as_str().unwrap_or_default();
        if !value.is_empty() && value != "runtime/default" && !value.starts_with("localhost/") {
            who.push(format!("annotation {key:?}"));
            bad.push(format!("{value:?}"));
        }
    }
    if who.is_empty() {
        return None;
    }
    bad.dedup();
    let reason = plural("forbidden AppArmor profile", bad.len());
    found(
        &reason,
        format!(
            "{} must not set AppArmor profile type to {}",
            who.join(" and "),
            bad.join(", ")
        ),
    )
}

const HARMLESS_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn capabilities<'a>(container: &'a Value, list_name: &str) -> Vec<&'a str> {
    let listed = context(container, "capabilities").map_or(&[][..], |all| list(all, list_name));
    listed.iter().filter_map(Value::as_str).collect()
}

fn added_capabilities(pod: &Pod<'_>) -> Option<(String, String)> {
    let bad = |container: &Value| -> Vec<String> {
        let added = capabilities(container, "add").into_iter();
        added
            .filter(|one| !HARMLESS_CAPABILITIES.contains(one))
            .map(str::to_owned)
            .collect()
    };
    let names = pod.named(|container| !bad(container).is_empty());
    let mut all: Vec<String> = pod
        .containers
        .iter()
        .flat_map(|container| bad(container))
        .collect();
    all.sort_unstable();
    all.dedup();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    if names.is_empty() {
        return None;
    }
    let detail = format!(
        "{} must not include {} in securityContext.capabilities.add",
        containers(&names),
        quoted(&all)
    );
    found("non-default capabilities", detail)
}

fn host_namespaces(pod: &Pod<'_>) -> Option<(String, String)> {
    let used: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .filter(|key| pod.object.at(&["spec", key]) == Some(&Value::Bool(true)))
        .map(|key| format!("{key}=true"))
        .collect();
    if used.is_empty() {
        None
    } else {
        found("host namespaces", used.join(", "))
    }
}

fn host_paths(pod: &Pod<'_>) -> Option<(String, String)> {
    let volumes = pod.object.list(&["spec", "volumes"]).iter();
    let names: Vec<&str> = volumes
        .filter(|volume| volume.get("hostPath").is_some())
        .map(name)
        .collect();
    if names.is_empty() {
        return None;
    }
    found(
        "hostPath volumes",
        format!("{} {}", plural("volume", names.len()), quoted(&names)),
    )
}

fn host_ports(pod: &Pod<'_>) -> Option<(String, String)> {
    let ports = |container: &Value| -> Vec<i64> {
        let ports = list(container, "ports").iter();
        ports
            .filter_map(|port| port.get("hostPort")?.as_i64())
            .filter(|port| *port != 0)
            .collect()
    };
    let names = pod.named(|container| !ports(container).is_empty());
    let mut all: Vec<i64> = pod
        .containers
        .iter()
        .flat_map(|container| ports(container))
        .collect();
    all.sort_unstable();
    all.dedup();
    if names.is_empty() {
        return None;
    }
    let numbers = all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let verb = if names.len() == 1 { "uses" } else { "use" };
    found(
        "hostPort",
        format!(
            "{} {verb} {} {numbers}",
            containers(&names),
            plural("hostPort", all.len())
        ),
    )
}

fn privileged(pod: &Pod<'_>) -> Option<(String, String)> {
    let names = pod.named(|container| context(container, "privileged") == Some(&Value::Bool(true)));
    if names.is_empty() {
        return None;
    }
    found(
        "privileged",
        format!(
            "{} must not set securityContext.privileged=true",
            containers(&names)
        ),
    )
}

fn proc_mount(pod: &Pod<'_>) -> Option<(String, String)> {
    let is_bad =
        |container: &Value| text(context(container, "procMount")).is_some_and(|kind| kind != "Default");
    let names = pod.named(is_bad);
    if names.is_empty() || pod.object.at(&["spec", "hostUsers"]) == Some(&Value::Bool(false)) {
        return None;
    }
    found(
        "procMount",
        format!(
            "{} must not set securityContext.procMount to \"Unmasked\"",
            containers(&names)
        ),
    )
}

fn se_linux(pod: &Pod<'_>) -> Option<(String, String)> {
    const TYPES: [&str; 5] = [
        "",
        "container_t",
        "container_init_t",
        "container_kvm_t",
        "container_engine_t",
    ];
    let faults = |options: Option<&Value>| -> Vec<String> {
        let part = |key: &str| {
            text(options.and_then(|options| options.get(key)))
                .unwrap_or_default()
                .to_owned()
        };
        let mut faults = Vec::new();
        let kind = part("type");
        if !TYPES.contains(&kind.as_str()) {
            faults.push(format!("type {kind:?}"));
        }
        for (key, words) in [("user", "user may not be set"), ("role", "role may not be set")] {
            if !part(key).is_empty() {
                faults.push(words.to_owned());
            }
        }
        faults
    };
    let mut all = faults(pod.own(&["seLinuxOptions"]));
    let mut who = Vec::new();
    if !all.is_empty() {
        who.push("pod".to_owned());
    }
    let names = pod.named(|container| !faults(context(container, "seLinuxOptions")).is_empty());
    if !names.is_empty() {
        who.push(containers(&names));
    }
    for container in &pod.containers {
        for fault in faults(context(container, "seLinuxOptions")) {
            if !all.contains(&fault) {
                all.push(fault);
            }
        }
    }
    if who.is_empty() {
        return None;
    }
    let detail = format!(
        "{} set forbidden securityContext.seLinuxOptions: {}",
        who.join(" and "),
        all.join("; ")
    );
    found("seLinuxOptions", detail)
}

fn seccomp_baseline(pod: &Pod<'_>) -> Option<(String, String)> {
    let is_bad =
        |kind: Option<&str>| kind.is_some_and(|kind| !matches!(kind, "RuntimeDefault" | "Localhost"));
    let mut who = Vec::new();
    if is_bad(text(pod.own(&["seccompProfile", "type"]))) {
        who.push("pod".to_owned());
    }
    let names = pod.named(|container| is_bad(text(context(container, "seccompProfile/type"))));
    if !names.is_empty() {
        who.push(containers(&names));
    }
    if who.is_empty() {
        return None;
    }
    let detail = format!(
        "{} must not set securityContext.seccompProfile.type to \"Unconfined\"",
        who.join(" and ")
    );
    found("seccompProfile", detail)
}

const SAFE_SYSCTLS: [&str; 11] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

fn sysctls(pod: &Pod<'_>) -> Option<(String, String)> {
    let all = pod
        .object
        .list(&["spec", "securityContext", "sysctls"])
        .iter()
        .map(name);
    let bad: Vec<&str> = all
        .filter(|one| !SAFE_SYSCTLS.contains(one) && *one != "net.ipv4.tcp_syncookies")
        .collect();
    if bad.is_empty() {
        None
    } else {
        found("forbidden sysctls", bad.join(", "))
    }
}

fn host_process(pod: &Pod<'_>) -> Option<(String, String)> {
    let is_set = |value: Option<&Value>| value == Some(&Value::Bool(true));
    let mut who = Vec::new();
    if is_set(pod.own(&["windowsOptions", "hostProcess"])) {
        who.push("pod".to_owned());
    }
    let names = pod.named(|container| is_set(context(container, "windowsOptions/hostProcess")));
    if !names.is_empty() {
        who.push(containers(&names));
    }
    if who.is_empty() {
        return None;
    }
    found(
        "hostProcess",
        format!(
            "{} must not set securityContext.windowsOptions.hostProcess=true",
            who.join(" and ")
        ),
    )
}

fn privilege_escalation(pod: &Pod<'_>) -> Option<(String, String)> {
    let names =
        pod.named(|container| context(container, "allowPrivilegeEscalation") != Some(&Value::Bool(false)));
    if names.is_empty() || pod.on_windows {
        return None;
    }
    let detail = format!(
        "{} must set securityContext.allowPrivilegeEscalation=false",
        containers(&names)
    );
    found("allowPrivilegeEscalation != false", detail)
}

fn dropped_capabilities(pod: &Pod<'_>) -> Option<(String, String)> {
    if pod.on_windows {
        return None;
    }
    let keeps = pod.named(|container| !capabilities(container, "drop").contains(&"ALL"));
    let added = |container: &Value| -> Vec<String> {
        let added = capabilities(container, "add").into_iter();
        added
            .filter(|one| *one != "NET_BIND_SERVICE")
            .map(str::to_owned)
            .collect()
    };
    let adds = pod.named(|container| !added(container).is_empty());
    let mut details = Vec::new();
    if !keeps.is_empty() {
        details.push(format!(
            "{} must set securityContext.capabilities.drop=[\"ALL\"]",
            containers(&keeps)
        ));
    }
    if !adds.is_empty() {
        let mut all: Vec<String> = pod
            .containers
            .iter()
            .flat_map(|container| added(container))
            .collect();
        all.sort_unstable();
        all.dedup();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers(&adds),
            quoted(&all)
        ));
    }
    if details.is_empty() {
        None
    } else {
        found("unrestricted capabilities", details.join("; "))
    }
}

const VOLUME_TYPES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
];

fn volume_types(pod: &Pod<'_>) -> Option<(String, String)> {
    let (mut names, mut kinds): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for volume in pod.object.list(&["spec", "volumes"]) {
        let mut keys = volume
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.as_str());
        let bad = keys.find(|key| *key != "name" && *key != "secret" && !VOLUME_TYPES.contains(key));
        if let Some(kind) = bad {
            names.push(name(volume));
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
    }
    if names.is_empty() {
        return None;
    }
    kinds.sort_unstable();
    let (verb, types) = (
        if names.len() == 1 { "uses" } else { "use" },
        plural("type", kinds.len()),
    );
    let detail = format!(
        "{} {} {verb} restricted volume {types} {}",
        plural("volume", names.len()),
        quoted(&names),
        quoted(&kinds)
    );
    found("restricted volume types", detail)
}

fn run_as_non_root(pod: &Pod<'_>) -> Option<(String, String)> {
    if pod.on_windows || pod.object.at(&["spec", "hostUsers"]) == Some(&Value::Bool(false)) {
        return None;
    }
    let own = pod.own(&["runAsNonRoot"]).and_then(Value::as_bool);
    let said = |container: &Value| context(container, "runAsNonRoot").and_then(Value::as_bool);
    let denies = pod.named(|container| said(container) == Some(false));
    if own == Some(false) || !denies.is_empty() {
        let mut who = Vec::new();
        if own == Some(false) {
            who.push("pod".to_owned());
        }
        if !denies.is_empty() {
            who.push(containers(&denies));
        }
        let detail = format!(
            "{} must not set securityContext.runAsNonRoot=false",
            who.join(" and ")
        );
        return found("runAsNonRoot != true", detail);
    }
    let silent = pod.named(|container| said(container).is_none());
    if own == Some(true) || silent.is_empty() {
        return None;
    }
    let detail = format!(
        "pod or {} must set securityContext.runAsNonRoot=true",
        containers(&silent)
    );
    found("runAsNonRoot != true", detail)
}

fn run_as_user(pod: &Pod<'_>) -> Option<(String, String)> {
    if pod.object.at(&["spec", "hostUsers"]) == Some(&Value::Bool(false)) {
        return None;
    }
    let is_root = |value: Option<&Value>| value.and_then(Value::as_i64) == Some(0);
    let mut who = Vec::new();
    if is_root(pod.own(&["runAsUser"])) {
        who.push("pod".to_owned());
    }
    let names = pod.named(|container| is_root(context(container, "runAsUser")));
    if !names.is_empty() {
        who.push(containers(&names));
    }
    if who.is_empty() {
        return None;
    }
    found(
        "runAsUser=0",
        format!("{} must not set runAsUser=0", who.join(" and ")),
    )
}

fn seccomp_restricted(pod: &Pod<'_>) -> Option<(String, String)> {
    if pod.on_windows {
        return None;
    }
    let is_good =
        |kind: Option<&str>| kind.is_some_and(|kind| matches!(kind, "RuntimeDefault" | "Localhost"));
    let own = text(pod.own(&["seccompProfile", "type"]));
    let said = |container: &Value| text(context(container, "seccompProfile/type")).map(str::to_owned);
    let bad = pod.named(|container| said(container).is_some_and(|kind| !is_good(Some(&kind))));
    let own_is_bad = own.is_some() && !is_good(own);
    if own_is_bad || !bad.is_empty() {
        let mut who = Vec::new();
        if own_is_bad {
            who.push("pod".to_owned());
        }
        if !bad.is_empty() {
            who.push(containers(&bad));
        }
        let kind = own.filter(|_| own_is_bad).unwrap_or("Unconfined");
        let detail = format!(
            "{} must not set securityContext.seccompProfile.type to {kind:?}",
            who.join(" and ")
        );
        return found("seccompProfile", detail);
    }
    let silent = pod.named(|container| said(container).is_none());
    if is_good(own) || silent.is_empty() {
        return None;
    }
    let detail = format!(
        "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        containers(&silent)
    );
    found("seccompProfile", detail)
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are made in place")]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(spec: Value, level: Level, wanted: &[&str]) {
        let pod = Object::from_value(json!({"spec": spec})).unwrap();
        let found = violations(&pod, level);
        let told: Vec<String> = found
            .iter()
            .map(|one| format!("{} ({})", one.reason, one.detail))
            .collect();
        assert_eq!(told, wanted, "{spec}");
    }

    fn with(context: Value) -> Value {
        json!({"containers": [{"name": "a", "securityContext": context}]})
    }

    #[test]
    fn the_baseline_refuses_what_reaches_the_node() {
        let baseline = |spec: Value, wanted: &str| check(spec, Level::Baseline, &[wanted]);
        check(with(json!({})), Level::Baseline, &[]);
        let wanted = "privileged (container \"a\" must not set securityContext.privileged=true)";
        baseline(with(json!({"privileged": true})), wanted);
        let wanted = "non-default capabilities (container \"a\" must not include \"NET_ADMIN\" in \
                      securityContext.capabilities.add)";
        baseline(
            with(json!({"capabilities": {"add": ["CHOWN", "NET_ADMIN"]}})),
            wanted,
        );
        let mut host = with(json!({}));
        host["hostNetwork"] = true.into();
        host["hostPID"] = true.into();
        baseline(host, "host namespaces (hostNetwork=true, hostPID=true)");
        let mut path = with(json!({}));
        path["volumes"] = json!([{"name": "v", "hostPath": {"path": "/"}}]);
        baseline(path, "hostPath volumes (volume \"v\")");
        let port = json!({"containers": [{"name": "a", "ports": [{"containerPort": 1, "hostPort": 80}]}]});
        baseline(port, "hostPort (container \"a\" uses hostPort 80)");
        let wanted = "seccompProfile (container \"a\" must not set securityContext.seccompProfile.type to \
                      \"Unconfined\")";
        baseline(with(json!({"seccompProfile": {"type": "Unconfined"}})), wanted);
        let mut sysctl = with(json!({}));
        sysctl["securityContext"] = json!({"sysctls": [{"name": "kernel.msgmax"}]});
        baseline(sysctl, "forbidden sysctls (kernel.msgmax)");
        let wanted = "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")";
        baseline(with(json!({"procMount": "Unmasked"})), wanted);
        let wanted = "seLinuxOptions (container \"a\" set forbidden securityContext.seLinuxOptions: type \"x\"; user \
                      may not be set)";
        baseline(
            with(json!({"seLinuxOptions": {"type": "x", "user": "u"}})),
            wanted,
        );
    }

    #[test]
    fn the_restricted_level_asks_for_hardening() {
        let wanted = [
            "allowPrivilegeEscalation != false (container \"a\" must set \
             securityContext.allowPrivilegeEscalation=false)",
            "unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"])",
            "runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true)",
            "seccompProfile (pod or container \"a\" must set securityContext.seccompProfile.type to \
             \"RuntimeDefault\" or \"Localhost\")",
        ];
        check(with(json!({})), Level::Restricted, &wanted);
        let mut hardened = with(json!({
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
        }));
        hardened["securityContext"] =
            json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
        hardened["volumes"] = json!([{"name": "t", "emptyDir": {}}, {"name": "s", "secret": {}}]);
        check(hardened.clone(), Level::Restricted, &[]);
        hardened["volumes"] = json!([{"name": "v", "hostPath": {"path": "/"}}]);
        let wanted = ["restricted volume types (volume \"v\" uses restricted volume type \"hostPath\")"];
        check(hardened.clone(), Level::Restricted, &wanted);
        hardened["volumes"] = json!([]);
        hardened["securityContext"]["runAsUser"] = 0.into();
        check(
            hardened,
            Level::Restricted,
            &["runAsUser=0 (pod must not set runAsUser=0)"],
        );
    }
}
