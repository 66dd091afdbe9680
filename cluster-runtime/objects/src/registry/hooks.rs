//! What is special about each built-in kind: which defaulting, preparation and validation its row has.

use super::prepare;
use super::row::Hooks;
use crate::{defaults, validate};

/// Hooks by name: `pod: default = defaults::pod, validate = ...`. What is not named does nothing.
macro_rules! hooks {
    ($($name:ident { $($hook:ident: $function:expr),* $(,)? })*) => {
        impl Hooks {
            $(pub(super) fn $name() -> Self {
                #[allow(unused_mut, reason = "some kinds have no hook")]
                let mut hooks = Self::default();
                $(hooks.$hook = $function;)*
                hooks
            })*
        }
    };
}

hooks! {
    namespace {
        default: defaults::namespace,
        prepare_create: prepare::namespace,
        prepare_update: prepare::namespace_update,
    }
    pod {
        default: defaults::pod,
        prepare_create: prepare::pod,
        validate: validate::pod,
        validate_create: validate::pod_create,
        validate_part: validate::pod_part,
        validate_update: validate::pod_update,
    }
    pod_template { default: defaults::pod_template, validate: validate::pod_template }
    replication_controller {
        default: defaults::replication_controller,
        validate: validate::replication_controller,
    }
    service {
        default: defaults::service,
        prepare_create: prepare::service,
        prepare_update: prepare::service_update,
        validate: validate::service,
        validate_update: validate::service_update,
    }
    endpoints { default: defaults::endpoints }
    config_map { validate: validate::config_map, validate_update: validate::config_map_update }
    secret { default: defaults::secret, validate: validate::secret, validate_update: validate::secret_update }
    service_account {}
    node {}
    event {}
    persistent_volume {
        default: defaults::persistent_volume,
        prepare_create: prepare::volume,
        validate: validate::persistent_volume,
    }
    persistent_volume_claim {
        default: defaults::persistent_volume_claim,
        prepare_create: prepare::volume,
        validate: validate::persistent_volume_claim,
        validate_update: validate::persistent_volume_claim_update,
    }
    limit_range { default: defaults::limit_range }
    resource_quota {}
    deployment {
        default: defaults::deployment,
        validate: validate::deployment,
        validate_update: validate::selector_update,
    }
    replica_set {
        default: defaults::replica_set,
        validate: validate::replica_set,
        validate_update: validate::selector_update,
    }
    stateful_set {
        default: defaults::stateful_set,
        validate: validate::stateful_set,
        validate_update: validate::stateful_set_update,
    }
    daemon_set {
        default: defaults::daemon_set,
        validate: validate::daemon_set,
        validate_update: validate::selector_update,
    }
    controller_revision {}
    job {
        default: defaults::job,
        prepare_create: prepare::job,
        validate: validate::job,
        validate_update: validate::job_update,
    }
    cron_job { default: defaults::cron_job, validate: validate::cron_job }
    horizontal_pod_autoscaler {
        default: defaults::horizontal_pod_autoscaler,
        validate: validate::horizontal_pod_autoscaler,
    }
    pod_disruption_budget { validate: validate::pod_disruption_budget }
    ingress { validate: validate::ingress }
    ingress_class { default: defaults::ingress_class, validate: validate::ingress_class }
    network_policy { default: defaults::network_policy, validate: validate::network_policy }
    endpoint_slice { default: defaults::endpoint_slice, validate: validate::endpoint_slice }
    storage_class {
        default: defaults::storage_class,
        validate: validate::storage_class,
        validate_update: validate::storage_class_update,
    }
    csi_driver { default: defaults::csi_driver }
    role { validate: validate::role }
    role_binding {
        default: defaults::role_binding,
        validate: validate::role_binding,
        validate_update: validate::role_binding_update,
    }
    webhook_configuration {
        default: defaults::webhook_configuration,
        validate: validate::webhook_configuration,
    }
    lease {}
    priority_class {
        default: defaults::priority_class,
        validate: validate::priority_class,
        validate_update: validate::priority_class_update,
    }
    runtime_class { validate: validate::runtime_class }
    custom_resource_definition {
        default: defaults::custom_resource_definition,
        validate: validate::custom_resource_definition,
    }
    api_service { default: defaults::api_service }
}
