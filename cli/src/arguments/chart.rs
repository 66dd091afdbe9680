//! Which chart, and how it is rendered.

use std::net::ToSocketAddrs;
use std::sync::Arc;

use chart_model::Chart;
use chart_release::render::RenderOptions;
use chart_render::{ReadAhead, Resolve};

use super::fetch::FetchArgs;
use crate::arguments::PostRenderArgs;
use crate::failure::Failure;
use crate::settings::Settings;

/// How a chart is rendered.
#[derive(clap::Args)]
#[command(next_help_heading = "Rendering")]
pub(crate) struct ChartArgs {
    /// Let templates ask the domain name system
    #[arg(long)]
    enable_dns: bool,
    /// Print the notes of subcharts too
    #[arg(long)]
    render_subchart_notes: bool,
    /// Do not check values against the charts' schemas
    #[arg(long)]
    skip_schema_validation: bool,
}

impl ChartArgs {
    /// As `template` and `lint` render, without a release.
    pub(crate) fn render_options(&self, settings: &Settings) -> chart_render::RenderOptions {
        chart_render::RenderOptions {
            resolve: self.resolver(),
            subchart_notes: self.render_subchart_notes,
            skip_schema_validation: self.skip_schema_validation,
            limits: settings.limits.template,
            ..chart_render::RenderOptions::default()
        }
    }

    /// As releases are rendered.
    pub(crate) fn options(&self, settings: &Settings, post_render: &PostRenderArgs) -> RenderOptions {
        RenderOptions {
            resolve: self.resolver(),
            subchart_notes: self.render_subchart_notes,
            skip_schema_validation: self.skip_schema_validation,
            limits: settings.limits.template,
            post_renderer: post_render.post_renderer(),
        }
    }

    fn resolver(&self) -> Option<Arc<dyn Resolve>> {
        if self.enable_dns {
            Some(Arc::new(SystemResolver))
        } else {
            None
        }
    }
}

/// Asks the machine's resolver.
#[derive(Debug)]
struct SystemResolver;

impl Resolve for SystemResolver {
    fn address(&self, host: &str) -> Option<String> {
        let found = (host, 0).to_socket_addrs().ok()?.next()?;
        Some(found.ip().to_string())
    }
}

/// Loads a chart from a folder or an archive, or from wherever else its reference leads.
///
/// It must be one to install, and hold the charts it needs.
pub(crate) fn load_installable_chart(reference: &str, settings: &Settings) -> Result<Chart, Failure> {
    load_installable_from(&FetchArgs::default(), reference, settings, None)
}

/// As [`load_installable_chart`], with what was said on where the chart comes from; see [`FetchArgs::load`] on `ahead`.
pub(crate) fn load_installable_from(
    fetch: &FetchArgs,
    reference: &str,
    settings: &Settings,
    ahead: Option<&ReadAhead>,
) -> Result<Chart, Failure> {
    let chart = fetch.load(reference, settings, ahead)?;
    chart_render::ensure_installable(&chart)?;
    if chart.metadata.deprecated {
        settings.console.warn("this chart is deprecated");
    }
    Ok(chart)
}
