//! Go templates with the functions that charts use.
//!
//! Start with [`TemplateSet`]: it parses texts under names and executes them over a [`Value`]. [`Functions::helm`] is
//! what charts can call; the caller adds to it what needs a cluster. Values with methods, such as `.Files`, implement
//! [`Object`]. Clock, time zone and chance come from [`Surroundings`], and [`Limits`] bound what a template may ask
//! for. A [`TemplateError`] reads as Helm words it and carries the way to the fault as data.
//!
//! Nothing here does IO or knows of Kubernetes.

mod elsewhere;
mod error;
mod fault;
mod format;
mod functions;
mod iterate;
mod limits;
mod machine;
mod memo;
mod program;
mod reading;
mod set;
mod signature;
mod surroundings;
mod syntax;
mod time;
mod value;

pub use error::{ErrorKind, Place, TemplateError, TraceFrame, Via};
pub use fault::Fault;
pub use functions::{Functions, Outcome, Shared};
pub use limits::Limits;
pub use reading::{ReadAhead, ReadText};
pub use set::{TemplateSet, without_no_value};
pub use signature::{Signature, Type};
pub use surroundings::{Fixed, Scope, Surroundings, System};
pub use value::{Contents, Element, Integer, Kind, List, Map, MapType, NamedMap, Object, Text, Value};
