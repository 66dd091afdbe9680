//! The whole plan of a deployment, from its replica sets to a list of steps.

use std::sync::Arc;

use cluster_client::{EventType, Patch, Target};
use cluster_objects::Object;
use jiff::Timestamp;
use serde_json::json;

use super::rollout::{self, Bounds};
use super::sets::{self, REVISION, Sets, Sized};
use super::status::{self, Progress, plan_status};
use super::{deployments, replica_sets};
use crate::step::{self, Step};

/// What is known of a deployment's surroundings.
pub(crate) struct Observed<'a> {
    /// Its replica sets.
    pub(crate) sets: Vec<Arc<Object>>,
    /// Whether a replica set has pods that have not ended.
    pub(crate) has_running_pods: &'a (dyn Fn(&Object) -> bool + Sync),
    /// Whether its selector is empty, so that it would take every pod.
    pub(crate) selects_everything: bool,
}

/// Steps that bring a deployment one stage further. Each stage changes replica sets, and these changes lead to the
/// next plan; when nothing is left to change, only the status is brought up to date.
pub(crate) fn plan(deployment: &Object, observed: &Observed<'_>, now: Timestamp) -> Vec<Step> {
    if observed.selects_everything {
        return vec![Step::Tell {
            kind: EventType::Warning,
            reason: "SelectingAll",
            message: "This deployment is selecting all pods. A non-empty selector is required.".into(),
        }];
    }
    let sets = Sets::of(deployment, &observed.sets);
    if deployment.deletion_timestamp().is_some() {
        return plan_status(deployment, &sets, &Progress::default(), now);
    }
    let mut planner = Planner {
        deployment,
        bounds: Bounds::of(deployment),
        sets,
        steps: Vec::new(),
        progress: Progress::default(),
    };
    if status::is_paused(deployment) || rollout::is_scaling(deployment, &planner.sets) {
        planner.scale();
        if status::is_paused(deployment) {
            planner.clean_up();
        }
    } else {
        planner.progress.rolling = true;
        if rollout::recreates(deployment) {
            planner.recreate(observed.has_running_pods);
        } else {
            planner.roll();
        }
    }
    let Planner {
        sets,
        mut steps,
        progress,
        ..
    } = planner;
    steps.extend(plan_status(deployment, &sets, &progress, now));
    steps
}

struct Planner<'a> {
    deployment: &'a Object,
    bounds: Bounds,
    sets: Sets,
    steps: Vec<Step>,
    progress: Progress,
}

impl Planner<'_> {
    fn scale(&mut self) {
        self.number_new_set();
        for (sized, size) in rollout::scaled_sizes(self.deployment, &self.sets, &self.bounds) {
            self.resize(&sized, size);
        }
    }

    fn recreate(&mut self, has_running_pods: &dyn Fn(&Object) -> bool) {
        self.number_new_set();
        let active: Vec<Sized> = self
            .sets
            .old
            .iter()
            .filter(|sized| sized.replicas > 0)
            .cloned()
            .collect();
        if !active.is_empty() {
            active.iter().for_each(|sized| self.resize(sized, 0));
            return;
        }
        if self.sets.old.iter().any(|sized| has_running_pods(&sized.set)) {
            return;
        }
        self.grow_new_set(true);
        if status::is_complete(self.deployment) {
            self.clean_up();
        }
    }

    fn roll(&mut self) {
        self.number_new_set();
        if self.grow_new_set(false) {
            return;
        }
        let shrinking = rollout::old_sizes(&self.sets, &self.bounds);
        if !shrinking.is_empty() {
            shrinking
                .iter()
                .for_each(|(sized, size)| self.resize(sized, *size));
            return;
        }
        if status::is_complete(self.deployment) {
            self.clean_up();
        }
    }

    /// Gives the new set its revision, and the deployment the revision of its new set.
    fn number_new_set(&mut self) {
        let revision = self.sets.max_old_revision() + 1;
        let Some(new) = &self.sets.new else { return };
        self.steps.extend(sets::refresh(self.deployment, new, revision));
        self.note_revision(new.revision().max(revision));
    }

    fn note_revision(&mut self, revision: i64) {
        if sets::revision_of(self.deployment) == revision {
            return;
        }
        self.steps.push(Step::Patch {
            target: Target::of(&deployments(), self.deployment),
            patch: Patch::Merge(json!({"metadata": {"annotations": {REVISION: revision.to_string()}}})),
        });
    }

    /// Creates the new set or makes it larger (or smaller, where it has too many). Says whether it did.
    fn grow_new_set(&mut self, recreate: bool) -> bool {
        let Some(new) = self.sets.new.clone() else {
            let size = rollout::new_size(&self.sets, 0, &self.bounds, recreate);
            let revision = self.sets.max_old_revision() + 1;
            let (name, create) = sets::make(self.deployment, size, revision, &self.bounds);
            self.steps.push(create);
            if size > 0 {
                self.tell_size(&name, 0, size);
            }
            self.note_revision(revision);
            self.progress.created = Some(name);
            return true;
        };
        let size = rollout::new_size(&self.sets, new.replicas, &self.bounds, recreate);
        if size == new.replicas {
            // Annotations of the size may be behind, after the size changed and changed back.
            self.steps.extend(sets::scale(&new, size, &self.bounds));
            return false;
        }
        self.resize(&new, size);
        true
    }

    fn resize(&mut self, sized: &Sized, size: i64) {
        let Some(step) = sets::scale(sized, size, &self.bounds) else {
            return;
        };
        self.steps.push(step);
        if size != sized.replicas {
            self.tell_size(sized.set.name(), sized.replicas, size);
        }
        let of_set = |other: &&mut Sized| other.set.uid() == sized.set.uid();
        if let Some(changed) = self.sets.old.iter_mut().chain(&mut self.sets.new).find(of_set) {
            changed.replicas = size;
        }
    }

    fn tell_size(&mut self, name: &str, from: i64, to: i64) {
        let direction = if to > from { "up" } else { "down" };
        self.steps.push(Step::Tell {
            kind: EventType::Normal,
            reason: "ScalingReplicaSet",
            message: format!("Scaled {direction} replica set {name} from {from} to {to}"),
        });
    }

    fn clean_up(&mut self) {
        let beyond = sets::beyond_history(self.deployment, &self.sets);
        self.steps
            .extend(beyond.iter().map(|set| step::delete(&replica_sets(), set, None)));
    }
}
