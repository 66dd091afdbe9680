//! Values that the user gives.

use std::fs;
use std::io::Read;

use chart_values::{Map, UserValues, ValuesFile};

use crate::failure::Failure;
use crate::settings::Settings;

/// Values that the user gives.
#[derive(clap::Args)]
#[command(next_help_heading = "Values")]
pub(crate) struct ValuesArgs {
    /// Values file, `-` is stdin; may be repeated, the last wins
    #[arg(short = 'f', long = "values", value_name = "FILE", value_delimiter = ',')]
    values: Vec<String>,
    /// Set a value: `a.b=1,list[0]=x`
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Set a text value
    #[arg(long, value_name = "KEY=TEXT")]
    set_string: Vec<String>,
    /// Set a value from JSON
    #[arg(long, value_name = "KEY=JSON")]
    set_json: Vec<String>,
    /// Set a value from what a file holds
    #[arg(long, value_name = "KEY=FILE")]
    set_file: Vec<String>,
    /// Set a text value as it stands, commas and all
    #[arg(long, value_name = "KEY=TEXT")]
    set_literal: Vec<String>,
}

impl ValuesArgs {
    /// Reads the files and lays everything over each other.
    pub(crate) fn read(&self, settings: &Settings) -> Result<Map, Failure> {
        let files = self.values.iter().map(|name| {
            let text = read_values_file(name)?;
            Ok(ValuesFile {
                name: name.clone(),
                text,
            })
        });
        let values = UserValues {
            files: files.collect::<Result<_, Failure>>()?,
            json: self.set_json.clone(),
            set: self.set.clone(),
            string: self.set_string.clone(),
            file: self.set_file.clone(),
            literal: self.set_literal.clone(),
            limits: settings.limits.chart.yaml,
        };
        let mut read = |name: &str| fs::read_to_string(name).map_err(|error| format!("open {name}: {error}"));
        Ok(values.merge(&mut read)?)
    }
}

fn read_values_file(name: &str) -> Result<String, Failure> {
    if name == "-" {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        read.map_err(|error| Failure::new("cannot read values from stdin").because_error(&error))?;
        return Ok(text);
    }
    if name.contains("://") {
        return Err(Failure::new(format!("cannot read values from `{name}`"))
            .because("values come from files; addresses are not supported yet"));
    }
    fs::read_to_string(name)
        .map_err(|error| Failure::new(format!("cannot read values file `{name}`")).because_error(&error))
}
