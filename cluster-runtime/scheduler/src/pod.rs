//! What the scheduler reads of a pod, once.

use std::ops::Deref;
use std::sync::Arc;

use cluster_client::ObjectKey;
use cluster_objects::Object;
use serde_json::{Map, Value};

use crate::node_selector::NodeDemand;
use crate::number::number_of;
use crate::resources::Resources;
use crate::taint::Toleration;
use crate::terms::{Choice, Term};

/// What the scheduler reads of a pod.
#[derive(Clone, Debug)]
pub struct PodInfo {
    /// Namespace and name.
    pub key: ObjectKey,
    /// The pod itself.
    pub object: Arc<Object>,
    /// The node that it is bound to or must be bound to; empty where none is named.
    pub(crate) node_name: Arc<str>,
    /// What it asks for, shared with the other pods of its controller.
    pub(crate) ask: Arc<Ask>,
}

/// What pods of one template ask for, and what they are to others.
#[derive(Clone, Debug)]
pub struct Ask {
    pub(crate) namespace: Arc<str>,
    pub(crate) labels: Map<String, Value>,
    /// The same text for pods of the same namespace and labels.
    pub(crate) kind: Arc<str>,
    pub(crate) priority: i64,
    /// Whether it may drive away pods of lower priority.
    pub(crate) preempts: bool,
    pub(crate) requests: Resources,
    pub(crate) scored: Resources,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) demand: NodeDemand,
    pub(crate) ports: Vec<HostPort>,
    pub(crate) affinity: Vec<Term>,
    pub(crate) anti_affinity: Vec<Term>,
    /// Liked (positive weight) and disliked (negative) company.
    pub(crate) preferred: Vec<(i64, Term)>,
    pub(crate) spread: Vec<SpreadConstraint>,
    /// Number of the UID of its controller: pods of one controller are spread.
    pub(crate) controller: Option<u64>,
    /// Names of its claims.
    pub(crate) claims: Vec<String>,
}

/// A port of the node that a pod takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct HostPort {
    pub(crate) port: i64,
    pub(crate) protocol: String,
    /// Empty for all addresses of the node.
    pub(crate) address: String,
}

/// One topology spread constraint.
#[derive(Clone, Debug)]
pub(crate) struct SpreadConstraint {
    pub(crate) choice: Choice,
    pub(crate) topology_key: String,
    pub(crate) skew_max: i64,
    pub(crate) domains_min: i64,
    pub(crate) required: bool,
    /// Whether nodes that the pod does not accept are left out of the count.
    pub(crate) honours_affinity: bool,
    /// Whether nodes whose taints the pod does not tolerate are left out of the count.
    pub(crate) honours_taints: bool,
    /// Whether the constraint chooses the pod itself.
    pub(crate) chooses_self: bool,
}

impl PodInfo {
    /// Reads a pod.
    pub fn new(object: &Arc<Object>) -> Self {
        Self::asking(object, Arc::new(Ask::of(object)))
    }

    /// A pod of which it is known what it asks for.
    pub(crate) fn asking(object: &Arc<Object>, ask: Arc<Ask>) -> Self {
        Self {
            key: ObjectKey::of(object),
            node_name: object.text(&["spec", "nodeName"]).unwrap_or_default().into(),
            ask,
            object: object.clone(),
        }
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.key.namespace
    }
}

impl Deref for PodInfo {
    type Target = Ask;

    fn deref(&self) -> &Ask {
        &self.ask
    }
}

impl Ask {
    /// Reads what a pod asks for.
    pub(crate) fn of(object: &Object) -> Self {
        let namespace = object.namespace().unwrap_or_default();
        let labels = object.labels();
        let terms = |kind: &str| -> Vec<Term> {
            let required = [
                "spec",
                "affinity",
                kind,
                "requiredDuringSchedulingIgnoredDuringExecution",
            ];
            let terms = object.list(&required).iter();
            terms.map(|term| Term::parse(term, namespace, labels)).collect()
        };
        let preferred = |kind: &str, sign: i64| -> Vec<(i64, Term)> {
            let preferred = [
                "spec",
                "affinity",
                kind,
                "preferredDuringSchedulingIgnoredDuringExecution",
            ];
            let entries = object.list(&preferred).iter();
            let weigh = |entry: &Value| {
                let weight = entry["weight"].as_i64().unwrap_or_default() * sign;
                (weight, Term::parse(&entry["podAffinityTerm"], namespace, labels))
            };
            entries.map(weigh).collect()
        };
        let mut liked = preferred("podAffinity", 1);
        liked.extend(preferred("podAntiAffinity", -1));
        let tolerations = object.list(&["spec", "tolerations"]).iter();
        let spread = object.list(&["spec", "topologySpreadConstraints"]).iter();
        let claim = |volume: &Value| {
            let claim = volume["persistentVolumeClaim"]["claimName"]
                .as_str()
                .map(str::to_owned);
            let made = || Some(format!("{}-{}", object.name(), volume["name"].as_str()?));
            claim.or_else(|| volume["ephemeral"].is_object().then(made).flatten())
        };
        Self {
            namespace: namespace.into(),
            kind: kind_of(namespace, labels).into(),
            labels: labels.cloned().unwrap_or_default(),
            priority: object.integer(&["spec", "priority"]).unwrap_or_default(),
            preempts: object.text(&["spec", "preemptionPolicy"]) != Some("Never"),
            requests: Resources::requested_by(object),
            scored: Resources::scored_for(object),
            tolerations: tolerations.map(Toleration::parse).collect(),
            demand: NodeDemand::of(object),
            ports: host_ports(object),
            affinity: terms("podAffinity"),
            anti_affinity: terms("podAntiAffinity"),
            preferred: liked,
            spread: spread
                .map(|entry| SpreadConstraint::parse(entry, namespace, labels))
                .collect(),
            controller: controller_of(object).map(number_of),
            claims: object
                .list(&["spec", "volumes"])
                .iter()
                .filter_map(claim)
                .collect(),
        }
    }
}

impl HostPort {
    /// Whether two pods on one node cannot both have their port.
    pub(crate) fn clashes_with(&self, other: &Self) -> bool {
        let everywhere = |port: &Self| port.address.is_empty() || port.address == "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (everywhere(self) || everywhere(other) || self.address == other.address)
    }
}

/// The UID of the managing owner, without reading the references as a whole.
pub(crate) fn controller_of(pod: &Object) -> Option<&str> {
    let owners = pod.list(&["metadata", "ownerReferences"]);
    owners.iter().find(|owner| owner["controller"] == true)?["uid"].as_str()
}

/// The same text for pods of the same namespace and labels.
fn kind_of(namespace: &str, labels: Option<&Map<String, Value>>) -> String {
    let mut kind = namespace.to_owned();
    for (key, value) in labels.into_iter().flatten() {
        kind.push('\n');
        kind.push_str(key);
        kind.push('=');
        kind.push_str(value.as_str().unwrap_or_default());
    }
    kind
}

fn host_ports(pod: &Object) -> Vec<HostPort> {
    let sidecars = pod.list(&["spec", "initContainers"]).iter();
    let sidecars = sidecars.filter(|container| container["restartPolicy"] == "Always");
    let containers = pod.list(&["spec", "containers"]).iter().chain(sidecars);
    let ports = containers
        .filter_map(|container| container["ports"].as_array())
        .flatten();
    let taken = |port: &Value| {
        let number = port["hostPort"].as_i64().filter(|number| *number > 0)?;
        Some(HostPort {
            port: number,
            protocol: port["protocol"].as_str().unwrap_or("TCP").to_owned(),
            address: port["hostIP"].as_str().unwrap_or_default().to_owned(),
        })
    };
    ports.filter_map(taken).collect()
}

impl SpreadConstraint {
    fn parse(entry: &Value, namespace: &str, labels: Option<&Map<String, Value>>) -> Self {
        let choice = Choice::of_spread(entry, namespace, labels);
        let chooses_self = choice.chooses(namespace, labels, &crate::terms::NamespaceLabels::new());
        Self {
            choice,
            topology_key: entry["topologyKey"].as_str().unwrap_or_default().to_owned(),
            skew_max: entry["maxSkew"].as_i64().unwrap_or(1),
            domains_min: entry["minDomains"].as_i64().unwrap_or(1),
            required: entry["whenUnsatisfiable"] != "ScheduleAnyway",
            honours_affinity: entry["nodeAffinityPolicy"] != "Ignore",
            honours_taints: entry["nodeTaintsPolicy"] == "Honor",
            chooses_self,
        }
    }
}
