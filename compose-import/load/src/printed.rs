//! The project as `docker compose config` prints it.

use serde_json::{Map, Value};

use crate::project::Project;

impl Project {
    /// The model as `docker compose config --format json` prints it: every `$` doubled, so that reading it again gives the
    /// same, and without what that leaves out (`x-` keys but those at the top, `models`).
    pub fn config_json(&self) -> Value {
        let mut model = self.model.clone();
        if self.is_typed {
            for path in &self.extensions {
                remove(&mut model, path);
            }
            if let Some(object) = model.as_object_mut() {
                object.remove("models");
            }
            double_dollars(&mut model);
        } else {
            empty_lists(&mut model);
        }
        model
    }

    /// The model as `docker compose config` prints it as YAML: every `$` doubled, and without what is empty.
    pub fn config_yaml(&self) -> Value {
        let mut model = self.model.clone();
        if !self.is_typed {
            return model;
        }
        each(&mut model, "services", |service| {
            for key in ["command", "entrypoint"] {
                if service.get(key).is_some_and(Value::is_null) {
                    service.remove(key);
                }
            }
            if let Some(Value::Object(deploy)) = service.get_mut("deploy") {
                drop_empty(deploy, "resources");
                drop_empty(deploy, "placement");
            }
            for key in ["post_start", "pre_stop"] {
                for hook in service
                    .get_mut(key)
                    .and_then(Value::as_array_mut)
                    .into_iter()
                    .flatten()
                {
                    drop_null(hook, "command");
                }
            }
            let watch = service
                .get_mut("develop")
                .and_then(|develop| develop.get_mut("watch")?.as_array_mut());
            for item in watch.into_iter().flatten() {
                if let Some(exec) = item.get_mut("exec") {
                    drop_null(exec, "command");
                }
                if let Some(item) = item.as_object_mut() {
                    drop_empty(item, "exec");
                }
            }
            if let Some(Value::Object(blkio)) = service.get_mut("blkio_config") {
                for devices in blkio.values_mut().filter_map(Value::as_array_mut) {
                    for device in devices.iter_mut().filter_map(Value::as_object_mut) {
                        *device = std::mem::take(device)
                            .into_iter()
                            .map(|(key, value)| (key.to_lowercase(), value))
                            .collect();
                    }
                }
            }
        });
        each(&mut model, "networks", |network| drop_empty(network, "ipam"));
        double_dollars(&mut model);
        model
    }
}

fn each(model: &mut Value, kind: &str, action: impl Fn(&mut Map<String, Value>)) {
    let entries = model.get_mut(kind).and_then(Value::as_object_mut);
    for (_, entry) in entries.into_iter().flatten() {
        if let Some(entry) = entry.as_object_mut() {
            action(entry);
        }
    }
}

fn drop_empty(object: &mut Map<String, Value>, key: &str) {
    if object
        .get(key)
        .and_then(Value::as_object)
        .is_some_and(Map::is_empty)
    {
        object.remove(key);
    }
}

fn drop_null(value: &mut Value, key: &str) {
    if let Some(object) = value.as_object_mut()
        && object.get(key).is_some_and(Value::is_null)
    {
        object.remove(key);
    }
}

fn remove(value: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    let next = match value {
        Value::Object(object) if rest.is_empty() => {
            object.remove(first);
            return;
        }
        Value::Object(object) => object.get_mut(first),
        Value::Array(items) => first.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
        _ => None,
    };
    if let Some(next) = next {
        remove(next, rest);
    }
}

/// A model that has no types yet is printed with nothing where a list is empty.
fn empty_lists(value: &mut Value) {
    match value {
        Value::Array(items) if items.is_empty() => *value = Value::Null,
        Value::Array(items) => items.iter_mut().for_each(empty_lists),
        Value::Object(object) => object.values_mut().for_each(empty_lists),
        _ => {}
    }
}

fn double_dollars(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('$') => *text = text.replace('$', "$$"),
        Value::Array(items) => items.iter_mut().for_each(double_dollars),
        Value::Object(object) => {
            object.values_mut().for_each(double_dollars);
            if object.keys().any(|key| key.contains('$')) {
                *object = std::mem::take(object)
                    .into_iter()
                    .map(|(key, value)| (key.replace('$', "$$"), value))
                    .collect();
            }
        }
        _ => {}
    }
}
