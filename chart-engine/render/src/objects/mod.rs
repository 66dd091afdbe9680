//! What templates find in their dot.

mod capabilities;
mod chart;
mod files;
mod values;

pub(crate) use capabilities::CapabilitiesObject;
pub(crate) use chart::chart_object;
pub(crate) use files::Files;
pub(crate) use values::{subchart_values, values_map};
