//! The attributes of the Compose specification.

use super::shape::{BOOLEAN, INTEGER, Keys, Kinds, NULL, NUMBER, Object, STRING, Shape};

const TEXT: Shape = Shape::Scalar(Kinds(STRING));
const FLAG: Shape = Shape::Scalar(Kinds(BOOLEAN | STRING));
const PLAIN_FLAG: Shape = Shape::Scalar(Kinds(BOOLEAN));
const WHOLE: Shape = Shape::Scalar(Kinds(INTEGER | STRING));
const NUMBER_OR_TEXT: Shape = Shape::Scalar(Kinds(NUMBER | STRING));
const PLAIN_NUMBER: Shape = Shape::Scalar(Kinds(NUMBER));
const TEXTS: Shape = Shape::List {
    items: &TEXT,
    unique: true,
};
const ANY_TEXTS: Shape = Shape::List {
    items: &TEXT,
    unique: false,
};
const TEXT_OR_TEXTS: Shape = Shape::Any(&[TEXT, TEXTS]);
const LIST_OR_MAP: Shape = Shape::Any(&[
    Shape::Map {
        entries: &Shape::Scalar(Kinds(BOOLEAN | NULL | NUMBER | STRING)),
        keys: Keys::Any,
    },
    TEXTS,
]);
const DRIVER_OPTIONS: Shape = Shape::Map {
    entries: &NUMBER_OR_TEXT,
    keys: Keys::Any,
};
const COMMAND: Shape = Shape::Any(&[Shape::Scalar(Kinds(NULL)), TEXT, ANY_TEXTS]);
const EXTRA_HOSTS: Shape = Shape::Any(&[
    Shape::Map {
        entries: &Shape::Any(&[TEXT, ANY_TEXTS]),
        keys: Keys::Any,
    },
    TEXTS,
]);

/// `object! { "key": SHAPE, ... }`, with options before the fields.
macro_rules! object {
    ($({$($option:ident: $value:expr),+})? $($key:literal: $shape:expr),* $(,)?) => {
        Shape::Object(&Object {
            fields: &[$(($key, $shape)),*],
            $($($option: $value,)+)?
            ..PLAIN
        })
    };
}

const PLAIN: Object = Object {
    fields: &[],
    required: &[],
    extensions: true,
    open: false,
    null: false,
};

const ULIMITS: Shape = Shape::Map {
    entries: &Shape::Any(&[
        WHOLE,
        object! { {required: &["soft", "hard"]} "hard": WHOLE, "soft": WHOLE },
    ]),
    keys: Keys::LowerOrUnchecked,
};

const FILE_REFERENCES: Shape = Shape::List {
    items: &Shape::Any(&[
        TEXT,
        object! { "source": TEXT, "target": TEXT, "uid": TEXT, "gid": TEXT, "mode": NUMBER_OR_TEXT },
    ]),
    unique: false,
};

const HOOK: Shape = object! {
    {required: &["command"]}
    "command": COMMAND, "user": TEXT, "privileged": FLAG, "working_dir": TEXT, "environment": LIST_OR_MAP,
};

const HOOKS: Shape = Shape::List {
    items: &HOOK,
    unique: false,
};

const BUILD: Shape = object! {
    "context": TEXT,
    "dockerfile": TEXT,
    "dockerfile_inline": TEXT,
    "entitlements": ANY_TEXTS,
    "args": LIST_OR_MAP,
    "ssh": LIST_OR_MAP,
    "labels": LIST_OR_MAP,
    "cache_from": ANY_TEXTS,
    "cache_to": ANY_TEXTS,
    "no_cache": FLAG,
    "no_cache_filter": TEXT_OR_TEXTS,
    "additional_contexts": LIST_OR_MAP,
    "network": TEXT,
    "provenance": FLAG,
    "sbom": FLAG,
    "pull": FLAG,
    "target": TEXT,
    "shm_size": WHOLE,
    "extra_hosts": EXTRA_HOSTS,
    "isolation": TEXT,
    "privileged": FLAG,
    "secrets": FILE_REFERENCES,
    "tags": ANY_TEXTS,
    "ulimits": ULIMITS,
    "platforms": ANY_TEXTS,
};

const BLKIO_LIMITS: Shape = Shape::List {
    items: &object! { {extensions: false} "path": TEXT, "rate": WHOLE },
    unique: false,
};

const BLKIO: Shape = object! {
    {extensions: false}
    "device_read_bps": BLKIO_LIMITS,
    "device_read_iops": BLKIO_LIMITS,
    "device_write_bps": BLKIO_LIMITS,
    "device_write_iops": BLKIO_LIMITS,
    "weight": WHOLE,
    "weight_device": Shape::List {
        items: &object! { {extensions: false} "path": TEXT, "weight": WHOLE },
        unique: false,
    },
};

const DEPENDS_ON: Shape = Shape::Any(&[
    TEXTS,
    Shape::Map {
        entries: &object! {
            {required: &["condition"]}
            "restart": FLAG,
            "required": PLAIN_FLAG,
            "condition": Shape::OneOf(&["service_started", "service_healthy", "service_completed_successfully"]),
        },
        keys: Keys::Names,
    },
]);

const DEVICES: Shape = Shape::List {
    items: &Shape::Any(&[
        TEXT,
        object! { {required: &["source"]} "source": TEXT, "target": TEXT, "permissions": TEXT },
    ]),
    unique: false,
};

const ENV_FILES: Shape = Shape::Any(&[
    TEXT,
    Shape::List {
        items: &Shape::Any(&[
            TEXT,
            object! {
                {required: &["path"], extensions: false}
                "path": TEXT, "format": TEXT, "required": FLAG,
            },
        ]),
        unique: false,
    },
]);

const EXTENDS: Shape = Shape::Any(&[
    TEXT,
    object! { {required: &["service"], extensions: false} "service": TEXT, "file": TEXT },
]);

const HEALTHCHECK: Shape = object! {
    "disable": FLAG,
    "interval": TEXT,
    "retries": NUMBER_OR_TEXT,
    "test": Shape::Any(&[TEXT, ANY_TEXTS]),
    "timeout": TEXT,
    "start_period": TEXT,
    "start_interval": TEXT,
};

const LOGGING: Shape = object! {
    "driver": TEXT,
    "options": Shape::Map {
        entries: &Shape::Scalar(Kinds(NULL | NUMBER | STRING)),
        keys: Keys::Any,
    },
};

const SERVICE_MODELS: Shape = Shape::Any(&[
    TEXTS,
    Shape::Map {
        entries: &object! { {null: true} "endpoint_var": TEXT, "model_var": TEXT },
        keys: Keys::NamesOrUnchecked,
    },
]);

const SERVICE_NETWORKS: Shape = Shape::Any(&[
    TEXTS,
    Shape::Map {
        entries: &object! {
            {null: true}
            "aliases": TEXTS,
            "interface_name": TEXT,
            "ipv4_address": TEXT,
            "ipv6_address": TEXT,
            "link_local_ips": TEXTS,
            "mac_address": TEXT,
            "driver_opts": DRIVER_OPTIONS,
            "priority": PLAIN_NUMBER,
            "gw_priority": PLAIN_NUMBER,
        },
        keys: Keys::Names,
    },
]);

const PORTS: Shape = Shape::List {
    items: &Shape::Any(&[
        PLAIN_NUMBER,
        TEXT,
        object! {
            "name": TEXT,
            "mode": TEXT,
            "host_ip": TEXT,
            "target": WHOLE,
            "published": WHOLE,
            "protocol": TEXT,
            "app_protocol": TEXT,
        },
    ]),
    unique: true,
};

const PROVIDER: Shape = object! {
    {required: &["type"]}
    "type": TEXT,
    "options": Shape::Map {
        entries: &Shape::Any(&[
            Shape::Scalar(Kinds(BOOLEAN | NUMBER | STRING)),
            Shape::List { items: &Shape::Scalar(Kinds(BOOLEAN | NUMBER | STRING)), unique: false },
        ]),
        keys: Keys::Any,
    },
};

const VOLUMES: Shape = Shape::List {
    items: &Shape::Any(&[
        TEXT,
        object! {
            {required: &["type"]}
            "type": Shape::OneOf(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"]),
            "source": TEXT,
            "target": TEXT,
            "read_only": FLAG,
            "consistency": TEXT,
            "bind": object! {
                "propagation": TEXT,
                "create_host_path": FLAG,
                "recursive": Shape::OneOf(&["enabled", "disabled", "writable", "readonly"]),
                "selinux": Shape::OneOf(&["z", "Z"]),
            },
            "volume": object! { "labels": LIST_OR_MAP, "nocopy": FLAG, "subpath": TEXT },
            "tmpfs": object! {
                "size": Shape::Any(&[Shape::Within(0, i64::MAX), TEXT]),
                "mode": NUMBER_OR_TEXT,
            },
            "image": object! { "subpath": TEXT },
        },
    ]),
    unique: true,
};

const DEVELOP: Shape = object! {
    {null: true}
    "watch": Shape::List {
        items: &object! {
            {required: &["path", "action"]}
            "ignore": TEXT_OR_TEXTS,
            "include": TEXT_OR_TEXTS,
            "path": TEXT,
            "action": Shape::OneOf(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"]),
            "target": TEXT,
            "exec": HOOK,
            "initial_sync": PLAIN_FLAG,
        },
        unique: false,
    },
};

const UPDATE_CONFIG: Shape = object! {
    "parallelism": WHOLE,
    "delay": TEXT,
    "failure_action": TEXT,
    "monitor": TEXT,
    "max_failure_ratio": NUMBER_OR_TEXT,
    "order": Shape::OneOf(&["start-first", "stop-first"]),
};

const DEVICE_REQUESTS: Shape = Shape::List {
    items: &object! {
        {required: &["capabilities"]}
        "capabilities": TEXTS,
        "count": WHOLE,
        "device_ids": TEXTS,
        "driver": TEXT,
        "options": LIST_OR_MAP,
    },
    unique: false,
};

const GPUS: Shape = Shape::Any(&[
    Shape::OneOf(&["all"]),
    Shape::List {
        items: &object! {
            {open: true}
            "capabilities": TEXTS,
            "count": WHOLE,
            "device_ids": TEXTS,
            "driver": TEXT,
            "options": LIST_OR_MAP,
        },
        unique: false,
    },
]);

const DEPLOY: Shape = object! {
    {null: true}
    "mode": TEXT,
    "endpoint_mode": TEXT,
    "replicas": WHOLE,
    "labels": LIST_OR_MAP,
    "rollback_config": UPDATE_CONFIG,
    "update_config": UPDATE_CONFIG,
    "resources": object! {
        "limits": object! { "cpus": NUMBER_OR_TEXT, "memory": TEXT, "pids": WHOLE },
        "reservations": object! {
            "cpus": NUMBER_OR_TEXT,
            "memory": TEXT,
            "generic_resources": Shape::List {
                items: &object! {
                    "discrete_resource_spec": object! { "kind": TEXT, "value": NUMBER_OR_TEXT },
                },
                unique: false,
            },
            "devices": DEVICE_REQUESTS,
        },
    },
    "restart_policy": object! { "condition": TEXT, "delay": TEXT, "max_attempts": WHOLE, "window": TEXT },
    "placement": object! {
        "constraints": ANY_TEXTS,
        "preferences": Shape::List { items: &object! { "spread": TEXT }, unique: false },
        "max_replicas_per_node": WHOLE,
    },
};

const PORT_LIST: Shape = Shape::List {
    items: &NUMBER_OR_TEXT,
    unique: true,
};

const PULL_POLICY: Shape = Shape::Text {
    fits: is_pull_policy,
    pattern: "always|never|build|if_not_present|missing|refresh|daily|weekly|every_([0-9]+[wdhms])+",
};

fn is_pull_policy(text: &str) -> bool {
    let every = |rest: &str| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        digits > 0 && rest[digits..].starts_with(['w', 'd', 'h', 'm', 's'])
    };
    [
        "always",
        "never",
        "build",
        "if_not_present",
        "missing",
        "refresh",
        "daily",
        "weekly",
    ]
    .iter()
    .any(|word| text.contains(word))
        || text
            .match_indices("every_")
            .any(|(at, word)| every(&text[at + word.len()..]))
}

fn is_container_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.windows(2).any(|pair| {
        pair[0].is_ascii_alphanumeric() && (pair[1].is_ascii_alphanumeric() || b"_.-".contains(&pair[1]))
    })
}

/// The attributes of a service.
const SERVICE: Shape = object! {
    "annotations": LIST_OR_MAP,
    "attach": FLAG,
    "blkio_config": BLKIO,
    "build": Shape::Any(&[TEXT, BUILD]),
    "cap_add": TEXTS,
    "cap_drop": TEXTS,
    "cgroup": Shape::OneOf(&["host", "private"]),
    "cgroup_parent": TEXT,
    "command": COMMAND,
    "configs": FILE_REFERENCES,
    "container_name": Shape::Text { fits: is_container_name, pattern: "[a-zA-Z0-9][a-zA-Z0-9_.-]+" },
    "cpu_count": Shape::Any(&[TEXT, Shape::Within(0, i64::MAX)]),
    "cpu_percent": Shape::Any(&[TEXT, Shape::Within(0, 100)]),
    "cpu_period": NUMBER_OR_TEXT,
    "cpu_quota": NUMBER_OR_TEXT,
    "cpu_rt_period": NUMBER_OR_TEXT,
    "cpu_rt_runtime": NUMBER_OR_TEXT,
    "cpu_shares": NUMBER_OR_TEXT,
    "cpus": NUMBER_OR_TEXT,
    "cpuset": TEXT,
    "credential_spec": object! { "config": TEXT, "file": TEXT, "registry": TEXT },
    "depends_on": DEPENDS_ON,
    "deploy": DEPLOY,
    "develop": DEVELOP,
    "device_cgroup_rules": TEXTS,
    "devices": DEVICES,
    "dns": TEXT_OR_TEXTS,
    "dns_opt": TEXTS,
    "dns_search": TEXT_OR_TEXTS,
    "domainname": TEXT,
    "entrypoint": COMMAND,
    "env_file": ENV_FILES,
    "environment": LIST_OR_MAP,
    "expose": PORT_LIST,
    "extends": EXTENDS,
    "external_links": TEXTS,
    "extra_hosts": EXTRA_HOSTS,
    "gpus": GPUS,
    "group_add": PORT_LIST,
    "healthcheck": HEALTHCHECK,
    "hostname": TEXT,
    "image": TEXT,
    "init": FLAG,
    "ipc": TEXT,
    "isolation": TEXT,
    "label_file": Shape::Any(&[TEXT, ANY_TEXTS]),
    "labels": LIST_OR_MAP,
    "links": TEXTS,
    "logging": LOGGING,
    "mac_address": TEXT,
    "mem_limit": NUMBER_OR_TEXT,
    "mem_reservation": WHOLE,
    "mem_swappiness": WHOLE,
    "memswap_limit": NUMBER_OR_TEXT,
    "models": SERVICE_MODELS,
    "network_mode": TEXT,
    "networks": SERVICE_NETWORKS,
    "oom_kill_disable": FLAG,
    "oom_score_adj": Shape::Any(&[TEXT, Shape::Within(-1000, 1000)]),
    "pid": Shape::Scalar(Kinds(NULL | STRING)),
    "pids_limit": NUMBER_OR_TEXT,
    "platform": TEXT,
    "ports": PORTS,
    "post_start": HOOKS,
    "pre_start": Shape::List { items: &PRE_START, unique: false },
    "pre_stop": HOOKS,
    "privileged": FLAG,
    "profiles": TEXTS,
    "provider": PROVIDER,
    "pull_policy": PULL_POLICY,
    "pull_refresh_after": TEXT,
    "read_only": FLAG,
    "restart": TEXT,
    "runtime": TEXT,
    "scale": WHOLE,
    "secrets": FILE_REFERENCES,
    "security_opt": TEXTS,
    "shm_size": NUMBER_OR_TEXT,
    "stdin_open": FLAG,
    "stop_grace_period": TEXT,
    "stop_signal": TEXT,
    "storage_opt": object! { {open: true} },
    "sysctls": LIST_OR_MAP,
    "tmpfs": TEXT_OR_TEXTS,
    "tty": FLAG,
    "ulimits": ULIMITS,
    "use_api_socket": PLAIN_FLAG,
    "user": TEXT,
    "userns_mode": TEXT,
    "uts": TEXT,
    "volumes": VOLUMES,
    "volumes_from": TEXTS,
    "working_dir": TEXT,
};

const PRE_START: Shape = object! {
    {required: &["command"]}
    "command": COMMAND, "image": TEXT, "user": TEXT, "privileged": FLAG, "working_dir": TEXT,
    "environment": LIST_OR_MAP, "per_replica": FLAG,
};

const OLD_EXTERNAL: Shape = Shape::Any(&[Shape::Scalar(Kinds(BOOLEAN | STRING)), object! { "name": TEXT }]);

const OPEN_EXTERNAL: Shape = Shape::Any(&[
    Shape::Scalar(Kinds(BOOLEAN | STRING)),
    object! { {open: true} "name": TEXT },
]);

const NETWORK: Shape = object! {
    {null: true}
    "name": TEXT,
    "driver": TEXT,
    "driver_opts": DRIVER_OPTIONS,
    "ipam": object! {
        "driver": TEXT,
        "config": Shape::List {
            items: &object! {
                "subnet": TEXT,
                "ip_range": TEXT,
                "gateway": TEXT,
                "aux_addresses": Shape::Map { entries: &TEXT, keys: Keys::Any },
            },
            unique: false,
        },
        "options": Shape::Map { entries: &TEXT, keys: Keys::Any },
    },
    "external": OLD_EXTERNAL,
    "internal": FLAG,
    "enable_ipv4": FLAG,
    "enable_ipv6": FLAG,
    "attachable": FLAG,
    "labels": LIST_OR_MAP,
};

const VOLUME: Shape = object! {
    {null: true}
    "name": TEXT,
    "driver": TEXT,
    "driver_opts": DRIVER_OPTIONS,
    "external": OLD_EXTERNAL,
    "labels": LIST_OR_MAP,
};

const SECRET: Shape = object! {
    "name": TEXT,
    "environment": TEXT,
    "file": TEXT,
    "external": OPEN_EXTERNAL,
    "labels": LIST_OR_MAP,
    "driver": TEXT,
    "driver_opts": DRIVER_OPTIONS,
    "template_driver": TEXT,
};

const CONFIG: Shape = object! {
    "name": TEXT,
    "content": TEXT,
    "environment": TEXT,
    "file": TEXT,
    "external": OPEN_EXTERNAL,
    "labels": LIST_OR_MAP,
    "template_driver": TEXT,
};

const MODEL: Shape = object! {
    {required: &["model"]}
    "name": TEXT,
    "model": TEXT,
    "context_size": Shape::Scalar(Kinds(INTEGER)),
    "runtime_flags": ANY_TEXTS,
};

const INCLUDE: Shape = Shape::List {
    items: &Shape::Any(&[
        TEXT,
        object! {
            {extensions: false}
            "path": TEXT_OR_TEXTS, "env_file": TEXT_OR_TEXTS, "project_directory": TEXT,
        },
    ]),
    unique: false,
};

/// A whole Compose file.
pub(super) static FILE: Shape = object! {
    "version": TEXT,
    "name": TEXT,
    "include": INCLUDE,
    "services": Shape::Map { entries: &SERVICE, keys: Keys::Names },
    "models": Shape::Map { entries: &MODEL, keys: Keys::NamesOrUnchecked },
    "networks": Shape::Map { entries: &NETWORK, keys: Keys::NamesOrUnchecked },
    "volumes": Shape::Map { entries: &VOLUME, keys: Keys::Names },
    "secrets": Shape::Map { entries: &SECRET, keys: Keys::Names },
    "configs": Shape::Map { entries: &CONFIG, keys: Keys::Names },
};
