//! The model in the types of its attributes, as `docker compose config` prints it.

use serde_json::{Map as JsonMap, Value};

use crate::merge::sequence;
use crate::node::{Data, Map, Node, Path, json_number};
use crate::quantity::{bytes, duration, go_duration};
use crate::shell_words::split;

/// A fault in a value: what, and at which node.
pub(crate) struct TypeFault {
    pub(crate) message: String,
    pub(crate) at: crate::node::Place,
}

/// What an attribute holds, and when it is left out of the output.
enum Type {
    /// A text, left out when empty.
    Text,
    /// A flag, left out when off.
    Flag,
    /// A flag that may be off on purpose.
    OptionalFlag,
    /// A flag, always printed.
    AnyFlag,
    /// A whole number, left out when 0.
    Int,
    /// A whole number that may be 0 on purpose.
    OptionalInt,
    /// A number, left out when 0.
    Float,
    /// A size, printed as a text of bytes.
    Bytes,
    /// A time.
    Duration,
    /// A time that may be none on purpose.
    OptionalDuration,
    /// The mode of a file.
    FileMode,
    /// The mode of a file, printed as a number.
    PlainMode,
    /// How many devices: a number, or all (-1).
    DeviceCount,
    /// `KEY=VALUE`, where no value is an empty one.
    Mapping,
    /// `KEY=VALUE`, where no value is `null`.
    Environment,
    /// `KEY=VALUE`, where no value is left out.
    Arguments,
    /// `HOST=ADDRESS`.
    Hosts,
    /// Texts by key.
    Options,
    /// Lists of texts by key.
    MultiOptions,
    /// A list of texts, left out when empty.
    Texts,
    /// A command line: a list of words, or a text that is split into them; printed even when it is not set.
    Command,
    /// A test of health: a list, or a text for the shell.
    HealthTest,
    /// Keys for ssh.
    Ssh,
    /// A limit of the process: one number or two.
    Ulimit,
    /// Known attributes, left out when not set.
    Struct(&'static [(&'static str, Type)]),
    /// Known attributes, printed even when not set.
    Inline(&'static [(&'static str, Type)]),
    /// Attributes that are printed with capitals.
    Capital(&'static [(&'static str, &'static str, Type)]),
    /// A list of these, left out when empty.
    List(&'static Type),
    /// These by key, left out when empty.
    MapOf(&'static Type),
}

use Type::{
    AnyFlag, Arguments, Bytes, Capital, Command, DeviceCount, Duration, Environment, FileMode, Flag, Float,
    HealthTest, Hosts, Inline, Int, List, MapOf, Mapping, MultiOptions, OptionalDuration, OptionalFlag,
    OptionalInt, Options, PlainMode, Ssh, Struct, Text, Texts, Ulimit,
};

const REFERENCES: Type = List(&Struct(&[
    ("source", Text),
    ("target", Text),
    ("uid", Text),
    ("gid", Text),
    ("mode", FileMode),
]));

const ULIMITS: Type = MapOf(&Ulimit);

const HOOK_FIELDS: &[(&str, Type)] = &[
    ("command", Command),
    ("user", Text),
    ("privileged", Flag),
    ("working_dir", Text),
    ("environment", Environment),
];

const BUILD: Type = Struct(&[
    ("context", Text),
    ("dockerfile", Text),
    ("dockerfile_inline", Text),
    ("entitlements", Texts),
    ("args", Arguments),
    ("provenance", Text),
    ("sbom", Text),
    ("ssh", Ssh),
    ("labels", Mapping),
    ("cache_from", Texts),
    ("cache_to", Texts),
    ("no_cache", Flag),
    ("no_cache_filter", Texts),
    ("additional_contexts", Mapping),
    ("pull", Flag),
    ("extra_hosts", Hosts),
    ("isolation", Text),
    ("network", Text),
    ("target", Text),
    ("secrets", REFERENCES),
    ("shm_size", Bytes),
    ("tags", Texts),
    ("ulimits", ULIMITS),
    ("platforms", Texts),
    ("privileged", Flag),
]);

const THROTTLES: Type = List(&Capital(&[("path", "Path", Text), ("rate", "Rate", Bytes)]));

const BLKIO: Type = Struct(&[
    ("weight", Int),
    (
        "weight_device",
        List(&Capital(&[("path", "Path", Text), ("weight", "Weight", Int)])),
    ),
    ("device_read_bps", THROTTLES),
    ("device_read_iops", THROTTLES),
    ("device_write_bps", THROTTLES),
    ("device_write_iops", THROTTLES),
]);

const UPDATE: Type = Struct(&[
    ("parallelism", OptionalInt),
    ("delay", Duration),
    ("failure_action", Text),
    ("monitor", Duration),
    ("max_failure_ratio", Float),
    ("order", Text),
]);

const DEVICE_REQUESTS: Type = List(&Struct(&[
    ("capabilities", Texts),
    ("driver", Text),
    ("count", DeviceCount),
    ("device_ids", Texts),
    ("options", Mapping),
]));

const RESOURCE: Type = Struct(&[
    ("cpus", Float),
    ("memory", Bytes),
    ("pids", Int),
    ("devices", DEVICE_REQUESTS),
    (
        "generic_resources",
        List(&Struct(&[(
            "discrete_resource_spec",
            Struct(&[("kind", Text), ("value", OptionalInt)]),
        )])),
    ),
]);

const DEPLOY: Type = Struct(&[
    ("mode", Text),
    ("replicas", OptionalInt),
    ("labels", Mapping),
    ("update_config", UPDATE),
    ("rollback_config", UPDATE),
    (
        "resources",
        Inline(&[("limits", RESOURCE), ("reservations", RESOURCE)]),
    ),
    (
        "restart_policy",
        Struct(&[
            ("condition", Text),
            ("delay", OptionalDuration),
            ("max_attempts", OptionalInt),
            ("window", OptionalDuration),
        ]),
    ),
    (
        "placement",
        Inline(&[
            ("constraints", Texts),
            ("preferences", List(&Struct(&[("spread", Text)]))),
            ("max_replicas_per_node", Int),
        ]),
    ),
    ("endpoint_mode", Text),
]);

const DEVELOP: Type = Struct(&[(
    "watch",
    List(&Struct(&[
        ("path", Text),
        ("action", Text),
        ("target", Text),
        ("exec", Inline(HOOK_FIELDS)),
        ("include", Texts),
        ("ignore", Texts),
        ("initial_sync", Flag),
    ])),
)]);

const VOLUMES: Type = List(&Struct(&[
    ("type", Text),
    ("source", Text),
    ("target", Text),
    ("read_only", Flag),
    ("consistency", Text),
    (
        "bind",
        Struct(&[
            ("selinux", Text),
            ("propagation", Text),
            ("create_host_path", Flag),
            ("recursive", Text),
        ]),
    ),
    (
        "volume",
        Struct(&[("labels", Mapping), ("nocopy", Flag), ("subpath", Text)]),
    ),
    ("tmpfs", Struct(&[("size", Bytes), ("mode", PlainMode)])),
    ("image", Struct(&[("subpath", Text)])),
]));

const SERVICE: &[(&str, Type)] = &[
    ("profiles", Texts),
    ("annotations", Mapping),
    ("attach", OptionalFlag),
    ("build", BUILD),
    ("develop", DEVELOP),
    ("blkio_config", BLKIO),
    ("cap_add", Texts),
    ("cap_drop", Texts),
    ("cgroup_parent", Text),
    ("cgroup", Text),
    ("cpu_count", Int),
    ("cpu_percent", Float),
    ("cpu_period", Int),
    ("cpu_quota", Int),
    ("cpu_rt_period", Int),
    ("cpu_rt_runtime", Int),
    ("cpus", Float),
    ("cpuset", Text),
    ("cpu_shares", Int),
    ("command", Command),
    ("configs", REFERENCES),
    ("container_name", Text),
    (
        "credential_spec",
        Struct(&[("config", Text), ("file", Text), ("registry", Text)]),
    ),
    (
        "depends_on",
        MapOf(&Struct(&[
            ("condition", Text),
            ("restart", Flag),
            ("required", AnyFlag),
        ])),
    ),
    ("deploy", DEPLOY),
    ("device_cgroup_rules", Texts),
    (
        "devices",
        List(&Struct(&[
            ("source", Text),
            ("target", Text),
            ("permissions", Text),
        ])),
    ),
    ("dns", Texts),
    ("dns_opt", Texts),
    ("dns_search", Texts),
    ("domainname", Text),
    ("entrypoint", Command),
    ("provider", Struct(&[("type", Text), ("options", MultiOptions)])),
    ("environment", Environment),
    (
        "env_file",
        List(&Struct(&[
            ("path", Text),
            ("required", AnyFlag),
            ("format", Text),
        ])),
    ),
    ("expose", Texts),
    ("extends", Struct(&[("file", Text), ("service", Text)])),
    ("external_links", Texts),
    ("extra_hosts", Hosts),
    ("group_add", Texts),
    ("gpus", DEVICE_REQUESTS),
    ("hostname", Text),
    (
        "healthcheck",
        Struct(&[
            ("test", HealthTest),
            ("timeout", OptionalDuration),
            ("interval", OptionalDuration),
            ("retries", OptionalInt),
            ("start_period", OptionalDuration),
            ("start_interval", OptionalDuration),
            ("disable", Flag),
        ]),
    ),
    ("image", Text),
    ("init", OptionalFlag),
    ("ipc", Text),
    ("isolation", Text),
    ("labels", Mapping),
    ("label_file", Texts),
    ("links", Texts),
    ("logging", Struct(&[("driver", Text), ("options", Options)])),
    ("mem_limit", Bytes),
    ("mem_reservation", Bytes),
    ("memswap_limit", Bytes),
    ("mem_swappiness", Bytes),
    ("mac_address", Text),
    (
        "models",
        MapOf(&Struct(&[("endpoint_var", Text), ("model_var", Text)])),
    ),
    ("network_mode", Text),
    (
        "networks",
        MapOf(&Struct(&[
            ("aliases", Texts),
            ("driver_opts", Options),
            ("gw_priority", Int),
            ("interface_name", Text),
            ("ipv4_address", Text),
            ("ipv6_address", Text),
            ("link_local_ips", Texts),
            ("mac_address", Text),
            ("priority", Int),
        ])),
    ),
    ("oom_kill_disable", Flag),
    ("oom_score_adj", Int),
    ("pid", Text),
    ("pids_limit", Int),
    ("platform", Text),
    (
        "ports",
        List(&Struct(&[
            ("name", Text),
            ("mode", Text),
            ("host_ip", Text),
            ("target", Int),
            ("published", Text),
            ("protocol", Text),
            ("app_protocol", Text),
        ])),
    ),
    ("privileged", Flag),
    ("pull_policy", Text),
    ("pull_refresh_after", Text),
    ("read_only", Flag),
    ("restart", Text),
    ("runtime", Text),
    ("scale", OptionalInt),
    ("secrets", REFERENCES),
    ("security_opt", Texts),
    ("shm_size", Bytes),
    ("stdin_open", Flag),
    ("stop_grace_period", OptionalDuration),
    ("stop_signal", Text),
    ("storage_opt", Options),
    ("sysctls", Mapping),
    ("tmpfs", Texts),
    ("tty", Flag),
    ("ulimits", ULIMITS),
    ("use_api_socket", Flag),
    ("user", Text),
    ("userns_mode", Text),
    ("uts", Text),
    ("volumes", VOLUMES),
    ("volumes_from", Texts),
    ("working_dir", Text),
    ("post_start", List(&Struct(HOOK_FIELDS))),
    ("pre_stop", List(&Struct(HOOK_FIELDS))),
    (
        "pre_start",
        List(&Struct(&[
            ("command", Command),
            ("image", Text),
            ("user", Text),
            ("privileged", Flag),
            ("working_dir", Text),
            ("environment", Environment),
            ("per_replica", Flag),
        ])),
    ),
];

const NETWORK: &[(&str, Type)] = &[
    ("name", Text),
    ("driver", Text),
    ("driver_opts", Options),
    (
        "ipam",
        Inline(&[
            ("driver", Text),
            (
                "config",
                List(&Struct(&[
                    ("subnet", Text),
                    ("gateway", Text),
                    ("ip_range", Text),
                    ("aux_addresses", Mapping),
                ])),
            ),
        ]),
    ),
    ("external", Flag),
    ("internal", Flag),
    ("attachable", Flag),
    ("labels", Mapping),
    ("enable_ipv4", OptionalFlag),
    ("enable_ipv6", OptionalFlag),
];

const VOLUME: &[(&str, Type)] = &[
    ("name", Text),
    ("driver", Text),
    ("driver_opts", Options),
    ("external", Flag),
    ("labels", Mapping),
];

const FILE_OBJECT: &[(&str, Type)] = &[
    ("name", Text),
    ("file", Text),
    ("environment", Text),
    ("content", Text),
    ("external", Flag),
    ("labels", Mapping),
    ("driver", Text),
    ("driver_opts", Options),
    ("template_driver", Text),
];

const MODEL: &[(&str, Type)] = &[
    ("name", Text),
    ("model", Text),
    ("context_size", Int),
    ("runtime_flags", Texts),
];

/// The entry of a top-level key in its types.
///
/// Also notes where `x-` keys stand.
pub(crate) fn entry(
    kind: &str,
    name: &str,
    node: &Node,
    extensions: &mut Vec<Vec<String>>,
) -> Result<Value, Vec<TypeFault>> {
    let fields = match kind {
        "services" => SERVICE,
        "networks" => NETWORK,
        "volumes" => VOLUME,
        "models" => MODEL,
        _ => FILE_OBJECT,
    };
    let mut writer = Writer {
        path: Path::default(),
        extensions: Vec::new(),
        faults: Vec::new(),
    };
    writer.path.push(kind);
    writer.path.push(name);
    let empty = Map::new();
    let map = node.as_map().unwrap_or(&empty);
    let value = Value::Object(writer.fields(fields, map));
    extensions.append(&mut writer.extensions);
    if writer.faults.is_empty() {
        Ok(value)
    } else {
        Err(writer.faults)
    }
}

struct Writer {
    path: Path,
    extensions: Vec<Vec<String>>,
    faults: Vec<TypeFault>,
}

impl Writer {
    fn fault<T>(&mut self, why: impl std::fmt::Display, node: &Node) -> Option<T> {
        self.faults.push(TypeFault {
            message: format!("'{}' {why}", go_path(&self.path)),
            at: node.at,
        });
        None
    }

    fn fields(&mut self, fields: &'static [(&'static str, Type)], map: &Map) -> JsonMap<String, Value> {
        let mut object = JsonMap::new();
        for (key, kind) in fields {
            let given = map.get(*key).filter(|node| !node.is_null());
            let value = match (given, kind) {
                (None, Command) => Some(Value::Null),
                (None, Inline(fields)) => Some(Value::Object(self.fields(fields, &Map::new()))),
                (None, _) => None,
                (Some(node), kind) => {
                    self.path.push(*key);
                    let value = self.value(kind, node);
                    self.path.pop();
                    value
                }
            };
            if let Some(value) = value {
                object.insert((*key).to_owned(), value);
            }
        }
        for (key, node) in map {
            if key.starts_with("x-") && !key.starts_with("x-#") {
                object.insert(key.clone(), node.to_json());
                let mut path = self.path.steps().to_vec();
                for step in &mut path {
                    // Indices and keys carry the brackets that messages show.
                    if let Some(inside) = step.strip_prefix('[').and_then(|step| step.strip_suffix(']')) {
                        *step = inside.to_owned();
                    }
                }
                path.push(key.clone());
                self.extensions.push(path);
            }
        }
        object
    }

    /// The value, or nothing if it is left out.
    fn value(&mut self, kind: &Type, node: &Node) -> Option<Value> {
        match kind {
            Text => {
                let text = node.scalar_text().unwrap_or_default();
                (!text.is_empty()).then(|| Value::from(text))
            }
            Flag => self.flag(node)?.then_some(Value::Bool(true)),
            OptionalFlag | AnyFlag => self.flag(node).map(Value::Bool),
            Int => self.int(node).filter(|number| *number != 0).map(Value::from),
            OptionalInt => self.int(node).map(Value::from),
            Float => self.float(node).filter(|number| *number != 0.0).map(float32),
            Bytes => {
                let size = match &node.data {
                    Data::Text(text) => match bytes(text) {
                        Ok(size) => size,
                        Err(why) => return self.fault(why, node),
                    },
                    _ => self.int(node)?,
                };
                (size != 0).then(|| Value::from(size.to_string()))
            }
            Duration => self
                .duration(node)
                .filter(|time| *time != 0)
                .map(|time| Value::from(go_duration(time))),
            OptionalDuration => self.duration(node).map(|time| Value::from(go_duration(time))),
            FileMode => {
                let mode = match &node.data {
                    Data::Text(text) => match i64::from_str_radix(text, 8) {
                        Ok(mode) => mode,
                        Err(_) => {
                            return self.fault(
                                format_args!("strconv.ParseInt: parsing {text:?}: invalid syntax"),
                                node,
                            );
                        }
                    },
                    _ => self.int(node)?,
                };
                Some(Value::from(format!("0{mode:o}")))
            }
            PlainMode => {
                let mode = match &node.data {
                    Data::Text(text) => i64::from_str_radix(text, 8).ok(),
                    _ => self.int(node),
                };
                match mode {
                    Some(mode) => (mode != 0).then(|| Value::from(mode)),
                    None => self.fault("expected the digits of a mode", node),
                }
            }
            DeviceCount => match &node.data {
                Data::Text(text) if text.eq_ignore_ascii_case("all") => Some(Value::from(-1)),
                Data::Text(text) => match text.parse::<i64>() {
                    Ok(count) => Some(Value::from(count)).filter(|_| count != 0),
                    Err(_) => self.fault(
                        format_args!("invalid value \"{text}\", the only value allowed is 'all' or a number"),
                        node,
                    ),
                },
                _ => self.int(node).filter(|count| *count != 0).map(Value::from),
            },
            Mapping => {
                let pairs = self.pairs(node)?;
                let texts = pairs
                    .into_iter()
                    .map(|(key, value)| (key, Value::from(value.unwrap_or_default())));
                filled(texts.collect())
            }
            Environment => {
                let pairs = self.pairs(node)?;
                for (key, _) in &pairs {
                    if key.ends_with(char::is_whitespace) {
                        self.fault::<()>(
                            format_args!("environment variable {key} is declared with a trailing space"),
                            node,
                        );
                    }
                }
                filled(
                    pairs
                        .into_iter()
                        .map(|(key, value)| (key, Value::from(value)))
                        .collect(),
                )
            }
            Arguments => {
                let pairs = self.pairs(node)?;
                filled(
                    pairs
                        .into_iter()
                        .filter_map(|(key, value)| Some((key, Value::from(value?))))
                        .collect(),
                )
            }
            Hosts => self.hosts(node),
            Options => {
                let map = node.as_map()?;
                if let Some((key, _)) = map.iter().find(|(_, value)| matches!(value.data, Data::Bool(_))) {
                    let why = format!("[{key}]: expected a text or a number, not a boolean");
                    return self.fault(why, node);
                }
                let texts = map
                    .iter()
                    .map(|(key, value)| (key.clone(), Value::from(value.scalar_text().unwrap_or_default())));
                filled(texts.collect())
            }
            MultiOptions => {
                let lists = node.as_map()?.iter().map(|(key, value)| {
                    let texts: Vec<Value> = match value.as_list() {
                        Some(items) => items
                            .iter()
                            .filter_map(Node::scalar_text)
                            .map(Value::from)
                            .collect(),
                        None => value.scalar_text().map(Value::from).into_iter().collect(),
                    };
                    (key.clone(), Value::from(texts))
                });
                filled(lists.collect())
            }
            Texts => {
                let texts: Vec<Value> = match &node.data {
                    Data::List(items) => items
                        .iter()
                        .filter_map(Node::scalar_text)
                        .map(Value::from)
                        .collect(),
                    _ => node.scalar_text().map(Value::from).into_iter().collect(),
                };
                (!texts.is_empty()).then(|| Value::from(texts))
            }
            Command => match &node.data {
                Data::Text(text) => match split(text) {
                    Ok(words) => Some(Value::from(words)),
                    Err(why) => self.fault(why, node),
                },
                Data::List(items) => Some(
                    items
                        .iter()
                        .filter_map(Node::scalar_text)
                        .map(Value::from)
                        .collect(),
                ),
                _ => Some(Value::Null),
            },
            HealthTest => match &node.data {
                Data::Text(text) => Some(Value::from(vec!["CMD-SHELL", text])),
                _ => self.value(&Texts, node),
            },
            Ssh => {
                let map = node.as_map()?;
                let keys: Vec<Value> = map
                    .iter()
                    .map(|(key, value)| match value.scalar_text() {
                        Some(path) => Value::from(format!("{key}={path}")),
                        None => Value::from(key.as_str()),
                    })
                    .collect();
                (!keys.is_empty()).then(|| Value::from(keys))
            }
            Ulimit => match &node.data {
                Data::Map(map) => {
                    let mut object = JsonMap::new();
                    for key in ["soft", "hard"] {
                        if let Some(limit) = map.get(key) {
                            let number = self.int(limit)?;
                            if number != 0 {
                                object.insert(key.to_owned(), Value::from(number));
                            }
                        }
                    }
                    Some(Value::Object(object))
                }
                _ => match self.int(node)? {
                    0 => Some(Value::Object(JsonMap::new())),
                    number => Some(Value::from(number)),
                },
            },
            Struct(fields) | Inline(fields) => {
                let object = self.fields(fields, node.as_map()?);
                Some(Value::Object(object))
            }
            Capital(fields) => {
                let map = node.as_map()?;
                let mut object = JsonMap::new();
                for (key, name, kind) in *fields {
                    let value = map.get(*key).and_then(|node| self.value(kind, node));
                    let none = || match kind {
                        Int => Value::from(0),
                        Bytes => Value::from("0"),
                        _ => Value::from(""),
                    };
                    object.insert((*name).to_owned(), value.unwrap_or_else(none));
                }
                Some(Value::Object(object))
            }
            List(item) => {
                let mut values = Vec::new();
                for (index, node) in node.as_list()?.iter().enumerate() {
                    self.path.push(format!("[{index}]"));
                    let value = self.value(item, node);
                    self.path.pop();
                    values.extend(value);
                }
                (!values.is_empty()).then(|| Value::from(values))
            }
            MapOf(entry) => {
                let mut object = JsonMap::new();
                for (key, node) in node.as_map()? {
                    self.path.push(format!("[{key}]"));
                    let value = if node.is_null() {
                        None
                    } else {
                        self.value(entry, node)
                    };
                    self.path.pop();
                    object.insert(key.clone(), value.unwrap_or(Value::Null));
                }
                filled(object)
            }
        }
    }

    fn flag(&mut self, node: &Node) -> Option<bool> {
        match &node.data {
            Data::Bool(flag) => Some(*flag),
            Data::Text(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "y" | "yes" | "on" => Some(true),
                "false" | "n" | "no" | "off" => Some(false),
                _ => self.fault(format_args!("invalid boolean: {text}"), node),
            },
            Data::Int(number) => Some(*number != 0),
            _ => Some(false),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "as the tool that prints it does")]
    fn int(&mut self, node: &Node) -> Option<i64> {
        match &node.data {
            Data::Int(number) => Some(*number),
            Data::Float(number) => Some(*number as i64),
            Data::Bool(flag) => Some(i64::from(*flag)),
            Data::Text(text) => match text.parse() {
                Ok(number) => Some(number),
                Err(_) => self.fault(
                    format_args!("strconv.ParseInt: parsing {text:?}: invalid syntax"),
                    node,
                ),
            },
            _ => Some(0),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "as the tool that prints it does")]
    fn float(&mut self, node: &Node) -> Option<f64> {
        match &node.data {
            Data::Int(number) => Some(*number as f64),
            Data::Float(number) => Some(*number),
            Data::Text(text) => match text.parse() {
                Ok(number) => Some(number),
                Err(_) => self.fault(
                    format_args!("strconv.ParseFloat: parsing {text:?}: invalid syntax"),
                    node,
                ),
            },
            _ => Some(0.0),
        }
    }

    /// Nanoseconds.
    fn duration(&mut self, node: &Node) -> Option<i64> {
        match &node.data {
            Data::Text(text) => match duration(text) {
                Ok(time) => Some(time),
                Err(why) => self.fault(why, node),
            },
            _ => self.int(node),
        }
    }

    /// Keys and values of a mapping or a list of `KEY=VALUE`.
    fn pairs(&mut self, node: &Node) -> Option<Vec<(String, Option<String>)>> {
        Some(match &node.data {
            Data::Map(map) => map
                .iter()
                .map(|(key, value)| (key.clone(), value.scalar_text()))
                .collect(),
            Data::List(items) => items
                .iter()
                .filter_map(Node::scalar_text)
                .map(|text| match text.split_once('=') {
                    Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                    None => (text, None),
                })
                .collect(),
            _ => return None,
        })
    }

    fn hosts(&mut self, node: &Node) -> Option<Value> {
        let mut by_host: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
        let separated = matches!(node.data, Data::Map(_));
        for item in sequence(node.clone()) {
            let text = item.scalar_text().unwrap_or_default();
            let divided = text
                .split_once('=')
                .or_else(|| text.split_once(':').filter(|_| !separated));
            match divided {
                Some((host, address)) if !host.is_empty() => {
                    let address = address
                        .strip_prefix('[')
                        .and_then(|inside| inside.strip_suffix(']'))
                        .unwrap_or(address);
                    let all = address.split(',').map(str::to_owned);
                    by_host.entry(host.to_owned()).or_default().extend(all);
                }
                _ => return self.fault(format_args!("invalid additional host, missing IP: {text}"), &item),
            }
        }
        let hosts: Vec<Value> = by_host
            .into_iter()
            .flat_map(|(host, addresses)| {
                addresses
                    .into_iter()
                    .map(move |address| Value::from(format!("{host}={address}")))
            })
            .collect();
        (!hosts.is_empty()).then(|| Value::from(hosts))
    }
}

/// An object, unless it is empty.
fn filled(object: JsonMap<String, Value>) -> Option<Value> {
    (!object.is_empty()).then_some(Value::Object(object))
}

/// A number of single precision, printed with the digits that it needs.
#[expect(clippy::cast_possible_truncation, reason = "the type of the attribute")]
fn float32(number: f64) -> Value {
    let short = (number as f32).to_string();
    json_number(short.parse().unwrap_or(number))
}

/// `services[web].environment`, as mapstructure names a place.
fn go_path(path: &Path) -> String {
    let mut text = String::new();
    for (index, step) in path.steps().iter().enumerate() {
        if step.starts_with('[') {
            text.push_str(step);
        } else if index == 1 {
            text.push_str(&format!("[{step}]"));
        } else {
            if index > 0 {
                text.push('.');
            }
            text.push_str(step);
        }
    }
    text
}
