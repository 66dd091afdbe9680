//! Any object goes through what a write goes through, of whatever kind it says it is, without panic.

#![no_main]

use std::sync::LazyLock;

use cluster_objects::amounts;
use cluster_objects::apply::{self, Writer};
use cluster_objects::quota::{self, Quota};
use cluster_objects::registry::Registry;
use cluster_objects::table::{IncludeObject, partial_metadata, table};
use cluster_objects::{Object, nesting};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::builtin);

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else {
        return;
    };
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    let Ok(object) = Object::from_value(value) else {
        return;
    };
    if nesting::check_object(&object).is_err() {
        return;
    }
    let named = REGISTRY.rows().find(|row| row.kind == object.kind() && row.api_version() == object.api_version());
    let Some(row) = named.or_else(|| REGISTRY.rows().nth(usize::from(*which))) else {
        return;
    };
    let _ = row.schema.check(&object);
    let mut made = object.clone();
    row.apply_defaults(&mut made);
    row.prepare_for_create(&mut made);
    let _ = row.validate_create(&made);
    let mut again = made.clone();
    row.apply_defaults(&mut again);
    assert_eq!(again, made, "defaults fill in once");
    let writer = Writer {
        manager: "fuzz",
        api_version: &row.api_version(),
        subresource: "",
        now: Timestamp::UNIX_EPOCH,
    };
    apply::track(None, &mut made, writer, &row.schema);
    let mut changed = object.clone();
    row.prepare_for_update(&mut changed, &made);
    let _ = row.validate_update(&changed, &made);
    row.prepare_for_status_update(&mut changed, &made);
    let _ = row.validate_status_update(&changed, &made);
    let mut stored = made.clone();
    row.to_stored(&mut stored);
    row.from_stored(&mut stored);
    let _ = row.scale_of(&made);
    let _ = table(row, [&made], Timestamp::UNIX_EPOCH, IncludeObject::Metadata, true);
    let _ = partial_metadata(&made);
    let _ = quota::cost(&row.table, &made);
    let _ = amounts::of_pod(&made, "limits");
    let of = Quota::new(&made);
    let _ = (of.tables(), of.cost("pods", &object), of.unsaid(&object));
});
