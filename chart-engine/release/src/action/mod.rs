//! The actions on releases: structs with `Default` and public fields, and a `run`.

pub(crate) mod deploy;
mod error;
mod history;
mod rollback;
mod test;
mod uninstall;

pub use deploy::{DeployOptions, DryRun, WaitStrategy};
pub use error::ActionError;
pub use history::{Get, History, List, LiveResource, live_resources};
pub use rollback::Rollback;
pub use test::Test;
pub use uninstall::{Uninstall, Uninstalled};

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
