//! Config maps and secrets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::faults::Faults;
use super::field::Field;
use crate::Object;
use crate::names;
use crate::registry::KindRow;

/// Most bytes of keys and values of a config map together.
const CONFIG_BYTES_MAX: usize = 1024 * 1024;

pub(crate) fn config_map(_row: &KindRow, object: &Object, faults: &mut Faults) {
    let (data, binary) = (Field::top(object, "data"), Field::top(object, "binaryData"));
    let mut bytes = 0;
    for list in [data, binary] {
        for key in list.keys() {
            faults.invalid_text(&list.key(key), key, &names::config_key_faults(key));
            bytes += list.key(key).text().len();
        }
    }
    for key in data.keys().filter(|key| !binary.key(key).is_absent()) {
        let why = format!("duplicate of key present in binaryData: {key}");
        faults.invalid_value(&data.key(key), &Value::from(key), &why);
    }
    if bytes > CONFIG_BYTES_MAX {
        faults.too_long("", CONFIG_BYTES_MAX);
    }
}

pub(crate) fn config_map_update(_row: &KindRow, new: &Object, old: &Object, faults: &mut Faults) {
    unchanged_when_immutable(new, old, &["data", "binaryData"], faults);
}

fn unchanged_when_immutable(new: &Object, old: &Object, keys: &[&str], faults: &mut Faults) {
    if !Field::top(old, "immutable").is_true() {
        return;
    }
    let why = "field is immutable when `immutable` is set";
    for key in [&["immutable"], keys].concat() {
        let (new, old) = (Field::top(new, key), Field::top(old, key));
        if new.value != old.value {
            faults.forbidden(&new, why);
        }
    }
}

/// The size of secrets is not limited here: it is Helm's records that outgrow Kubernetes' limit.
pub(crate) fn secret(_row: &KindRow, object: &Object, faults: &mut Faults) {
    let data = Field::top(object, "data");
    for key in data.keys() {
        faults.invalid_text(&data.key(key), key, &names::config_key_faults(key));
    }
    let required = |keys: &[&str], faults: &mut Faults| {
        for key in keys.iter().filter(|key| data.key(key).is_absent()) {
            faults.required(&data.key(key), "");
        }
    };
    match Field::top(object, "type").text() {
        "kubernetes.io/service-account-token" => {
            let metadata = Field::top(object, "metadata");
            let annotations = metadata.get("annotations");
            faults.require(&annotations.key("kubernetes.io/service-account.name"));
        }
        "kubernetes.io/dockercfg" => registry_credentials(&data, ".dockercfg", faults),
        "kubernetes.io/dockerconfigjson" => registry_credentials(&data, ".dockerconfigjson", faults),
        "kubernetes.io/basic-auth"
            if data.key("username").is_absent() && data.key("password").is_absent() =>
        {
            required(&["username", "password"], faults);
        }
        "kubernetes.io/ssh-auth" => required(&["ssh-privatekey"], faults),
        "kubernetes.io/tls" => required(&["tls.crt", "tls.key"], faults),
        _ => {}
    }
}

fn registry_credentials(data: &Field<'_, '_>, key: &str, faults: &mut Faults) {
    let field = data.key(key);
    if field.is_absent() {
        faults.required(&field, "");
        return;
    }
    let bytes = BASE64.decode(field.text()).unwrap_or_default();
    if let Err(error) = serde_json::from_slice::<Value>(&bytes) {
        faults.invalid_value(
            &field,
            &Value::from("<secret contents redacted>"),
            &error.to_string(),
        );
    }
}

pub(crate) fn secret_update(_row: &KindRow, new: &Object, old: &Object, faults: &mut Faults) {
    faults.immutable(&Field::top(new, "type"), &Field::top(old, "type"));
    unchanged_when_immutable(new, old, &["data"], faults);
}
