//! The repository that is in the program itself.

use bytes::Bytes;
use chart_model::{Chart, File, LoadChartError, Metadata, PackageError, package};
use chart_values::constraint::ConstraintError;
use chart_values::yaml::from_yaml;
use repo_index::ranked;

use crate::index_cache::{CachedChart, CachedIndex, CachedVersion};

/// The files of a chart: paths in the chart and contents.
pub type BuiltinFiles = &'static [(&'static str, &'static [u8])];

/// Charts that are there without a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltinRepository {
    /// The repository's name in `NAME/CHART`. One that was added with this name comes before it.
    pub name: &'static str,
    /// The charts.
    pub charts: &'static [BuiltinFiles],
}

/// Why a chart of the program itself cannot be had; a fault of the program.
#[derive(Debug, thiserror::Error)]
pub enum BuiltinError {
    /// The chart cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadChartError),
    /// The chart cannot be packed.
    #[error(transparent)]
    Package(#[from] PackageError),
}

impl BuiltinRepository {
    /// What the charts say of themselves, with their files.
    pub(crate) fn list(&self) -> Vec<(Metadata, BuiltinFiles)> {
        let read = |files: &BuiltinFiles| {
            let (_, bytes) = files.iter().find(|(path, _)| *path == "Chart.yaml")?;
            let value = from_yaml(str::from_utf8(bytes).ok()?).ok()?;
            Some((Metadata::from_value(&value).ok()?, *files))
        };
        self.charts.iter().filter_map(read).collect()
    }

    /// The versions of a chart.
    pub(crate) fn versions(&self, chart: &str) -> Vec<String> {
        let named = self
            .list()
            .into_iter()
            .filter(|(metadata, _)| metadata.name == chart);
        named.map(|(metadata, _)| metadata.version).collect()
    }

    /// The best version of a chart that a wish allows.
    pub(crate) fn find(
        &self,
        chart: &str,
        wish: &str,
    ) -> Result<Option<(Metadata, BuiltinFiles)>, ConstraintError> {
        let mut named = self.list();
        named.retain(|(metadata, _)| metadata.name == chart);
        let best = ranked(named.iter().map(|(metadata, _)| metadata.version.as_str()), wish)?;
        Ok(best.first().map(|place| named.swap_remove(*place)))
    }

    /// The charts as an index.
    pub fn index(&self) -> CachedIndex {
        let mut charts: Vec<CachedChart> = Vec::new();
        for (metadata, _) in self.list() {
            let version = CachedVersion {
                version: metadata.version,
                app_version: metadata.app_version,
                description: metadata.description,
                keywords: metadata.keywords,
                ..CachedVersion::default()
            };
            charts.push(CachedChart {
                name: metadata.name,
                versions: vec![version],
            });
        }
        charts.sort_by(|a, b| a.name.cmp(&b.name));
        CachedIndex::with_charts(&charts)
    }
}

/// The time that the files of archives get, whenever they are made.
const MODIFIED: u64 = 1_000_000_000;

/// Packs a chart. The same files always give the same archive.
pub(crate) fn archive(files: BuiltinFiles) -> Result<Bytes, BuiltinError> {
    let files = files.iter().map(|(path, bytes)| File {
        name: (*path).to_owned(),
        data: (*bytes).into(),
    });
    let chart = Chart::from_files(files.collect())?;
    Ok(package(&chart, MODIFIED)?.into())
}
