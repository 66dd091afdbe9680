//! How a rollout moves replicas from old sets to the new one, and how scaling spreads over several sets.

use cluster_objects::Object;
use serde_json::Value;

use super::sets::{Sets, Sized, by_size};
use crate::replica_set::wanted;

/// The bounds of a rollout, as numbers of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// `spec.replicas`.
    pub(crate) replicas: i64,
    /// How many pods may be there beyond `replicas`.
    pub(crate) surge: i64,
    /// How many of `replicas` may be unavailable.
    pub(crate) unavailable: i64,
}

impl Bounds {
    /// Reads strategy and replicas of a deployment. Percentages of surge are rounded up and those of
    /// unavailability down; where both come to 0 one pod may be unavailable, so that the rollout moves.
    pub(crate) fn of(deployment: &Object) -> Self {
        let replicas = wanted(deployment);
        if recreates(deployment) {
            return Self {
                replicas,
                surge: 0,
                unavailable: 0,
            };
        }
        let field = |name: &str| deployment.at(&["spec", "strategy", "rollingUpdate", name]);
        let surge = resolve(field("maxSurge"), "25%", replicas, true);
        let unavailable = resolve(field("maxUnavailable"), "25%", replicas, false);
        let unavailable = if surge == 0 && unavailable == 0 {
            1
        } else {
            unavailable
        };
        Self {
            replicas,
            surge,
            unavailable: unavailable.min(replicas),
        }
    }

    /// Most pods at any time.
    pub(crate) fn replicas_max(&self) -> i64 {
        self.replicas + self.surge
    }

    /// Fewest available pods at any time.
    pub(crate) fn available_min(&self) -> i64 {
        self.replicas - self.unavailable
    }
}

/// Whether the old pods go before new ones come.
pub(crate) fn recreates(deployment: &Object) -> bool {
    deployment.text(&["spec", "strategy", "type"]) == Some("Recreate")
}

/// A number of pods, given as number or as percentage of `total`.
pub(crate) fn resolve(value: Option<&Value>, default: &str, total: i64, round_up: bool) -> i64 {
    let text = match value {
        Some(Value::Number(number)) => return number.as_i64().unwrap_or_default().max(0),
        Some(Value::String(text)) => text.as_str(),
        _ => default,
    };
    let Some(percent) = text
        .strip_suffix('%')
        .and_then(|number| number.parse::<i64>().ok())
    else {
        return text.parse().unwrap_or_default();
    };
    let product = percent.max(0).saturating_mul(total);
    if round_up {
        (product + 99) / 100
    } else {
        product / 100
    }
}

/// The size that the new set should have next.
pub(crate) fn new_size(sets: &Sets, new_now: i64, bounds: &Bounds, recreate: bool) -> i64 {
    if recreate || new_now >= bounds.replicas {
        return bounds.replicas;
    }
    let room = bounds.replicas_max() - sets.replicas();
    if room <= 0 {
        return new_now;
    }
    new_now + room.min(bounds.replicas - new_now)
}

/// The old sets that shrink now, with their next sizes: first what is not healthy anyway, then what availability
/// allows.
pub(crate) fn old_sizes(sets: &Sets, bounds: &Bounds) -> Vec<(Sized, i64)> {
    let new_unavailable = sets.new.as_ref().map_or(0, |new| new.replicas - new.available());
    let most = sets.replicas() - bounds.available_min() - new_unavailable;
    if most <= 0 {
        return Vec::new();
    }
    let mut sizes: Vec<(Sized, i64)> = sets
        .old
        .iter()
        .map(|sized| (sized.clone(), sized.replicas))
        .collect();
    let mut cleaned = 0;
    for (sized, size) in &mut sizes {
        let unhealthy = (*size - sized.available()).max(0);
        let fewer = unhealthy.min(most - cleaned);
        *size -= fewer;
        cleaned += fewer;
    }
    let available: i64 = sets.all().map(Sized::available).sum();
    let mut spare = (available - bounds.available_min()).max(0);
    for (_, size) in &mut sizes {
        let fewer = (*size).min(spare);
        *size -= fewer;
        spare -= fewer;
    }
    sizes.retain(|(sized, size)| *size != sized.replicas);
    sizes
}

/// Whether the size of the deployment changed since its sets were last scaled.
pub(crate) fn is_scaling(deployment: &Object, sets: &Sets) -> bool {
    let replicas = wanted(deployment);
    sets.all().filter(|sized| sized.replicas > 0).any(|sized| {
        sized
            .desired_annotation()
            .is_some_and(|desired| desired != replicas)
    })
}

/// The sizes of the sets after the size of the deployment changed, in the middle of a rollout or while it is
/// paused: in proportion to what they have.
pub(crate) fn scaled_sizes(deployment: &Object, sets: &Sets, bounds: &Bounds) -> Vec<(Sized, i64)> {
    if let Some(only) = sets.active_or_latest() {
        return vec![(only.clone(), bounds.replicas)];
    }
    if sets.new.as_ref().is_some_and(|new| is_saturated(new, bounds)) {
        let active = sets.old.iter().filter(|sized| sized.replicas > 0);
        return active.map(|sized| (sized.clone(), 0)).collect();
    }
    if recreates(deployment) {
        return Vec::new();
    }
    let mut active: Vec<Sized> = sets.all().filter(|sized| sized.replicas > 0).cloned().collect();
    let total: i64 = active.iter().map(|sized| sized.replicas).sum();
    let allowed = if bounds.replicas > 0 {
        bounds.replicas_max()
    } else {
        0
    };
    let to_add = allowed - total;
    by_size(&mut active, to_add > 0);
    let mut added = 0;
    let mut sizes: Vec<(Sized, i64)> = Vec::new();
    for sized in active {
        let share = share(deployment, &sized, bounds);
        let left = to_add - added;
        let share = if to_add > 0 {
            share.clamp(0, left)
        } else {
            share.clamp(left, 0)
        };
        added += share;
        let size = sized.replicas + share;
        sizes.push((sized, size));
    }
    // What rounding left over goes to the largest.
    if let Some((_, size)) = sizes.first_mut() {
        *size = (*size + to_add - added).max(0);
    }
    sizes
}

fn is_saturated(new: &Sized, bounds: &Bounds) -> bool {
    new.desired_annotation() == Some(bounds.replicas)
        && new.replicas == bounds.replicas
        && new.available() == bounds.replicas
}

/// How many replicas a set gains or loses when the deployment grows or shrinks as a whole.
fn share(deployment: &Object, sized: &Sized, bounds: &Bounds) -> i64 {
    if bounds.replicas == 0 {
        return -sized.replicas;
    }
    let before = sized
        .max_annotation()
        .or_else(|| deployment.integer(&["status", "replicas"]))
        .filter(|before| *before > 0);
    let Some(before) = before else { return 0 };
    let scaled = (sized.replicas * bounds.replicas_max()) as f64 / before as f64;
    scaled.round() as i64 - sized.replicas
}
