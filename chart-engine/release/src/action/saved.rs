//! A plan that was looked at, and is carried out as it was.

use cluster_objects::Object;
use serde::{Deserialize, Serialize};

use crate::action::claim::{self, Intent};
use crate::action::plan::{self, ChangeKind, Plan, prepare_rendered};
use crate::action::rollout::Rollout;
use crate::action::upgrade::in_force;
use crate::action::{ActionError, DeployOptions, DryRun, definitions};
use crate::cluster::Cluster;
use crate::codec::{self, DecodeError};
use crate::manifest::ManifestObject;
use crate::record::{ApplyMethod, HookEvent, Release, ReleaseStatus};

/// What a file with a plan begins with.
const FORMAT: &str = "tug.dev/plan/v1";

/// A plan with the revision that it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedPlan {
    format: String,
    /// What would change.
    pub plan: Plan,
    /// The record of the new revision, packed as in its Secret.
    record: String,
}

/// Why a file is no plan.
#[derive(Debug, thiserror::Error)]
pub enum SavedPlanError {
    /// It is not the JSON of a plan.
    #[error("this is no plan")]
    Json(#[source] serde_json::Error),
    /// It is of another version.
    #[error("this is a plan of format `{found}`, and `{FORMAT}` is understood")]
    Format {
        /// The format it names.
        found: String,
    },
    /// The revision in it is broken.
    #[error("the revision in the plan is broken")]
    Record(#[source] DecodeError),
}

impl SavedPlan {
    /// Puts a plan and its revision together.
    pub fn new(plan: Plan, release: &Release) -> Result<Self, serde_json::Error> {
        Ok(Self {
            format: FORMAT.to_owned(),
            plan,
            record: codec::encode(release)?,
        })
    }

    /// Reads a file.
    pub fn read(text: &str) -> Result<Self, SavedPlanError> {
        let saved: Self = serde_json::from_str(text).map_err(SavedPlanError::Json)?;
        if saved.format != FORMAT {
            return Err(SavedPlanError::Format { found: saved.format });
        }
        codec::decode(&saved.record).map_err(SavedPlanError::Record)?;
        Ok(saved)
    }

    /// Whether objects are made anew by it.
    fn recreates(&self) -> bool {
        let mut objects = self.plan.objects.iter();
        objects.any(|object| object.action == ChangeKind::Recreate)
    }

    /// Carries the plan out if it is still what would happen; its base has moved otherwise.
    pub async fn run(
        &self,
        cluster: &Cluster,
        deploy: &DeployOptions,
        max_history: u32,
    ) -> Result<Release, ActionError> {
        let mut release = codec::decode(&self.record)
            .map_err(|source| ActionError::Plan(SavedPlanError::Record(source)))?;
        let entries = match cluster.storage().revisions(&release.name).await {
            Ok(entries) => claim::claim(cluster, entries, Intent::Change).await?,
            Err(error) if error.is_not_found() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let base = entries.last().map(|entry| entry.revision);
        if base != self.plan.base {
            let shown =
                |base: Option<u32>| base.map_or("no release".to_owned(), |base| format!("revision {base}"));
            return Err(ActionError::PlanMoved {
                reason: format!(
                    "it starts from {}, and there is {}",
                    shown(self.plan.base),
                    shown(base)
                ),
            });
        }
        let deployed = entries
            .iter()
            .rev()
            .find(|entry| entry.status == ReleaseStatus::Deployed)
            .or(entries.last());
        let current = match deployed {
            Some(entry) => entry.decode()?,
            None => Release {
                apply_method: ApplyMethod::Server,
                ..Release::default()
            },
        };
        let is_install = entries.is_empty();
        release.info.last_deployed = Some(cluster.now());
        let deploy = &DeployOptions {
            // It was asked for when the plan was made, or the plan would not say so.
            force_replace: self.recreates() || deploy.force_replace,
            ..deploy.clone()
        };
        let definition = |object: &Object| ManifestObject {
            object: object.clone(),
            source: String::new(),
        };
        let defined: Vec<ManifestObject> = self.plan.definitions.iter().map(definition).collect();
        let foreseen = definitions::with(cluster, &defined, DryRun::Server, deploy.timeout).await?;
        let mut prepared = prepare_rendered(&foreseen, entries, current, release, deploy).await?;
        prepared.definitions.clone_from(&defined);
        let now = plan::plan(cluster, deploy, &prepared).await?;
        if now.objects != self.plan.objects {
            return Err(ActionError::PlanMoved {
                reason: first_difference(&self.plan, &now),
            });
        }
        definitions::bring(cluster, defined, deploy.timeout).await?;
        let deployment = prepared.deployment(cluster, deploy);
        let (superseded, restored) = in_force(cluster, &prepared.entries);
        let (before, after, pending, success) = if is_install {
            let events = (HookEvent::PreInstall, HookEvent::PostInstall);
            (
                events.0,
                events.1,
                ReleaseStatus::PendingInstall,
                "Install complete",
            )
        } else {
            let events = (HookEvent::PreUpgrade, HookEvent::PostUpgrade);
            (
                events.0,
                events.1,
                ReleaseStatus::PendingUpgrade,
                "Upgrade complete",
            )
        };
        prepared.release.set_status(pending, "Carrying out a saved plan");
        let rollout = Rollout {
            deployment: &deployment,
            entries: &prepared.entries,
            max_history,
            before,
            after,
            success: success.to_owned(),
            failure: format!("Release \"{}\" failed", prepared.release.name),
            superseded,
            restored,
            order: prepared.order.clone(),
        };
        rollout.run(&mut prepared.release).await?;
        Ok(prepared.release)
    }
}

fn first_difference(planned: &Plan, now: &Plan) -> String {
    let label = |change: &plan::ObjectChange| format!("{}/{}", change.kind, change.name);
    let moved = now
        .objects
        .iter()
        .find(|change| !planned.objects.contains(change))
        .or_else(|| {
            planned
                .objects
                .iter()
                .find(|change| !now.objects.contains(change))
        });
    match moved {
        Some(change) => format!("{} is not as it was when the plan was made", label(change)),
        None => "the objects are not as they were when the plan was made".to_owned(),
    }
}
