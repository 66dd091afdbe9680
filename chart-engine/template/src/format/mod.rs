//! Values as text, the way Go's `fmt` writes them.

mod complex;
mod float;
mod print;
mod printf;
mod quote;

pub(crate) use complex::Complex;
pub(crate) use float::shortest;
pub(crate) use print::{print_operands, print_value};
pub(crate) use printf::printf;
pub(crate) use quote::{is_printable, quote};
