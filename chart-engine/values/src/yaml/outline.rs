//! Which parts of a document are plainly well-formed, told line by line.
//!
//! To check YAML by its whole grammar takes dozens of steps a byte, and most of what charts give is written in a few simple
//! ways: block tables and lists, plain and quoted scalars, block scalars. What is written otherwise, or looks as if it might
//! be, is left to the parser. So this knows no faults, only doubt.

use std::borrow::Cow;

use super::lines::lines;
use super::prune::is_text_key;

/// The text without those entries of its table that are plainly well-formed, and whose keys are not among `keep`, whatever
/// their case.
///
/// What is left is read, and refused, by [`Parser`](super::Parser) as the whole text is.
pub(super) fn without_plain_entries<'t>(text: &'t str, keep: &[&str]) -> Cow<'t, str> {
    if !has_usual_lines(text) {
        return text.into();
    }
    let mut kept = String::new();
    let mut walk = Walk::default();
    // Where the entry begins that is being walked, and whether it is wanted.
    let mut entry: Option<(usize, bool)> = None;
    let mut at = 0;
    for line in lines(text) {
        match walk.line(line.strip_suffix('\n').unwrap_or(line)) {
            Seen::Entry(key) => {
                if let Some((start, true)) = entry {
                    kept.push_str(&text[start..at]);
                }
                entry = Some((at, keep.iter().any(|wanted| wanted.eq_ignore_ascii_case(key))));
            }
            Seen::Inside => {}
            Seen::Doubt => {
                let start = entry.map_or(0, |(start, _)| start);
                if start == 0 {
                    return text.into();
                }
                kept.push_str(&text[start..]);
                return kept.into();
            }
        }
        at += line.len();
    }
    // A scalar that does not end is in doubt as well.
    if let Some((start, is_wanted)) = entry
        && (is_wanted || walk.quote.is_some())
    {
        kept.push_str(&text[start..]);
    }
    kept.into()
}

/// Whether lines end with line feeds only: to YAML 1.1 other characters end lines as well.
fn has_usual_lines(text: &str) -> bool {
    memchr::memchr(b'\r', text.as_bytes()).is_none()
        && (text.is_ascii()
            || !['\u{85}', '\u{2028}', '\u{2029}', '\u{feff}']
                .into_iter()
                .any(|unusual| text.contains(unusual)))
}

/// What a line is.
enum Seen<'l> {
    /// The first line of an entry of the document's table, with its key.
    Entry(&'l str),
    Inside,
    Doubt,
}

/// A table or a list, by the column where its keys or dashes are.
#[derive(Clone, Copy)]
struct Open {
    column: usize,
    is_list: bool,
}

/// What deeper lines may be.
#[derive(Clone, Copy, Default, PartialEq)]
enum Deeper {
    #[default]
    Nothing,
    /// The value of the key or dash before.
    Value,
    /// More of the plain scalar before.
    More,
}

/// The lines of a block scalar.
struct Block {
    /// The column of the table or list that it is a value in.
    outer: usize,
    /// The column of its text, once that has begun.
    inner: Option<usize>,
    /// The most spaces of the blank lines before its text.
    blank_max: usize,
}

/// Deeper documents are left to the parser.
const DEPTH_MAX: usize = 50;

/// Longer keys are left to the parser.
const KEY_MAX: usize = 128;

/// Longer numbers are left to the parser.
const NUMBER_MAX: usize = 100;

#[derive(Default)]
struct Walk {
    open: Vec<Open>,
    deeper: Deeper,
    block: Option<Block>,
    /// What will end the scalar that has begun.
    quote: Option<u8>,
}

impl Walk {
    fn line<'l>(&mut self, line: &'l str) -> Seen<'l> {
        let column = line.bytes().take_while(|byte| *byte == b' ').count();
        let content = line[column..].trim_end_matches(' ');
        if let Some(block) = &mut self.block {
            match block.takes(column, content) {
                Some(true) => return Seen::Inside,
                Some(false) => self.block = None,
                None => return Seen::Doubt,
            }
        }
        if content.is_empty() {
            return Seen::Inside;
        }
        if let Some(quote) = self.quote {
            let is_deeper = self.open.last().is_some_and(|open| column > open.column);
            return match is_deeper && self.quoted(quote, content) {
                true => Seen::Inside,
                false => Seen::Doubt,
            };
        }
        if content.starts_with('#') {
            if self.deeper == Deeper::More {
                self.deeper = Deeper::Nothing;
            }
            return Seen::Inside;
        }
        let is_item = content == "-" || content.starts_with("- ");
        if !self.element(column, content, is_item) || self.open.len() > DEPTH_MAX {
            return Seen::Doubt;
        }
        if column > 0 || is_item {
            return Seen::Inside;
        }
        match key_end(content) {
            Some(end) if !content.starts_with('"') && is_text_key(&content[..end], true) => {
                Seen::Entry(&content[..end])
            }
            _ => Seen::Doubt,
        }
    }

    /// A line that begins something, or goes on with a plain scalar; says whether it is plainly well-formed.
    fn element(&mut self, column: usize, content: &str, is_item: bool) -> bool {
        while self
            .open
            .last()
            .is_some_and(|open| open.column > column || (open.is_list && open.column == column && !is_item))
        {
            self.open.pop();
            self.deeper = Deeper::Nothing;
        }
        match self.open.last() {
            None if column == 0 => {
                self.open(0, false);
                self.pair(content)
            }
            None => false,
            Some(open) if open.column == column => match (open.is_list, is_item) {
                (true, _) => self.item(column, content),
                // A list may stand below its key.
                (false, true) => {
                    self.deeper == Deeper::Value && {
                        self.open(column, true);
                        self.item(column, content)
                    }
                }
                (false, false) => self.pair(content),
            },
            Some(_) => match self.deeper {
                Deeper::Nothing => false,
                Deeper::More => self.more(content),
                Deeper::Value if is_item => {
                    self.open(column, true);
                    self.item(column, content)
                }
                Deeper::Value => self.value(column, content),
            },
        }
    }

    fn open(&mut self, column: usize, is_list: bool) {
        self.open.push(Open { column, is_list });
    }

    /// A dash, and what stands behind it.
    fn item(&mut self, mut column: usize, content: &str) -> bool {
        let mut rest = content;
        loop {
            let behind = rest[1..].trim_start_matches(' ');
            column += rest.len() - behind.len();
            rest = behind;
            if rest.is_empty() {
                self.deeper = Deeper::Value;
                return true;
            }
            if rest != "-" && !rest.starts_with("- ") {
                break;
            }
            self.open(column, true);
        }
        self.value(column, rest)
    }

    /// The first pair of a table, or a scalar.
    fn value(&mut self, column: usize, content: &str) -> bool {
        match key_end(content) {
            Some(end) => {
                self.open(column, false);
                self.behind_key(&content[end + 1..])
            }
            None => self.scalar(content),
        }
    }

    /// A key, and its value if it stands in the same line.
    fn pair(&mut self, content: &str) -> bool {
        key_end(content).is_some_and(|end| self.behind_key(&content[end + 1..]))
    }

    fn behind_key(&mut self, rest: &str) -> bool {
        let value = rest.trim_start_matches(' ');
        if value.is_empty() || value.starts_with('#') {
            self.deeper = Deeper::Value;
            return true;
        }
        self.scalar(value)
    }

    /// A scalar, or what of it stands in this line, or a short list.
    fn scalar(&mut self, value: &str) -> bool {
        self.deeper = Deeper::Nothing;
        match value.as_bytes() {
            [b'|' | b'>'] | [b'|' | b'>', b'-' | b'+'] => {
                self.block = self.open.last().map(|open| Block {
                    outer: open.column,
                    inner: None,
                    blank_max: 0,
                });
                true
            }
            [quote @ (b'"' | b'\''), ..] => self.quoted(*quote, &value[1..]),
            b"{}" | b"[]" => true,
            [b'[', ..] => is_short_list(value),
            [
                b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'/' | b'$' | b'(' | b'\\' | b';' | b'^',
                ..,
            ] => self.more(value),
            [b'.', b'a'..=b'z' | b'A'..=b'Z', ..] => {
                let word = first_word(value);
                let is_number = word.eq_ignore_ascii_case(".inf") || word.eq_ignore_ascii_case(".nan");
                !is_number && self.more(value)
            }
            [b':', b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z', ..] => self.more(value),
            [b'0'..=b'9', ..] | [b'-', b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-', ..] => {
                // It may be too large a number.
                let word = first_word(value);
                let is_part = |byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'_' | b'e' | b'E');
                let is_number = word.bytes().all(is_part) && word.bytes().any(|byte| byte.is_ascii_digit());
                let is_usual = !is_number || (word.len() <= NUMBER_MAX && !word.contains(['e', 'E']));
                is_usual && self.more(value)
            }
            _ => false,
        }
    }

    /// A line of a scalar in quotes, without the quote that it may begin with.
    fn quoted(&mut self, quote: u8, line: &str) -> bool {
        match end_of_quoted(quote, line) {
            Quoted::Ends(end) => {
                self.quote = None;
                is_comment_or_nothing(&line[end..])
            }
            Quoted::GoesOn => {
                self.quote = Some(quote);
                true
            }
            Quoted::Doubt => false,
        }
    }

    /// A line of a plain scalar.
    fn more(&mut self, line: &str) -> bool {
        let bytes = line.as_bytes();
        self.deeper = Deeper::More;
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b':' if matches!(bytes.get(at + 1), None | Some(b' ')) => return false,
                b'#' if at > 0 && bytes[at - 1] == b' ' => {
                    self.deeper = Deeper::Nothing;
                    return true;
                }
                b'\t' => return false,
                _ => {}
            }
        }
        true
    }
}

impl Block {
    /// Whether a line belongs to it; `None` where that is in doubt.
    fn takes(&mut self, column: usize, content: &str) -> Option<bool> {
        if content.is_empty() {
            self.blank_max = self.blank_max.max(column);
            return Some(true);
        }
        match self.inner {
            Some(inner) if column >= inner => Some(true),
            Some(_) if column > self.outer => None,
            Some(_) => Some(false),
            None if column <= self.outer => Some(false),
            None if self.blank_max > column || content.starts_with('\t') => None,
            None => {
                self.inner = Some(column);
                Some(true)
            }
        }
    }
}

/// Where the colon is behind a key that is plainly a text.
fn key_end(content: &str) -> Option<usize> {
    let bytes = content.as_bytes();
    let end = match bytes {
        [b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$', ..] => {
            let is_part =
                |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-' | b'$');
            let end = bytes.iter().take(KEY_MAX).position(|byte| !is_part(byte))?;
            (!content[..end].eq_ignore_ascii_case("null")).then_some(end)?
        }
        [b'"', ..] => content.len() - behind_quoted(content)?.len(),
        _ => return None,
    };
    let is_key =
        end <= KEY_MAX && bytes.get(end) == Some(&b':') && matches!(bytes.get(end + 1), None | Some(b' '));
    is_key.then_some(end)
}

/// What follows a scalar in quotes.
fn behind_quoted(value: &str) -> Option<&str> {
    match end_of_quoted(value.as_bytes()[0], &value[1..]) {
        Quoted::Ends(end) => Some(&value[1 + end..]),
        Quoted::GoesOn | Quoted::Doubt => None,
    }
}

/// A line of a scalar in quotes.
enum Quoted {
    /// It ends before this byte.
    Ends(usize),
    GoesOn,
    Doubt,
}

fn end_of_quoted(quote: u8, line: &str) -> Quoted {
    let bytes = line.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\t' => return Quoted::Doubt,
            b'\'' if quote == b'\'' && bytes.get(at + 1) == Some(&b'\'') => at += 1,
            b'\\' if quote == b'"' => match bytes.get(at + 1) {
                Some(b'"' | b'\\' | b'n' | b't') => at += 1,
                _ => return Quoted::Doubt,
            },
            byte if *byte == quote => return Quoted::Ends(at + 1),
            _ => {}
        }
        at += 1;
    }
    Quoted::GoesOn
}

fn first_word(value: &str) -> &str {
    value.split(' ').next().unwrap_or_default()
}

fn is_comment_or_nothing(rest: &str) -> bool {
    rest.is_empty() || rest.trim_start_matches(' ').starts_with('#') && rest.starts_with(' ')
}

/// Whether a text is a list in brackets of words and of scalars in quotes.
fn is_short_list(value: &str) -> bool {
    let mut rest = &value[1..];
    loop {
        rest = rest.trim_start_matches(' ');
        rest = match rest.as_bytes() {
            [b'"' | b'\'', ..] => match behind_quoted(rest) {
                Some(rest) => rest,
                None => return false,
            },
            [b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'/', ..] => {
                let is_part =
                    |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-');
                rest.trim_start_matches(|part: char| u8::try_from(part).is_ok_and(is_part))
            }
            _ => return false,
        };
        rest = rest.trim_start_matches(' ');
        match rest.as_bytes() {
            [b']'] => return true,
            [b',', ..] => rest = &rest[1..],
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::prune::entries_of;
    use super::super::{entries_from_yaml, from_yaml};
    use super::*;
    use crate::value::Value;

    const KEEP: &[&str] = &["kind", "metadata"];

    #[test]
    fn what_is_plain_and_unwanted_is_left_out() {
        let spec = "spec:
  replicas: 3 # of them
  paused: -1

  selector: {}
  ports:
  - name: http
    port: 80
    cidrs: [ 'a', \"b\", c/d ]
  -
    name: dns
  - - a
    -   b
  # comment
  template:
      text: several words, and more
        of them - like: this
      script: |
        if true; then
          echo \"a: b\"

        fi
      folded: >-
        one

        two
      quoted: \"a \\\"b\\\" #c\"
      other: 'it''s'   # comment
      \"a.b/c\": :80
      path: .a.b
      long: 'one: it''s

        # two'
      command: --flag=a:b
status:
- a
- b: c
";
        // A colon and a space within a text is a fault.
        let spec = spec.replace("like: this", "like:this");
        let text = format!("# Source: a\nkind: A\n{spec}metadata:\n  name: b\n");
        assert_eq!(
            without_plain_entries(&text, KEEP),
            "kind: A\nmetadata:\n  name: b\n"
        );
        assert!(from_yaml(&text).is_ok());
    }

    #[test]
    fn what_is_in_doubt_is_left_to_the_parser() {
        for entry in [
            "a: b: c",
            "a: 1e999",
            "a: .inf",
            "a: &x b",
            "a: *x",
            "a: !!str b",
            "a: {b: c}",
            "a: \"b\nc\"",
            "a: \"b\n c\" d",
            "a: .inf # b",
            "a: 1e999 # b",
            "a: \"\\x\"",
            "a: \"\\/\"",
            "a: 'b' c",
            "a:\tb",
            "a: b\tc",
            "a: |2\n   b",
            "a: |\n    b\n  c",
            "a: |\n     \n  b",
            "a:\n    b: c\n  d: e",
            "a:\n  b: c\n    d: e",
            "a:\n  - b\n c",
            "a: b\n  c: d",
            "a: 'b'\n  c",
            "a: b # c\n  d",
            "a: @b",
            "a: - b",
            "a:\n  b c: d",
            "a:\n  null: d",
            "a:\n  1: d",
            "a:\n  <<: d",
            "a:\n  ? b",
            "a: [b",
            "a: [b: c]",
            "a: [,]",
            "yes: a",
            "\"a\": b",
            "\"a\":b",
            "a: .NaN",
            "a: -1.5e9",
            "a:\n  'b': c",
            "- a",
            "a",
            "---\na: b",
            "a: b\r",
            "a: b\u{2028}c",
        ] {
            for text in [
                format!("{entry}\n"),
                format!("kind: A\n{entry}\nmetadata: {{}}\n"),
                format!("kind: A\n{entry}"),
            ] {
                let rest = without_plain_entries(&text, KEEP);
                assert!(rest.contains(entry), "{text:?} became {rest:?}");
            }
        }
    }

    /// What follows the one before in a sequence of pseudo-random numbers.
    fn draw(state: &mut u64, below: usize) -> usize {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) as usize % below
    }

    #[test]
    fn what_is_left_reads_as_the_whole() {
        let pieces = [
            ".ab",
            "\\",
            "\\n",
            ":8",
            "\"k\":",
            "-e",
            "kind:",
            "metadata:",
            "a:",
            "b:",
            "- ",
            "-",
            " ",
            "  ",
            "    ",
            "x",
            "y z",
            "1",
            "'q'",
            "\"q\"",
            "'",
            "\"",
            "|",
            ">-",
            "#",
            " # c",
            "{}",
            "[]",
            "[a, b]",
            "{a: b}",
            "&x",
            "*x",
            "!t",
            "~",
            ":",
            ": ",
            "\t",
            "é",
            "<<:",
            "null:",
            ".inf",
            "---",
            "?",
            ",",
        ];
        let (mut state, mut shorter, mut read) = (1, 0, 0);
        for _ in 0..200_000 {
            let mut text = String::new();
            for _ in 0..1 + draw(&mut state, 6) {
                text.push_str(&"  ".repeat(draw(&mut state, 3)));
                for _ in 0..1 + draw(&mut state, 4) {
                    text.push_str(pieces[draw(&mut state, pieces.len())]);
                    if draw(&mut state, 2) == 0 {
                        text.push(' ');
                    }
                }
                text.push('\n');
            }
            let found = entries_from_yaml(&text, KEEP);
            assert_eq!(found, entries_of(&text, KEEP), "{text:?}");
            shorter += usize::from(without_plain_entries(&text, KEEP) != *text);
            if let Some(found) = found {
                read += 1;
                let whole = from_yaml(&text).unwrap_or_else(|fault| panic!("{text:?}: {fault}"));
                for (key, value) in &found {
                    let Value::Map(whole) = &whole else {
                        panic!("{text:?} is no table");
                    };
                    assert_eq!(whole.get(key), Some(value), "{text:?}");
                }
            }
        }
        assert!(shorter > 1000 && read > 1000, "{shorter} were cut, {read} read");
    }
}
