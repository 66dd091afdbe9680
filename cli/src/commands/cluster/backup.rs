//! `tug cluster backup`, `restore` and `recover`

use std::net::Ipv4Addr;
use std::path::PathBuf;

use cluster_server::RescueError;

use super::token::explain;
use crate::bundled;
use crate::failure::Failure;
use crate::settings::Settings;

/// Write all that the cluster is into a file: its objects, and its keys
///
/// The state is that of one moment, and is checked when it is restored. Whoever has the file has the cluster's keys: keep it
/// safe. Data of volumes is not in it.
#[derive(clap::Args)]
pub(crate) struct BackupArgs {
    /// The file
    file: PathBuf,
}

/// Make a backup a cluster again, on a machine that is in none
///
/// The machine takes the place of the server that made the backup. Others join it anew.
#[derive(clap::Args)]
pub(crate) struct RestoreArgs {
    /// The file
    file: PathBuf,
    /// Address by which other machines reach this one [default: that of the server that made the backup]
    #[arg(long, value_name = "ADDRESS")]
    advertise_address: Option<Ipv4Addr>,
}

/// Let a stopped server go on alone, when the others are lost for good
///
/// What the others agreed on without this server is lost. They must not come back with what they have: they join anew.
#[derive(clap::Args)]
pub(crate) struct RecoverArgs {
    /// Do it: without this, nothing is changed
    #[arg(long)]
    force: bool,
}

pub(super) fn backup(arguments: &BackupArgs, settings: &Settings) -> Result<(), Failure> {
    let dir = bundled::directory(settings);
    let (revision, bytes) = cluster_server::backup(&dir, &arguments.file).map_err(|error| explain(&error))?;
    settings.console.say(format!(
        "wrote revision {revision} ({bytes} bytes) to {}, with the keys of the cluster",
        arguments.file.display()
    ));
    Ok(())
}

pub(super) fn restore(arguments: &RestoreArgs, settings: &Settings) -> Result<(), Failure> {
    let dir = bundled::directory(settings);
    let restored = cluster_server::restore_cluster(&dir, &arguments.file, arguments.advertise_address);
    let revision = restored.map_err(|error| explain_rescue(&error, settings))?;
    settings.console.say(format!(
        "restored revision {revision}: `tug cluster start` starts the cluster"
    ));
    Ok(())
}

pub(super) fn recover(arguments: &RecoverArgs, settings: &Settings) -> Result<(), Failure> {
    let dir = bundled::directory(settings);
    if !arguments.force {
        return Err(Failure::new("nothing was changed")
            .because("what the other servers agreed on without this one would be lost, and they could not come back")
            .hint("`tug cluster recover --force` does it, when they are lost for good"));
    }
    let report = cluster_server::recover_cluster(&dir).map_err(|error| explain_rescue(&error, settings))?;
    let console = &settings.console;
    console.say(format!(
        "this server is a cluster of its own at revision {}; what others agreed on after that is lost",
        report.revision
    ));
    if report.uncertain_transactions > 0 {
        console.say(format!(
            "{} writes are in it of which this server did not know whether they were agreed on",
            report.uncertain_transactions
        ));
    }
    for member in &report.dropped {
        console.say(format!(
            "the server at {} must join anew: `tug cluster delete` there, then join",
            member.address
        ));
    }
    console.say("`tug cluster start` starts it");
    Ok(())
}

fn explain_rescue(error: &RescueError, settings: &Settings) -> Failure {
    let failure = Failure::from_error(error);
    match error {
        RescueError::Control(error) => bundled::failure(error, settings),
        RescueError::Running { .. } => failure.hint("`tug cluster stop --keep-pods` stops it"),
        RescueError::Occupied { .. } => failure
            .hint("--data-dir DIR names another folder")
            .hint("`tug cluster delete` deletes the cluster that is there, data included"),
        RescueError::Nothing { .. } => failure.hint("`tug cluster restore FILE` makes one of a backup"),
        RescueError::NoBackup { .. } => failure.hint("`tug cluster backup FILE` writes one"),
        _ => failure,
    }
}
