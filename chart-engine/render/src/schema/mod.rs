//! Holding values against the JSON schemas of charts.

mod compile;
mod json;
mod patterns;
mod quick;
mod report;
mod words;

use std::fmt;

use chart_model::Chart;
use chart_values::{Map, Value};

use compile::compile;
use report::report;

/// The values do not keep the rules of a chart's schema, or the schema itself is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// Per chart what is wrong.
    pub charts: Vec<ChartFault>,
}

/// What is wrong with the values of one chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChartFault {
    /// The chart.
    pub chart: String,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with the values of a chart, or with its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The schema cannot be used.
    Schema(String),
    /// The chart's values are no table.
    NotATable(&'static str),
    /// The values break rules.
    Values(Vec<Complaint>),
}

/// A rule that a value breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Where the value is: names and indices from the root of the chart's values.
    pub path: Vec<String>,
    /// What is wrong with it.
    pub message: String,
    /// Why, for rules made of other rules.
    pub causes: Vec<Complaint>,
}

impl std::error::Error for SchemaError {}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("values don't meet the specifications of the schema(s) in the following chart(s):")?;
        for ChartFault { chart, fault } in &self.charts {
            write!(f, "\n{chart}:")?;
            match fault {
                Fault::Schema(message) => write!(f, "\n{message}")?,
                Fault::NotATable(found) => {
                    write!(f, "\ninvalid type for values: expected object (map), got {found}")?;
                }
                Fault::Values(complaints) => {
                    for complaint in complaints {
                        f.write_str("\n- ")?;
                        complaint.write(f, 0)?;
                    }
                    // Helm ends the list of a chart with an empty line.
                    f.write_str("\n")?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

impl Complaint {
    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let escape = |part: &String| format!("/{}", part.replace('~', "~0").replace('/', "~1"));
        let pointer: String = self.path.iter().map(escape).collect();
        write!(f, "at {}: {}", words::quote(&pointer), self.message)?;
        for cause in &self.causes {
            write!(f, "\n{:indent$}- ", "", indent = 2 * (depth + 1))?;
            cause.write(f, depth + 1)?;
        }
        Ok(())
    }
}

/// Holds the values of a chart, and for each subchart its part of them, against the charts' schemas.
///
/// `values` are coalesced. All faults of all charts are found. No reference out of a schema is followed.
pub fn validate(chart: &Chart, values: &Map) -> Result<(), SchemaError> {
    let mut charts = Vec::new();
    collect(chart, values, &mut charts);
    if charts.is_empty() {
        Ok(())
    } else {
        Err(SchemaError { charts })
    }
}

/// Whether the values of a chart and its subcharts surely keep all schemas, where these are small enough to tell at once.
///
/// A no says nothing: only [`validate`] knows then.
pub(crate) fn is_plainly_valid(chart: &Chart, values: &Map) -> bool {
    let own = match &chart.schema {
        None => true,
        Some(schema) => schema.len() <= PLAIN_BYTES_MAX && quick::surely_valid(schema, values),
    };
    own && chart
        .dependencies
        .iter()
        .all(|subchart| match values.get(subchart.name()) {
            None | Some(Value::Null) => true,
            Some(Value::Map(inner)) => is_plainly_valid(subchart, inner),
            Some(_) => false,
        })
}

/// Reading more takes longer than handing it to another thread.
const PLAIN_BYTES_MAX: usize = 16 << 10;

fn collect(chart: &Chart, values: &Map, found: &mut Vec<ChartFault>) {
    if let Some(schema) = &chart.schema
        && let Err(fault) = check(schema, values)
    {
        found.push(ChartFault {
            chart: chart.name().to_owned(),
            fault,
        });
    }
    for subchart in &chart.dependencies {
        match values.get(subchart.name()) {
            None | Some(Value::Null) => {}
            Some(Value::Map(inner)) => collect(subchart, inner, found),
            Some(other) => {
                let fault = Fault::NotATable(go_type(other));
                found.push(ChartFault {
                    chart: subchart.name().to_owned(),
                    fault,
                });
            }
        }
    }
}

fn check(schema: &[u8], values: &Map) -> Result<(), Fault> {
    if quick::surely_valid(schema, values) {
        return Ok(());
    }
    check_slowly(schema, values)
}

fn check_slowly(schema: &[u8], values: &Map) -> Result<(), Fault> {
    let validator = compile(schema).map_err(Fault::Schema)?;
    let instance = to_json(&Value::Map(values.clone()));
    if validator.is_valid(&instance) {
        return Ok(());
    }
    let errors: Vec<_> = validator.iter_errors(&instance).take(ERRORS_MAX).collect();
    Err(Fault::Values(report(&instance, &errors)))
}

/// More faults than anybody reads.
const ERRORS_MAX: usize = 500;

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int64",
        Value::Float(_) => "float64",
        Value::String(_) => "string",
        Value::List(_) => "[]interface {}",
        Value::Map(_) => "map[string]interface {}",
    }
}

/// Whole numbers become integers whatever they were written as; to a schema `1.0` is one.
#[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Int(number) => (*number).into(),
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => (*number as i64).into(),
        Value::Float(number) => (*number).into(),
        Value::String(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), to_json(value)))
            .collect(),
    }
}
