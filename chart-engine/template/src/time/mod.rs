//! Times and durations as Go has them.

mod duration;
mod layout;
mod moment;

pub(crate) use duration::Duration;
pub(crate) use layout::parse;
pub(crate) use moment::{Moment, Zone};
