//! `tug completion`

use clap::CommandFactory;
use clap_complete::Shell;

use crate::failure::Failure;
use crate::settings::Settings;

/// Print a completion script for a shell
#[derive(clap::Args)]
pub(crate) struct CompletionArgs {
    /// Shell
    shell: Shell,
}

pub(super) fn run(arguments: &CompletionArgs, settings: &Settings) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut crate::Tug::command(), "tug", &mut script);
    settings.console.data(&String::from_utf8_lossy(&script))
}
