//! `tug compose down`

use chart_release::action::{Uninstall, WaitStrategy};
use cluster_client::{Collection, DeleteOptions, Propagation};

use super::exec::target;
use super::place::Place;
use super::project::ProjectArgs;
use super::run::ONE_OFF;
use crate::commands::{explain, run_until_interrupted};
use crate::failure::Failure;
use crate::settings::Settings;

/// Take a project down; its volumes stay unless they are to go as well
#[derive(clap::Args)]
pub(crate) struct DownArgs {
    /// Delete its volumes too, with what they hold
    #[arg(short, long)]
    volumes: bool,
    /// Longest wait in seconds
    #[arg(short, long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
    // docker compose's flag that says what is so anyway.
    #[arg(long, hide = true)]
    remove_orphans: bool,
}

pub(super) fn run(arguments: &DownArgs, project: &ProjectArgs, settings: &Settings) -> Result<(), Failure> {
    let place = Place::find(project, settings)?;
    let action = Uninstall {
        name: place.release.clone(),
        dry_run: false,
        keep_history: false,
        ignore_not_found: true,
        no_hooks: false,
        wait: WaitStrategy::Ready,
        timeout: std::time::Duration::from_secs(arguments.timeout),
        cascade: Propagation::Background,
        description: None,
    };
    place.work(async |cluster| {
        let outcome = run_until_interrupted(cluster, action.run(cluster)).await;
        let uninstalled = outcome.map_err(|error| explain(&error))?;
        let console = &place.settings.console;
        match uninstalled.release {
            Some(_) => console.say(format!("`{}` is down", place.release)),
            None => console.say(format!("`{}` was not up", place.release)),
        }
        // What `run` left is of no release.
        for pod in place.objects(cluster, ("v1", "pods"), &[]).await? {
            if pod.label(ONE_OFF).is_some() {
                let deleted = cluster.api.delete(&target(&pod), &DeleteOptions::default()).await;
                deleted.map_err(|status| {
                    Failure::new(format!("cannot delete `{}`", pod.name())).because_error(&status)
                })?;
            }
        }
        if arguments.volumes {
            for claim in place
                .objects(cluster, ("v1", "persistentvolumeclaims"), &[])
                .await?
            {
                let collection = Collection::namespaced("v1", "persistentvolumeclaims", &place.namespace);
                let deleted = cluster
                    .api
                    .delete(&collection.target(claim.name()), &DeleteOptions::default())
                    .await;
                deleted.map_err(|status| {
                    Failure::new(format!("cannot delete the volume `{}`", claim.name()))
                        .because_error(&status)
                })?;
                console.say(format!("the volume `{}` is deleted", claim.name()));
            }
        }
        Ok(())
    })
}
