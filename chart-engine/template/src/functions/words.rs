//! Identifiers from one convention into another: `snakecase`, `kebabcase`, `camelcase`.

use super::{Entry, Outcome, made, string, takes};
use crate::signature::Type;
use crate::surroundings::Scope;
use crate::value::Value;

const TEXT: &[Type] = &[Type::String];

pub(super) const ROWS: &[Entry] = &[
    takes("snakecase", TEXT, |scope, args| lowered(scope, &args[0], '_')),
    takes("kebabcase", TEXT, |scope, args| lowered(scope, &args[0], '-')),
    takes("camelcase", TEXT, |scope, args| {
        let out = pascal(&string(&args[0]));
        made(scope, out.into_bytes())
    }),
];

fn lowered(scope: &mut Scope, value: &Value, connector: char) -> Outcome {
    let out = connected(&string(value), connector);
    made(scope, out.into_bytes())
}

/// What a run of characters is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Connector,
    Punctuation,
    /// Begins with an upper-case letter: an abbreviation, or a word.
    Upper,
    Lower,
    Number,
    Other,
}

impl Sort {
    fn of(c: char) -> Self {
        match c {
            '-' | '_' => Sort::Connector,
            c if c.is_whitespace() => Sort::Connector,
            c if c.is_uppercase() => Sort::Upper,
            // Ideographs have no case and make words of their own.
            c if c.is_alphabetic() && c < '\u{3400}' => Sort::Lower,
            c if c.is_numeric() => Sort::Number,
            c if is_punctuation(c) => Sort::Punctuation,
            _ => Sort::Other,
        }
    }

    /// Whether a connector belongs between this and another word.
    fn is_word(self) -> bool {
        !matches!(self, Sort::Connector | Sort::Punctuation)
    }
}

/// Punctuation as opposed to symbols such as `+` and `$`.
fn is_punctuation(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_punctuation() && !matches!(c, '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~');
    }
    matches!(u32::from(c),
        0xa1 | 0xa7 | 0xab | 0xb6 | 0xb7 | 0xbb | 0xbf | 0x2010..=0x2027 | 0x2030..=0x205e | 0x3001..=0x3003
        | 0x3008..=0x3011 | 0xff01..=0xff0f)
}

/// Cuts a text into runs: `HTTPServer2` is `HTTP`, `Server`, `2`.
fn runs(text: &str) -> Vec<(Sort, Vec<char>)> {
    let chars: Vec<char> = text.chars().collect();
    let mut runs = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let sort = Sort::of(chars[at]);
        let same = |wanted: Sort, from: usize| {
            chars[from..]
                .iter()
                .take_while(|c| Sort::of(**c) == wanted)
                .count()
        };
        let mut end = at + same(sort, at);
        if sort == Sort::Upper {
            let lower = same(Sort::Lower, end);
            if lower > 0 && end - at > 1 {
                // The last capital belongs to the word that follows.
                end -= 1;
            } else {
                end += lower;
            }
        }
        runs.push((sort, chars[at..end].to_vec()));
        at = end;
    }
    runs
}

/// Words in lower case with a connector between.
///
/// A number stays with the word before it (`Bld4` is `bld4`), unless lower-case letters follow: then it begins a
/// word with them (`http2xx` is `http_2xx`).
fn connected(text: &str, connector: char) -> String {
    let runs = runs(text);
    let mut out = String::new();
    let mut previous: Option<Sort> = None;
    let mut at = 0;
    while at < runs.len() {
        let (sort, chars) = &runs[at];
        let after_word = previous.is_some_and(Sort::is_word);
        let next_lower = runs.get(at + 1).is_some_and(|(next, _)| *next == Sort::Lower);
        match sort {
            Sort::Connector => out.extend(chars.iter().map(|_| connector)),
            Sort::Punctuation => out.extend(chars),
            Sort::Number => {
                if after_word && next_lower {
                    out.push(connector);
                }
                out.extend(chars);
                // Letters and digits go on as one word.
                let leads = !after_word || next_lower;
                while leads
                    && runs
                        .get(at + 1)
                        .is_some_and(|(next, _)| matches!(next, Sort::Lower | Sort::Number))
                {
                    at += 1;
                    out.extend(&runs[at].1);
                }
            }
            Sort::Upper | Sort::Lower | Sort::Other => {
                if after_word {
                    out.push(connector);
                }
                let lower = *sort == Sort::Upper;
                out.extend(
                    chars
                        .iter()
                        .map(|c| if lower { super::strings::lower_char(*c) } else { *c }),
                );
            }
        }
        previous = Some(*sort);
        at += 1;
    }
    out
}

/// Words joined, each with a capital; a word in capitals becomes an ordinary one.
///
/// Connectors at the edges stay, and of several in a row all but one.
fn pascal(text: &str) -> String {
    let connects = |c: char| Sort::of(c) == Sort::Connector;
    let mut out = String::new();
    let mut pending: Vec<char> = Vec::new();
    let mut in_word = false;
    let mut lowering = false;
    for c in text.chars() {
        if connects(c) {
            pending.push(c);
            in_word = false;
            continue;
        }
        if in_word {
            lowering &= c.is_uppercase();
            out.push(if lowering {
                super::strings::lower_char(c)
            } else {
                c
            });
            continue;
        }
        let swallowed = usize::from(!out.is_empty() || pending.is_empty());
        let leading = out.is_empty();
        let keep = if leading {
            pending.len()
        } else {
            pending.len().saturating_sub(swallowed)
        };
        out.extend(pending.drain(..).take(keep));
        lowering = c.is_uppercase();
        in_word = true;
        out.push(super::strings::upper_char(c));
    }
    out.extend(pending);
    out
}
