//! `tug version`

use serde::Serialize;

use crate::failure::Failure;
use crate::output::{OutputArgs, OutputFormat, to_json, to_yaml};
use crate::settings::Settings;

/// Print the version of tug
#[derive(clap::Args)]
pub(crate) struct VersionArgs {
    /// Print the version alone
    #[arg(long)]
    short: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildInfo {
    version: &'static str,
    kubernetes_version: &'static str,
    helm_version: &'static str,
}

/// The version of the Kubernetes API that is spoken.
const KUBERNETES_VERSION: &str = "v1.37";
/// The version of Helm whose behaviour is kept.
const HELM_VERSION: &str = "v4.3";

pub(super) fn run(arguments: &VersionArgs, settings: &Settings) -> Result<(), Failure> {
    let info = BuildInfo {
        version: concat!("v", env!("CARGO_PKG_VERSION")),
        kubernetes_version: KUBERNETES_VERSION,
        helm_version: HELM_VERSION,
    };
    let console = &settings.console;
    if arguments.short {
        return console.line(info.version);
    }
    match arguments.output.output {
        OutputFormat::Json => console.line(to_json(&info)?),
        OutputFormat::Yaml => console.data(&to_yaml(&info)?),
        OutputFormat::Name => console.line(info.version),
        OutputFormat::Table => console.line(format!(
            "tug {} (Kubernetes {KUBERNETES_VERSION}, charts and releases of Helm {HELM_VERSION})",
            info.version
        )),
    }
}
