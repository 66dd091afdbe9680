//! Why a chart cannot be rendered.

use chart_template::TemplateError;
use chart_values::coalesce::CoalesceError;

use crate::jinja::JinjaError;
use crate::manifest::SortManifestsError;
use crate::post_render::PostRenderError;
use crate::schema::SchemaError;

/// Why a chart cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A library chart was to be installed.
    #[error("{kind} charts are not installable")]
    NotInstallable {
        /// The chart's type.
        kind: String,
    },
    /// The chart is of an API version that cannot be rendered.
    #[error("invalid chart apiVersion")]
    ApiVersion {
        /// The API version.
        api_version: String,
    },
    /// `Chart.yaml` names subcharts that the chart does not hold.
    #[error(
        "an error occurred while checking for chart dependencies. You may need to run 'helm dependency build' to fetch missing dependencies: found in Chart.yaml, but missing in charts/ directory: {}",
        .names.join(", ")
    )]
    MissingDependencies {
        /// Their names.
        names: Vec<String>,
    },
    /// The chart is for other versions of Kubernetes.
    #[error("chart requires kubeVersion: {constraint} which is incompatible with Kubernetes {version}")]
    KubeVersion {
        /// What the chart asks for.
        constraint: String,
        /// What the cluster is.
        version: String,
    },
    /// Values and charts do not fit together, so that it cannot be said which subcharts take part.
    #[error("chart dependencies processing failed: {0}")]
    Dependencies(#[source] CoalesceError),
    /// Values and charts do not fit together.
    #[error(transparent)]
    Coalesce(#[from] CoalesceError),
    /// The values break the rules of a schema.
    #[error("{0}")]
    Schema(#[from] SchemaError),
    /// A template is wrong, or refused.
    #[error("{0}")]
    Template(#[from] TemplateError),
    /// A Jinja template is wrong, or refused.
    #[error("{0}")]
    Jinja(#[from] JinjaError),
    /// The post-renderer failed.
    #[error("{0}")]
    PostRender(#[from] PostRenderError),
    /// A rendered file holds something else than manifests.
    #[error("{0}")]
    Manifests(#[from] SortManifestsError),
}

impl RenderError {
    /// Tells whether the chart was already being rendered, so that Helm adds a hint about `--debug`.
    pub fn is_of_rendering(&self) -> bool {
        matches!(
            self,
            RenderError::KubeVersion { .. }
                | RenderError::Template(_)
                | RenderError::Jinja(_)
                | RenderError::Manifests(_)
        )
    }
}
