//! Whether a node is one that a daemon's pod belongs on, whatever else runs there.

use std::sync::Arc;

use cluster_objects::Object;

use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::taint::Effect;

/// Whether a pod belongs on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suits {
    /// A pod may be started there.
    pub may_start: bool,
    /// A pod that is there may stay.
    pub may_stay: bool,
}

/// Looks at a node's name, labels and taints as a daemon set does; what is free on it does not matter.
pub fn suits(pod: &Arc<Object>, node: &Arc<Object>) -> Suits {
    let (pod, node) = (PodInfo::new(pod), NodeInfo::new(node));
    let named = pod.node_name.is_empty() || pod.node_name == node.name;
    if !named || !pod.demand.accepts(&node.name, node.labels()) {
        return Suits {
            may_start: false,
            may_stay: false,
        };
    }
    let refuses = |effect: Effect| {
        let mut taints = node.taints.iter().filter(|taint| taint.effect == effect);
        taints.any(|taint| !taint.is_tolerated(&pod.tolerations))
    };
    let driven_away = refuses(Effect::NoExecute);
    Suits {
        may_start: !driven_away && !refuses(Effect::NoSchedule),
        may_stay: !driven_away,
    }
}
