//! How a text can be written as a YAML scalar, and writing it.

use std::borrow::Cow;

use super::emit::Style;
use super::resolve::{Scalar, is_base60, resolve};

/// The ways to write a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Single,
    Double,
    Literal,
}

/// What the characters of a text allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Allowed {
    plain: bool,
    single: bool,
    block: bool,
    several_lines: bool,
}

/// Chooses the form of a text: plain where it reads back as the same text, a literal block where it has lines, else
/// quotes.
pub(super) fn form_of(text: &str, style: Style, as_key: bool) -> Form {
    if text.is_empty() {
        return Form::Double;
    }
    if is_tame(text) {
        return if reads_back(text, style) {
            Form::Plain
        } else {
            Form::Double
        };
    }
    let allowed = examine(text, style);
    if text.contains('\n') {
        return if allowed.block && !as_key {
            Form::Literal
        } else {
            Form::Double
        };
    }
    if !reads_back(text, style) || (as_key && allowed.several_lines) {
        Form::Double
    } else if allowed.plain {
        Form::Plain
    } else if allowed.single {
        Form::Single
    } else {
        Form::Double
    }
}

/// A quick yes for most texts: letters, digits and marks that mean nothing to YAML.
fn is_tame(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes[0].is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'/' | b'+' | b'='))
}

fn reads_back(text: &str, style: Style) -> bool {
    let _ = style;
    resolve(text) == Scalar::String && !is_base60(text)
}

fn examine(text: &str, style: Style) -> Allowed {
    let mut several_lines = false;
    let mut special = false;
    let mut tabs = false;
    let mut indicators = text.starts_with("---") || text.starts_with("...");
    let mut leading_space = false;
    let mut leading_break = false;
    let mut trailing_space = false;
    let mut trailing_break = false;
    let mut break_space = false;
    let mut space_break = false;
    let mut before_is_space = false;
    let mut before_is_break = false;
    // The start of the text counts as white space.
    let mut after_blank = true;
    let mut chars = text.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        let last = chars.peek().is_none();
        let before_blank = chars.peek().is_none_or(|next| is_blank_or_break(*next));
        if first {
            indicators |= match c {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@'
                | '`' => true,
                '?' | ':' | '-' => before_blank,
                _ => false,
            };
        } else {
            indicators |= match c {
                ':' => before_blank,
                '#' => after_blank,
                _ => false,
            };
        }
        if c == '\t' && style == Style::Pretty {
            tabs = true;
        } else if !is_printable(c) {
            special = true;
        }
        several_lines |= is_break(c);
        if c == ' ' {
            leading_space |= first;
            trailing_space |= last;
            break_space |= before_is_break;
            before_is_space = true;
            before_is_break = false;
        } else if is_break(c) {
            leading_break |= first;
            trailing_break |= last;
            space_break |= before_is_space;
            before_is_break = true;
            before_is_space = false;
        } else {
            before_is_space = false;
            before_is_break = false;
        }
        after_blank = is_blank_or_break(c);
        first = false;
    }
    let edges = leading_space || leading_break || trailing_space || trailing_break;
    let hidden = space_break || tabs || special;
    Allowed {
        plain: !edges && !break_space && !hidden && !several_lines && !indicators,
        single: !break_space && !hidden,
        block: !trailing_space && !space_break && !special,
        several_lines,
    }
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_blank_or_break(c: char) -> bool {
    matches!(c, ' ' | '\t') || is_break(c)
}

/// Above U+FFFF nothing counts as printable, so an emoji is written as an escape.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

/// Where a scalar is written: the column it starts in, the indentation of its further lines, and the width from which
/// it is folded at spaces (`None`: never).
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) column: usize,
    pub(super) indent: usize,
    pub(super) fold_at: Option<usize>,
}

pub(super) fn write_plain(out: &mut String, text: &str, place: Place) {
    match place.fold_at {
        Some(width) if place.column + text.len() > width => fold(out, text, place, width, false),
        _ => out.push_str(text),
    }
}

pub(super) fn write_single(out: &mut String, text: &str, place: Place) {
    out.push('\'');
    let doubled;
    let body = if text.contains('\'') {
        doubled = text.replace('\'', "''");
        doubled.as_str()
    } else {
        text
    };
    let inside = Place {
        column: place.column + 1,
        ..place
    };
    match place.fold_at {
        _ if body.contains(is_break) => fold(out, body, inside, place.fold_at.unwrap_or(usize::MAX), true),
        Some(width) if inside.column + body.len() > width => fold(out, body, inside, width, true),
        _ => out.push_str(body),
    }
    out.push('\'');
}

/// Writes a text, going to a new line at single spaces beyond the width, and indenting after the line ends that Unicode
/// has besides the usual one.
fn fold(out: &mut String, text: &str, place: Place, width: usize, keep_edges: bool) {
    let mut column = place.column;
    let mut after_space = false;
    let mut after_break = false;
    let mut chars = text.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        if c == ' ' {
            let edge = keep_edges && (first || chars.peek().is_none());
            if !after_space && column > width && !edge && chars.peek() != Some(&' ') {
                new_line(out, place.indent);
                column = place.indent;
            } else {
                out.push(' ');
                column += 1;
            }
            after_space = true;
        } else if is_break(c) {
            out.push(c);
            column = 0;
            after_space = false;
            after_break = true;
        } else {
            if std::mem::take(&mut after_break) {
                out.extend(std::iter::repeat_n(' ', place.indent));
                column = place.indent;
            }
            out.push(c);
            column += 1;
            after_space = false;
        }
        first = false;
    }
}

pub(super) fn write_double(out: &mut String, text: &str, place: Place) {
    // go-yaml looks for a byte order mark at the head of the text where it means the character at hand.
    let all = text.starts_with('\u{feff}');
    out.push('"');
    let mut column = place.column + 1;
    let mut after_space = false;
    let mut chars = text.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        let last = chars.peek().is_none();
        if all || c == '"' || c == '\\' || is_break(c) || !is_printable(c) {
            let before = out.len();
            write_escape(out, c);
            column += out.len() - before;
            after_space = false;
        } else if c == ' ' {
            let fold = place
                .fold_at
                .is_some_and(|width| !after_space && column > width && !first && !last);
            if fold {
                new_line(out, place.indent);
                column = place.indent;
                if chars.peek() == Some(&' ') {
                    out.push('\\');
                    column += 1;
                }
            } else {
                out.push(' ');
                column += 1;
            }
            after_space = true;
        } else {
            out.push(c);
            column += 1;
            after_space = false;
        }
        first = false;
    }
    out.push('"');
}

fn write_escape(out: &mut String, c: char) {
    out.push('\\');
    match c {
        '\0' => out.push('0'),
        '\u{7}' => out.push('a'),
        '\u{8}' => out.push('b'),
        '\t' => out.push('t'),
        '\n' => out.push('n'),
        '\u{b}' => out.push('v'),
        '\u{c}' => out.push('f'),
        '\r' => out.push('r'),
        '\u{1b}' => out.push('e'),
        '"' => out.push('"'),
        '\\' => out.push('\\'),
        '\u{85}' => out.push('N'),
        '\u{a0}' => out.push('_'),
        '\u{2028}' => out.push('L'),
        '\u{2029}' => out.push('P'),
        c if (c as u32) < 0x100 => out.push_str(&format!("x{:02X}", c as u32)),
        c if (c as u32) < 0x10000 => out.push_str(&format!("u{:04X}", c as u32)),
        c => out.push_str(&format!("U{:08X}", c as u32)),
    }
}

/// Writes a text of several lines as a literal block, whose head tells how the block ends and, where the text starts
/// with white space, how deep it is indented.
pub(super) fn write_literal(out: &mut String, text: &str, place: Place) {
    out.push('|');
    if text.starts_with([' ', '\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) {
        out.push('2');
    }
    let mut from_end = text.chars().rev();
    let ends_with_break = from_end.next().is_some_and(is_break);
    if !ends_with_break {
        out.push('-');
    } else if from_end.next().is_none_or(is_break) {
        out.push('+');
    }
    out.push('\n');
    for line in text.split_inclusive(is_break) {
        if !line.starts_with(is_break) {
            out.extend(std::iter::repeat_n(' ', place.indent));
        }
        out.push_str(line);
    }
}

/// What becomes of a text in the JSON round trip behind `toYaml`: JSON leaves U+0085 as it is, and YAML takes it for a
/// line end inside of the quotes. `None` if YAML refuses the text.
pub(super) fn through_json(text: &str) -> Option<Cow<'_, str>> {
    let refused = |c: char| matches!(c, '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}');
    if text.contains(refused) {
        return None;
    }
    if !text.contains('\u{85}') {
        return Some(Cow::Borrowed(text));
    }
    let mut json = String::new();
    crate::json::write_string(&mut json, text, true);
    match super::load::from_yaml(&json) {
        Ok(crate::Value::String(text)) => Some(Cow::Owned(text)),
        _ => None,
    }
}

pub(super) fn has_break(text: &str) -> bool {
    text.contains(is_break)
}

pub(super) fn new_line(out: &mut String, indent: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
}
