//! Texts made by chance: nothing panics, and what is written reads back.

use chart_values::json::{from_json, to_json};
use chart_values::set::{Kind, apply};
use chart_values::yaml::{Emitter, Style, from_yaml, locate, values_from_yaml};
use chart_values::{Map, Value};

/// Chance from a seed, the same every time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn text(&mut self, pieces: &[&str], length: usize) -> String {
        (0..self.below(length))
            .map(|_| pieces[self.below(pieces.len())])
            .collect()
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 5 } else { 7 }) {
            0 => Value::Null,
            1 => Value::Bool(self.below(2) == 0),
            2 => Value::Float([0.0, 1.0, -1.5, 1e6, 1_234_567.5, 1e21, 1e-7][self.below(7)]),
            3 | 4 => Value::String(self.text(PIECES, 8)),
            5 => Value::List((0..self.below(4)).map(|_| self.value(depth - 1)).collect()),
            _ => Value::Map(
                (0..self.below(4))
                    .map(|_| (self.text(PIECES, 4), self.value(depth - 1)))
                    .collect(),
            ),
        }
    }
}

const PIECES: &[&str] = &[
    "a", "b", "1", "0", " ", "  ", "\n", "\n  ", "\n- ", ": ", ":", "- ", "? ", "{", "}", "[", "]", ",", "#",
    " #", "&a ", "*a", "!t ", "!!int ", "|", ">", "|2-", "'", "\"", "\\", "\\x41", "%", "@", "`", "<<", "~",
    "yes", "null", ".5", "e3", "---\n", "...\n", "\t", "\r\n", "\u{85}", "\u{2028}", "é", "😀", "\u{feff}",
    "\u{7}",
];

#[test]
fn err_no_text_makes_the_readers_panic() {
    let mut chance = Chance(1);
    for _ in 0..4_000 {
        let text = chance.text(PIECES, 24);
        let _ = from_yaml(&text);
        let _ = values_from_yaml(&text);
        let _ = locate(&text, &["a", "0", "b"]);
        let _ = from_json(&text);
        for kind in [Kind::Typed, Kind::Json, Kind::Literal] {
            let _ = apply(&mut Map::new(), &text, kind);
        }
    }
}

#[test]
fn what_is_written_reads_back() {
    let mut chance = Chance(2);
    for _ in 0..1_500 {
        let value = chance.value(3);
        for style in [Style::ToYaml, Style::Pretty] {
            let mut emitter = Emitter::new(style);
            emitter.value(&value);
            // Some characters cannot be written by `toYaml`, and one becomes a space.
            let Ok(text) = emitter.finish() else { continue };
            let exotic = |c: char| matches!(c, '\u{85}' | '\u{2028}' | '\u{feff}');
            let json = to_json(&value);
            // go-yaml version 3 writes a text that starts with a tab so that nobody can read it.
            if style == Style::Pretty && json.contains("\\t") {
                continue;
            }
            // `<<` as a key is written plain, as go-yaml does, and then means a merge.
            if json.contains(exotic) || json.contains("\\u2028") || json.contains("\"\\u003c\\u003c\":") {
                continue;
            }
            assert_eq!(from_yaml(&text).as_ref(), Ok(&value), "{style:?}\n{text}");
        }
        assert_eq!(from_json(&to_json(&value)), Ok(value));
    }
}
