//! What `range` goes through.

use std::rc::Rc;

use crate::value::{Contents, Element, Integer, List, MapType, Text, Value};

/// The elements of a value, as they were when the range began.
#[derive(Debug)]
pub(crate) enum Iteration {
    List {
        list: Rc<List>,
        next: usize,
    },
    Items {
        items: std::vec::IntoIter<Value>,
        next: i64,
    },
    Entries {
        entries: std::vec::IntoIter<(Text, Value)>,
        boxed: bool,
    },
    Count {
        next: i64,
        end: i64,
        integer: Integer,
    },
}

impl Iteration {
    /// Prepares to range over a value; the error is the message.
    pub(crate) fn new(value: Value, two_variables: bool) -> Result<Self, String> {
        Ok(match value {
            Value::List(list) => Iteration::List { list, next: 0 },
            Value::Map(map) => {
                let boxed = map.map_type() != MapType::Strings;
                Iteration::Entries {
                    entries: map.to_vec().into_iter(),
                    boxed,
                }
            }
            Value::Int(_, _) if two_variables => {
                return Err(format!(
                    "can't use {value} to iterate over more than one variable"
                ));
            }
            Value::Int(end, integer) => Iteration::Count {
                next: 0,
                end,
                integer,
            },
            Value::Invalid | Value::Nil => Iteration::Count {
                next: 0,
                end: 0,
                integer: Integer::Int,
            },
            Value::Object(object) => match object.contents() {
                Some(Contents::Items(items)) => Iteration::Items {
                    items: items.into_iter(),
                    next: 0,
                },
                Some(Contents::Entries(entries)) => Iteration::Entries {
                    entries: entries.into_iter(),
                    boxed: false,
                },
                None => return Err(format!("range can't iterate over {}", object.print())),
            },
            Value::Bytes(_) => {
                let items = value.items().unwrap_or_default().into_owned();
                Iteration::Items {
                    items: items.into_iter(),
                    next: 0,
                }
            }
            value => return Err(format!("range can't iterate over {value}")),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Iteration::List { list, .. } => list.is_empty(),
            Iteration::Items { items, .. } => items.len() == 0,
            Iteration::Entries { entries, .. } => entries.len() == 0,
            Iteration::Count { end, .. } => *end <= 0,
        }
    }

    /// The next key and element, and whether the element was declared as `interface {}`.
    pub(crate) fn next(&mut self) -> Option<(Value, Value, bool)> {
        match self {
            Iteration::List { list, next } => {
                let element = list.items().get(*next)?.clone();
                let key = Value::int(i64::try_from(*next).unwrap_or(i64::MAX));
                *next += 1;
                Some((key, element, list.element() == Element::Any))
            }
            Iteration::Items { items, next } => {
                let element = items.next()?;
                *next += 1;
                Some((Value::int(*next - 1), element, false))
            }
            Iteration::Entries { entries, boxed } => {
                let (key, element) = entries.next()?;
                Some((Value::String(key), element, *boxed))
            }
            Iteration::Count { next, end, integer } => {
                if *next >= *end {
                    return None;
                }
                *next += 1;
                Some((Value::Invalid, Value::Int(*next - 1, *integer), false))
            }
        }
    }
}
