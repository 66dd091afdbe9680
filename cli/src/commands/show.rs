//! `tug show`

use chart_values::yaml::to_yaml;

use crate::arguments::FetchArgs;
use crate::failure::Failure;
use crate::settings::Settings;

/// Show what a chart holds
#[derive(clap::Args)]
pub(crate) struct ShowArgs {
    #[command(subcommand)]
    part: Part,
}

/// What to show.
#[derive(clap::Subcommand)]
enum Part {
    /// Everything
    All(ChartRef),
    /// What Chart.yaml says
    Chart(ChartRef),
    /// The default values, comments and all
    Values(ChartRef),
    /// The README
    Readme(ChartRef),
    /// The resource definitions
    Crds(ChartRef),
}

/// A chart.
#[derive(clap::Args)]
struct ChartRef {
    /// Folder, .tgz file, REPO/NAME, oci://... or https://...
    chart: String,
    #[command(flatten)]
    fetch: FetchArgs,
}

pub(super) fn run(arguments: &ShowArgs, settings: &Settings) -> Result<(), Failure> {
    let (Part::All(chart)
    | Part::Chart(chart)
    | Part::Values(chart)
    | Part::Readme(chart)
    | Part::Crds(chart)) = &arguments.part;
    let all = matches!(arguments.part, Part::All(_));
    let chart = chart.fetch.load(&chart.chart, settings, None)?;
    let mut text = String::new();
    if all || matches!(arguments.part, Part::Chart(_)) {
        text += &to_yaml(&chart.metadata.to_value())?;
        text += "\n\n";
    }
    if (all || matches!(arguments.part, Part::Values(_)))
        && let Some(values) = chart.raw_file("values.yaml")
    {
        text += if all { "---\n" } else { "" };
        text += &format!("{}\n", values.text());
    }
    if (all || matches!(arguments.part, Part::Readme(_)))
        && let Some(readme) = chart.readme()
    {
        text += if all { "---\n" } else { "" };
        text += &format!("{}\n", readme.text());
    }
    if all || matches!(arguments.part, Part::Crds(_)) {
        for crd in chart.crds() {
            let content = crd.file.text();
            text += if content.starts_with("---") { "" } else { "---\n" };
            text += &format!("{content}\n");
        }
    }
    settings.console.data(&text)
}
