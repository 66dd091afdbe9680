//! The machine that executes programs: a stack of values, a stack of frames, and no recursion.
//!
//! `include` and `tpl` are functions to a chart, but frames here, so that a thousand nested ones cost no more stack
//! than one.

use std::rc::Rc;
use std::sync::Arc;

use crate::error::{ErrorKind, Place, TemplateError, TraceFrame, Via};
use crate::fault::{Fault, Sort};
use crate::format::{print_value, quote};
use crate::functions::{Action, Names};
use crate::iterate::Iteration;
use crate::memo::{Begun, Call, Recall};
use crate::program::{Op, Program, Template, Variables};
use crate::set::{TemplateSet, add, no_template};
use crate::surroundings::Scope;
use crate::syntax::Syntax;
use crate::value::{MapType, Text, Value, changes};

const NO_VALUE: &[u8] = b"<no value>";

/// How many templates the way to a fault has at most, at its beginning and at its end.
const TRACE_MAX: usize = 2000;

/// A value where a variable or the dot holds it.
#[derive(Clone, Debug, Default)]
struct Held {
    value: Value,
    /// Whether it was declared as `interface {}`, as elements of lists and maps are; errors name the type.
    boxed: bool,
    /// Whether anything was stored.
    set: bool,
}

impl Held {
    fn plain(value: Value) -> Self {
        Held {
            value,
            boxed: false,
            set: true,
        }
    }

    fn boxed(value: Value, boxed: bool) -> Self {
        Held {
            value,
            boxed,
            set: true,
        }
    }
}

/// How a template came to run.
#[derive(Clone, Debug)]
enum Entry {
    Start,
    Include,
    Template,
    Tpl(Text),
}

impl Entry {
    fn to_via(&self) -> Via {
        match self {
            Entry::Start => Via::Start,
            Entry::Include => Via::Include,
            Entry::Template => Via::Template,
            Entry::Tpl(text) => Via::Tpl(text.to_str().into_owned()),
        }
    }
}

/// A template that is being executed.
struct Frame {
    program: Rc<Program>,
    at: usize,
    dot: Held,
    /// Where its variables begin.
    slots: usize,
    entry: Entry,
    /// Who may want to know what it gives.
    begun: Option<Begun>,
}

/// A range that is being executed.
struct Range {
    iteration: Iteration,
    variables: Variables,
    /// The dot around it.
    dot: Held,
}

/// Why execution stopped, before it is known where.
struct Stop {
    kind: ErrorKind,
    message: String,
    function: Option<String>,
}

impl Stop {
    fn execution(message: impl Into<String>) -> Self {
        Stop {
            kind: ErrorKind::Execution,
            message: message.into(),
            function: None,
        }
    }

    fn called(function: &str, fault: &Fault) -> Self {
        let (kind, function) = match fault.sort() {
            Sort::Failed => (ErrorKind::Function, Some(function)),
            Sort::Raised => (ErrorKind::Raised, Some(function)),
            Sort::Limit => (ErrorKind::Limit, None),
        };
        Stop {
            kind,
            message: fault.message().to_owned(),
            function: function.map(str::to_owned),
        }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        let kind = if fault.is_limit() {
            ErrorKind::Limit
        } else {
            ErrorKind::Execution
        };
        Stop {
            kind,
            message: fault.message().to_owned(),
            function: None,
        }
    }
}

pub(crate) struct Machine<'s> {
    set: &'s TemplateSet,
    scope: Scope,
    stack: Vec<Value>,
    slots: Vec<Held>,
    dots: Vec<Held>,
    ranges: Vec<Range>,
    frames: Vec<Frame>,
    /// The outputs being written, the innermost last.
    out: Vec<u8>,
    /// Where the innermost begins, and where those around it do.
    out_start: usize,
    out_starts: Vec<usize>,
    /// Templates defined by texts given to `tpl`, the innermost last.
    overlays: Vec<Names<Rc<Template>>>,
    /// How often each template is being included.
    included: Names<usize>,
    /// The instruction after the current one. A frame has its own only while another one runs.
    at: usize,
    /// Whether the value on top was taken from where `interface {}` is declared.
    boxed: bool,
}

impl<'s> Machine<'s> {
    pub(crate) fn new(set: &'s TemplateSet, scope: Scope) -> Self {
        Machine {
            set,
            scope,
            stack: Vec::new(),
            slots: Vec::new(),
            dots: Vec::new(),
            ranges: Vec::new(),
            frames: Vec::new(),
            out: Vec::new(),
            out_start: 0,
            out_starts: Vec::new(),
            overlays: Vec::new(),
            included: Names::default(),
            at: 0,
            boxed: false,
        }
    }

    /// Executes a template; gives its output and how many steps it took.
    pub(crate) fn execute(
        mut self,
        template: &Template,
        data: &Value,
    ) -> (Result<Vec<u8>, TemplateError>, u64) {
        let started = self.enter(template, data.clone().unboxed(), Entry::Start, None);
        let result = match started.and_then(|()| self.run()) {
            Ok(()) => Ok(std::mem::take(&mut self.out)),
            Err(stop) => {
                self.leave_mark();
                Err(self.error(stop))
            }
        };
        (result, self.scope.budget.steps)
    }

    /// Notes in the innermost frame where it stands.
    fn leave_mark(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            frame.at = self.at;
        }
    }

    fn enter(
        &mut self,
        template: &Template,
        dot: Value,
        entry: Entry,
        begun: Option<Begun>,
    ) -> Result<(), Stop> {
        let depth_max = self.scope.budget.limits.template_depth_max;
        if self.frames.len() > depth_max {
            return Err(Stop::execution(format!(
                "exceeded maximum template depth ({depth_max})"
            )));
        }
        self.leave_mark();
        let slots = self.slots.len();
        let program = Rc::clone(template.program(self.set.functions()));
        self.slots.resize(slots + program.slots, Held::default());
        self.slots[slots] = Held::plain(dot.clone());
        self.frames.push(Frame {
            program,
            at: 0,
            dot: Held::plain(dot),
            slots,
            entry,
            begun,
        });
        Ok(())
    }

    fn find(&self, name: &str) -> Option<Rc<Template>> {
        let overlaid = self.overlays.iter().rev().find_map(|overlay| overlay.get(name));
        overlaid.or_else(|| self.set.find(name)).map(Rc::clone)
    }

    fn pop(&mut self) -> Value {
        self.stack.pop().unwrap_or_default()
    }

    fn run(&mut self) -> Result<(), Stop> {
        let Some(frame) = self.frames.last_mut() else {
            return Ok(());
        };
        let mut program = Rc::clone(&frame.program);
        let mut slots = frame.slots;
        let mut at = frame.at;
        macro_rules! go_on_in_top_frame {
            () => {
                match self.frames.last() {
                    Some(frame) => {
                        program = Rc::clone(&frame.program);
                        slots = frame.slots;
                        at = frame.at;
                    }
                    None => return Ok(()),
                }
            };
        }
        loop {
            let op = program.ops[at];
            at += 1;
            self.at = at;
            self.scope.budget.spend(1)?;
            match op {
                Op::Text { start, end } => {
                    let text = &program.source.text.as_bytes()[start as usize..end as usize];
                    self.write(text)?;
                }
                Op::Print => {
                    let value = self.pop();
                    self.print(&value)?;
                }
                Op::Pop => {
                    self.pop();
                }
                Op::DropUnder => {
                    let top = self.pop();
                    self.pop();
                    self.stack.push(top);
                }
                Op::Constant(index) => {
                    self.stack.push(program.constants[index as usize].clone());
                    self.boxed = false;
                }
                Op::Dot => {
                    if let Some(frame) = self.frames.last() {
                        self.stack.push(frame.dot.value.clone());
                        self.boxed = frame.dot.boxed;
                    }
                }
                Op::Variable(slot) => {
                    let held = &self.slots[slots + slot as usize];
                    if !held.set {
                        return Err(Stop::execution(format!(
                            "undefined variable: {}",
                            self.variable_name(&program, at)
                        )));
                    }
                    self.stack.push(held.value.clone());
                    self.boxed = held.boxed;
                }
                Op::Declare(slot) | Op::Assign(slot) => {
                    let value = self.stack.last().cloned().unwrap_or_default();
                    self.slots[slots + slot as usize] = Held::plain(value);
                }
                Op::Field(name) => {
                    let receiver = self.pop();
                    let value = self.field(&receiver, &program.names[name as usize])?;
                    self.stack.push(value);
                }
                Op::Method { name, args, piped } => {
                    let name = &program.names[name as usize];
                    self.check_method(name, args as usize, piped)?;
                }
                Op::Invoke { name, args, piped } => {
                    let name = &program.names[name as usize];
                    self.invoke(&program, at, name, args as usize, piped)?;
                }
                Op::Unbox => {
                    if let Some(top @ Value::Nil) = self.stack.last_mut() {
                        *top = Value::Invalid;
                    }
                    self.boxed = false;
                }
                Op::Check(wanted) => {
                    let value = self.pop();
                    let value = program.types[wanted as usize]
                        .check(value)
                        .map_err(Stop::execution)?;
                    self.stack.push(value);
                }
                Op::CheckUnder { under, wanted } => {
                    let index = self.stack.len().saturating_sub(1 + under as usize);
                    let value = std::mem::take(&mut self.stack[index]);
                    self.stack[index] = program.types[wanted as usize]
                        .check(value)
                        .map_err(Stop::execution)?;
                }
                Op::Call {
                    function,
                    args,
                    piped,
                } => {
                    let count = args as usize + usize::from(piped);
                    let base = self.stack.len() - count;
                    if piped {
                        self.stack[base..].rotate_left(1);
                    }
                    let row = self.set.functions().row(function);
                    self.boxed = false;
                    match &row.action {
                        Action::Plain(call) => {
                            let result = call(&mut self.scope, &self.stack[base..]);
                            let value = result.map_err(|fault| Stop::called(&row.name, &fault))?;
                            self.stack.truncate(base);
                            self.stack.push(value);
                        }
                        Action::Shared(call) => {
                            changes::saw_fleeting();
                            let result = call(&mut self.scope, &self.stack[base..]);
                            let value = result.map_err(|fault| Stop::called(&row.name, &fault))?;
                            self.stack.truncate(base);
                            self.stack.push(value);
                        }
                        Action::Include => {
                            if self.include(base)? {
                                go_on_in_top_frame!();
                            }
                        }
                        Action::Tpl => {
                            if self.tpl(base)? {
                                go_on_in_top_frame!();
                            }
                        }
                        Action::And | Action::Or => {
                            // Compiled to jumps.
                            return Err(Stop::execution(format!("{} cannot be called", row.name)));
                        }
                    }
                }
                Op::ShortCircuit { or, target } => {
                    if self.stack.last().is_some_and(|value| value.truth() == or) {
                        at = target as usize;
                    } else {
                        self.pop();
                    }
                }
                Op::Jump(target) => at = target as usize,
                Op::JumpUnless(target) => {
                    if !self.pop().truth() {
                        at = target as usize;
                    }
                }
                Op::With(target) => {
                    let value = self.pop();
                    if value.truth() {
                        if let Some(frame) = self.frames.last_mut() {
                            self.dots
                                .push(std::mem::replace(&mut frame.dot, Held::plain(value)));
                        }
                    } else {
                        at = target as usize;
                    }
                }
                Op::Without => {
                    if let (Some(frame), Some(dot)) = (self.frames.last_mut(), self.dots.pop()) {
                        frame.dot = dot;
                    }
                }
                Op::Range { variables, otherwise } => {
                    let value = self.pop();
                    let iteration = Iteration::new(value, matches!(variables, Variables::Both(..)));
                    let iteration = iteration.map_err(Stop::execution)?;
                    if iteration.is_empty() {
                        at = otherwise as usize;
                    } else if let Some(frame) = self.frames.last() {
                        self.ranges.push(Range {
                            iteration,
                            variables,
                            dot: frame.dot.clone(),
                        });
                    }
                }
                Op::Next { exit } => {
                    if !self.next_element(slots) {
                        self.leave_range();
                        at = exit as usize;
                    }
                }
                Op::Leave => self.leave_range(),
                Op::Template(name) => {
                    let name = &program.texts[name as usize];
                    let Some(next) = self.find(name) else {
                        let name = quote(name.as_bytes());
                        return Err(Stop::execution(format!("template {name} not defined")));
                    };
                    let dot = self.pop();
                    self.enter(&next, dot, Entry::Template, None)?;
                    go_on_in_top_frame!();
                }
                Op::Fail(message) => return Err(Stop::execution(&*program.texts[message as usize])),
                Op::Return => {
                    self.leave()?;
                    go_on_in_top_frame!();
                }
            }
        }
    }

    // Output.

    fn write(&mut self, text: &[u8]) -> Result<(), Stop> {
        self.out.extend_from_slice(text);
        self.check_out()
    }

    fn check_out(&self) -> Result<(), Stop> {
        let max = self.scope.budget.limits.text_bytes_max;
        if self.out.len() - self.out_start > max {
            let message = format!("template writes more than {max} bytes");
            return Err(Stop {
                kind: ErrorKind::Limit,
                message,
                function: None,
            });
        }
        Ok(())
    }

    fn print(&mut self, value: &Value) -> Result<(), Stop> {
        match value {
            Value::Invalid | Value::Nil => self.out.extend_from_slice(NO_VALUE),
            Value::String(text) => self.out.extend_from_slice(text),
            value => {
                self.scope.walk(value)?;
                print_value(&mut self.out, value);
            }
        }
        self.check_out()
    }

    // Fields and methods.

    fn type_of(&self, receiver: &Value) -> String {
        match receiver.type_name() {
            Some(name) if !self.boxed => name.into_owned(),
            _ => "interface {}".to_owned(),
        }
    }

    fn field(&mut self, receiver: &Value, name: &Text) -> Result<Value, Stop> {
        match receiver {
            Value::Invalid => Ok(Value::Invalid),
            Value::Nil => {
                let message = format!("nil pointer evaluating {}.{name}", self.type_of(receiver));
                Err(Stop::execution(message))
            }
            Value::Map(map) => {
                if let MapType::Named(named) = map.map_type()
                    && let Some(signature) = (named.method)(&name.to_str())
                {
                    signature
                        .check_count(&name.to_str(), 0, false)
                        .map_err(Stop::execution)?;
                    let called = (named.call)(map, &name.to_str(), &[]);
                    return called.map_err(|fault| Stop::called(&name.to_str(), &fault));
                }
                self.boxed = map.map_type() != MapType::Strings;
                Ok(map
                    .get(name)
                    .unwrap_or(if self.boxed { Value::Nil } else { Value::from("") }))
            }
            Value::Object(object) => {
                let key = name.to_str();
                if let Some(signature) = object.method(&key) {
                    signature.check_count(&key, 0, false).map_err(Stop::execution)?;
                    self.boxed = false;
                    return object.call(&key, &[]).map_err(|fault| Stop::called(&key, &fault));
                }
                match object.field(&key) {
                    Some(value) => {
                        self.boxed = false;
                        Ok(value)
                    }
                    None if object.kind() == crate::value::Kind::Map => Ok(Value::Nil),
                    None => Err(self.no_field(receiver, name)),
                }
            }
            _ => Err(self.no_field(receiver, name)),
        }
    }

    fn no_field(&self, receiver: &Value, name: &Text) -> Stop {
        Stop::execution(format!(
            "can't evaluate field {name} in type {}",
            self.type_of(receiver)
        ))
    }

    fn check_method(&self, name: &Text, args: usize, piped: bool) -> Result<(), Stop> {
        let Some(receiver) = self.stack.last() else {
            return Ok(());
        };
        let key = name.to_str();
        let signature = match receiver {
            Value::Invalid => return Ok(()),
            Value::Nil => {
                let message = format!("nil pointer evaluating {}.{name}", self.type_of(receiver));
                return Err(Stop::execution(message));
            }
            Value::Object(object) => {
                let signature = object.method(&key);
                if signature.is_none() && object.field(&key).is_some() {
                    let message = format!("{name} has arguments but cannot be invoked as function");
                    return Err(Stop::execution(message));
                }
                if signature.is_none() && object.kind() != crate::value::Kind::Map {
                    return Err(self.no_field(receiver, name));
                }
                signature
            }
            Value::Map(map) => match map.map_type() {
                MapType::Named(named) => (named.method)(&key),
                _ => None,
            },
            _ => return Err(self.no_field(receiver, name)),
        };
        match signature {
            Some(signature) => signature.check_count(&key, args, piped).map_err(Stop::execution),
            None => Err(Stop::execution(format!(
                "{name} is not a method but has arguments"
            ))),
        }
    }

    fn invoke(
        &mut self,
        program: &Program,
        at: usize,
        name: &Text,
        args: usize,
        piped: bool,
    ) -> Result<(), Stop> {
        let base = self.stack.len() - args;
        let mut given: Vec<Value> = self.stack.drain(base..).collect();
        let receiver = self.pop();
        if piped {
            given.push(self.pop());
        }
        let key = name.to_str();
        self.boxed = false;
        let (signature, map) = match &receiver {
            Value::Object(object) => (object.method(&key), None),
            Value::Map(map) => match map.map_type() {
                MapType::Named(named) => ((named.method)(&key), Some((map, named))),
                _ => (None, None),
            },
            _ => (None, None),
        };
        let Some(signature) = signature else {
            self.stack.push(Value::Invalid);
            return Ok(());
        };
        for (i, value) in given.iter_mut().enumerate() {
            let wanted = signature.parameter(i);
            *value = wanted.check(std::mem::take(value)).map_err(|message| {
                let literal = literal_argument(program, at, i);
                Stop::execution(literal.map_or(message, |shown| {
                    format!("expected {}; found {shown}", wanted.name())
                }))
            })?;
        }
        let result = match (&receiver, map) {
            (Value::Object(object), _) => object.call(&key, &given),
            (_, Some((map, named))) => (named.call)(map, &key, &given),
            _ => Ok(Value::Invalid),
        };
        let value = result.map_err(|fault| Stop::called(&key, &fault))?;
        self.stack.push(value);
        Ok(())
    }

    fn variable_name(&self, program: &Program, at: usize) -> String {
        match program.source.syntax(program.nodes[at - 1]) {
            Syntax::Variable { path } => {
                let mut names = program.source.names(path);
                names.next().unwrap_or_default().to_owned()
            }
            _ => String::new(),
        }
    }

    // Ranges.

    fn next_element(&mut self, slots: usize) -> bool {
        let (Some(range), Some(frame)) = (self.ranges.last_mut(), self.frames.last_mut()) else {
            return false;
        };
        let Some((key, element, boxed)) = range.iteration.next() else {
            return false;
        };
        match range.variables {
            Variables::None => {}
            Variables::Element(slot) => {
                self.slots[slots + slot as usize] = Held::boxed(element.clone(), boxed);
            }
            Variables::Both(first, second) => {
                self.slots[slots + first as usize] = Held::plain(key);
                self.slots[slots + second as usize] = Held::boxed(element.clone(), boxed);
            }
        }
        frame.dot = Held::boxed(element, boxed);
        true
    }

    fn leave_range(&mut self) {
        if let (Some(range), Some(frame)) = (self.ranges.pop(), self.frames.last_mut()) {
            frame.dot = range.dot;
        }
    }

    // Templates.

    /// Calls a template whose output is a value, unless it is known what it gives; tells whether there is a frame to go
    /// on in.
    fn call(&mut self, template: &Rc<Template>, dot: Value, entry: Entry) -> Result<bool, Stop> {
        // What `tpl` defines for a while changes what the others give.
        let begun = if self.overlays.iter().all(Names::is_empty) {
            let call = Call {
                template: Rc::clone(template),
                dot: dot.clone(),
            };
            match self.set.memo().begin(call) {
                Recall::Known(text) => {
                    self.scope.text(text.len())?;
                    self.stack.push(Value::String(text));
                    return Ok(false);
                }
                Recall::Begun(begun) => Some(begun),
            }
        } else {
            None
        };
        self.enter(template, dot, entry, begun)?;
        self.out_starts.push(self.out_start);
        self.out_start = self.out.len();
        Ok(true)
    }

    /// Tells whether there is a frame to go on in.
    fn include(&mut self, base: usize) -> Result<bool, Stop> {
        let data = self.pop();
        let name = self.pop();
        debug_assert_eq!(self.stack.len(), base, "include takes two arguments");
        let name = name.as_text().cloned().unwrap_or_default();
        let name = name.to_str();
        let depth_max = self.scope.budget.limits.include_depth_max;
        let Some(template) = self.find(&name) else {
            return Err(Stop {
                kind: ErrorKind::NoTemplate,
                message: no_template(&name),
                function: Some("include".into()),
            });
        };
        if self
            .included
            .get(&template.name)
            .is_some_and(|count| *count > depth_max)
        {
            let message =
                format!("rendering template has a nested reference name: {name}: unable to execute template");
            return Err(Stop {
                kind: ErrorKind::Function,
                message,
                function: Some("include".into()),
            });
        }
        let entered = self.call(&template, data.unboxed(), Entry::Include)?;
        if entered {
            *self.included.entry(Arc::clone(&template.name)).or_insert(0) += 1;
        }
        Ok(entered)
    }

    /// Tells whether there is a frame to go on in: a text without actions is its own result.
    fn tpl(&mut self, base: usize) -> Result<bool, Stop> {
        let data = self.pop();
        let text = self.pop();
        debug_assert_eq!(self.stack.len(), base, "tpl takes two arguments");
        let text = text.as_text().cloned().unwrap_or_default();
        if !contains(&text, b"{{") {
            let value = if contains(&text, NO_VALUE) {
                Value::from(strip_no_value(&text))
            } else {
                Value::String(text)
            };
            self.stack.push(value);
            return Ok(false);
        }
        let depth_max = self.scope.budget.limits.include_depth_max;
        if self.overlays.len() > depth_max {
            let message = format!("tpl nests deeper than {depth_max}");
            return Err(Stop {
                kind: ErrorKind::Limit,
                message,
                function: None,
            });
        }
        self.scope.spend(text.len() as u64 / 8)?;
        let parsed = self.set.text(&text).map_err(|err| {
            let message = format!("cannot parse template {}: {}", quote(&text), err.go_text());
            Stop {
                kind: ErrorKind::Function,
                message,
                function: Some("tpl".into()),
            }
        })?;
        let mut overlay = Names::default();
        for template in &parsed.defined {
            if !(template.blank && self.find(&template.name).is_some()) {
                add(&mut overlay, Rc::clone(template));
            }
        }
        self.overlays.push(overlay);
        let entered = self.call(&parsed.main, data.unboxed(), Entry::Tpl(text))?;
        if !entered {
            self.overlays.pop();
        }
        Ok(entered)
    }

    fn leave(&mut self) -> Result<(), Stop> {
        let Some(frame) = self.frames.pop() else {
            return Ok(());
        };
        self.at = self.frames.last().map_or(self.at, |outer| outer.at);
        self.slots.truncate(frame.slots);
        match frame.entry {
            Entry::Start | Entry::Template => return Ok(()),
            Entry::Include => {
                if let Some(count) = self.included.get_mut(&frame.program.name) {
                    *count = count.saturating_sub(1);
                }
            }
            Entry::Tpl(_) => {
                self.overlays.pop();
            }
        }
        let written = &self.out[self.out_start..];
        self.scope.text(written.len())?;
        let written = if matches!(frame.entry, Entry::Tpl(_)) && contains(written, NO_VALUE) {
            Text::from(strip_no_value(written))
        } else {
            Text::from(written)
        };
        self.out.truncate(self.out_start);
        self.out_start = self.out_starts.pop().unwrap_or_default();
        if let Some(begun) = frame.begun {
            self.set.memo().end(begun, &written);
        }
        self.stack.push(Value::String(written));
        Ok(())
    }

    // Errors.

    fn error(&self, stop: Stop) -> TemplateError {
        let middle = TRACE_MAX..self.frames.len().saturating_sub(TRACE_MAX).max(TRACE_MAX);
        let kept = self
            .frames
            .iter()
            .enumerate()
            .filter(|(at, _)| !middle.contains(at));
        let trace = kept.map(|(_, frame)| {
            let Program {
                file,
                source,
                nodes,
                name,
                ..
            } = &*frame.program;
            let node = nodes[frame.at.saturating_sub(1).min(nodes.len() - 1)];
            let (line, column) = source.position(node);
            let place = Place {
                file: file.to_string(),
                line,
                column,
                text: source
                    .text
                    .split('\n')
                    .nth(line - 1)
                    .unwrap_or_default()
                    .to_owned(),
            };
            let action = source.show(node).to_string();
            TraceFrame {
                place,
                template: name.to_string(),
                action,
                via: frame.entry.to_via(),
            }
        });
        TemplateError {
            kind: stop.kind,
            message: stop.message,
            trace: trace.collect(),
            function: stop.function,
        }
    }
}

/// The argument of a call as it stands in the source, when it is a literal.
fn literal_argument(program: &Program, at: usize, argument: usize) -> Option<String> {
    let Syntax::Command { args } = program.source.syntax(program.nodes[at - 1]) else {
        return None;
    };
    let id = *program.source.list(args).get(argument + 1)?;
    let literal = matches!(
        program.source.syntax(id),
        Syntax::Number { .. } | Syntax::String { .. } | Syntax::Bool(_)
    );
    literal.then(|| program.source.show(id).to_string())
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(text, needle).is_some()
}

fn strip_no_value(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest, NO_VALUE) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + NO_VALUE.len()..];
    }
    out.extend_from_slice(rest);
    out
}
