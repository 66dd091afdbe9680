//! Any patch of any object gives an object or is refused, and the same one twice changes nothing more.

#![no_main]

use cluster_objects::apply::{self, Writer};
use cluster_objects::schema::Schema;
use cluster_objects::{Object, nesting, patch};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    // Two documents, one a line: an object and a patch.
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let mut next = || serde_json::from_slice::<Value>(lines.next()?).ok();
    let (Some(target), Some(change)) = (next(), next()) else {
        return;
    };
    let Ok(target) = Object::from_value(target) else {
        return;
    };
    if nesting::check_object(&target).is_err() {
        return;
    }
    let schema = Schema::of_kind("", "v1", "Pod");
    if let Ok(patched) = patch::json(&target, &change) {
        let _ = patch::json(&patched, &change);
    }
    if let Ok(patched) = patch::merge(&target, &change) {
        assert_eq!(patch::merge(&patched, &change).as_ref(), Ok(&patched), "RFC 7386: merging is idempotent");
    }
    if let Ok(patched) = patch::strategic(&target, &change, &schema) {
        let _ = patch::strategic(&patched, &change, &schema);
    }
    let Ok(configuration) = Object::from_value(change) else {
        return;
    };
    let writer = Writer {
        manager: "fuzz",
        api_version: "v1",
        subresource: "",
        now: Timestamp::UNIX_EPOCH,
    };
    if let Ok(applied) = apply::apply(Some(&target), &configuration, writer, true, &schema) {
        let again = apply::apply(Some(&applied), &configuration, writer, false, &schema);
        assert_eq!(again.as_ref(), Ok(&applied), "applying is idempotent, and nobody is in their own way");
    }
});
