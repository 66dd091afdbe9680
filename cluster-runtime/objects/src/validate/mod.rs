//! What is wrong with an object, all faults at once, with Kubernetes' messages and field paths.
//!
//! The checks follow Kubernetes' `validation.go` of each group, for the kinds and fields that charts commonly use.
//! Values have the types of their schema by now; what has not reads as absent.

mod access;
mod batch;
mod cluster;
mod config;
mod container;
mod ephemeral;
mod faults;
mod field;
mod metadata;
mod network;
mod pod;
mod probe;
mod storage;
mod workloads;

use crate::registry::KindRow;
use crate::{Object, StatusCause};

pub use faults::Faults;
pub use metadata::NameRule;

pub(crate) use access::{role, role_binding, role_binding_update};
pub(crate) use batch::{cron_job, job, job_update};
pub(crate) use cluster::{
    custom_resource_definition, horizontal_pod_autoscaler, pod_disruption_budget, priority_class,
    priority_class_update, runtime_class, webhook_configuration,
};
pub(crate) use config::{config_map, config_map_update, secret, secret_update};
pub(crate) use ephemeral::{pod_create, pod_part};
pub(crate) use network::{endpoint_slice, ingress, ingress_class, network_policy, service, service_update};
pub(crate) use pod::{pod, pod_template, pod_update};
pub(crate) use storage::{
    persistent_volume, persistent_volume_claim, persistent_volume_claim_update, storage_class,
    storage_class_update,
};
pub(crate) use workloads::{
    daemon_set, deployment, replica_set, replication_controller, selector_update, stateful_set,
    stateful_set_update,
};

impl KindRow {
    /// Finds what is wrong with a new object.
    pub fn validate_create(&self, object: &Object) -> Vec<StatusCause> {
        let mut faults = Faults::default();
        metadata::check(self, object, &mut faults);
        (self.hooks.validate)(self, object, &mut faults);
        (self.hooks.validate_create)(self, object, &mut faults);
        faults.into_causes()
    }

    /// Finds what is wrong with a changed object: what is wrong with it as it is, and with the change.
    pub fn validate_update(&self, new: &Object, old: &Object) -> Vec<StatusCause> {
        let mut faults = Faults::default();
        metadata::check(self, new, &mut faults);
        metadata::check_update(new, old, &mut faults);
        (self.hooks.validate)(self, new, &mut faults);
        (self.hooks.validate_update)(self, new, old, &mut faults);
        faults.into_causes()
    }

    /// Finds what is wrong with the part of an object that a subresource replaced.
    pub fn validate_part(&self, subresource: &str, new: &Object, old: &Object) -> Vec<StatusCause> {
        let mut faults = Faults::default();
        (self.hooks.validate_part)(self, subresource, new, old, &mut faults);
        faults.into_causes()
    }

    /// Finds what is wrong with an object whose status was changed.
    pub fn validate_status_update(&self, new: &Object, old: &Object) -> Vec<StatusCause> {
        let mut faults = Faults::default();
        metadata::check(self, new, &mut faults);
        metadata::check_update(new, old, &mut faults);
        faults.into_causes()
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are made in place")]
mod tests;
