//! Arguments that several commands take.

mod chart;
mod deploy;
mod fetch;
mod labels;
mod post_render;
mod reuse;
mod values;

pub(crate) use chart::{ChartArgs, load_installable_chart, load_installable_from};
pub(crate) use deploy::{DeployArgs, DryRunArg, WaitArgs, dry_run};
pub(crate) use fetch::{AccessArgs, FetchArgs, update_dependencies};
pub(crate) use labels::{labels_to_set, parse_labels};
pub(crate) use post_render::PostRenderArgs;
pub(crate) use reuse::ReuseArgs;
pub(crate) use values::ValuesArgs;
