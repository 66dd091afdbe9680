//! Reading Compose projects as `docker compose` reads them.
//!
//! Start with [`load`]: [`Options`] and [`Files`] in, a [`Project`] or all its faults ([`LoadError`]) out. Nothing here
//! prints or reads the environment; the variables are an argument.
//!
//! The stages, each in a file: `discover` finds the files, the variables and the name; `reader` reads each file
//! (`yaml`, `interpolate`, `extends` and `include`), lays it over the ones before (`merge`), checks it (`schema`) and writes its
//! short forms out (`short`); then `rules`, `paths` and `normalize` work on the whole, `typed` gives it its types, and
//! `consistency` compares its parts.

mod consistency;
mod discover;
mod dotenv;
mod error;
mod files;
mod hash;
mod interpolate;
mod load;
mod merge;
mod nearest;
mod node;
mod normalize;
mod options;
mod paths;
mod position;
mod printed;
mod project;
mod quantity;
mod reader;
mod rules;
mod schema;
mod service_files;
mod set_aside;
mod shell_words;
mod short;
mod template;
mod typed;
mod yaml;

pub use error::{Fault, LoadError};
pub use files::{DiskFiles, Files, MemoryFiles};
pub use hash::hash_of;
pub use load::load;
pub use options::Options;
pub use position::Position;
pub use project::{Project, Warning};
pub use template::{Variable, variables};
