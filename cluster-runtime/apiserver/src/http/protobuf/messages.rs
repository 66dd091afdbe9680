//! Which messages there are and what their fields are.

use std::collections::HashMap;
use std::sync::OnceLock;

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// Number on the wire.
    pub(super) number: u64,
    /// Name in JSON; `None` when the message's fields stand in the object itself.
    pub(super) name: Option<&'static str>,
    /// Whether zero is told from absent.
    pub(super) keeps_zero: bool,
    /// How often.
    pub(super) count: Count,
    /// What it holds.
    pub(super) holds: Holds,
}

/// How often a field may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// Once.
    One,
    /// Any number of times: a list.
    List,
    /// Any number of times, each with a key.
    Map,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Text,
    Bytes,
    Integer,
    Boolean,
    Double,
    Time,
    MicroTime,
    Json,
    IntOrString,
    Quantity,
    /// A list of texts in a message of its own.
    Texts,
    /// The message of a name.
    Message(&'static str),
}

/// The fields of a message, ordered by number; `None` for a message that is not known.
pub(super) fn fields(message: &str) -> Option<&'static [Field]> {
    static MESSAGES: OnceLock<HashMap<&'static str, Vec<Field>>> = OnceLock::new();
    let messages = MESSAGES.get_or_init(|| read(include_str!("messages.txt")));
    messages.get(message).map(Vec::as_slice)
}

fn read(text: &'static str) -> HashMap<&'static str, Vec<Field>> {
    let mut messages = HashMap::new();
    let mut current: &mut Vec<Field> = &mut Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix(' ') {
            None => current = messages.entry(line).or_default(),
            Some(line) => current.extend(field(line)),
        }
    }
    messages
}

/// Reads `NUMBER[?] NAME TYPE`.
fn field(line: &'static str) -> Option<Field> {
    let mut parts = line.split(' ');
    let (number, name, kind) = (parts.next()?, parts.next()?, parts.next()?);
    let (number, keeps_zero) = match number.strip_suffix('?') {
        Some(number) => (number, true),
        None => (number, false),
    };
    let (count, kind) = match (kind.strip_prefix('*'), kind.strip_prefix("map:")) {
        (Some(kind), _) => (Count::List, kind),
        (None, Some(kind)) => (Count::Map, kind),
        (None, None) => (Count::One, kind),
    };
    let holds = match kind {
        "text" => Holds::Text,
        "bytes" => Holds::Bytes,
        "int" => Holds::Integer,
        "bool" => Holds::Boolean,
        "double" => Holds::Double,
        "@time" => Holds::Time,
        "@microtime" => Holds::MicroTime,
        "@json" => Holds::Json,
        "@intorstring" => Holds::IntOrString,
        "@quantity" => Holds::Quantity,
        "@list" => Holds::Texts,
        message => Holds::Message(message),
    };
    Some(Field {
        number: number.parse().ok()?,
        name: (name != "-").then_some(name),
        keeps_zero,
        count,
        holds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_field_of_a_known_message() {
        let text = include_str!("messages.txt");
        let lines = text.lines().filter(|line| line.starts_with(' ')).count();
        let messages = read(text);
        let all: Vec<&Field> = messages.values().flatten().collect();
        assert_eq!(all.len(), lines);
        for field in all {
            if let Holds::Message(name) = field.holds {
                assert!(fields(name).is_some(), "{name}");
            }
        }
    }
}
