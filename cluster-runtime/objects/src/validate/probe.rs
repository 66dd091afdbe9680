//! Probes and handlers of containers.

use super::faults::Faults;
use super::field::Field;

pub(super) fn probe(probe: &Field<'_, '_>, one_success: bool, faults: &mut Faults) {
    if probe.is_absent() {
        return;
    }
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], faults);
    for key in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        faults.not_negative(&probe.get(key));
    }
    faults.at_least(&probe.get("terminationGracePeriodSeconds"), 1);
    let threshold = probe.get("successThreshold");
    if one_success && threshold.integer().is_some_and(|number| number != 1) {
        faults.invalid(&threshold, "must be 1");
    }
}

/// Exactly one of the kinds of handlers.
pub(super) fn handler(handler: &Field<'_, '_>, kinds: &[&str], faults: &mut Faults) {
    let mut given = 0;
    for kind in kinds {
        let action = handler.get(kind);
        if action.is_absent() {
            continue;
        }
        given += 1;
        if given > 1 {
            faults.forbidden(&action, "may not specify more than 1 handler type");
            continue;
        }
        match *kind {
            "exec" => drop(faults.require(&action.get("command"))),
            "httpGet" => {
                faults.require(&action.get("path"));
                required_port(&action, faults);
                faults.one_of(&action.get("scheme"), &["HTTP", "HTTPS"]);
            }
            "tcpSocket" | "grpc" => required_port(&action, faults),
            _ => {}
        }
    }
    if given == 0 {
        faults.required(handler, "must specify a handler type");
    }
}

fn required_port(action: &Field<'_, '_>, faults: &mut Faults) {
    let port = action.get("port");
    if port.is_absent() {
        faults.invalid_value(
            &port,
            &serde_json::Value::from(0),
            "must be between 1 and 65535, inclusive",
        );
    } else {
        faults.port_or_name(&port);
    }
}
