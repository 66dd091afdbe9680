//! Volumes, files, configs and secrets: what a service mounts, and the objects behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use crate::convert::Context;
use crate::names::{Names, dns_label, is_qualified_name};
use crate::object::{Object, Role, head};
use crate::options::{BindMounts, VolumeKind};
use crate::quantity;
use crate::service::{Service, says_something};
use crate::sources::Source;

/// A ConfigMap or a Secret holds a MiB with everything around its content.
const CONTENT_BYTES_MAX: u64 = 900 * 1024;
const CONTENT_FILES_MAX: usize = 200;
const VOLUME_SIZE: &str = "1Gi";
/// The annotation of a pod that names the volumes which the bundled cluster fills from the image where they are empty.
const SEEDED_VOLUMES: &str = "tug.dev/seeded-volumes";

/// The volumes of a pod, by name.
#[derive(Debug, Default)]
pub(crate) struct PodVolumes {
    list: Vec<Value>,
    names: Names,
    /// Those that begin with what the image has where they are mounted.
    seeded: BTreeSet<String>,
}

impl PodVolumes {
    /// A volume of a source that mounts may share; gives its name.
    fn shared(&mut self, wanted: &str, source: &Value) -> String {
        for volume in &self.list {
            let Some(fields) = volume.as_object() else {
                continue;
            };
            let mut rest = fields.clone();
            if let Some(Value::String(name)) = rest.remove("name")
                && Value::Object(rest) == *source
            {
                return name;
            }
        }
        self.own(wanted, source)
    }

    /// A volume for one mount; gives its name.
    fn own(&mut self, wanted: &str, source: &Value) -> String {
        let name = self.names.claim(&dns_label(wanted));
        let mut volume = source.clone();
        volume["name"] = json!(name);
        self.list.push(volume);
        name
    }

    pub(crate) fn into_list(self) -> Vec<Value> {
        self.list
    }

    /// The volumes that begin with what the image has, as an annotation that the bundled cluster honours.
    pub(crate) fn seeded(&self) -> Option<(&'static str, String)> {
        let names: Vec<&str> = self.seeded.iter().map(String::as_str).collect();
        (!names.is_empty()).then(|| (SEEDED_VOLUMES, names.join(",")))
    }
}

/// What stands behind a key of the project.
#[derive(Debug, Clone)]
enum Backing {
    /// An object of that name, and the key in it of a config or a secret.
    Named(String, String),
    /// A volume that needs no object.
    Inline(Value),
}

/// Everything of the project that can be mounted, and the objects that it takes.
pub(crate) struct Storage {
    volumes: BTreeMap<String, Backing>,
    configs: BTreeMap<String, Backing>,
    secrets: BTreeMap<String, Backing>,
    /// The volume and the key in it, by path of the host.
    files: BTreeMap<String, (Value, Option<String>)>,
    config_names: Names,
    claim_names: Names,
    objects: Vec<Object>,
}

impl Storage {
    pub(crate) fn new(cx: &Context<'_>) -> Self {
        let mut storage = Self {
            volumes: BTreeMap::new(),
            configs: BTreeMap::new(),
            secrets: BTreeMap::new(),
            files: BTreeMap::new(),
            config_names: Names::default(),
            claim_names: Names::default(),
            objects: Vec::new(),
        };
        storage.named_volumes(cx);
        storage.contents(cx, "configs");
        storage.contents(cx, "secrets");
        storage
    }

    pub(crate) fn into_objects(self) -> Vec<Object> {
        self.objects
    }

    fn named_volumes(&mut self, cx: &Context<'_>) {
        for (key, volume) in cx.project.resources("volumes") {
            cx.tell_reported("volumes", key, volume);
            let steering = cx.steering_of_volume(key, volume);
            let default_name = format!("{}_{key}", cx.project.name);
            let given = volume
                .get("name")
                .and_then(Value::as_str)
                .filter(|name| *name != default_name);
            let external = volume.get("external").is_some_and(says_something);
            if external {
                let name = dns_label(given.unwrap_or(key));
                self.volumes
                    .insert(key.to_owned(), Backing::Named(name, String::new()));
                continue;
            }
            if let Some(driver) = volume.get("driver").and_then(Value::as_str)
                && driver != "local"
            {
                cx.report.resource(
                    "volumes",
                    key,
                    "driver",
                    format!("`{driver}` is not used: the storage class of the claim decides"),
                );
            }
            let inline = volume
                .get("driver_opts")
                .and_then(Value::as_object)
                .and_then(driver_volume);
            if volume.get("driver_opts").is_some_and(says_something) && inline.is_none() {
                cx.report
                    .resource("volumes", key, "driver_opts", "they mean nothing to a claim");
            }
            let kind_is_empty = cx.options.volumes == VolumeKind::EmptyDir
                || steering.get("type").is_some_and(|kind| kind == "emptyDir");
            if kind_is_empty {
                self.volumes
                    .insert(key.to_owned(), Backing::Inline(json!({"emptyDir": {}})));
                continue;
            }
            if let Some(inline) = inline {
                self.volumes.insert(key.to_owned(), Backing::Inline(inline));
                continue;
            }
            let name = self.claim_names.claim(&dns_label(given.unwrap_or(key)));
            let mut claim = claim(&name, &steering, cx);
            let labels = volume.get("labels").and_then(Value::as_object);
            annotate(&mut claim, labels);
            cx.label(&mut claim, None);
            self.objects.push(Object::new(Role::Claim, key, claim));
            self.volumes
                .insert(key.to_owned(), Backing::Named(name, String::new()));
        }
    }

    /// The configs or the secrets.
    fn contents(&mut self, cx: &Context<'_>, kind: &str) {
        let is_secret = kind == "secrets";
        let mut secret_names = Names::default();
        for (key, entry) in cx.project.resources(kind) {
            cx.tell_reported(kind, key, entry);
            let file_key = content_key(key);
            let backing = if entry.get("external").is_some_and(says_something) {
                let given = entry.get("name").and_then(Value::as_str).unwrap_or(key);
                Backing::Named(dns_label(given), file_key)
            } else {
                let names = if is_secret {
                    &mut secret_names
                } else {
                    &mut self.config_names
                };
                let name = names.claim(&dns_label(key));
                let content = self::content(cx, kind, key, entry);
                let content = if is_secret && cx.options.leave_secrets_out {
                    Vec::new()
                } else {
                    content
                };
                let files = [(file_key.clone(), content)];
                let mut object = if is_secret {
                    secret(&name, &files)
                } else {
                    config_map(&name, &files)
                };
                annotate(&mut object, entry.get("labels").and_then(Value::as_object));
                cx.label(&mut object, None);
                let role = if is_secret { Role::Secret } else { Role::Config };
                self.objects.push(Object::new(role, key, object));
                Backing::Named(name, file_key)
            };
            let map = if is_secret {
                &mut self.secrets
            } else {
                &mut self.configs
            };
            map.insert(key.to_owned(), backing);
        }
    }

    /// The mounts of a service's container.
    pub(crate) fn mounts(
        &mut self,
        cx: &Context<'_>,
        service: &Service<'_>,
        pod: &mut PodVolumes,
    ) -> Vec<Value> {
        let mut mounts = Mounts::default();
        for (index, volume) in service.list("volumes").iter().enumerate() {
            let tell = |message: String| service.tell_item("volumes", index, message);
            self.volume(cx, service, &tell, volume, pod, &mut mounts);
        }
        for text in service.texts("volumes_from") {
            self.volumes_from(cx, service, text, pod, &mut mounts);
        }
        for text in service.texts("tmpfs") {
            tmpfs(service, text, pod, &mut mounts);
        }
        for kind in ["configs", "secrets"] {
            for reference in service.list(kind) {
                self.reference(service, kind, reference, pod, &mut mounts);
            }
        }
        if let Some(bytes) = service.size("shm_size") {
            let source = json!({"emptyDir": {"medium": "Memory", "sizeLimit": quantity::bytes(bytes)}});
            let name = pod.own(&format!("{}-shm", service.label), &source);
            mounts.add(
                service,
                "shm_size",
                json!({"name": name, "mountPath": "/dev/shm"}),
            );
        }
        devices(service, pod, &mut mounts);
        mounts.list
    }

    fn volume(
        &mut self,
        cx: &Context<'_>,
        service: &Service<'_>,
        tell: &dyn Fn(String),
        volume: &Value,
        pod: &mut PodVolumes,
        mounts: &mut Mounts,
    ) {
        let text = |key: &str| {
            volume
                .get(key)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        let Some(target) = text("target") else {
            tell("a volume without a target".to_owned());
            return;
        };
        if target.contains(':') {
            tell(format!("`{target}` is a path of Windows"));
            return;
        }
        let read_only = volume.get("read_only").and_then(Value::as_bool) == Some(true);
        let mut sub_path = None;
        let name = match (text("type").unwrap_or("volume"), text("source")) {
            ("volume", None) => pod.own(&format!("{}-data", service.label), &json!({"emptyDir": {}})),
            ("volume", Some(key)) => {
                sub_path = volume
                    .pointer("/volume/subpath")
                    .and_then(Value::as_str)
                    .map(str::to_owned);
                let source = match self.volumes.get(key) {
                    Some(Backing::Named(claim, _)) => json!({"persistentVolumeClaim": {"claimName": claim}}),
                    Some(Backing::Inline(source)) => source.clone(),
                    None => {
                        tell(format!("there is no volume `{key}`"));
                        return;
                    }
                };
                pod.shared(key, &source)
            }
            ("bind", Some(path)) => {
                let (name, key) = self.bind(cx, service, tell, path, volume, pod);
                sub_path = key;
                name
            }
            ("tmpfs", _) => {
                let mut empty = json!({"emptyDir": {"medium": "Memory"}});
                if let Some(bytes) = volume
                    .pointer("/tmpfs/size")
                    .and_then(quantity::size)
                    .filter(|bytes| *bytes > 0)
                {
                    empty["emptyDir"]["sizeLimit"] = json!(quantity::bytes(bytes));
                }
                if volume.pointer("/tmpfs/mode").is_some_and(says_something) {
                    tell(format!("the mode of the tmpfs at `{target}` is not set"));
                }
                pod.own(&format!("{}-tmpfs", service.label), &empty)
            }
            ("image", Some(image)) => {
                sub_path = volume
                    .pointer("/image/subpath")
                    .and_then(Value::as_str)
                    .map(|path| path.trim_start_matches('/').to_owned());
                pod.shared(
                    &format!("{}-image", service.label),
                    &json!({"image": {"reference": image}}),
                )
            }
            (kind, _) => {
                tell(format!("`{target}`: a volume of type {kind} cannot be had"));
                return;
            }
        };
        let is_volume = text("type").unwrap_or("volume") == "volume";
        if is_volume && sub_path.is_none() && volume.pointer("/volume/nocopy") != Some(&json!(true)) {
            pod.seeded.insert(name.clone());
        }
        let sub_path = sub_path.or_else(|| {
            service
                .steering()
                .get("volume.subpath")
                .map(|path| (*path).to_owned())
        });
        let mut mount = json!({"name": name, "mountPath": target});
        if let Some(path) = sub_path {
            mount["subPath"] = json!(path);
        }
        if read_only {
            mount["readOnly"] = json!(true);
        }
        match volume.pointer("/bind/propagation").and_then(Value::as_str) {
            None | Some("" | "private" | "rprivate") => {}
            Some("slave" | "rslave") => mount["mountPropagation"] = json!("HostToContainer"),
            Some("shared" | "rshared") => {
                mount["mountPropagation"] = json!("Bidirectional");
                if !service.peek("privileged").is_some_and(|value| value == true) {
                    tell(format!(
                        "`{target}`: shared propagation takes a privileged container"
                    ));
                    mount
                        .as_object_mut()
                        .map(|fields| fields.remove("mountPropagation"));
                }
            }
            Some(other) => tell(format!("`{target}`: propagation `{other}` is not known")),
        }
        mounts.add(service, "volumes", mount);
    }

    fn volumes_from(
        &mut self,
        cx: &Context<'_>,
        service: &Service<'_>,
        text: &str,
        pod: &mut PodVolumes,
        mounts: &mut Mounts,
    ) {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        if kind == "container" {
            service.tell(
                "volumes_from",
                format!("`{rest}` is a container that this project does not have"),
            );
            return;
        }
        let Some(other) = cx.services.get(kind) else {
            service.tell("volumes_from", format!("there is no service `{kind}`"));
            return;
        };
        let read_only = rest.split(',').any(|option| option == "ro");
        for volume in other
            .peek("volumes")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let target = volume.get("target").and_then(Value::as_str).unwrap_or_default();
            if mounts.has(target) {
                continue;
            }
            if volume.get("source").is_none_or(|source| !says_something(source)) {
                service.tell(
                    "volumes_from",
                    format!("`{target}` of `{kind}` has no name, so both have one of their own"),
                );
            }
            let mut volume = volume.clone();
            if read_only {
                volume["read_only"] = json!(true);
            }
            let tell = |message: String| service.tell("volumes_from", message);
            self.volume(cx, service, &tell, &volume, pod, mounts);
        }
    }

    fn reference(
        &self,
        service: &Service<'_>,
        kind: &str,
        reference: &Value,
        pod: &mut PodVolumes,
        mounts: &mut Mounts,
    ) {
        let text = |key: &str| {
            reference
                .get(key)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        let Some(source) = text("source") else { return };
        let is_secret = kind == "secrets";
        let backing = if is_secret {
            self.secrets.get(source)
        } else {
            self.configs.get(source)
        };
        let Some(Backing::Named(object, key)) = backing else {
            service.tell(kind, format!("there is no `{source}`"));
            return;
        };
        let folder = if is_secret { "/run/secrets/" } else { "/" };
        let target = text("target").unwrap_or(source);
        let target = if target.starts_with('/') {
            target.to_owned()
        } else {
            format!("{folder}{target}")
        };
        for owner in ["uid", "gid"] {
            if let Some(id) = text(owner).filter(|id| *id != "0") {
                service.tell(
                    kind,
                    format!("{owner} `{id}` of `{source}` is not set: the file belongs to root"),
                );
            }
        }
        let (part, name_key) = if is_secret {
            ("secret", "secretName")
        } else {
            ("configMap", "name")
        };
        let mut volume = json!({part: {name_key: object}});
        if let Some(mode) = reference.get("mode").and_then(file_mode) {
            volume[part]["defaultMode"] = json!(mode);
        }
        let name = pod.shared(&format!("{}-{object}", kind.trim_end_matches('s')), &volume);
        let mount = json!({"name": name, "mountPath": target, "subPath": key, "readOnly": true});
        mounts.add(service, kind, mount);
    }

    /// The volume of a path of the host, and what of it is mounted.
    fn bind(
        &mut self,
        cx: &Context<'_>,
        service: &Service<'_>,
        tell: &dyn Fn(String),
        path: &str,
        volume: &Value,
        pod: &mut PodVolumes,
    ) -> (String, Option<String>) {
        let target = volume.get("target").and_then(Value::as_str).unwrap_or_default();
        let read_only = volume.get("read_only").and_then(Value::as_bool) == Some(true);
        let known = self.files.get(path).cloned();
        let (source, key) = match known {
            Some(known) => known,
            None => {
                let made = self.bind_source(cx, service, tell, path);
                self.files.insert(path.to_owned(), made.clone());
                made
            }
        };
        if source.get("configMap").is_some() && !read_only {
            tell(format!(
                "`{target}` is a copy of `{path}` as it is now, and cannot be written to"
            ));
        }
        if source.get("hostPath").is_some() && cx.options.bind_mounts != BindMounts::HostPath {
            tell(format!(
                "`{path}` must be there on every node that runs the service"
            ));
        }
        let relabels = volume.pointer("/bind/selinux").is_some_and(says_something);
        if source.get("hostPath").is_some() && relabels {
            tell(format!("`{path}` gets no SELinux label of its own"));
        }
        let stem = Path::new(path)
            .file_name()
            .map_or_else(|| "host".into(), |name| name.to_string_lossy());
        (pod.shared(&format!("host-{}", dns_label(&stem)), &source), key)
    }

    fn bind_source(
        &mut self,
        cx: &Context<'_>,
        service: &Service<'_>,
        tell: &dyn Fn(String),
        path: &str,
    ) -> (Value, Option<String>) {
        let host_path = || (json!({"hostPath": {"path": path}}), None);
        match cx.options.bind_mounts {
            BindMounts::HostPath => return host_path(),
            BindMounts::EmptyDir => return (json!({"emptyDir": {}}), None),
            BindMounts::Claim => return (self.folder_claim(cx, service, path), None),
            BindMounts::Auto => {}
        }
        if path.ends_with(".sock") || !is_of_project(&cx.project.working_dir, Path::new(path)) {
            return host_path();
        }
        match cx
            .sources
            .look(Path::new(path), CONTENT_BYTES_MAX, CONTENT_FILES_MAX)
        {
            Source::Special => host_path(),
            Source::TooLarge => {
                tell(format!(
                    "`{path}` is too large for a ConfigMap, so it stays a path of the host"
                ));
                host_path()
            }
            Source::Missing => (self.folder_claim(cx, service, path), None),
            Source::Folder(files) if files.is_empty() => (self.folder_claim(cx, service, path), None),
            Source::File(content) => {
                let stem = Path::new(path)
                    .file_name()
                    .map_or_else(|| "file".into(), |name| name.to_string_lossy());
                let key = content_key(&stem);
                let name = self.files_object(cx, path, &[(key.clone(), content)]);
                (json!({"configMap": {"name": name}}), Some(key))
            }
            Source::Folder(files) => {
                let mut keys = Names::default();
                let mut items = Vec::new();
                let mut contents = Vec::new();
                for (below, content) in files {
                    let key = keys.claim(&content_key(&below.replace('/', "__")));
                    items.push(json!({"key": key, "path": below}));
                    contents.push((key, content));
                }
                let name = self.files_object(cx, path, &contents);
                (json!({"configMap": {"name": name, "items": items}}), None)
            }
        }
    }

    fn files_object(&mut self, cx: &Context<'_>, path: &str, files: &[(String, Vec<u8>)]) -> String {
        let name = self
            .config_names
            .claim(&dns_label(&below(&cx.project.working_dir, path)));
        let mut object = config_map(&name, files);
        cx.label(&mut object, None);
        self.objects.push(Object::new(Role::Config, path, object));
        name
    }

    fn folder_claim(&mut self, cx: &Context<'_>, service: &Service<'_>, path: &str) -> Value {
        let name = self
            .claim_names
            .claim(&dns_label(&below(&cx.project.working_dir, path)));
        let steering = service.steering();
        let steering = steering
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix("volume.")?.to_owned(), (*value).to_owned())))
            .collect();
        let mut object = claim(&name, &steering, cx);
        cx.label(&mut object, None);
        self.objects.push(Object::new(Role::Claim, &name, object));
        json!({"persistentVolumeClaim": {"claimName": name}})
    }
}

/// The mounts of a container, one at a path.
#[derive(Default)]
struct Mounts {
    list: Vec<Value>,
    paths: BTreeSet<String>,
}

impl Mounts {
    fn has(&self, path: &str) -> bool {
        self.paths.contains(path.trim_end_matches('/'))
    }

    fn add(&mut self, service: &Service<'_>, attribute: &str, mount: Value) {
        let path = mount["mountPath"].as_str().unwrap_or_default();
        if self.paths.insert(path.trim_end_matches('/').to_owned()) {
            self.list.push(mount);
        } else {
            service.tell(
                attribute,
                format!("something else is mounted at `{path}` already"),
            );
        }
    }
}

fn tmpfs(service: &Service<'_>, text: &str, pod: &mut PodVolumes, mounts: &mut Mounts) {
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    let mut source = json!({"emptyDir": {"medium": "Memory"}});
    let mut left = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option
            .split_once('=')
            .map(|(key, value)| (key, quantity::size(&value.into())))
        {
            Some(("size", Some(bytes))) if bytes > 0 => {
                source["emptyDir"]["sizeLimit"] = json!(quantity::bytes(bytes));
            }
            _ if option == "rw" => {}
            _ => left.push(option),
        }
    }
    if !left.is_empty() {
        service.tell("tmpfs", format!("`{path}`: {} cannot be set", left.join(", ")));
    }
    let name = pod.own(&format!("{}-tmpfs", service.label), &source);
    mounts.add(service, "tmpfs", json!({"name": name, "mountPath": path}));
}

fn devices(service: &Service<'_>, pod: &mut PodVolumes, mounts: &mut Mounts) {
    for device in service.list("devices") {
        let text = |key: &str| device.get(key).and_then(Value::as_str);
        let source = text("source").unwrap_or_default();
        if !source.starts_with('/') {
            service.tell(
                "devices",
                format!("`{source}`: CDI devices come through device plugins or resource claims"),
            );
            continue;
        }
        let target = text("target")
            .filter(|target| !target.is_empty())
            .unwrap_or(source);
        let name = pod.shared(
            &format!("device-{}", dns_label(source)),
            &json!({"hostPath": {"path": source}}),
        );
        mounts.add(service, "devices", json!({"name": name, "mountPath": target}));
        if !service.peek("privileged").is_some_and(|value| value == true) {
            service.tell(
                "devices",
                format!("`{target}` is there, but to use it takes `privileged` or a device plugin"),
            );
        }
    }
}

/// A volume of the local driver that is no folder of the engine.
fn driver_volume(options: &Map<String, Value>) -> Option<Value> {
    let text = |key: &str| options.get(key).and_then(Value::as_str).unwrap_or_default();
    let device = text("device");
    let flags: Vec<&str> = text("o").split(',').map(str::trim).collect();
    match text("type") {
        "nfs" | "nfs4" => {
            let server = flags.iter().find_map(|flag| flag.strip_prefix("addr="));
            let (host, path) = device.split_once(':').unwrap_or(("", device));
            let server = server.unwrap_or(host);
            if server.is_empty() || path.is_empty() {
                return None;
            }
            let mut nfs = json!({"nfs": {"server": server, "path": path}});
            if flags.contains(&"ro") {
                nfs["nfs"]["readOnly"] = json!(true);
            }
            Some(nfs)
        }
        "tmpfs" => {
            let mut empty = json!({"emptyDir": {"medium": "Memory"}});
            let size = flags
                .iter()
                .find_map(|flag| quantity::size(&flag.strip_prefix("size=")?.into()));
            if let Some(bytes) = size {
                empty["emptyDir"]["sizeLimit"] = json!(quantity::bytes(bytes));
            }
            Some(empty)
        }
        _ if flags.contains(&"bind") && device.starts_with('/') => {
            Some(json!({"hostPath": {"path": device}}))
        }
        _ => None,
    }
}

fn claim(name: &str, steering: &BTreeMap<String, String>, cx: &Context<'_>) -> Value {
    let given = steering.get("size").map(String::as_str);
    let size = given.or(cx.options.volume_size.as_deref()).unwrap_or(VOLUME_SIZE);
    let mut claim = head("v1", "PersistentVolumeClaim", name);
    claim["spec"] = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}});
    if let Some(class) = steering.get("storage-class-name") {
        claim["spec"]["storageClassName"] = json!(class);
    }
    if let Some(selector) = steering.get("selector") {
        claim["spec"]["selector"] = json!({"matchLabels": {"kompose.volume.selector": selector}});
    }
    claim
}

/// The content of a config or a secret, wherever it comes from.
fn content(cx: &Context<'_>, kind: &str, key: &str, entry: &Map<String, Value>) -> Vec<u8> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    if let Some(content) = text("content") {
        return content.as_bytes().to_vec();
    }
    if let Some(variable) = text("environment") {
        return match cx.project.environment.get(variable) {
            Some(value) => value.as_bytes().to_vec(),
            None => {
                let message = format!("the variable `{variable}` is not set, so it is empty");
                cx.report.resource(kind, key, "environment", message);
                Vec::new()
            }
        };
    }
    let Some(path) = text("file") else {
        if !entry.contains_key("driver") {
            cx.report
                .resource(kind, key, "file", "nothing says what it holds, so it is empty");
        }
        return Vec::new();
    };
    match cx
        .sources
        .look(Path::new(path), CONTENT_BYTES_MAX, CONTENT_FILES_MAX)
    {
        Source::File(content) => content,
        Source::TooLarge => {
            cx.report.resource(
                kind,
                key,
                "file",
                format!("`{path}` is larger than a cluster takes, so it is empty"),
            );
            Vec::new()
        }
        Source::Missing | Source::Special => {
            cx.report.resource(
                kind,
                key,
                "file",
                format!("`{path}` cannot be read, so it is empty"),
            );
            Vec::new()
        }
        Source::Folder(_) => {
            cx.report
                .resource(kind, key, "file", format!("`{path}` is a folder, so it is empty"));
            Vec::new()
        }
    }
}

fn config_map(name: &str, files: &[(String, Vec<u8>)]) -> Value {
    let mut object = head("v1", "ConfigMap", name);
    let mut data = Map::new();
    let mut binary = Map::new();
    for (key, content) in files {
        match std::str::from_utf8(content) {
            Ok(text) => data.insert(key.clone(), text.into()),
            Err(_) => binary.insert(key.clone(), BASE64.encode(content).into()),
        };
    }
    if !data.is_empty() {
        object["data"] = Value::Object(data);
    }
    if !binary.is_empty() {
        object["binaryData"] = Value::Object(binary);
    }
    object
}

fn secret(name: &str, files: &[(String, Vec<u8>)]) -> Value {
    let mut object = head("v1", "Secret", name);
    object["type"] = json!("Opaque");
    let data = files
        .iter()
        .map(|(key, content)| (key.clone(), BASE64.encode(content).into()));
    object["data"] = Value::Object(data.collect());
    object
}

/// A key of a ConfigMap or a Secret for a file of that name.
fn content_key(name: &str) -> String {
    let keep = |char: char| {
        if char.is_ascii_alphanumeric() || "-._".contains(char) {
            char
        } else {
            '_'
        }
    };
    let key: String = name.chars().map(keep).take(253).collect();
    match key.as_str() {
        "" | "." | ".." => format!("file{key}"),
        _ => key,
    }
}

fn file_mode(mode: &Value) -> Option<u32> {
    match mode {
        Value::String(text) => u32::from_str_radix(text.trim_start_matches("0o"), 8).ok(),
        number => u32::try_from(number.as_u64()?).ok(),
    }
    .filter(|mode| *mode <= 0o777)
}

/// Labels of a network, a volume, a config or a secret, as annotations of its object.
pub(crate) fn annotate(object: &mut Value, labels: Option<&Map<String, Value>>) {
    for (key, value) in labels.into_iter().flatten() {
        if is_qualified_name(key) && !key.starts_with("kompose.") {
            object["metadata"]["annotations"][key] = value.as_str().unwrap_or_default().into();
        }
    }
}

/// The path below the project's folder, or all of it.
fn below(folder: &Path, path: &str) -> String {
    let relative = Path::new(path).strip_prefix(folder).unwrap_or(Path::new(path));
    let text = relative.to_string_lossy().into_owned();
    if text.is_empty() {
        "project".to_owned()
    } else {
        text
    }
}

/// Whether a path stands in the project's folder, or beside it with more in common than the root and one folder.
fn is_of_project(folder: &Path, path: &Path) -> bool {
    let common = folder
        .components()
        .zip(path.components())
        .take_while(|(a, b)| a == b)
        .count();
    path.starts_with(folder) || common >= 3
}
