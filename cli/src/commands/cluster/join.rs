//! `tug cluster join`

use std::net::Ipv4Addr;

use cluster_server::{ClusterOptions, JoinError, JoinToken};

use crate::bundled;
use crate::failure::Failure;
use crate::settings::Settings;

/// Make this machine part of a cluster, by a token of one of its servers
#[derive(clap::Args)]
pub(crate) struct JoinArgs {
    /// What `tug cluster start` or `tug cluster token create` has printed on a server
    token: JoinToken,
    /// Name of the node [default: the host's name]
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// Address by which other machines reach this one [default: that of the way to the server]
    #[arg(long, value_name = "ADDRESS")]
    advertise_address: Option<Ipv4Addr>,
    /// Port at which servers reach this node's containers, for an agent [default: 10250]
    #[arg(long, value_name = "PORT")]
    node_port: Option<u16>,
    /// Name of the bridge that pods are linked to [default: tug0]
    #[arg(long, value_name = "NAME")]
    bridge: Option<String>,
}

pub(super) fn run(arguments: JoinArgs, settings: &Settings) -> Result<(), Failure> {
    let dir = bundled::directory(settings);
    let wishes = ClusterOptions {
        node_name: arguments.node_name,
        advertise_address: arguments.advertise_address,
        api_port: arguments.node_port,
        bridge: arguments.bridge,
        ..bundled::options(settings)
    };
    let joined =
        cluster_server::join(&dir, &arguments.token, &wishes).map_err(|error| explain(&error, settings))?;
    let (name, role) = (&joined.node_name, joined.role.as_str());
    bundled::start(settings, &bundled::options(settings))?;
    settings
        .console
        .say(format!("{name} is part of the cluster as {role}"));
    Ok(())
}

fn explain(error: &JoinError, settings: &Settings) -> Failure {
    let failure = Failure::from_error(error);
    match error {
        JoinError::Control(error) => bundled::failure(error, settings),
        JoinError::Member { .. } => failure
            .hint("`tug cluster start` starts it where it is stopped")
            .hint("`tug cluster delete` takes the machine out of it, data included"),
        JoinError::NoAddress { .. } => {
            failure.hint("--advertise-address ADDRESS names the one that servers reach")
        }
        JoinError::Clock { .. } => failure.hint("set the clock, for example by NTP, and join again"),
        JoinError::OtherCluster { .. } => {
            failure.hint("`tug cluster token create` on a server of the right cluster makes a token for it")
        }
        JoinError::Ask(cluster_server::AskError::Refused(refusal)) => {
            Failure::new("the cluster does not take this machine in")
                .because(refusal.reason.clone())
                .hint(refusal.hint.clone())
        }
        JoinError::Ask(_) => failure.hint("is the server running, and does no firewall stand between?"),
        JoinError::Pki(_) | JoinError::Settings(_) | JoinError::Answer(_) => failure,
    }
}
