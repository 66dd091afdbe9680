//! What is special about each built-in kind: which defaulting, preparation and validation its row has.

use super::prepare;
use super::row::Hooks;
use crate::defaults;

/// Hooks by name: `pod: default = defaults::pod, validate = ...`. What is not named does nothing.
macro_rules! hooks {
    ($($name:ident { $($hook:ident: $function:expr),* $(,)? })*) => {
        impl Hooks {
            $(pub(super) fn $name() -> Self {
                Self { $($hook: $function,)* ..Self::default() }
            })*
        }
    };
}

hooks! {
    namespace { default: defaults::namespace, prepare_create: prepare::namespace, prepare_update: prepare::namespace_update }
    pod { default: defaults::pod, prepare_create: prepare::pod }
    pod_template { default: defaults::pod_template }
    replication_controller { default: defaults::replication_controller }
    service { default: defaults::service, prepare_create: prepare::service, prepare_update: prepare::service_update }
    endpoints { default: defaults::endpoints }
    config_map {}
    secret { default: defaults::secret }
    service_account {}
    node {}
    event {}
    persistent_volume { default: defaults::persistent_volume, prepare_create: prepare::volume }
    persistent_volume_claim { default: defaults::persistent_volume_claim, prepare_create: prepare::volume }
    limit_range { default: defaults::limit_range }
    resource_quota {}
    deployment { default: defaults::deployment }
    replica_set { default: defaults::replica_set }
    stateful_set { default: defaults::stateful_set }
    daemon_set { default: defaults::daemon_set }
    controller_revision {}
    job { default: defaults::job, prepare_create: prepare::job }
    cron_job { default: defaults::cron_job }
    horizontal_pod_autoscaler { default: defaults::horizontal_pod_autoscaler }
    pod_disruption_budget {}
    ingress {}
    ingress_class { default: defaults::ingress_class }
    network_policy { default: defaults::network_policy }
    endpoint_slice { default: defaults::endpoint_slice }
    storage_class { default: defaults::storage_class }
    csi_driver { default: defaults::csi_driver }
    role {}
    role_binding { default: defaults::role_binding }
    webhook_configuration { default: defaults::webhook_configuration }
    lease {}
    priority_class { default: defaults::priority_class }
    runtime_class {}
    custom_resource_definition { default: defaults::custom_resource_definition }
    api_service { default: defaults::api_service }
}
