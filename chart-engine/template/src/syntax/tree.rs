//! The syntax tree of a text: nodes in one arena, kept beside the program so that errors can quote them.

use std::fmt::{self, Write as _};
use std::sync::Arc;

/// Where a node stands in [`Source::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId(pub(crate) u32);

/// Where a list of nodes stands in [`Source::lists`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct List {
    pub(super) start: u32,
    pub(super) len: u32,
}

impl List {
    pub(crate) fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// A part of the text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// The names of a path. To look for one of several characters goes by characters, which is quicker in short texts than
/// the search for one, which is made for long texts.
pub(crate) type Path<'s> = std::str::Split<'s, [char; 1]>;

/// A template text with its syntax.
///
/// Everything lies in a few flat tables: a text is read far more often than its templates are run.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) text: Arc<str>,
    pub(super) nodes: Vec<Node>,
    pub(super) lists: Vec<NodeId>,
    pub(super) branches: Vec<Branch>,
    pub(super) numbers: Vec<Number>,
    /// Names of templates, and the values of strings that are not what stands between their quotes.
    pub(super) strings: Vec<Arc<str>>,
}

/// A node and the byte where it begins.
#[derive(Clone, Copy, Debug)]
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Branch {
    pub(crate) pipe: NodeId,
    pub(crate) then: List,
}

/// Where the branches of a block stand in [`Source::branches`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Branches {
    pub(super) start: u32,
    pub(super) len: u32,
}

/// A string literal: a part of the text, or one of [`Source::strings`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Literal {
    Quoted,
    Other(u32),
}

#[derive(Clone, Copy, Debug)]
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
        branches: Branches,
        otherwise: List,
    },
    With {
        branches: Branches,
        otherwise: List,
    },
    Range {
        pipe: NodeId,
        body: List,
        otherwise: List,
    },
    Template {
        /// One of [`Source::strings`].
        name: u32,
        pipe: Option<NodeId>,
    },
    Break,
    Continue,
    // Expressions.
    Pipe {
        declared: List,
        assign: bool,
        commands: List,
    },
    Command {
        args: List,
    },
    Dot,
    Nil,
    Bool(bool),
    Number {
        /// One of [`Source::numbers`].
        number: u32,
        end: u32,
    },
    String {
        value: Literal,
        end: u32,
    },
    Identifier {
        /// What the caller of the parser calls the function.
        function: u32,
        end: u32,
    },
    /// `.a.b`
    Field {
        path: Span,
    },
    /// `$x.a.b`
    Variable {
        path: Span,
    },
    /// `.a.b` after something in parentheses.
    Chain {
        base: NodeId,
        path: Span,
    },
}

impl Source {
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(crate) fn syntax(&self, id: NodeId) -> Syntax {
        self.node(id).syntax
    }

    pub(crate) fn list(&self, list: List) -> &[NodeId] {
        &self.lists[list.start as usize..(list.start + list.len) as usize]
    }

    pub(crate) fn branches(&self, branches: Branches) -> &[Branch] {
        &self.branches[branches.start as usize..(branches.start + branches.len) as usize]
    }

    pub(crate) fn number(&self, number: u32) -> &Number {
        &self.numbers[number as usize]
    }

    /// The name of a template that one runs.
    pub(crate) fn template_name(&self, name: u32) -> &str {
        &self.strings[name as usize]
    }

    /// A part of the text.
    pub(crate) fn slice(&self, span: Span) -> &str {
        self.text
            .get(span.start as usize..span.end as usize)
            .unwrap_or_default()
    }

    /// The text from the beginning of a node.
    pub(crate) fn text_until(&self, id: NodeId, end: u32) -> &str {
        let start = self.node(id).pos;
        self.slice(Span { start, end })
    }

    /// The value of the string literal that a node is.
    pub(crate) fn string(&self, id: NodeId, value: Literal, end: u32) -> &str {
        match value {
            Literal::Quoted => {
                let quoted = self.text_until(id, end);
                quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default()
            }
            Literal::Other(at) => &self.strings[at as usize],
        }
    }

    /// The names of a path: of `.a.b` both, of `$x.a.b` the variable first.
    pub(crate) fn names(&self, path: Span) -> Path<'_> {
        let path = self.slice(path);
        path.strip_prefix('.').unwrap_or(path).split(['.'])
    }

    /// Whether a template holds nothing but white space and comments.
    pub(crate) fn is_blank(&self, body: List) -> bool {
        self.list(body).iter().all(|id| match self.syntax(*id) {
            Syntax::Text { end } => self.text_until(*id, end).trim().is_empty(),
            _ => false,
        })
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
            Syntax::Text { end }
            | Syntax::Number { end, .. }
            | Syntax::String { end, .. }
            | Syntax::Identifier { end, .. } => f.write_str(self.text_until(id, end)),
            Syntax::Action { pipe } => {
                f.write_str("{{")?;
                self.write(f, pipe)?;
                f.write_str("}}")
            }
            Syntax::If { branches, .. } => self.write_opening(f, "if", self.branches(branches)[0].pipe),
            Syntax::With { branches, .. } => self.write_opening(f, "with", self.branches(branches)[0].pipe),
            Syntax::Range { pipe, .. } => self.write_opening(f, "range", pipe),
            Syntax::Template { name, pipe } => {
                let name = self.template_name(name).as_bytes();
                write!(f, "{{{{template {}", crate::format::quote(name))?;
                if let Some(pipe) = pipe {
                    f.write_char(' ')?;
                    self.write(f, pipe)?;
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
                for (i, variable) in self.list(declared).iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    self.write(f, *variable)?;
                }
                if !declared.is_empty() {
                    f.write_str(if assign { " = " } else { " := " })?;
                }
                for (i, command) in self.list(commands).iter().enumerate() {
                    if i > 0 {
                        f.write_str(" | ")?;
                    }
                    self.write(f, *command)?;
                }
                Ok(())
            }
            Syntax::Command { args } => {
                for (i, arg) in self.list(args).iter().enumerate() {
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
            Syntax::Field { path } | Syntax::Variable { path } => f.write_str(self.slice(path)),
            Syntax::Chain { base, path } => {
                self.write_operand(f, base)?;
                f.write_str(self.slice(path))
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
