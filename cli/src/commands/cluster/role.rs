//! `tug cluster promote` and `tug cluster demote`

use super::token::explain;
use crate::bundled;
use crate::failure::Failure;
use crate::settings::Settings;

/// Make an agent a server; its pods go on running
#[derive(clap::Args)]
pub(crate) struct PromoteArgs {
    /// The node
    node: String,
}

/// Make a server an agent; its pods go on running
#[derive(clap::Args)]
pub(crate) struct DemoteArgs {
    /// The node
    node: String,
}

pub(super) fn promote(arguments: &PromoteArgs, settings: &Settings) -> Result<(), Failure> {
    let node = &arguments.node;
    let dir = bundled::directory(settings);
    cluster_server::promote(&dir, node).map_err(|error| explain(&error))?;
    settings.console.say(format!("{node} is a server"));
    let servers = cluster_server::members(&dir).map_err(|error| explain(&error))?;
    let voters = servers.iter().filter(|server| server.voter).count();
    if voters % 2 == 0 {
        settings.console.say(format!(
            "{voters} servers survive the loss of no more than {} would: make it an odd number",
            voters - 1
        ));
    }
    Ok(())
}

pub(super) fn demote(arguments: &DemoteArgs, settings: &Settings) -> Result<(), Failure> {
    let node = &arguments.node;
    cluster_server::demote(&bundled::directory(settings), node).map_err(|error| explain(&error))?;
    settings.console.say(format!("{node} is a server no more"));
    Ok(())
}
