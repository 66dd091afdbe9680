//! A chart rendered for a release: what chart-render gives, with hooks as records hold them.

use std::sync::Arc;

use chart_model::Chart;
use chart_render::{
    Capabilities, KubeVersion, Output, PostRender, ReleaseFacts, RenderError, Resolve, TemplateLimits,
};
use chart_values::Map;
use chart_values::coalesce::CoalesceError;
use cluster_client::Discovery;
use cluster_objects::Status;

use crate::cluster::Cluster;
use crate::lookup::ClusterLookup;
use crate::record::{Hook, HookDeletePolicy, HookEvent, HookLogPolicy, StoredChart};
use crate::stored_chart::stored;

/// How a chart is rendered.
#[derive(Clone, Debug, Default)]
pub struct RenderOptions {
    /// Answers templates that ask for the address of a host.
    pub resolve: Option<Arc<dyn Resolve>>,
    /// Add the notes of subcharts.
    pub subchart_notes: bool,
    /// Do not check values against schemas.
    pub skip_schema_validation: bool,
    /// What templates may ask for.
    pub limits: TemplateLimits,
    /// Changes what the templates gave.
    pub post_renderer: Option<Arc<dyn PostRender>>,
}

/// The revision that is rendered.
#[derive(Clone, Copy, Debug)]
pub struct Revision<'a> {
    /// Name of the release.
    pub name: &'a str,
    /// Namespace of the release.
    pub namespace: &'a str,
    /// Its number.
    pub revision: u32,
    /// Whether there is one before it.
    pub is_upgrade: bool,
}

/// A rendered chart.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    /// Objects to apply, as YAML.
    pub manifest: String,
    /// Objects to run at events.
    pub hooks: Vec<Hook>,
    /// Notes for the user.
    pub notes: String,
    /// What is odd about chart or values, and stops nothing.
    pub warnings: Vec<String>,
}

/// Why a chart does not render.
#[derive(Debug, thiserror::Error)]
pub enum RenderReleaseError {
    /// Values and subcharts do not fit together.
    #[error(transparent)]
    Dependencies(#[from] CoalesceError),
    /// Values, schemas, templates or what came of them.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The cluster does not say what it serves.
    #[error("kubernetes cluster unreachable: {0}")]
    Discovery(#[source] Status),
    /// The thread that renders died.
    #[error("internal fault: the rendering of the chart panicked")]
    Panicked,
}

/// The chart as its record holds it, and as its CRDs are read: with the subcharts that take part.
pub fn enabled(chart: &Chart, values: &Map) -> Result<(Chart, StoredChart), RenderReleaseError> {
    let mut chart = chart.clone();
    chart.process_dependencies(values)?;
    let stored = stored(&chart);
    Ok((chart, stored))
}

/// Renders a chart; with a cluster, templates see what it serves and what is in it.
pub async fn render(
    cluster: Option<&Cluster>,
    chart: Chart,
    values: Map,
    revision: Revision<'_>,
    options: &RenderOptions,
) -> Result<Rendered, RenderReleaseError> {
    let mut settings = chart_render::RenderOptions {
        release: ReleaseFacts {
            name: revision.name.to_owned(),
            namespace: revision.namespace.to_owned(),
            revision: revision.revision,
            is_install: !revision.is_upgrade,
            is_upgrade: revision.is_upgrade,
        },
        resolve: options.resolve.clone(),
        skip_schema_validation: options.skip_schema_validation,
        subchart_notes: options.subchart_notes,
        limits: options.limits,
        post_renderer: options.post_renderer.clone(),
        ..chart_render::RenderOptions::default()
    };
    if let Some(cluster) = cluster {
        look_into(cluster, &mut settings).await?;
    }
    let rendered = render_apart(chart, values, settings).await?;
    let warnings = &rendered.warnings;
    Ok(Rendered {
        manifest: Output::default().manifest(&rendered),
        hooks: rendered.hooks.iter().map(hook).collect(),
        warnings: warnings
            .values
            .iter()
            .map(ToString::to_string)
            .chain(warnings.dependencies.iter().map(ToString::to_string))
            .collect(),
        notes: rendered.notes,
    })
}

/// Lets templates see what a cluster serves and what is in it.
pub async fn look_into(
    cluster: &Cluster,
    settings: &mut chart_render::RenderOptions,
) -> Result<(), RenderReleaseError> {
    let discovery = cluster.discovery().await.map_err(RenderReleaseError::Discovery)?;
    settings.capabilities = capabilities(&discovery);
    settings.lookup = Some(Arc::new(ClusterLookup::new(cluster.api.clone(), discovery)));
    Ok(())
}

/// Renders on a thread of its own: templates compute, and ask the cluster in between, and neither belongs on the
/// thread that drives the connections.
pub async fn render_apart(
    chart: Chart,
    values: Map,
    settings: chart_render::RenderOptions,
) -> Result<chart_render::Rendered, RenderReleaseError> {
    let rendering = tokio::task::spawn_blocking(move || chart_render::render(chart, values, &settings));
    Ok(rendering.await.map_err(|_| RenderReleaseError::Panicked)??)
}

/// What a cluster can do, as templates see it: groups with versions, and those with kinds.
pub fn capabilities(discovery: &Discovery) -> Capabilities {
    let Discovery { version, resources } = discovery;
    let mut api_versions: Vec<String> = Vec::new();
    for served in resources {
        let version = served.resource.api_version();
        api_versions.push(format!("{version}/{}", served.kind));
        api_versions.push(version);
    }
    api_versions.sort();
    api_versions.dedup();
    Capabilities {
        kube_version: KubeVersion::of_cluster(&version.git_version, &version.major, &version.minor),
        api_versions,
    }
}

fn hook(hook: &chart_render::Hook) -> Hook {
    Hook {
        name: hook.name.clone(),
        kind: hook.kind.clone(),
        path: hook.path.clone(),
        manifest: hook.manifest.clone(),
        events: words(&hook.events, |event| HookEvent::from_word(event.as_str())),
        weight: hook.weight,
        delete_policies: words(&hook.delete_policies, |policy| {
            HookDeletePolicy::from_word(policy.as_str())
        }),
        output_log_policies: words(&hook.output_log_policies, |policy| {
            HookLogPolicy::from_word(policy.as_str())
        }),
        ..Hook::default()
    }
}

fn words<A, B>(words: &[A], read: impl Fn(&A) -> Option<B>) -> Vec<B> {
    words.iter().filter_map(read).collect()
}
