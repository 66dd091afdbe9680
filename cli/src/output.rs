//! The formats of `-o`.

use serde::Serialize;

use crate::failure::Failure;
use crate::settings::Settings;
use crate::table::Table;

/// How a result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people
    #[default]
    Table,
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// One name a line
    Name,
}

/// `-o`, for commands that print something.
#[derive(clap::Args)]
pub(crate) struct OutputArgs {
    /// Print in this format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: OutputFormat,
}

/// A list that is printed in any format.
pub(crate) struct Listing<'a, T> {
    /// The records, as JSON and YAML show them.
    pub(crate) records: &'a [T],
    /// The table for people.
    pub(crate) table: &'a dyn Fn() -> Table,
    /// The name of a record.
    pub(crate) name: &'a dyn Fn(&T) -> String,
}

impl<T: Serialize> Listing<'_, T> {
    /// Prints the list.
    pub(crate) fn print(&self, format: OutputFormat, settings: &Settings) -> Result<(), Failure> {
        let console = &settings.console;
        match format {
            OutputFormat::Table => console.data(&(self.table)().to_string()),
            OutputFormat::Json => console.line(to_json(&self.records)?),
            OutputFormat::Yaml => console.data(&to_yaml(&self.records)?),
            OutputFormat::Name => {
                let names: String = self
                    .records
                    .iter()
                    .map(|record| format!("{}\n", (self.name)(record)))
                    .collect();
                console.data(&names)
            }
        }
    }
}

/// JSON on one line, as Helm prints it.
pub(crate) fn to_json<T: Serialize + ?Sized>(record: &T) -> Result<String, Failure> {
    serde_json::to_string(record).map_err(|error| Failure::new("cannot write JSON").because_error(&error))
}

/// YAML with keys in order, as Helm prints it.
pub(crate) fn to_yaml<T: Serialize + ?Sized>(record: &T) -> Result<String, Failure> {
    let cannot = |error: &dyn std::error::Error| Failure::new("cannot write YAML").because_error(error);
    let json = serde_json::to_value(record).map_err(|error| cannot(&error))?;
    let yaml = chart_values::yaml::to_yaml(&chart_release::json::to_value(&json));
    Ok(yaml.map_err(|error| cannot(&error))? + "\n")
}
