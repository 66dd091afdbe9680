//! Templates in the form that is executed: one flat list of instructions per named template.

mod compile;

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use compile::compile;

use crate::functions::Functions;
use crate::signature::Type;
use crate::syntax::{Definition, List, NodeId, Source};
use crate::value::{Text, Value};

/// A step of a program. Operands are numbers into the program's tables; values live on the machine's stack.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// Writes a part of the source.
    Text {
        start: u32,
        end: u32,
    },
    /// Writes the value on top, and takes it.
    Print,
    /// Takes the value on top.
    Pop,
    /// Takes the value below the top.
    DropUnder,
    Constant(u32),
    Dot,
    Variable(u32),
    /// Stores the value on top, and leaves it.
    Declare(u32),
    Assign(u32),
    /// Replaces the value on top by its field.
    Field(u32),
    /// Checks that the value on top has a method of this name that takes so many arguments.
    Method {
        name: u32,
        args: u16,
        piped: bool,
    },
    /// Calls the method of the value under the arguments.
    Invoke {
        name: u32,
        args: u16,
        piped: bool,
    },
    /// Turns a nil that a map held into no value.
    Unbox,
    /// Checks the value on top against a parameter's type.
    Check(u16),
    /// Checks the value that lies so many values under the top.
    CheckUnder {
        under: u16,
        wanted: u16,
    },
    /// Calls a function with the arguments on top; the piped one lies under the others.
    Call {
        function: u32,
        args: u16,
        piped: bool,
    },
    /// Jumps, keeping the value on top, when its truth equals `or`; otherwise takes it.
    ShortCircuit {
        or: bool,
        target: u32,
    },
    Jump(u32),
    /// Takes the value on top and jumps when it is not true.
    JumpUnless(u32),
    /// Makes the value on top the dot when it is true; otherwise jumps.
    With(u32),
    /// Gives the dot back that `With` replaced.
    Without,
    /// Begins to range over the value on top; jumps when there is nothing in it.
    Range {
        variables: Variables,
        otherwise: u32,
    },
    /// Takes the next element, or leaves the range and jumps.
    Next {
        exit: u32,
    },
    /// Leaves the range.
    Leave,
    /// Runs a template with the value on top as its dot.
    Template(u32),
    /// Fails with a message that was known before.
    Fail(u32),
    Return,
}

/// Where a range puts keys and elements.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Variables {
    None,
    Element(u32),
    Both(u32, u32),
}

/// A named template as it is executed.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: Arc<str>,
    /// The file that it stands in, or `gotpl`.
    pub(crate) file: Arc<str>,
    pub(crate) source: Arc<Source>,
    pub(crate) ops: Vec<Op>,
    /// The node that an error of each instruction points at.
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) constants: Vec<Value>,
    pub(crate) names: Vec<Text>,
    /// Names of the templates that it runs, and messages that it fails with.
    pub(crate) texts: Vec<Rc<str>>,
    pub(crate) types: Vec<Type>,
    /// How many variables it has at once.
    pub(crate) slots: usize,
}

/// A named template.
///
/// It is compiled when it first runs: of the partials that charts carry along, most never do.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) name: Arc<str>,
    file: Arc<str>,
    source: Arc<Source>,
    body: List,
    /// Whether it holds nothing but white space: such a template never replaces another.
    pub(crate) blank: bool,
    program: OnceCell<Rc<Program>>,
}

impl Template {
    pub(crate) fn new(file: &Arc<str>, source: &Arc<Source>, Definition { name, body }: Definition) -> Self {
        Template {
            name,
            file: Arc::clone(file),
            source: Arc::clone(source),
            body,
            blank: source.is_blank(body),
            program: OnceCell::new(),
        }
    }

    pub(crate) fn program(&self, functions: &Functions) -> &Rc<Program> {
        self.program.get_or_init(|| Rc::new(compile(self, functions)))
    }
}
