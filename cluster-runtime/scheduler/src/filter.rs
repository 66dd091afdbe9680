//! The filters: each may refuse a node, and says why in kube-scheduler's words.

use std::borrow::Cow;
use std::sync::Arc;

use cluster_client::ObjectKey;
use serde_json::Value;

use crate::affinity::Affinity;
use crate::node::NodeInfo;
use crate::node_selector::NodeSelector;
use crate::pod::{Ask, PodInfo};
use crate::spread::Spread;
use crate::state::ClusterState;
use crate::taint::Taint;

/// Why a filter refuses a node.
pub(crate) type Reason = Cow<'static, str>;

/// A change of the cluster that may turn a refusal into a placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Helps {
    /// A node came, or its labels, taints or amounts changed.
    Node,
    /// A pod left a node, or a pod's labels changed.
    PodGone,
    /// A pod came to a node.
    PodPlaced,
    /// A claim, volume or storage class came or changed.
    Volume,
}

impl Helps {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Node, Self::PodGone, Self::PodPlaced, Self::Volume];
}

/// One filter.
#[derive(Debug)]
pub struct Filter {
    /// Name of the plug-in in kube-scheduler.
    pub name: &'static str,
    /// What may turn its refusal into a placement.
    pub helped_by: &'static [Helps],
    /// Whether it looks at the node alone, and not at what is elsewhere in the cluster.
    pub(crate) local: bool,
    /// Whether its refusal stands whatever pods are driven away from the node.
    pub(crate) is_final: bool,
    /// Whether it can refuse any node for this pod.
    applies: fn(&Prepared<'_>) -> bool,
    check: fn(&Prepared<'_>, &NodeInfo, &mut Vec<Reason>),
}

/// The filters in the order in which they are asked; the first that refuses gives the reason.
pub fn filters() -> &'static [Filter] {
    use Helps::{Node, PodGone, PodPlaced, Volume};
    const FILTERS: &[Filter] = &[
        Filter {
            name: "NodeUnschedulable",
            is_final: true,
            applies: |_| true,
            helped_by: &[Node],
            local: true,
            check: unschedulable,
        },
        Filter {
            name: "NodeName",
            is_final: true,
            applies: |prepared| !prepared.pod.node_name.is_empty(),
            helped_by: &[Node],
            local: true,
            check: node_name,
        },
        Filter {
            name: "TaintToleration",
            is_final: true,
            applies: |_| true,
            helped_by: &[Node],
            local: true,
            check: taints,
        },
        Filter {
            name: "NodeAffinity",
            is_final: true,
            applies: |prepared| !prepared.pod.demand.is_none(),
            helped_by: &[Node],
            local: true,
            check: node_affinity,
        },
        Filter {
            name: "NodePorts",
            is_final: false,
            applies: |prepared| !prepared.pod.ports.is_empty(),
            helped_by: &[Node, PodGone],
            local: true,
            check: ports,
        },
        Filter {
            name: "NodeResourcesFit",
            is_final: false,
            applies: |_| true,
            helped_by: &[Node, PodGone],
            local: true,
            check: resources,
        },
        Filter {
            name: "VolumeBinding",
            is_final: true,
            applies: |prepared| !prepared.volumes.is_empty(),
            helped_by: &[Node, Volume],
            local: false,
            check: volumes,
        },
        Filter {
            name: "PodTopologySpread",
            is_final: false,
            applies: |prepared| !prepared.spread.refuses_nothing(),
            helped_by: &[Node, PodGone, PodPlaced],
            local: false,
            check: spread,
        },
        Filter {
            name: "InterPodAffinity",
            is_final: false,
            applies: |prepared| !prepared.affinity.is_indifferent(),
            helped_by: &[Node, PodGone, PodPlaced],
            local: false,
            check: affinity,
        },
    ];
    FILTERS
}

impl Filter {
    /// Whether it can refuse any node for this pod.
    pub(crate) fn applies(&self, prepared: &Prepared<'_>) -> bool {
        (self.applies)(prepared)
    }

    /// Adds the reasons for which the node cannot take the pod; adds none where it can.
    pub(crate) fn check(&self, prepared: &Prepared<'_>, node: &NodeInfo, reasons: &mut Vec<Reason>) {
        (self.check)(prepared, node, reasons);
    }
}

/// A pod with what its filters need to know of the cluster, found out once for all nodes.
pub(crate) struct Prepared<'a> {
    pub(crate) pod: &'a PodInfo,
    pub(crate) affinity: Affinity<'a>,
    pub(crate) spread: Spread<'a>,
    /// The nodes that the pod's volumes can be reached from.
    volumes: Vec<NodeSelector>,
}

impl<'a> Prepared<'a> {
    /// Prepares a pod whose choices the state remembers; the error is why no node can take it whatever the node is like.
    pub(crate) fn new(state: &'a ClusterState, pod: &'a PodInfo) -> Result<Self, (&'static str, String)> {
        Ok(Self {
            pod,
            volumes: bound_volumes(state, pod).map_err(|why| ("VolumeBinding", why))?,
            affinity: Affinity::prepare(state, pod),
            spread: Spread::prepare(state, pod),
        })
    }
}

fn unschedulable(prepared: &Prepared<'_>, node: &NodeInfo, reasons: &mut Vec<Reason>) {
    if node.unschedulable && !Taint::unschedulable().is_tolerated(&prepared.pod.tolerations) {
        reasons.push("node(s) were unschedulable".into());
    }
}

fn node_name(prepared: &Prepared<'_>, node: &NodeInfo, reasons: &mut Vec<Reason>) {
    if !prepared.pod.node_name.is_empty() && prepared.pod.node_name != node.name {
        reasons.push("node(s) didn't match the requested node name".into());
    }
}

fn taints(prepared: &Prepared<'_>, node: &NodeInfo, reasons: &mut Vec<Reason>) {
    let mut refusing = node.taints.iter().filter(|taint| taint.refuses());
    if refusing.any(|taint| !taint.is_tolerated(&prepared.pod.tolerations)) {
        reasons.push("node(s) had untolerated taint(s)".into());
    }
}

fn node_affinity(prepared: &Prepared<'_>, node: &NodeInfo, reasons: &mut Vec<Reason>) {
    if !prepared.pod.demand.accepts(&node.name, node.labels()) {
        reasons.push(NODE_AFFINITY.into());
    }
}

/// What [`node_affinity`] says.
pub(crate) const NODE_AFFINITY: &str = "node(s) didn't match Pod's node affinity/selector";

fn ports(prepared: &Prepared<'_>, node: &NodeInfo, reasons: &mut Vec<Reason>) {
    let kept = node
        .nominees
        .iter()
        .filter(|nominee| is_kept_from(nominee, prepared.pod));
    let kept: Vec<_> = kept.flat_map(|(_, ask)| &ask.ports).collect();
    let taken = |wanted| {
        let mut ports = node.ports.iter().chain(kept.iter().copied());
        ports.any(|port| port.clashes_with(wanted))
    };
    if prepared.pod.ports.iter().any(taken) {
        reasons.push("node(s) didn't have free ports for the requested pod ports".into());
    }
}

fn resources(prepared: &Prepared<'_>, node: &NodeInfo, reasons: &mut Vec<Reason>) {
    let (has, wants) = (&node.allocatable, &prepared.pod.requests);
    let mut taken = Cow::Borrowed(&node.requested);
    for nominee in node
        .nominees
        .iter()
        .filter(|nominee| is_kept_from(nominee, prepared.pod))
    {
        taken.to_mut().add(&nominee.1.requests);
    }
    let taken = &*taken;
    if taken.pods + wants.pods > has.pods {
        reasons.push("Too many pods".into());
    }
    let short = |wants: i64, taken: i64, has: i64| wants > 0 && wants > has - taken;
    if short(wants.cpu_milli, taken.cpu_milli, has.cpu_milli) {
        reasons.push("Insufficient cpu".into());
    }
    if short(wants.memory_bytes, taken.memory_bytes, has.memory_bytes) {
        reasons.push("Insufficient memory".into());
    }
    let (disk, disk_taken) = (wants.ephemeral_storage_bytes, taken.ephemeral_storage_bytes);
    if short(disk, disk_taken, has.ephemeral_storage_bytes) {
        reasons.push("Insufficient ephemeral-storage".into());
    }
    for (name, wanted) in &wants.extended {
        let amount = |of: &crate::Resources| of.extended.get(name).copied().unwrap_or_default();
        if short(*wanted, amount(taken), amount(has)) {
            reasons.push(format!("Insufficient {name}").into());
        }
    }
}

/// Whether room that is made for one pod is not another's.
fn is_kept_from((key, ask): &(ObjectKey, Arc<Ask>), pod: &PodInfo) -> bool {
    ask.priority >= pod.priority && *key != pod.key
}

fn volumes(prepared: &Prepared<'_>, node: &NodeInfo, reasons: &mut Vec<Reason>) {
    let reachable = |volume: &NodeSelector| volume.matches(&node.name, node.labels());
    if !prepared.volumes.iter().all(reachable) {
        reasons.push("node(s) didn't match PersistentVolume's node affinity".into());
    }
}

fn spread(prepared: &Prepared<'_>, node: &NodeInfo, reasons: &mut Vec<Reason>) {
    reasons.extend(prepared.spread.refusal(node).map(Reason::Borrowed));
}

fn affinity(prepared: &Prepared<'_>, node: &NodeInfo, reasons: &mut Vec<Reason>) {
    reasons.extend(prepared.affinity.refusal(node).map(Reason::Borrowed));
}

/// Where the bound volumes of a pod can be reached from; the error is why its claims keep it from every node.
fn bound_volumes(state: &ClusterState, pod: &PodInfo) -> Result<Vec<NodeSelector>, String> {
    let mut selectors = Vec::new();
    for name in &pod.claims {
        let Some(claim) = state.claims.get(&ObjectKey::new(pod.namespace(), name)) else {
            return Err(format!("persistentvolumeclaim {name:?} not found"));
        };
        if claim.deletion_timestamp().is_some() {
            return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
        }
        let Some(volume) = claim
            .text(&["spec", "volumeName"])
            .filter(|name| !name.is_empty())
        else {
            if waits_for_pod(state, claim) {
                continue;
            }
            return Err("pod has unbound immediate PersistentVolumeClaims".into());
        };
        let volume = state.volumes.get(&ObjectKey::new("", volume));
        let required = volume.and_then(|volume| volume.at(&["spec", "nodeAffinity", "required"]));
        selectors.extend(required.map(NodeSelector::parse));
    }
    Ok(selectors)
}

/// Whether a claim is bound only once its pod has a node.
pub(crate) fn waits_for_pod(state: &ClusterState, claim: &cluster_objects::Object) -> bool {
    let class = claim.text(&["spec", "storageClassName"]).unwrap_or_default();
    let class = state.storage_classes.get(class);
    class.and_then(|class| class.at(&["volumeBindingMode"])) == Some(&Value::from("WaitForFirstConsumer"))
}
