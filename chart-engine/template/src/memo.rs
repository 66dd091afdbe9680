//! What includes gave, kept for those who ask for the same again.
//!
//! Charts include the same few helpers with the same dot hundreds of times. Such a call gives the same text as long as no
//! map changes that was there when it began, and as long as it saw nothing [fleeting](changes::saw_fleeting).

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use crate::program::Template;
use crate::value::{List, Map, Text, Value, changes};

/// How many calls are kept, and how many bytes of texts; then it begins anew.
const CALLS_MAX: usize = 8192;
const BYTES_MAX: usize = 4 << 20;

/// Collections with more entries are the same only if they are one.
const ENTRIES_MAX: usize = 8;
/// How deep collections are compared by what they hold.
const DEPTH_MAX: usize = 2;

/// A template with its dot.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) template: Rc<Template>,
    pub(crate) dot: Value,
}

/// A call that began, by its place and its moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    place: usize,
    moment: u64,
    fleeting: u64,
}

/// What there is for a call.
pub(crate) enum Recall {
    /// It was made before, and gave this.
    Known(Text),
    /// It has to be made.
    Begun(Begun),
}

#[derive(Debug)]
struct Made {
    moment: u64,
    call: Rc<Call>,
    /// Whether it is in the table.
    done: bool,
}

/// Calls and what they gave.
#[derive(Debug)]
pub(crate) struct Memo {
    /// Whom the clock of changes knows it by.
    id: u64,
    /// The calls in the order in which they began: what changed makes the end of it void.
    order: Vec<Made>,
    known: HashMap<Rc<Call>, Text, foldhash::fast::RandomState>,
    bytes: usize,
}

impl Default for Memo {
    fn default() -> Self {
        Memo {
            id: changes::tick(),
            order: Vec::new(),
            known: HashMap::default(),
            bytes: 0,
        }
    }
}

impl Memo {
    /// What the call gave before, or the note that it begins.
    pub(crate) fn begin(&mut self, call: Call) -> Recall {
        self.forget_changed();
        if let Some(text) = self.known.get(&call) {
            return Recall::Known(text.clone());
        }
        if self.order.len() >= CALLS_MAX || self.bytes > BYTES_MAX {
            self.clear();
        }
        let moment = changes::tick();
        self.order.push(Made {
            moment,
            call: Rc::new(call),
            done: false,
        });
        Recall::Begun(Begun {
            place: self.order.len() - 1,
            moment,
            fleeting: changes::seen_fleeting(),
        })
    }

    /// Keeps what a call gave, if that would be the same again.
    pub(crate) fn end(&mut self, begun: Begun, text: &Text) {
        self.forget_changed();
        let Some(made) = self.order.get_mut(begun.place) else {
            return;
        };
        if made.moment != begun.moment || changes::seen_fleeting() != begun.fleeting {
            return;
        }
        made.done = true;
        self.bytes += text.len();
        self.known.insert(Rc::clone(&made.call), text.clone());
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.order.clear();
        self.known.clear();
        self.bytes = 0;
    }

    /// Forgets the calls that began after something was made that changed since.
    fn forget_changed(&mut self) {
        let oldest = changes::oldest_changed(self.id);
        while let Some(made) = self.order.pop_if(|made| made.moment >= oldest) {
            if made.done
                && let Some(text) = self.known.remove(&made.call)
            {
                self.bytes -= text.len();
            }
        }
    }
}

impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.template, &other.template) && is_same(&self.dot, &other.dot, DEPTH_MAX)
    }
}

impl Eq for Call {}

impl Hash for Call {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Rc::as_ptr(&self.template).hash(state);
        hash(&self.dot, DEPTH_MAX, state);
    }
}

/// Whether a map is compared by what it holds: the dot of a chart is always the same one.
fn is_small_map(map: &Map) -> bool {
    map.len() <= ENTRIES_MAX && map.fleeting_key().is_none()
}

fn is_small_list(list: &List) -> bool {
    list.len() <= ENTRIES_MAX
}

/// Whether no template can tell two values apart. May say no where it is yes.
fn is_same(a: &Value, b: &Value, depth: usize) -> bool {
    match (a, b) {
        (Value::Invalid, Value::Invalid) | (Value::Nil, Value::Nil) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a, is_a), Value::Int(b, is_b)) => a == b && is_a == is_b,
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Bytes(a), Value::Bytes(b)) => Rc::ptr_eq(a, b),
        (Value::Object(a), Value::Object(b)) => Rc::ptr_eq(a, b),
        (Value::List(a), Value::List(b)) => {
            Rc::ptr_eq(a, b)
                || depth > 0
                    && is_small_list(a)
                    && a.len() == b.len()
                    && a.element() == b.element()
                    && a.is_nil() == b.is_nil()
                    && a.items()
                        .iter()
                        .zip(b.items())
                        .all(|(a, b)| is_same(a, b, depth - 1))
        }
        (Value::Map(a), Value::Map(b)) => {
            Rc::ptr_eq(a, b)
                || depth > 0
                    && is_small_map(a)
                    && is_small_map(b)
                    && a.len() == b.len()
                    && a.map_type() == b.map_type()
                    && a.is_nil() == b.is_nil()
                    && a.peek()
                        .iter()
                        .zip(&*b.peek())
                        .all(|((a_key, a), (b_key, b))| a_key == b_key && is_same(a, b, depth - 1))
        }
        _ => false,
    }
}

/// Hashes what [`is_same`] compares.
fn hash<H: Hasher>(value: &Value, depth: usize, state: &mut H) {
    std::mem::discriminant(value).hash(state);
    match value {
        Value::Invalid | Value::Nil => {}
        Value::Bool(value) => value.hash(state),
        Value::Int(value, _) => value.hash(state),
        Value::Float(value) => value.to_bits().hash(state),
        Value::String(text) => text.hash(state),
        Value::Bytes(bytes) => bytes.as_ptr().hash(state),
        Value::Object(object) => Rc::as_ptr(object).cast::<()>().hash(state),
        Value::List(list) if depth > 0 && is_small_list(list) => {
            list.items().iter().for_each(|item| hash(item, depth - 1, state));
        }
        Value::List(list) => Rc::as_ptr(list).hash(state),
        Value::Map(map) if depth > 0 && is_small_map(map) => {
            for (key, value) in &*map.peek() {
                key.hash(state);
                hash(value, depth - 1, state);
            }
        }
        Value::Map(map) => Rc::as_ptr(map).hash(state),
    }
}
