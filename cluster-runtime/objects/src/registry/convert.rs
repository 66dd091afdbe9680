//! Turning objects between the versions of their kind.

use crate::Object;

/// Core events to `events.k8s.io/v1`.
pub(super) fn event_from_core(object: &mut Object) {
    rename(object, EVENT_NAMES.iter().map(|(core, new)| (*core, *new)));
}

/// `events.k8s.io/v1` to core events.
pub(super) fn event_to_core(object: &mut Object) {
    rename(object, EVENT_NAMES.iter().map(|(core, new)| (*new, *core)));
}

/// Fields of events by their name in the core group and in `events.k8s.io/v1`.
const EVENT_NAMES: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

fn rename<'a>(object: &mut Object, names: impl Iterator<Item = (&'a str, &'a str)>) {
    for (from, to) in names {
        if let Some(value) = object.fields_mut().remove(from) {
            object.fields_mut().insert(to.to_owned(), value);
        }
    }
}

/// Autoscalers of version 2 to version 1.
pub(super) fn autoscaler_from_v2(_object: &mut Object) {}

/// Autoscalers of version 1 to version 2.
pub(super) fn autoscaler_to_v2(_object: &mut Object) {}
