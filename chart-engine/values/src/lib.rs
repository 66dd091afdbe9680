//! Values of charts: the data type, YAML and JSON as Helm reads and writes them, `--set`, merging and coalescing.
//!
//! Start with [`Value`]; [`yaml`] reads and writes it, [`UserValues`] collects what a user gave on the command line, and
//! [`coalesce`] lays that over the defaults of a chart and its subcharts. Nothing here does IO.

pub mod coalesce;
pub mod constraint;
pub mod json;
pub mod number;
pub mod set;
mod user_values;
mod value;
pub mod yaml;

pub use user_values::{UserValues, UserValuesError, ValuesFile};
pub use value::{Map, Value};
