//! Packing a chart into an archive.

use std::io;

use chart_values::yaml::{EmitError, to_yaml};
use flate2::{Compression, GzBuilder};

use crate::chart::{Chart, File};

/// Why a chart cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// `Chart.yaml` cannot be written again.
    #[error("cannot write `Chart.yaml`: {0}")]
    Metadata(#[from] EmitError),
    /// The archive cannot be written.
    #[error("cannot write the archive: {0}")]
    Write(#[from] io::Error),
}

/// Packs a chart into the bytes of an archive. Its subcharts go in as folders.
///
/// The same chart and time always give the same bytes. `modified` is the time that every file gets, in seconds of the
/// epoch.
pub fn package(chart: &Chart, modified: u64) -> Result<Vec<u8>, PackageError> {
    let gzip = GzBuilder::new()
        .comment("Helm")
        .operating_system(255)
        .write(Vec::new(), Compression::best());
    let mut archive = Archive {
        tar: tar::Builder::new(gzip),
        modified,
    };
    archive.chart(chart, chart.name())?;
    Ok(archive.tar.into_inner()?.finish()?)
}

struct Archive {
    tar: tar::Builder<flate2::write::GzEncoder<Vec<u8>>>,
    modified: u64,
}

impl Archive {
    fn chart(&mut self, chart: &Chart, folder: &str) -> Result<(), PackageError> {
        let metadata = to_yaml(&chart.metadata.to_value())? + "\n";
        self.file(&format!("{folder}/Chart.yaml"), metadata.as_bytes())?;
        if chart.metadata.api_version != "v1"
            && let Some(lock) = &chart.lock
        {
            let lock = to_yaml(&lock.to_value())? + "\n";
            self.file(&format!("{folder}/Chart.lock"), lock.as_bytes())?;
        }
        for name in ["values.yaml", "values.schema.json"] {
            if let Some(File { data, .. }) = chart.raw_file(name) {
                self.file(&format!("{folder}/{name}"), data)?;
            }
        }
        for file in chart.templates.iter().chain(&chart.files) {
            self.file(&format!("{folder}/{}", file.name), &file.data)?;
        }
        for subchart in &chart.dependencies {
            self.chart(subchart, &format!("{folder}/charts/{}", subchart.name()))?;
        }
        Ok(())
    }

    fn file(&mut self, path: &str, data: &[u8]) -> Result<(), PackageError> {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_mtime(self.modified);
        header.set_size(data.len() as u64);
        self.tar.append_data(&mut header, path, data)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> File {
        File {
            name: name.to_owned(),
            data: text.as_bytes().into(),
        }
    }

    #[test]
    fn what_was_packed_unpacks_to_the_same_chart() {
        let chart = Chart::from_files(vec![
            file("Chart.yaml", "# a comment\nversion: 1.0.0\nname: web\napiVersion: v2\ndependencies: [{name: db, version: 1.x, import-values: [x]}]\nkeywords: [a]\nannotations: {k: v}\n"),
            file("Chart.lock", "generated: now\ndigest: sha256:0\ndependencies: [{name: db, version: 1.0.0, repository: ''}]\n"),
            file("values.yaml", "# kept\na: 1\n"),
            file("values.schema.json", "{}"),
            file("templates/a.yaml", "a"),
            file("README.md", "read"),
            file("charts/db/Chart.yaml", "apiVersion: v2\nname: db\nversion: 1.0.0\n"),
        ])
        .unwrap();
        let bytes = package(&chart, 1_000_000_000).unwrap();
        assert_eq!(bytes, package(&chart, 1_000_000_000).unwrap());
        let again = Chart::from_archive(&bytes).unwrap();
        assert_eq!(again.metadata, chart.metadata);
        assert_eq!(again.lock, chart.lock);
        assert_eq!(again.schema, chart.schema);
        assert_eq!(again.templates, chart.templates);
        assert_eq!(again.files, chart.files);
        assert_eq!(again.raw_file("values.yaml"), chart.raw_file("values.yaml"));
        assert_eq!(
            again.raw_file("Chart.yaml").unwrap().text(),
            "annotations:\n  k: v\napiVersion: v2\ndependencies:\n- import-values:\n  - x\n  name: db\n  repository: \"\"\n  version: 1.x\nkeywords:\n- a\nname: web\nversion: 1.0.0\n"
        );
        assert_eq!(again.dependencies[0].name(), "db");
    }
}
