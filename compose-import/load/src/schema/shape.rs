//! The shapes that values have.

/// Kinds of scalars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinds(pub(super) u8);

pub(super) const BOOLEAN: u8 = 1;
pub(super) const INTEGER: u8 = 2;
pub(super) const NULL: u8 = 4;
pub(super) const NUMBER: u8 = 8;
pub(super) const STRING: u8 = 16;

impl Kinds {
    pub(super) fn has(self, kind: u8) -> bool {
        self.0 & kind != 0
    }

    /// `boolean, null or string`.
    pub(super) fn words(self) -> String {
        let names = [
            (BOOLEAN, "boolean"),
            (INTEGER, "integer"),
            (NULL, "null"),
            (NUMBER, "number"),
            (STRING, "string"),
        ];
        words(
            names
                .iter()
                .filter(|(kind, _)| self.has(*kind))
                .map(|(_, name)| *name),
        )
    }
}

/// Joins words with commas and an `or`.
pub(super) fn words<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.collect();
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// What a value may look like.
#[derive(Debug)]
pub(super) enum Shape {
    /// A scalar.
    Scalar(Kinds),
    /// A whole number not below the first, and not above the second.
    Within(i64, i64),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A text that a function accepts, which the schema writes as a pattern.
    Text {
        fits: fn(&str) -> bool,
        pattern: &'static str,
    },
    /// A list.
    List { items: &'static Shape, unique: bool },
    /// A mapping with keys of the author's.
    Map { entries: &'static Shape, keys: Keys },
    /// A mapping with known keys.
    Object(&'static Object),
    /// Any of these.
    Any(&'static [Shape]),
}

/// Which keys an author may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// Whatever is not empty.
    Any,
    /// Letters, digits, `.`, `_`, `-`; others are refused.
    Names,
    /// The same, but others are not looked at.
    NamesOrUnchecked,
    /// Small letters; others are not looked at.
    LowerOrUnchecked,
}

/// A mapping with known keys.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) fields: &'static [(&'static str, Shape)],
    pub(super) required: &'static [&'static str],
    /// `x-` keys may stand in it.
    pub(super) extensions: bool,
    /// Unknown keys are allowed.
    pub(super) open: bool,
    /// It may be empty.
    pub(super) null: bool,
}
