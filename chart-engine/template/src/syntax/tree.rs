//! The syntax tree of a text: nodes in one arena, kept beside the program so that errors can quote them.

use std::fmt::{self, Write as _};
use std::rc::Rc;

/// Where a node stands in [`Source::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId(pub(crate) u32);

/// A template text with its syntax.
#[derive(Debug)]
pub(crate) struct Source {
    /// The file, or `gotpl` for text given to `tpl`.
    pub(crate) name: Rc<str>,
    pub(crate) text: Rc<str>,
    pub(crate) nodes: Vec<Node>,
}

/// A node and the byte where it begins.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) pos: u32,
    pub(crate) syntax: Syntax,
}

/// A number, as each type that it fits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Number {
    pub(crate) int: Option<i64>,
    pub(crate) uint: Option<u64>,
    pub(crate) float: Option<f64>,
    pub(crate) imaginary: Option<(f64, f64)>,
    /// Whether a bare use of it is a float.
    pub(crate) is_float: bool,
}

/// A condition and what is done when it holds.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) pipe: NodeId,
    pub(crate) then: Vec<NodeId>,
}

#[derive(Debug)]
pub(crate) enum Syntax {
    // Statements.
    Text {
        end: u32,
    },
    Action {
        pipe: NodeId,
    },
    /// With its `else if`, which may be many.
    If {
        branches: Vec<Branch>,
        otherwise: Vec<NodeId>,
    },
    With {
        branches: Vec<Branch>,
        otherwise: Vec<NodeId>,
    },
    Range {
        pipe: NodeId,
        body: Vec<NodeId>,
        otherwise: Vec<NodeId>,
    },
    Template {
        name: Rc<str>,
        pipe: Option<NodeId>,
    },
    Break,
    Continue,
    // Expressions.
    Pipe {
        declared: Vec<NodeId>,
        assign: bool,
        commands: Vec<NodeId>,
    },
    Command {
        args: Vec<NodeId>,
    },
    Dot,
    Nil,
    Bool(bool),
    Number {
        number: Number,
        text: Box<str>,
    },
    String {
        value: Box<str>,
        quoted: Box<str>,
    },
    Identifier(Box<str>),
    Field {
        path: Vec<Box<str>>,
    },
    /// The name with its `$`, then fields.
    Variable {
        path: Vec<Box<str>>,
    },
    Chain {
        base: NodeId,
        path: Vec<Box<str>>,
    },
}

impl Source {
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(crate) fn syntax(&self, id: NodeId) -> &Syntax {
        &self.node(id).syntax
    }

    /// The node written out in the normal form that errors quote.
    pub(crate) fn show(&self, id: NodeId) -> impl fmt::Display + '_ {
        struct Show<'s>(&'s Source, NodeId);
        impl fmt::Display for Show<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write(f, self.1)
            }
        }
        Show(self, id)
    }

    /// The line (from 1) and the column (bytes, from 0) of a node.
    pub(crate) fn position(&self, id: NodeId) -> (usize, usize) {
        let before = &self.text.as_bytes()[..(self.node(id).pos as usize).min(self.text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count();
        (line, column)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, id: NodeId) -> fmt::Result {
        match self.syntax(id) {
            Syntax::Text { end } => f.write_str(
                self.text
                    .get(self.node(id).pos as usize..*end as usize)
                    .unwrap_or_default(),
            ),
            Syntax::Action { pipe } => {
                f.write_str("{{")?;
                self.write(f, *pipe)?;
                f.write_str("}}")
            }
            Syntax::If { branches, .. } => self.write_opening(f, "if", branches[0].pipe),
            Syntax::With { branches, .. } => self.write_opening(f, "with", branches[0].pipe),
            Syntax::Range { pipe, .. } => self.write_opening(f, "range", *pipe),
            Syntax::Template { name, pipe } => {
                write!(f, "{{{{template {}", crate::format::quote(name.as_bytes()))?;
                if let Some(pipe) = pipe {
                    f.write_char(' ')?;
                    self.write(f, *pipe)?;
                }
                f.write_str("}}")
            }
            Syntax::Break => f.write_str("{{break}}"),
            Syntax::Continue => f.write_str("{{continue}}"),
            Syntax::Pipe {
                declared,
                assign,
                commands,
            } => {
                for (i, variable) in declared.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    self.write(f, *variable)?;
                }
                if !declared.is_empty() {
                    f.write_str(if *assign { " = " } else { " := " })?;
                }
                for (i, command) in commands.iter().enumerate() {
                    if i > 0 {
                        f.write_str(" | ")?;
                    }
                    self.write(f, *command)?;
                }
                Ok(())
            }
            Syntax::Command { args } => {
                for (i, arg) in args.iter().enumerate() {
                    if i > 0 {
                        f.write_char(' ')?;
                    }
                    self.write_operand(f, *arg)?;
                }
                Ok(())
            }
            Syntax::Dot => f.write_char('.'),
            Syntax::Nil => f.write_str("nil"),
            Syntax::Bool(value) => write!(f, "{value}"),
            Syntax::Number { text, .. } => f.write_str(text),
            Syntax::String { quoted, .. } => f.write_str(quoted),
            Syntax::Identifier(name) => f.write_str(name),
            Syntax::Field { path } => write_path(f, path),
            Syntax::Variable { path } => f.write_str(&path.join(".")),
            Syntax::Chain { base, path } => {
                self.write_operand(f, *base)?;
                write_path(f, path)
            }
        }
    }

    fn write_opening(&self, f: &mut fmt::Formatter<'_>, word: &str, pipe: NodeId) -> fmt::Result {
        write!(f, "{{{{{word} ")?;
        self.write(f, pipe)?;
        f.write_str("}}")
    }

    fn write_operand(&self, f: &mut fmt::Formatter<'_>, id: NodeId) -> fmt::Result {
        if matches!(self.syntax(id), Syntax::Pipe { .. }) {
            f.write_char('(')?;
            self.write(f, id)?;
            return f.write_char(')');
        }
        self.write(f, id)
    }
}

fn write_path(f: &mut fmt::Formatter<'_>, path: &[Box<str>]) -> fmt::Result {
    path.iter().try_for_each(|name| write!(f, ".{name}"))
}
