//! Services of type `LoadBalancer` get the address of this machine, as long as their ports are free on it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use cluster_client::{EventType, Informer, ObjectKey, Patch, Target, WorkQueue};
use cluster_objects::{GroupVersionResource, Object};
use serde_json::{Value, json};

use crate::context::Context;
use crate::reconcile::Reconcile;
use crate::step::{Outcome, Step};

fn services() -> GroupVersionResource {
    GroupVersionResource::new("v1", "services")
}

/// Steps that give a service the address, or take it back from one that is no balancer any more.
///
/// Of two services with the same port the one keeps the address that has it, and else the older one gets it.
pub(crate) fn plan(service: &Object, all: &[Arc<Object>], address: IpAddr) -> Vec<Step> {
    let shown = service.list(&["status", "loadBalancer", "ingress"]);
    if !is_balancer(service) {
        return if shown.is_empty() {
            Vec::new()
        } else {
            vec![show(service, &Value::Null)]
        };
    }
    let wanted = json!([{"ip": address.to_string(), "ipMode": "VIP"}]);
    let rank = |service: &Object| {
        let holds = !service.list(&["status", "loadBalancer", "ingress"]).is_empty();
        let created = service
            .text(&["metadata", "creationTimestamp"])
            .unwrap_or_default()
            .to_owned();
        (!holds, created, service.uid().to_owned())
    };
    let (own, ports) = (rank(service), ports(service));
    let stronger = all.iter().find(|other| {
        is_balancer(other)
            && other.uid() != service.uid()
            && rank(other) < own
            && ports_overlap(&ports, other)
    });
    if let Some(stronger) = stronger {
        let message = format!("a port is taken on {address} by the service {}", stronger.key());
        let mut steps = vec![Step::Tell {
            kind: EventType::Warning,
            reason: "SyncLoadBalancerFailed",
            message,
        }];
        if !shown.is_empty() {
            steps.push(show(service, &Value::Null));
        }
        return steps;
    }
    if service.at(&["status", "loadBalancer", "ingress"]) == Some(&wanted) {
        return Vec::new();
    }
    vec![show(service, &wanted)]
}

fn is_balancer(service: &Object) -> bool {
    // Another class is the business of somebody else.
    let class = service.text(&["spec", "loadBalancerClass"]).unwrap_or_default();
    service.text(&["spec", "type"]) == Some("LoadBalancer")
        && class.is_empty()
        && service.deletion_timestamp().is_none()
}

fn ports(service: &Object) -> BTreeSet<(String, u64)> {
    let ports = service.list(&["spec", "ports"]).iter();
    let key = |port: &Value| {
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        Some((protocol.to_owned(), port["port"].as_u64()?))
    };
    ports.filter_map(key).collect()
}

fn ports_overlap(own: &BTreeSet<(String, u64)>, other: &Object) -> bool {
    !own.is_disjoint(&ports(other))
}

fn show(service: &Object, ingress: &Value) -> Step {
    Step::Patch {
        target: Target::of(&services(), service).subresource("status"),
        patch: Patch::Merge(json!({"status": {"loadBalancer": {"ingress": ingress}}})),
    }
}

/// The shell around [`plan`].
pub(crate) struct LoadBalancers {
    context: Context,
    services: Informer,
    address: IpAddr,
}

impl LoadBalancers {
    pub(crate) fn new(context: &Context, queue: &WorkQueue<ObjectKey>, address: IpAddr) -> Self {
        let services = context.informers.of_resource(&services());
        let (added, all) = (queue.clone(), services.clone());
        services.add_handler(move |change| {
            added.add(ObjectKey::of(change.object()));
            // A port may have become free for another.
            if change.old().is_some_and(|old| is_balancer(old)) || is_balancer(change.object()) {
                let waiting = all.list().into_iter().filter(|other| is_balancer(other));
                waiting.for_each(|other| added.add(ObjectKey::of(&other)));
            }
        });
        Self {
            context: context.component(Self::NAME),
            services,
            address,
        }
    }
}

impl Reconcile for LoadBalancers {
    type Key = ObjectKey;

    const NAME: &'static str = "service-controller";

    async fn sync(&self, key: &ObjectKey) -> Outcome {
        let Some(service) = self.services.get_key(key) else {
            return Outcome::default();
        };
        let steps = plan(&service, &self.services.list(), self.address);
        self.context.execute(&service, steps).await
    }

    fn keys(&self) -> Vec<ObjectKey> {
        let services = self.services.list();
        services.iter().map(|service| ObjectKey::of(service)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn service(name: &str, port: u16, created: &str) -> Arc<Object> {
        let mut service = Object::new("v1", "Service", Some("default"), name);
        service.set(&["metadata", "uid"], name);
        service.set(&["metadata", "creationTimestamp"], created);
        service.set(
            &["spec"],
            json!({"type": "LoadBalancer", "ports": [{"port": port}]}),
        );
        Arc::new(service)
    }

    fn statuses(steps: &[Step]) -> Vec<Value> {
        let of = |step: &Step| match step {
            Step::Patch {
                patch: Patch::Merge(patch),
                ..
            } => Some(patch["status"]["loadBalancer"]["ingress"].clone()),
            _ => None,
        };
        steps.iter().filter_map(of).collect()
    }

    #[test]
    fn the_older_of_two_gets_a_port() {
        let (old, new) = (
            service("a", 80, "2026-01-01T00:00:00Z"),
            service("b", 80, "2026-01-02T00:00:00Z"),
        );
        let other = service("c", 81, "2026-01-03T00:00:00Z");
        let all = [new.clone(), old.clone(), other.clone()];
        assert_eq!(statuses(&plan(&old, &all, ADDRESS))[0][0]["ip"], "192.0.2.1");
        assert_eq!(statuses(&plan(&other, &all, ADDRESS)).len(), 1);
        let steps = plan(&new, &all, ADDRESS);
        assert!(statuses(&steps).is_empty());
        assert!(
            matches!(&steps[0], Step::Tell { message, .. } if message.ends_with("by the service default/a"))
        );
    }

    #[test]
    fn who_has_the_address_keeps_it_and_gives_it_back() {
        let mut holder = Object::clone(&service("b", 80, "2026-01-02T00:00:00Z"));
        holder.set(
            &["status", "loadBalancer", "ingress"],
            json!([{"ip": "192.0.2.1", "ipMode": "VIP"}]),
        );
        let holder = Arc::new(holder);
        let older = service("a", 80, "2026-01-01T00:00:00Z");
        let all = [older.clone(), holder.clone()];
        assert!(plan(&holder, &all, ADDRESS).is_empty());
        assert!(statuses(&plan(&older, &all, ADDRESS)).is_empty());
        let mut plain = Object::clone(&holder);
        plain.set(&["spec", "type"], "ClusterIP");
        assert_eq!(statuses(&plan(&plain, &all, ADDRESS)), [Value::Null]);
    }
}
