//! `tug compose logs`

use tokio_util::sync::CancellationToken;

use super::follow::ProjectPods;
use super::place::Place;
use super::project::ProjectArgs;
use crate::failure::Failure;
use crate::pod_logs::{EndsWith, Lines, Since, last};
use crate::settings::Settings;

/// Print the logs of a project
#[derive(clap::Args)]
pub(crate) struct LogsArgs {
    /// Only these services
    services: Vec<String>,
    /// Go on as lines are written, until all containers have ended
    #[arg(short, long)]
    follow: bool,
    /// Only so many lines of each container, from the end
    #[arg(short = 'N', long, visible_alias = "tail", value_name = "N")]
    lines: Option<String>,
    /// Only lines since a time (`2026-01-02T13:23:37Z`), or of the last while (`42m`)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Print times
    #[arg(short, long)]
    timestamps: bool,
    /// Print no names before lines
    #[arg(long)]
    no_log_prefix: bool,
    /// Use no colours
    #[arg(long)]
    no_color: bool,
}

pub(super) fn run(arguments: &LogsArgs, project: &ProjectArgs, settings: &Settings) -> Result<(), Failure> {
    let lines = Lines {
        last: last(arguments.lines.as_deref())?,
        since: arguments.since.as_deref().map(Since::parse).transpose()?,
        timestamps: arguments.timestamps,
        no_prefix: arguments.no_log_prefix,
        ..Lines::default()
    };
    let mut place = Place::find(project, settings)?;
    if arguments.no_color {
        place.settings.console = crate::console::Console::plain();
    }
    place.work(async |cluster| {
        let follower = ProjectPods::new(&place, &arguments.services).follower(cluster, lines);
        if !arguments.follow {
            return follower.print().await.map(drop);
        }
        let complete = CancellationToken::new();
        complete.cancel();
        follower.follow(&EndsWith::All, &complete).await.map(drop)
    })
}
