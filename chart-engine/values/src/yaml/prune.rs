//! Reading a few entries of a large table.

use super::load::check_characters;
use super::outline::without_plain_entries;
use super::parse::{Event, Parser};
use super::resolve::{Scalar, resolve};
use crate::value::{Map, Value};

/// The entries of the table in the first document of `text` whose keys are among `keep`, whatever their case.
///
/// Everything else is only checked, which is much faster than making values of it. `None` if the text has a fault, is no
/// table, or uses anchors, tags or merges: then [`super::from_yaml`] tells what it is.
pub fn entries_from_yaml(text: &str, keep: &[&str]) -> Option<Map> {
    check_characters(text).ok()?;
    entries_of(&without_plain_entries(text, keep), keep)
}

pub(super) fn entries_of(text: &str, keep: &[&str]) -> Option<Map> {
    let mut reader = Reader {
        parser: Parser::new(text),
    };
    let mut map = Map::new();
    match reader.next()? {
        Event::DocumentStart => {}
        Event::StreamEnd => return Some(map),
        _ => return None,
    }
    match reader.next()? {
        Event::MappingStart { anchor: None, .. } => {}
        // A document with nothing in it.
        Event::Scalar {
            anchor: None,
            tag: None,
            text,
            plain: true,
        } if resolve(&text) == Scalar::Null => {
            return (reader.next()? == Event::DocumentEnd).then_some(map);
        }
        _ => return None,
    }
    loop {
        match reader.next()? {
            Event::MappingEnd => break,
            Event::Scalar {
                anchor: None,
                tag: None,
                text,
                plain,
            } if is_text_key(&text, plain) => {
                let wanted = keep.iter().any(|wanted| wanted.eq_ignore_ascii_case(&text));
                let first = reader.next()?;
                if wanted {
                    let key = text.into_owned();
                    map.insert(key, reader.value(first, 1)?);
                } else {
                    reader.skip(first)?;
                }
            }
            _ => return None,
        }
    }
    (reader.next()? == Event::DocumentEnd).then_some(map)
}

/// Tells whether a key is a text as it stands.
pub(super) fn is_text_key(text: &str, plain: bool) -> bool {
    !plain || (text != "<<" && matches!(resolve(text), Scalar::String | Scalar::Timestamp))
}

struct Reader<'t> {
    parser: Parser<'t>,
}

/// Deeper values are left to the full reader.
const DEPTH_MAX: usize = 100;

impl<'t> Reader<'t> {
    fn next(&mut self) -> Option<Event<'t>> {
        self.parser.next().ok().map(|(event, _)| event)
    }

    fn value(&mut self, first: Event<'t>, depth: usize) -> Option<Value> {
        if depth > DEPTH_MAX {
            return None;
        }
        match first {
            Event::Scalar {
                anchor: None,
                tag: None,
                text,
                plain,
            } => {
                if !plain {
                    return Some(Value::String(text.into_owned()));
                }
                #[expect(clippy::cast_precision_loss, reason = "Helm's numbers are floats")]
                Some(match resolve(&text) {
                    Scalar::Null => Value::Null,
                    Scalar::Bool(flag) => Value::Bool(flag),
                    Scalar::Int(number) => Value::Float(number as f64),
                    Scalar::Uint(number) => Value::Float(number as f64),
                    Scalar::Float(number) if number.is_finite() => Value::Float(number),
                    Scalar::Float(_) => return None,
                    Scalar::Timestamp | Scalar::String => Value::String(text.into_owned()),
                })
            }
            Event::SequenceStart { anchor: None, .. } => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => return Some(Value::List(items)),
                        item => items.push(self.value(item, depth + 1)?),
                    }
                }
            }
            Event::MappingStart { anchor: None, .. } => {
                let mut map = Map::new();
                loop {
                    match self.next()? {
                        Event::MappingEnd => return Some(Value::Map(map)),
                        Event::Scalar {
                            anchor: None,
                            tag: None,
                            text,
                            plain,
                        } if is_text_key(&text, plain) => {
                            let first = self.next()?;
                            map.insert(text.into_owned(), self.value(first, depth + 1)?);
                        }
                        _ => return None,
                    }
                }
            }
            _ => None,
        }
    }

    /// Checks a value and everything in it.
    fn skip(&mut self, first: Event<'t>) -> Option<()> {
        // Per open collection: a table that waits for a key, one that waits for a value, or a list.
        let mut open: Vec<Place> = Vec::new();
        let mut event = first;
        loop {
            match event {
                Event::Scalar {
                    anchor: None,
                    tag: None,
                    text,
                    plain,
                } => {
                    if open.last() == Some(&Place::Key) {
                        if !is_skippable_key(&text, plain) {
                            return None;
                        }
                    } else if plain && matches!(resolve(&text), Scalar::Float(number) if !number.is_finite())
                    {
                        return None;
                    }
                }
                Event::SequenceStart { anchor: None, .. } if open.last() != Some(&Place::Key) => {
                    open.push(Place::Item);
                    event = self.next()?;
                    continue;
                }
                Event::MappingStart { anchor: None, .. } if open.last() != Some(&Place::Key) => {
                    open.push(Place::Key);
                    event = self.next()?;
                    continue;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    open.pop();
                }
                _ => return None,
            }
            // A value is done.
            match open.last_mut() {
                None => return Some(()),
                Some(place @ Place::Key) => *place = Place::Value,
                Some(place @ Place::Value) => *place = Place::Key,
                Some(Place::Item) => {}
            }
            if open.len() > DEPTH_MAX {
                return None;
            }
            event = self.next()?;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Key,
    Value,
    Item,
}

/// Any key that has a text form.
fn is_skippable_key(text: &str, plain: bool) -> bool {
    !plain || (text != "<<" && !matches!(resolve(text), Scalar::Null | Scalar::Uint(_) | Scalar::Float(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::to_json;

    #[test]
    fn keeps_what_is_wanted_and_checks_the_rest() {
        for (text, json) in [
            ("kind: A\nspec: {a: [1, {b: c}], d: |\n  x\n}\n", None),
            (
                "kind: A\nspec:\n  a: [1, {b: c}]\n  d: |\n    x\nKIND: B",
                Some(r#"{"KIND":"B","kind":"A"}"#),
            ),
            ("# nothing\n", Some("{}")),
            ("", Some("{}")),
            (
                "kind: 1\nmeta: {name: yes}",
                Some(r#"{"kind":1,"meta":{"name":true}}"#),
            ),
            ("kind: A\nx: .inf", None),
            ("kind: A\nx: &a 1", None),
            ("kind: A\nx: *a", None),
            ("kind: A\nx: !!str 1", None),
            ("kind: A\nx: {<<: {a: 1}}", None),
            ("kind: A\nx: {~: 1}", None),
            ("kind: A\nx: {[a]: 1}", None),
            ("kind: A\nx: {", None),
            ("[1]", None),
            ("kind: A\n---\nb: 2", Some(r#"{"kind":"A"}"#)),
        ] {
            let found = entries_from_yaml(text, &["kind", "meta", "n"]).map(|map| to_json(&Value::Map(map)));
            assert_eq!(found.as_deref(), json, "{text}");
        }
    }
}
