//! `tug compose import-stack`

use super::convert::ResultArgs;
use super::place::load;
use super::project::ProjectArgs;
use crate::failure::Failure;
use crate::settings::Settings;

/// Convert a file written for `docker stack deploy`, with Swarm's defaults
///
/// Updates replace one pod after the other, the old before the new, and a container that is not healthy is restarted.
#[derive(clap::Args)]
pub(crate) struct ImportStackArgs {
    /// Name of the stack
    stack: Option<String>,
    /// Compose file, may be repeated; `-` is the standard input
    #[arg(short = 'c', long, value_name = "FILE")]
    compose_file: Vec<String>,
    #[command(flatten)]
    result: ResultArgs,
}

pub(super) fn run(
    arguments: &ImportStackArgs,
    project: &ProjectArgs,
    settings: &Settings,
) -> Result<(), Failure> {
    let mut project = project.clone();
    project.file.extend(arguments.compose_file.iter().cloned());
    if arguments.stack.is_some() {
        project.project_name.clone_from(&arguments.stack);
    }
    let project = load(&project, &[], settings)?;
    arguments.result.write(&project, true, settings)
}
