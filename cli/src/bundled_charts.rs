//! The charts that come with the program, as the repository `tug`.

use repo_fetch::{BuiltinFiles, BuiltinRepository};

static CHARTS: &[BuiltinFiles] = include!(concat!(env!("OUT_DIR"), "/bundled_charts.rs"));

/// The charts that come with the program.
pub(crate) const BUNDLED: BuiltinRepository = BuiltinRepository {
    name: "tug",
    charts: CHARTS,
};
