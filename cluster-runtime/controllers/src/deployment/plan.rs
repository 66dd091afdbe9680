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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const NOW: &str = "2026-01-01T01:00:00Z";

    /// A deployment of 10 with the bounds of Kubernetes' own examples (surge 3, unavailable 2).
    fn deployment(spec: &Value, status: &Value) -> Object {
        let mut deployment = Object::new("apps/v1", "Deployment", Some("default"), "web");
        deployment.set(&["metadata", "uid"], "web");
        deployment.set(&["metadata", "generation"], 1);
        deployment.set(&["metadata", "annotations", REVISION], "2");
        let bounds = json!({"maxSurge": 3, "maxUnavailable": 2});
        deployment.set(
            &["spec"],
            json!({
                "replicas": 10, "selector": {"matchLabels": {"app": "web"}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": bounds}, "template": template("new"),
            }),
        );
        deployment.set(&["status"], status.clone());
        for (key, value) in spec.as_object().expect("a map") {
            deployment.set(&["spec", key], value.clone());
        }
        deployment
    }

    fn template(version: &str) -> Value {
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": version}]}})
    }

    /// A replica set: its name is its template, then its size, its available pods and its revision.
    fn set(name: &str, size: i64, available: i64, revision: i64, scaled_for: (i64, i64)) -> Arc<Object> {
        let mut set = Object::new("apps/v1", "ReplicaSet", Some("default"), name);
        set.set(&["metadata", "uid"], name);
        set.set(
            &["metadata", "creationTimestamp"],
            format!("2026-01-01T00:00:0{revision}Z"),
        );
        set.set(
            &["metadata", "annotations"],
            json!({
                REVISION: revision.to_string(),
                "deployment.kubernetes.io/desired-replicas": scaled_for.0.to_string(),
                "deployment.kubernetes.io/max-replicas": scaled_for.1.to_string(),
            }),
        );
        set.set(&["spec"], json!({"replicas": size, "template": template(name)}));
        let ready = json!({"replicas": size, "readyReplicas": available, "availableReplicas": available});
        set.set(&["status"], ready);
        Arc::new(set)
    }

    /// Steps in words: `+set size`, `set size` for a new size, `set revision N`, `revision N` of the deployment,
    /// `-set`, and the reasons of progress conditions.
    fn words(steps: &[Step]) -> Vec<String> {
        let mut words = Vec::new();
        for step in steps {
            match step {
                Step::Create { object, .. } => {
                    let image = object
                        .at(&["spec", "template", "spec", "containers"])
                        .expect("containers")[0]["image"]
                        .clone();
                    words.push(format!(
                        "+{} {}",
                        image.as_str().expect("text"),
                        object.integer(&["spec", "replicas"]).expect("a size")
                    ));
                }
                Step::Delete { target, .. } => words.push(format!("-{}", target.name)),
                Step::Patch {
                    target,
                    patch: Patch::Merge(patch),
                } if target.subresource.is_none() => {
                    let set = target.resource.resource == "replicasets";
                    if let Some(size) = patch.pointer("/spec/replicas") {
                        words.push(format!("{} {size}", target.name));
                    } else if let Some(revision) = patch["metadata"]["annotations"][REVISION].as_str() {
                        let who = if set {
                            format!("{} ", target.name)
                        } else {
                            String::new()
                        };
                        words.push(format!("{who}revision {revision}"));
                    }
                }
                Step::Patch {
                    patch: Patch::Merge(patch),
                    ..
                } => {
                    let conditions = patch["status"]["conditions"].as_array();
                    let progress = conditions
                        .into_iter()
                        .flatten()
                        .filter(|one| one["type"] == "Progressing");
                    words.extend(
                        progress
                            .filter_map(|one| one["reason"].as_str())
                            .map(str::to_owned),
                    );
                }
                _ => {}
            }
        }
        words
    }

    fn check(deployment: &Object, sets: &[Arc<Object>], running: bool, expected: &[&str]) {
        let observed = Observed {
            sets: sets.to_vec(),
            has_running_pods: &|_| running,
            selects_everything: false,
        };
        let steps = plan(deployment, &observed, NOW.parse().expect("a time"));
        assert_eq!(
            words(&steps),
            expected,
            "{:?}",
            sets.iter().map(|set| set.name()).collect::<Vec<_>>()
        );
    }

    fn progressing(reason: &str, updated: &str) -> Value {
        json!({"conditions": [{"type": "Progressing", "status": "True", "reason": reason, "lastUpdateTime": updated}]})
    }

    #[test]
    fn a_rolling_update_keeps_within_its_bounds() {
        let fresh = deployment(&json!({}), &json!({}));
        let at_ten = (10, 13);
        check(
            &fresh,
            &[],
            true,
            &["+new 10", "revision 1", "NewReplicaSetCreated"],
        );
        check(
            &fresh,
            &[set("old", 10, 10, 1, at_ten)],
            true,
            &["+new 3", "NewReplicaSetCreated"],
        );

        let rolling = deployment(&json!({}), &progressing("ReplicaSetUpdated", NOW));
        let pair = |old: (i64, i64), new: (i64, i64)| {
            [
                set("old", old.0, old.1, 1, at_ten),
                set("new", new.0, new.1, 2, at_ten),
            ]
        };
        // 13 pods are there, so the new set cannot grow; 8 must be available, so the old one may lose 2.
        check(
            &rolling,
            &pair((10, 10), (3, 0)),
            true,
            &["old 8", "ReplicaSetUpdated"],
        );
        check(
            &rolling,
            &pair((8, 8), (3, 0)),
            true,
            &["new 5", "ReplicaSetUpdated"],
        );
        check(&rolling, &pair((8, 8), (5, 0)), true, &["ReplicaSetUpdated"]);
        check(
            &rolling,
            &pair((8, 8), (5, 5)),
            true,
            &["old 3", "ReplicaSetUpdated"],
        );
        check(
            &rolling,
            &pair((3, 3), (5, 5)),
            true,
            &["new 10", "ReplicaSetUpdated"],
        );
        check(
            &rolling,
            &pair((3, 3), (10, 8)),
            true,
            &["old 0", "ReplicaSetUpdated"],
        );
        check(
            &rolling,
            &pair((0, 0), (10, 10)),
            true,
            &["NewReplicaSetAvailable"],
        );
        // Old pods that are not available go first, and cost nothing.
        check(
            &rolling,
            &pair((10, 7), (3, 0)),
            true,
            &["old 8", "ReplicaSetUpdated"],
        );
    }

    #[test]
    fn recreating_waits_until_the_old_pods_are_gone() {
        let recreate = deployment(&json!({"strategy": {"type": "Recreate"}}), &json!({}));
        let at_ten = (10, 10);
        check(
            &recreate,
            &[set("old", 10, 10, 1, at_ten)],
            true,
            &["old 0", "ReplicaSetUpdated"],
        );
        check(&recreate, &[set("old", 0, 0, 1, at_ten)], true, &[]);
        check(
            &recreate,
            &[set("old", 0, 0, 1, at_ten)],
            false,
            &["+new 10", "NewReplicaSetCreated"],
        );
    }

    #[test]
    fn a_change_of_size_in_the_middle_of_a_rollout_is_shared() {
        let status = progressing("ReplicaSetUpdated", NOW);
        let sets = [set("old", 8, 8, 1, (10, 13)), set("new", 5, 5, 2, (10, 13))];
        let larger = deployment(&json!({"replicas": 20}), &status);
        check(&larger, &sets, true, &["old 14", "new 9", "ReplicaSetUpdated"]);
        let smaller = deployment(&json!({"replicas": 5}), &status);
        check(&smaller, &sets, true, &["old 5", "new 3", "ReplicaSetUpdated"]);
        let none = deployment(&json!({"replicas": 0}), &status);
        check(&none, &sets, true, &["old 0", "new 0", "ReplicaSetUpdated"]);
        let alone = [set("new", 10, 10, 2, (10, 13))];
        check(&larger, &alone, true, &["new 20", "ReplicaSetUpdated"]);
        let paused = deployment(&json!({"replicas": 20, "paused": true}), &status);
        check(&paused, &alone, true, &["new 20", "DeploymentPaused"]);
        check(
            &paused,
            &[set("old", 10, 10, 1, (10, 13))],
            true,
            &["old 20", "DeploymentPaused"],
        );
    }

    #[test]
    fn going_back_to_an_old_template_makes_it_the_newest_revision() {
        let undone = deployment(
            &json!({"template": template("old")}),
            &progressing("NewReplicaSetAvailable", NOW),
        );
        let sets = [set("old", 0, 0, 1, (10, 13)), set("new", 10, 10, 2, (10, 13))];
        check(
            &undone,
            &sets,
            true,
            &["old revision 3", "revision 3", "old 3", "ReplicaSetUpdated"],
        );
    }

    #[test]
    fn no_progress_for_too_long_is_told() {
        let sets = [set("new", 10, 5, 2, (10, 13))];
        let with = |updated: &str| {
            let mut status = progressing("ReplicaSetUpdated", updated);
            status["updatedReplicas"] = json!(10);
            status["replicas"] = json!(10);
            status["readyReplicas"] = json!(5);
            status["availableReplicas"] = json!(5);
            deployment(&json!({"progressDeadlineSeconds": 60}), &status)
        };
        check(&with("2026-01-01T00:59:30Z"), &sets, true, &["ReplicaSetUpdated"]);
        check(
            &with("2026-01-01T00:58:59Z"),
            &sets,
            true,
            &["ProgressDeadlineExceeded"],
        );
    }

    #[test]
    fn settled_old_sets_beyond_the_history_limit_are_removed() {
        let status =
            json!({"updatedReplicas": 10, "replicas": 10, "availableReplicas": 10, "observedGeneration": 1});
        let done = deployment(&json!({"revisionHistoryLimit": 1}), &status);
        let mut sets = vec![set("new", 10, 10, 5, (10, 13))];
        sets.extend((1..=4).map(|number| set(&format!("old{number}"), 0, 0, number, (10, 13))));
        let mut busy = (*sets[2]).clone();
        busy.set(&["status", "replicas"], 1);
        sets[2] = Arc::new(busy);
        check(
            &done,
            &sets,
            true,
            &["revision 5", "-old1", "-old3", "ReplicaSetUpdated"],
        );
    }

    #[test]
    fn err_a_selector_of_everything_is_refused() {
        let observed = Observed {
            sets: Vec::new(),
            has_running_pods: &|_| false,
            selects_everything: true,
        };
        let steps = plan(
            &deployment(&json!({}), &json!({})),
            &observed,
            NOW.parse().expect("a time"),
        );
        assert!(matches!(
            steps.as_slice(),
            [Step::Tell {
                reason: "SelectingAll",
                ..
            }]
        ));
    }
}
