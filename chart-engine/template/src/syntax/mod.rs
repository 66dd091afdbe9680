//! Template texts read into syntax trees.

mod lexer;
mod number;
mod parser;
mod tree;
mod unquote;

pub(crate) use number::{parse_float, parse_integer};
pub(crate) use parser::{Definition, SyntaxError, Tables, Tree, parse};
pub(crate) use tree::{Branches, List, NodeId, Number, Path, Source, Span, Syntax};
