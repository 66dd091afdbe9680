//! `tug compose logs`

use tokio_util::sync::CancellationToken;

use super::follow::{EndsWith, Follower, Lines, Since};
use super::place::Place;
use super::project::ProjectArgs;
use crate::duration;
use crate::failure::Failure;
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
        since: arguments.since.as_deref().map(since).transpose()?,
        timestamps: arguments.timestamps,
        no_prefix: arguments.no_log_prefix,
    };
    let mut place = Place::find(project, settings)?;
    if arguments.no_color {
        place.settings.console = crate::console::Console::plain();
    }
    place.work(async |cluster| {
        let follower = Follower::new(&place, cluster, &arguments.services, lines);
        if !arguments.follow {
            return follower.print().await;
        }
        let complete = CancellationToken::new();
        complete.cancel();
        follower.follow(&EndsWith::All, &complete).await.map(drop)
    })
}

fn last(text: Option<&str>) -> Result<Option<u64>, Failure> {
    match text {
        None | Some("all") => Ok(None),
        Some(count) => count
            .parse()
            .map(Some)
            .map_err(|_| Failure::new(format!("`{count}` is no number of lines"))),
    }
}

fn since(text: &str) -> Result<Since, Failure> {
    if let Ok(duration) = duration::parse(text) {
        return Ok(Since::Seconds(duration.as_secs().max(1)));
    }
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => Ok(Since::Time(time.to_string())),
        Err(error) => Err(Failure::new(format!("`{text}` is no time and no duration")).because_error(&error)),
    }
}
