//! Syntax trees to programs.
//!
//! Instructions come in the order in which Go evaluates, and each remembers the node that Go would blame if it
//! failed: error texts depend on both.

use std::rc::Rc;
use std::sync::Arc;

use super::{Op, Program, Template, Variables};
use crate::functions::{Action, Functions, Names};
use crate::signature::Type;
use crate::syntax::{Branches, List, NodeId, Number, Path, Source, Span, Syntax};
use crate::value::{Integer, Text, Value};

/// Compiles the body of a named template.
pub(super) fn compile(template: &Template, functions: &Functions) -> Program {
    let mut compiler = Compiler {
        source: &template.source,
        functions,
        at: NodeId(0),
        ops: Vec::new(),
        nodes: Vec::new(),
        constants: Vec::new(),
        names: Vec::new(),
        places: Names::default(),
        texts: Vec::new(),
        types: Vec::new(),
        scope: vec![("$", 0)],
        slots: 1,
        loops: Vec::new(),
        withs: 0,
    };
    compiler.list(template.body);
    compiler.emit(Op::Return);
    Program {
        name: Arc::clone(&template.name),
        file: Arc::clone(&template.file),
        source: Arc::clone(&template.source),
        ops: compiler.ops,
        nodes: compiler.nodes,
        constants: compiler.constants,
        names: compiler.names,
        texts: compiler.texts,
        types: compiler.types,
        slots: compiler.slots,
    }
}

/// A range that is being compiled.
struct Loop {
    /// Where `continue` goes on.
    next: u32,
    /// Jumps of `break`, to be filled in.
    breaks: Vec<usize>,
    /// How many `with` are open around the range.
    withs: usize,
}

struct Compiler<'s> {
    source: &'s Source,
    functions: &'s Functions,
    /// The node that is being evaluated, as errors see it.
    at: NodeId,
    ops: Vec<Op>,
    nodes: Vec<NodeId>,
    constants: Vec<Value>,
    names: Vec<Text>,
    /// Where each of them stands.
    places: Names<u32, &'s str>,
    texts: Vec<Rc<str>>,
    types: Vec<Type>,
    scope: Vec<(&'s str, u32)>,
    slots: usize,
    loops: Vec<Loop>,
    withs: usize,
}

fn index(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl<'s> Compiler<'s> {
    fn emit(&mut self, op: Op) -> usize {
        self.ops.push(op);
        self.nodes.push(self.at);
        self.ops.len() - 1
    }

    fn here(&self) -> u32 {
        index(self.ops.len())
    }

    /// Lets a jump go to the instruction that comes next.
    fn land(&mut self, jump: usize) {
        let here = self.here();
        match &mut self.ops[jump] {
            Op::ShortCircuit { target, .. }
            | Op::Jump(target)
            | Op::JumpUnless(target)
            | Op::With(target)
            | Op::Range {
                otherwise: target, ..
            }
            | Op::Next { exit: target } => *target = here,
            _ => {}
        }
    }

    fn fail(&mut self, message: impl AsRef<str>) {
        let text = self.text(message.as_ref());
        self.emit(Op::Fail(text));
    }

    fn text(&mut self, text: &str) -> u32 {
        if let Some(known) = self.texts.iter().position(|known| &**known == text) {
            return index(known);
        }
        self.texts.push(text.into());
        index(self.texts.len() - 1)
    }

    fn name(&mut self, name: &'s str) -> u32 {
        let next = index(self.names.len());
        let place = *self.places.entry(name).or_insert(next);
        if place == next {
            self.names.push(name.into());
        }
        place
    }

    fn constant(&mut self, value: Value) {
        self.constants.push(value);
        let at = index(self.constants.len() - 1);
        self.emit(Op::Constant(at));
    }

    fn show(&self, id: NodeId) -> String {
        self.source.show(id).to_string()
    }

    // Statements.

    fn list(&mut self, list: List) {
        for id in self.source.list(list) {
            self.statement(*id);
        }
    }

    fn statement(&mut self, id: NodeId) {
        let source = self.source;
        self.at = id;
        match source.syntax(id) {
            Syntax::Text { end } => {
                self.emit(Op::Text {
                    start: source.node(id).pos,
                    end,
                });
            }
            Syntax::Action { pipe } => {
                self.pipe(pipe);
                self.at = id;
                let declares =
                    matches!(source.syntax(pipe), Syntax::Pipe { declared, .. } if !declared.is_empty());
                self.emit(if declares { Op::Pop } else { Op::Print });
            }
            Syntax::If { branches, otherwise } => self.branches(branches, otherwise, false),
            Syntax::With { branches, otherwise } => self.branches(branches, otherwise, true),
            Syntax::Range {
                pipe,
                body,
                otherwise,
            } => self.range(pipe, body, otherwise),
            Syntax::Template { name, pipe } => {
                if let Some(pipe) = pipe {
                    self.pipe(pipe);
                } else {
                    self.constant(Value::Invalid);
                }
                self.at = id;
                let name = self.text(source.template_name(name));
                self.emit(Op::Template(name));
            }
            Syntax::Break => {
                self.unwind_withs();
                self.emit(Op::Leave);
                let jump = self.emit(Op::Jump(0));
                if let Some(inner) = self.loops.last_mut() {
                    inner.breaks.push(jump);
                }
            }
            Syntax::Continue => {
                self.unwind_withs();
                if let Some(inner) = self.loops.last() {
                    let next = inner.next;
                    self.emit(Op::Jump(next));
                }
            }
            _ => {}
        }
    }

    /// The branches of an `if` or a `with`, and its `else`.
    fn branches(&mut self, branches: Branches, otherwise: List, with: bool) {
        let visible = self.scope.len();
        let branches = self.source.branches(branches);
        let mut ends = Vec::new();
        for (i, branch) in branches.iter().enumerate() {
            self.pipe(branch.pipe);
            let in_pipe = self.scope.len();
            let skip = self.emit(if with { Op::With(0) } else { Op::JumpUnless(0) });
            self.withs += usize::from(with);
            self.list(branch.then);
            self.withs -= usize::from(with);
            if with {
                self.emit(Op::Without);
            }
            // What a branch declares exists in the next for the parser only.
            self.scope.truncate(in_pipe);
            if i + 1 < branches.len() || !otherwise.is_empty() {
                ends.push(self.emit(Op::Jump(0)));
            }
            self.land(skip);
        }
        self.list(otherwise);
        for end in ends {
            self.land(end);
        }
        self.scope.truncate(visible);
    }

    /// The `else` of a block whose condition jumped at `skip`.
    fn otherwise(&mut self, skip: usize, otherwise: List) {
        if otherwise.is_empty() {
            self.land(skip);
            return;
        }
        let end = self.emit(Op::Jump(0));
        self.land(skip);
        self.list(otherwise);
        self.land(end);
    }

    /// Gives back the dots of those `with` that a jump out of the loop's body leaves.
    fn unwind_withs(&mut self) {
        let outer = self.loops.last().map_or(0, |inner| inner.withs);
        for _ in outer..self.withs {
            self.emit(Op::Without);
        }
    }

    fn range(&mut self, pipe: NodeId, body: List, otherwise: List) {
        let visible = self.scope.len();
        let slots = self.pipe(pipe);
        let variables = match slots[..] {
            [element] => Variables::Element(element),
            [key, element] => Variables::Both(key, element),
            _ => Variables::None,
        };
        let start = self.emit(Op::Range {
            variables,
            otherwise: 0,
        });
        let next = self.here();
        let exit = self.emit(Op::Next { exit: 0 });
        self.loops.push(Loop {
            next,
            breaks: Vec::new(),
            withs: self.withs,
        });
        let inner = self.scope.len();
        self.list(body);
        self.scope.truncate(inner);
        self.emit(Op::Jump(next));
        let breaks = self.loops.pop().map(|inner| inner.breaks).unwrap_or_default();
        self.otherwise(start, otherwise);
        // What leaves the loop must not run into the `else`.
        for jump in breaks.into_iter().chain([exit]) {
            self.land(jump);
        }
        self.scope.truncate(visible);
    }

    // Expressions. Each leaves one value on the stack.

    /// A pipeline; tells the slots that it declares or assigns.
    fn pipe(&mut self, id: NodeId) -> Vec<u32> {
        let source = self.source;
        let Syntax::Pipe {
            declared,
            assign,
            commands,
        } = source.syntax(id)
        else {
            return Vec::new();
        };
        self.at = id;
        for (i, command) in source.list(commands).iter().enumerate() {
            self.command(*command, i > 0);
            self.emit(Op::Unbox);
        }
        let mut slots = Vec::new();
        for variable in source.list(declared) {
            let Syntax::Variable { path } = source.syntax(*variable) else {
                continue;
            };
            let name = source.slice(path);
            if assign {
                match self.slot(name) {
                    Some(slot) => {
                        self.emit(Op::Assign(slot));
                        slots.push(slot);
                    }
                    None => self.fail(format!("undefined variable: {name}")),
                }
            } else {
                let slot = index(self.scope.len());
                self.scope.push((name, slot));
                self.slots = self.slots.max(self.scope.len());
                self.emit(Op::Declare(slot));
                slots.push(slot);
            }
        }
        slots
    }

    fn slot(&self, name: &str) -> Option<u32> {
        self.scope
            .iter()
            .rev()
            .find(|(known, _)| *known == name)
            .map(|(_, slot)| *slot)
    }

    /// A command; when `piped`, the value on top is its last argument.
    fn command(&mut self, id: NodeId, piped: bool) {
        let source = self.source;
        let Syntax::Command { args } = source.syntax(id) else {
            return;
        };
        let args = source.list(args);
        let first = args[0];
        let has_args = args.len() > 1 || piped;
        match source.syntax(first) {
            Syntax::Field { path } => {
                self.at = first;
                self.emit(Op::Dot);
                self.path(source.names(path), id, &args[1..], piped);
            }
            Syntax::Chain { base, path } => {
                self.at = first;
                self.chain_base(first, base);
                self.path(source.names(path), id, &args[1..], piped);
            }
            Syntax::Variable { path } => {
                self.at = first;
                let fields = self.variable(path);
                if fields.clone().next().is_none() {
                    if has_args {
                        self.not_a_function(first);
                    }
                } else {
                    self.path(fields, id, &args[1..], piped);
                }
            }
            Syntax::Identifier { function, .. } => {
                self.at = first;
                self.call(function, id, &args[1..], piped);
            }
            Syntax::Pipe { .. } => {
                if has_args {
                    self.not_a_function(first);
                }
                self.pipe(first);
            }
            _ => {
                self.at = first;
                if has_args {
                    self.not_a_function(first);
                }
                match source.syntax(first) {
                    Syntax::Dot => {
                        self.emit(Op::Dot);
                    }
                    Syntax::Nil => self.fail("nil is not a command"),
                    Syntax::Bool(value) => self.constant(Value::Bool(value)),
                    Syntax::String { value, end } => {
                        self.constant(Value::from(source.string(first, value, end)));
                    }
                    Syntax::Number { number, .. } => self.ideal(first, source.number(number)),
                    _ => {
                        let shown = crate::format::quote(self.show(first).as_bytes());
                        self.fail(format!("can't evaluate command {shown}"));
                    }
                }
            }
        }
    }

    fn not_a_function(&mut self, id: NodeId) {
        let mut shown = self.show(id);
        if matches!(self.source.syntax(id), Syntax::Pipe { .. }) {
            // Go shows the pipeline without its parentheses.
            shown = shown.trim_start_matches('(').trim_end_matches(')').to_owned();
        }
        self.fail(format!("can't give argument to non-function {shown}"));
    }

    /// The variable that a path begins with; gives the fields after it.
    fn variable(&mut self, path: Span) -> Path<'s> {
        let mut names = self.source.names(path);
        let name = names.next().unwrap_or_default();
        match self.slot(name) {
            Some(slot) => {
                self.emit(Op::Variable(slot));
            }
            None => self.fail(format!("undefined variable: {name}")),
        }
        names
    }

    fn chain_base(&mut self, chain: NodeId, base: NodeId) {
        match self.source.syntax(base) {
            Syntax::Nil => {
                let shown = self.show(chain);
                self.fail(format!("indirection through explicit nil in {shown}"));
            }
            Syntax::Identifier { function, .. } => {
                self.at = base;
                self.call(function, base, &[], false);
            }
            _ => {
                self.at = base;
                self.pipe(base);
            }
        }
    }

    /// Fields of the value on top; the last one may be a method with arguments.
    fn path(
        &mut self,
        mut path: impl DoubleEndedIterator<Item = &'s str>,
        command: NodeId,
        args: &'s [NodeId],
        piped: bool,
    ) {
        let Some(last) = path.next_back() else {
            return;
        };
        for name in path {
            let name = self.name(name);
            self.emit(Op::Field(name));
        }
        let name = self.name(last);
        if args.is_empty() && !piped {
            self.emit(Op::Field(name));
            return;
        }
        let count = u16::try_from(args.len()).unwrap_or(u16::MAX);
        self.emit(Op::Method {
            name,
            args: count,
            piped,
        });
        for arg in args {
            self.argument(*arg, Type::Any);
        }
        let last = std::mem::replace(&mut self.at, command);
        self.emit(Op::Invoke {
            name,
            args: count,
            piped,
        });
        self.at = last;
    }

    fn call(&mut self, function: u32, command: NodeId, args: &'s [NodeId], piped: bool) {
        let row = self.functions.row(function);
        let signature = row.signature;
        if let Err(message) = signature.check_count(&row.name, args.len(), piped) {
            self.fail(message);
            return;
        }
        if let Action::And | Action::Or = row.action {
            self.short_circuit(matches!(row.action, Action::Or), args, piped);
            return;
        }
        for (i, arg) in args.iter().enumerate() {
            self.argument(*arg, signature.parameter(i));
        }
        let count = u16::try_from(args.len()).unwrap_or(u16::MAX);
        let parameter = signature.parameter(args.len());
        if piped && !matches!(parameter, Type::Any | Type::Reflect) {
            let wanted = self.wanted(parameter);
            self.emit(Op::CheckUnder { under: count, wanted });
        }
        // Only a call that fails is itself to blame; what comes after still blames the last argument.
        let last = std::mem::replace(&mut self.at, command);
        self.emit(Op::Call {
            function,
            args: count,
            piped,
        });
        self.at = last;
    }

    fn short_circuit(&mut self, or: bool, args: &'s [NodeId], piped: bool) {
        let mut jumps = Vec::new();
        for (i, arg) in args.iter().enumerate() {
            self.argument(*arg, Type::Reflect);
            if i + 1 < args.len() || piped {
                jumps.push(self.emit(Op::ShortCircuit { or, target: 0 }));
            }
        }
        if piped && !args.is_empty() {
            let end = self.emit(Op::Jump(0));
            for jump in jumps {
                self.land(jump);
            }
            self.emit(Op::DropUnder);
            self.land(end);
        } else {
            for jump in jumps {
                self.land(jump);
            }
        }
    }

    fn argument(&mut self, id: NodeId, wanted: Type) {
        let source = self.source;
        self.at = id;
        match source.syntax(id) {
            Syntax::Dot => {
                self.emit(Op::Dot);
                self.check(wanted);
            }
            Syntax::Nil => {
                if wanted == Type::Reflect {
                    self.constant(Value::Invalid);
                } else if wanted.takes_nil() {
                    self.constant(Value::Nil);
                } else {
                    self.fail(format!("cannot assign nil to {}", wanted.name()));
                }
            }
            Syntax::Field { path } => {
                self.emit(Op::Dot);
                self.path(source.names(path), id, &[], false);
                self.check(wanted);
            }
            Syntax::Variable { path } => {
                let fields = self.variable(path);
                self.path(fields, id, &[], false);
                self.check(wanted);
            }
            Syntax::Pipe { .. } => {
                self.pipe(id);
                self.check(wanted);
            }
            Syntax::Identifier { function, .. } => {
                self.call(function, id, &[], false);
                self.check(wanted);
            }
            Syntax::Chain { base, path } => {
                self.chain_base(id, base);
                self.path(source.names(path), id, &[], false);
                self.check(wanted);
            }
            literal => self.literal(id, literal, wanted),
        }
    }

    fn check(&mut self, wanted: Type) {
        if !matches!(wanted, Type::Any | Type::Reflect) {
            let wanted = self.wanted(wanted);
            self.emit(Op::Check(wanted));
        }
    }

    fn wanted(&mut self, wanted: Type) -> u16 {
        let known = self.types.iter().position(|known| *known == wanted);
        let at = known.unwrap_or_else(|| {
            self.types.push(wanted);
            self.types.len() - 1
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    fn literal(&mut self, id: NodeId, literal: Syntax, wanted: Type) {
        let source = self.source;
        let found = match (wanted, literal) {
            (Type::Any | Type::Reflect, Syntax::Number { number, .. }) => {
                return self.ideal(id, source.number(number));
            }
            (Type::Any | Type::Reflect | Type::Bool, Syntax::Bool(value)) => Some(Value::Bool(value)),
            (Type::Any | Type::Reflect | Type::String, Syntax::String { value, end }) => {
                Some(Value::from(source.string(id, value, end)))
            }
            (_, Syntax::Number { number, .. }) => {
                let number = source.number(number);
                match wanted {
                    Type::Int => number.int.map(Value::int),
                    Type::Int64 | Type::Duration => number.int.map(Value::int64),
                    Type::Uint32 => number
                        .uint
                        .and_then(|uint| i64::try_from(uint).ok())
                        .map(Value::int64),
                    Type::Float64 => number.float.map(Value::Float),
                    _ => None,
                }
            }
            _ => None,
        };
        if let Some(value) = found {
            return self.constant(value);
        }
        let shown = self.show(id);
        let message = match wanted {
            Type::String => format!("expected string; found {shown}"),
            Type::Bool => format!("expected bool; found {shown}"),
            Type::Int | Type::Int64 | Type::Duration => format!("expected integer; found {shown}"),
            Type::Uint32 => format!("expected unsigned integer; found {shown}"),
            Type::Float64 => format!("expected float; found {shown}"),
            _ => format!("can't handle {shown} for arg of type {}", wanted.name()),
        };
        self.fail(message);
    }

    /// A number where any type will do.
    fn ideal(&mut self, id: NodeId, number: &Number) {
        let value = match number {
            Number {
                imaginary: Some((real, imaginary)),
                ..
            } => Value::object(crate::format::Complex {
                real: *real,
                imaginary: *imaginary,
            }),
            Number {
                is_float: true,
                float: Some(float),
                ..
            } => Value::Float(*float),
            Number { int: Some(int), .. } => Value::Int(*int, Integer::Int),
            _ => {
                let text = self.show(id);
                return self.fail(format!("{text} overflows int"));
            }
        };
        self.constant(value);
    }
}
