//! The order in which kinds are installed and uninstalled.

use std::cmp::Ordering;

/// Kinds in the order of their installation; those not named here come last, by name.
const INSTALL: &[&str] = &[
    "PriorityClass",
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

/// Which way to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KindOrder {
    /// What others need comes first.
    Install,
    /// The other way round, with services going before the workloads behind them.
    Uninstall,
}

/// Compares two kinds in the order of their installation.
pub fn install_order(a: &str, b: &str) -> Ordering {
    KindOrder::Install.compare(a, b)
}

/// Compares two kinds in the order of their removal.
pub fn uninstall_order(a: &str, b: &str) -> Ordering {
    KindOrder::Uninstall.compare(a, b)
}

impl KindOrder {
    /// Compares two kinds; equal means to leave the objects as they stand.
    pub fn compare(self, a: &str, b: &str) -> Ordering {
        match (self.rank(a), self.rank(b)) {
            (None, None) => a.cmp(b),
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) => a.cmp(&b),
        }
    }

    fn rank(self, kind: &str) -> Option<usize> {
        let position = |kind: &str| INSTALL.iter().position(|known| *known == kind);
        match self {
            KindOrder::Install => position(kind),
            // Twice the distance from the end leaves room for a service right behind its ingress class.
            KindOrder::Uninstall if kind == "Service" => {
                Some(2 * (INSTALL.len() - position("IngressClass")?) + 1)
            }
            KindOrder::Uninstall => Some(2 * (INSTALL.len() - position(kind)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(order: KindOrder, kinds: &[&str]) -> String {
        let mut kinds = kinds.to_vec();
        kinds.sort_by(|a, b| order.compare(a, b));
        kinds.join(" ")
    }

    #[test]
    fn kinds_come_before_what_needs_them() {
        let kinds = [
            "Zebra",
            "Ingress",
            "Deployment",
            "Alpha",
            "Service",
            "Namespace",
            "IngressClass",
            "Secret",
        ];
        assert_eq!(
            sorted(KindOrder::Install, &kinds),
            "Namespace Secret Service Deployment IngressClass Ingress Alpha Zebra"
        );
        assert_eq!(
            sorted(KindOrder::Uninstall, &kinds),
            "Ingress IngressClass Service Deployment Secret Namespace Alpha Zebra"
        );
    }
}
