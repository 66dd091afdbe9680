//! How large a chart may be.

use chart_values::yaml;

/// How large a chart may be; Helm's figures by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of one file.
    pub file_bytes_max: u64,
    /// The most bytes of an archive after unpacking, archives inside of it included.
    pub chart_bytes_max: u64,
    /// The most files of a chart.
    pub files_max: usize,
    /// How deep charts may nest.
    pub depth_max: usize,
    /// What its YAML files may ask for.
    pub yaml: yaml::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            file_bytes_max: 5 << 20,
            chart_bytes_max: 100 << 20,
            files_max: 50_000,
            depth_max: 50,
            yaml: yaml::Limits::default(),
        }
    }
}
