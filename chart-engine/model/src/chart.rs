//! The chart.

use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use chart_values::Map;
use chart_values::coalesce::Scope;

use crate::content::Content;
use crate::error::LoadChartError;
use crate::limits::Limits;
use crate::metadata::{Lock, Metadata};
use crate::{archive, assemble, folder};

/// How much of an archive is read at once.
const READ_BYTES: usize = 64 << 10;

/// A file of a chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path in the chart, with `/` between the parts.
    pub name: String,
    /// What it holds. Shared, since a file can be both raw and a template.
    pub data: Content,
}

impl File {
    /// The file as text; bytes that are no UTF-8 become replacement characters.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        // Checking is several times as fast as looking for what to replace.
        match std::str::from_utf8(&self.data) {
            Ok(text) => text.into(),
            Err(_) => String::from_utf8_lossy(&self.data),
        }
    }
}

/// How much an archive says that it holds; nothing where it cannot be asked, as in a pipe.
fn likely_bytes(packed: &mut std::fs::File) -> std::io::Result<u64> {
    let mut last = [0; 4];
    if packed.seek(SeekFrom::End(-4)).is_err() {
        return Ok(0);
    }
    packed.read_exact(&mut last)?;
    packed.rewind()?;
    Ok(archive::likely_bytes(&last))
}

/// Who is given the files of an archive as they are unpacked: their paths and what they hold.
pub type Seen<'s> = &'s mut dyn FnMut(&str, &[u8]);

/// A chart with its subcharts.
#[derive(Debug, Clone, Default)]
pub struct Chart {
    /// `Chart.yaml`, and `requirements.yaml` of old charts.
    pub metadata: Metadata,
    /// `Chart.lock`
    pub lock: Option<Lock>,
    /// The files below `templates/`.
    pub templates: Vec<File>,
    /// The default values.
    pub values: Map,
    /// `values.schema.json`
    pub schema: Option<Content>,
    /// The files that templates can read: all but the ones named above, and those of subcharts.
    pub files: Vec<File>,
    /// The subcharts.
    pub dependencies: Vec<Chart>,
    /// Every file as it was read, subcharts included; what `package` and `show` work on.
    pub raw: Vec<File>,
}

impl Chart {
    /// Loads a chart from a folder, or from an archive if `path` is a file.
    pub fn load(path: &Path) -> Result<Chart, LoadChartError> {
        Chart::load_within(path, Limits::default())
    }

    /// As [`Chart::load`], with limits of the caller's.
    pub fn load_within(path: &Path, limits: Limits) -> Result<Chart, LoadChartError> {
        Chart::load_by(path, assemble::Budget::new(limits))
    }

    /// As [`Chart::load_within`]; of an archive, each file is given to `seen` as soon as it is unpacked, with its whole
    /// path, so that work on it can begin.
    pub fn load_seeing(path: &Path, limits: Limits, seen: Seen<'_>) -> Result<Chart, LoadChartError> {
        let mut budget = assemble::Budget::new(limits);
        budget.seen = Some(seen);
        Chart::load_by(path, budget)
    }

    fn load_by(path: &Path, mut budget: assemble::Budget<'_>) -> Result<Chart, LoadChartError> {
        let files = Chart::read_within(path, &mut budget)?;
        assemble::chart(files, &mut budget)
    }

    /// Reads the files of a folder or archive without making a chart of them, as a check of a broken chart wants it.
    pub fn read_files(path: &Path, limits: Limits) -> Result<Vec<File>, LoadChartError> {
        Chart::read_within(path, &mut assemble::Budget::new(limits))
    }

    fn read_within(path: &Path, budget: &mut assemble::Budget<'_>) -> Result<Vec<File>, LoadChartError> {
        let about = path.metadata().map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => LoadChartError::NotFound {
                path: path.to_owned(),
            },
            _ => LoadChartError::Read {
                path: path.to_owned(),
                source,
            },
        })?;
        if about.is_dir() {
            return folder::read(path, budget.limits);
        }
        // Unpacked as it is read: an archive may be nearly as large as what is in it.
        let mut packed = std::fs::File::open(path).map_err(folder::unreadable(path))?;
        let likely_bytes = likely_bytes(&mut packed).map_err(folder::unreadable(path))?;
        let mut packed = BufReader::with_capacity(READ_BYTES, packed);
        let head = packed.fill_buf().map_err(folder::unreadable(path))?;
        archive::check_magic(path, head)?;
        Ok(archive::unpack(packed, likely_bytes, budget)?)
    }

    /// Unpacks a chart from a gzipped tar archive.
    pub fn from_archive(bytes: &[u8]) -> Result<Chart, LoadChartError> {
        Chart::from_archive_within(bytes, Limits::default())
    }

    /// As [`Chart::from_archive`], with limits of the caller's.
    pub fn from_archive_within(bytes: &[u8], limits: Limits) -> Result<Chart, LoadChartError> {
        let mut budget = assemble::Budget::new(limits);
        let files = archive::unpack(bytes, archive::likely_bytes(bytes), &mut budget)?;
        assemble::chart(files, &mut budget)
    }

    /// Puts a chart together from files whose paths start in the chart's own folder.
    pub fn from_files(files: Vec<File>) -> Result<Chart, LoadChartError> {
        Chart::from_files_within(files, Limits::default())
    }

    /// As [`Chart::from_files`], with limits of the caller's.
    pub fn from_files_within(files: Vec<File>, limits: Limits) -> Result<Chart, LoadChartError> {
        assemble::chart(files, &mut assemble::Budget::new(limits))
    }

    /// The name, or the alias where the parent gave one.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// A file as it was read, by its path in the chart.
    pub fn raw_file(&self, name: &str) -> Option<&File> {
        self.raw.iter().find(|file| file.name == name)
    }

    /// The README, whatever the case of its name.
    pub fn readme(&self) -> Option<&File> {
        ["readme.md", "readme.txt", "readme"].iter().find_map(|wanted| {
            self.files
                .iter()
                .find(|file| file.name.eq_ignore_ascii_case(wanted))
        })
    }

    /// Name, default values and subcharts, as coalescing wants them.
    pub fn scope(&self) -> Scope<'_> {
        Scope {
            name: self.name(),
            defaults: &self.values,
            subcharts: self.dependencies.iter().map(Chart::scope).collect(),
        }
    }
}
