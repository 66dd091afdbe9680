//! Which values of the last revision go on.

use chart_release::values::ReuseValues;

/// Which values of the last revision go on.
#[derive(clap::Args)]
pub(crate) struct ReuseArgs {
    /// Forget the values of the last revision
    #[arg(long)]
    reset_values: bool,
    /// Keep the values of the last revision, those of its chart too
    #[arg(long)]
    reuse_values: bool,
    /// Keep the values that were given for the last revision, over those of the new chart
    #[arg(long)]
    reset_then_reuse_values: bool,
    /// Keep the values that were given for the last revision, unless they repeat a default that has changed
    #[arg(long)]
    merge_values: bool,
}

impl ReuseArgs {
    /// In Helm's order: the first that is given counts.
    pub(crate) fn reuse_values(&self) -> ReuseValues {
        if self.reset_values {
            ReuseValues::Reset
        } else if self.reuse_values {
            ReuseValues::Reuse
        } else if self.reset_then_reuse_values {
            ReuseValues::ResetThenReuse
        } else if self.merge_values {
            ReuseValues::Merge
        } else {
            ReuseValues::WhenNoneGiven
        }
    }
}
