//! The resource definitions that a chart brings in `crds/`.

use crate::chart::{Chart, File};

/// A file of `crds/`.
#[derive(Debug, Clone)]
pub struct Crd<'c> {
    /// Its path with the charts it lies in: `web/charts/db/crds/things.yaml`.
    pub path: String,
    /// The file.
    pub file: &'c File,
}

impl Chart {
    /// The files of `crds/`, those of subcharts after the chart's own.
    pub fn crds(&self) -> Vec<Crd<'_>> {
        let mut found = Vec::new();
        self.collect_crds(self.name(), &mut found);
        found
    }

    fn collect_crds<'c>(&'c self, path: &str, found: &mut Vec<Crd<'c>>) {
        for file in &self.files {
            let manifest = [".yaml", ".yml", ".json"]
                .iter()
                .any(|ending| file.name.ends_with(ending));
            if manifest && file.name.starts_with("crds/") {
                found.push(Crd {
                    path: format!("{path}/{}", file.name),
                    file,
                });
            }
        }
        for subchart in &self.dependencies {
            subchart.collect_crds(&format!("{path}/charts/{}", subchart.name()), found);
        }
    }
}
