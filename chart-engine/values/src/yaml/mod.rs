//! YAML as Helm reads and writes it.
//!
//! Reading follows go-yaml version 2 and the JSON round trip behind it: YAML 1.1 words and octals, merge keys, string
//! keys only, every number a float. Writing follows the two emitters that templates can reach: [`Style::ToYaml`] and
//! [`Style::Pretty`].

mod documents;
mod emit;
mod error;
mod lines;
mod load;
mod locate;
mod natural;
mod outline;
mod parse;
mod prune;
mod resolve;
mod scalar;
mod scan;

pub use documents::documents;
pub use emit::{EmitError, Emitter, Style};
pub use error::{YamlError, YamlFault};
pub use load::{Limits, from_yaml, from_yaml_with, map_from_yaml, values_from_yaml, values_from_yaml_with};
pub use locate::locate;
pub use natural::natural_cmp;
pub use parse::{Event, ParseError, Parser};
pub use prune::entries_from_yaml;
pub use resolve::{Scalar, resolve};
pub use scan::Mark;

use crate::value::Value;

/// Writes a value as `toYaml` does, without the line end after the last line.
///
/// ```
/// # use chart_values::{Value, yaml};
/// let value = Value::from_iter([("on", Value::from("yes")), ("list", vec![1.0, 1e6].into())]);
/// assert_eq!(yaml::to_yaml(&value).unwrap(), "list:\n- 1\n- 1000000\n\"on\": \"yes\"");
/// ```
pub fn to_yaml(value: &Value) -> Result<String, EmitError> {
    write(value, Style::ToYaml)
}

/// Writes a value as `toYamlPretty` does, without the line end after the last line.
pub fn to_yaml_pretty(value: &Value) -> Result<String, EmitError> {
    write(value, Style::Pretty)
}

fn write(value: &Value, style: Style) -> Result<String, EmitError> {
    let mut emitter = Emitter::new(style);
    emitter.value(value);
    let mut text = emitter.finish()?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}
