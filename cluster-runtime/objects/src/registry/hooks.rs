//! What is special about each built-in kind: which defaulting, preparation and validation its row has.

use super::row::Hooks;

macro_rules! plain {
    ($($name:ident)*) => {
        impl Hooks {
            $(pub(super) fn $name() -> Self { Self::default() })*
        }
    };
}

plain! {
    namespace pod pod_template replication_controller service endpoints config_map secret service_account node
    event persistent_volume persistent_volume_claim limit_range resource_quota deployment replica_set stateful_set
    daemon_set controller_revision job cron_job horizontal_pod_autoscaler pod_disruption_budget ingress
    ingress_class network_policy endpoint_slice storage_class csi_driver role role_binding webhook_configuration
    lease priority_class runtime_class custom_resource_definition api_service
}
