//! The actions on releases: structs with `Default` and public fields, and a `run`.

mod claim;
mod definitions;
pub(crate) mod deploy;
mod error;
mod history;
mod install;
mod plan;
mod rollback;
mod rollout;
mod saved;
mod test;
mod uninstall;
mod unlock;
mod upgrade;

pub use deploy::{DeployOptions, DryRun, WaitStrategy};
pub use error::ActionError;
pub use history::{Get, History, List, LiveResource, live_resources};
pub use install::Install;
pub use plan::{ChangeKind, ObjectChange, Plan, compare_revisions, drift, plan_install, plan_upgrade};
pub use rollback::Rollback;
pub use saved::{SavedPlan, SavedPlanError};
pub use test::Test;
pub use uninstall::{Uninstall, Uninstalled};
pub use unlock::{Unlock, Unlocked};
pub use upgrade::Upgrade;

use std::collections::BTreeMap;

use crate::codec::SYSTEM_LABELS;
use crate::name::ReleaseName;

/// Checks the name of a release that should be there.
fn check_name(name: &str) -> Result<(), ActionError> {
    match name.parse::<ReleaseName>() {
        Ok(_) => Ok(()),
        Err(_) => Err(ActionError::InvalidName {
            name: name.to_owned(),
        }),
    }
}

/// Refuses labels that Helm itself sets.
fn check_labels<T>(labels: &BTreeMap<String, T>) -> Result<(), ActionError> {
    let reserved: Vec<String> = labels
        .keys()
        .filter(|label| SYSTEM_LABELS.contains(&label.as_str()))
        .cloned()
        .collect();
    if reserved.is_empty() {
        Ok(())
    } else {
        Err(ActionError::ReservedLabels { labels: reserved })
    }
}
