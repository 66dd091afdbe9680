//! Why a chart cannot be loaded.

use std::io;
use std::path::PathBuf;

use chart_values::number::go_quote;
use chart_values::yaml::YamlError;

use crate::ignore::IgnoreError;

/// Why a chart cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadChartError {
    /// There is nothing at the path.
    #[error("path {} not found", go_quote(&.path.display().to_string()))]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// A file or folder cannot be read.
    #[error("cannot read `{}`: {source}", .path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A device, socket or the like in the folder.
    #[error("cannot load irregular file {} as it has file mode type bits set", .path.display())]
    Irregular {
        /// The path.
        path: PathBuf,
    },
    /// Folders that contain themselves by way of links.
    #[error("`{}` is too deep: do links lead in a circle?", .path.display())]
    TooDeep {
        /// Where reading stopped.
        path: PathBuf,
    },
    /// A file is larger than allowed.
    #[error("chart file {} is larger than the maximum file size {limit}", go_quote(.name))]
    LargeFile {
        /// The file.
        name: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// There are more files than allowed.
    #[error("chart has more than {limit} files")]
    ManyFiles {
        /// The limit.
        limit: usize,
    },
    /// `.helmignore` has a line that is no pattern.
    #[error("{source}")]
    Ignore {
        /// The fault.
        source: IgnoreError,
    },
    /// The archive is no chart archive, or one made to do harm.
    #[error("{0}")]
    Archive(#[from] ArchiveError),
    /// No `Chart.yaml`.
    #[error("Chart.yaml file is missing")]
    NoChartFile,
    /// One of the chart's YAML files cannot be read.
    #[error("cannot load {file}: {}{source}", if *.values { "cannot unmarshal yaml document: " } else { "" })]
    Yaml {
        /// `Chart.yaml`, `values.yaml`, ...
        file: &'static str,
        /// It is a values file.
        values: bool,
        /// The fault.
        source: YamlError,
    },
    /// `Chart.yaml` has a field of the wrong type.
    #[error("cannot load {file}: error unmarshaling JSON: while decoding JSON: {source}")]
    Metadata {
        /// `Chart.yaml`, `Chart.lock` or `requirements.yaml`.
        file: &'static str,
        /// The fault.
        source: MetadataError,
    },
    /// `Chart.yaml` breaks a rule.
    #[error("validation: {0}")]
    Validation(#[from] ValidationError),
    /// A subchart cannot be loaded.
    #[error("error unpacking subchart {subchart} in {parent}: {source}")]
    Subchart {
        /// Its folder or archive.
        subchart: String,
        /// The name of the chart it is in.
        parent: String,
        /// Why.
        source: Box<LoadChartError>,
    },
    /// Charts nest deeper than allowed.
    #[error("subcharts nest deeper than {limit} levels")]
    DeepSubcharts {
        /// The limit.
        limit: usize,
    },
}

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It does not start like a gzip file.
    #[error("file '{}' does not appear to be a gzipped archive; got '{kind}'", .path.display())]
    NotGzip {
        /// The file.
        path: PathBuf,
        /// What it looks like instead.
        kind: &'static str,
    },
    /// It is damaged.
    #[error("{0}")]
    Damaged(io::Error),
    /// A file with an absolute path.
    #[error("chart illegally contains absolute paths")]
    AbsolutePath {
        /// The path.
        path: String,
    },
    /// A file beside the chart's folder.
    #[error("chart illegally contains content outside the base directory: {}", go_quote(.path))]
    OutsideBase {
        /// The path.
        path: String,
    },
    /// A path that leads out of the chart's folder.
    #[error("chart illegally references parent directory")]
    ParentPath {
        /// The path.
        path: String,
    },
    /// A path with a drive letter.
    #[error("chart contains illegally named files")]
    DrivePath {
        /// The path.
        path: String,
    },
    /// A link, which could lead out of the chart.
    #[error("chart illegally contains a link: {}", go_quote(.path))]
    Link {
        /// The path.
        path: String,
    },
    /// `Chart.yaml` at the top, where the chart's folder should be.
    #[error("chart yaml not in base directory")]
    ChartFileAtTop,
    /// Unpacked it is larger than allowed.
    #[error("decompressed chart is larger than the maximum size {limit}")]
    LargeChart {
        /// The limit in bytes.
        limit: u64,
    },
    /// One of its files is larger than allowed.
    #[error("decompressed chart file {} is larger than the maximum file size {limit}", go_quote(.path))]
    LargeFile {
        /// The file.
        path: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// It has more files than allowed.
    #[error("chart archive has more than {limit} files")]
    ManyFiles {
        /// The limit.
        limit: usize,
    },
    /// A record that names a file is larger than any name.
    #[error("chart archive has a record of more than {limit} bytes")]
    LargeRecord {
        /// The limit in bytes.
        limit: u64,
    },
    /// It has no files.
    #[error("no files in chart archive")]
    Empty,
}

/// A field of `Chart.yaml` with a value of the wrong type, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The file is not a table.
    #[error("json: cannot unmarshal {found} into Go value of type loader.chartBase")]
    NotATable {
        /// What JSON calls what is there.
        found: &'static str,
    },
    /// The field has another type.
    #[error("json: cannot unmarshal {found} into {}{field} of type {wanted}", if *.item { "" } else { "Go struct field " })]
    WrongType {
        /// What JSON calls what is there.
        found: &'static str,
        /// The field, as `.keywords`.
        field: String,
        /// The value is an item of a list.
        item: bool,
        /// Go's name of the wanted type.
        wanted: &'static str,
    },
}

/// A rule that `Chart.yaml` breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValidationError {
    /// A field that must be there is not.
    #[error("chart.metadata.{field} is required")]
    Required {
        /// The field.
        field: &'static str,
    },
    /// The name is a path, or `.`.
    #[error("chart.metadata.name {} is invalid", go_quote(.name))]
    Name {
        /// The name.
        name: String,
    },
    /// The version is none.
    #[error("chart.metadata.version {} is invalid", go_quote(.version))]
    Version {
        /// The version.
        version: String,
    },
    /// A type other than the two.
    #[error("chart.metadata.type must be application or library")]
    Kind {
        /// The type.
        kind: String,
    },
    /// An empty entry of `maintainers`.
    #[error("maintainers must not contain empty or null nodes")]
    EmptyMaintainer,
    /// An empty entry of `dependencies`.
    #[error("dependencies must not contain empty or null nodes")]
    EmptyDependency,
    /// An alias with characters other than letters, digits, `_` and `-`.
    #[error("dependency {} has disallowed characters in the alias", go_quote(.name))]
    Alias {
        /// The name of the dependency.
        name: String,
    },
    /// Two dependencies of one name or alias.
    #[error("more than one dependency with name or alias {}", go_quote(.name))]
    DuplicateDependency {
        /// The name or alias.
        name: String,
    },
}
