//! Strings.
//!
//! Lengths and positions count bytes, as Sprig counts them.

use std::collections::BTreeMap;

use super::cast::{to_text, to_texts};
use super::{Entry, Outcome, integer, made, string, takes, takes_many, text};
use crate::fault::Fault;
use crate::format::{print_value, quote as quoted};
use crate::signature::Type;
use crate::surroundings::Scope;
use crate::value::{Element, List, MapType, Text, Value};

const TEXT: &[Type] = &[Type::String];
const TWO_TEXTS: &[Type] = &[Type::String, Type::String];

pub(super) const ROWS: &[Entry] = &[
    takes("abbrev", &[Type::Int, Type::String], |scope, args| {
        made(scope, abbreviate(text(&args[1]), 0, integer(&args[0])))
    }),
    takes("abbrevboth", &[Type::Int, Type::Int, Type::String], abbrevboth),
    takes("trunc", &[Type::Int, Type::String], trunc),
    takes("trim", TEXT, |_, args| Ok(Value::from(string(&args[0]).trim()))),
    takes("upper", TEXT, |scope, args| mapped(scope, &args[0], upper_char)),
    takes("lower", TEXT, |scope, args| mapped(scope, &args[0], lower_char)),
    takes("title", TEXT, title),
    takes("untitle", TEXT, untitle),
    takes("substr", &[Type::Int, Type::Int, Type::String], substr),
    takes("repeat", &[Type::Int, Type::String], |scope, args| {
        let bytes = repeated(scope, text(&args[1]), integer(&args[0]))?;
        Ok(Value::from(bytes))
    }),
    takes("trimall", TWO_TEXTS, trim_all),
    takes("trimAll", TWO_TEXTS, trim_all),
    takes("trimSuffix", TWO_TEXTS, |_, args| {
        let (suffix, whole) = (text(&args[0]), text(&args[1]));
        Ok(whole
            .strip_suffix(suffix)
            .map_or_else(|| args[1].clone(), |rest| Value::String(rest.into())))
    }),
    takes("trimPrefix", TWO_TEXTS, |_, args| {
        let (prefix, whole) = (text(&args[0]), text(&args[1]));
        Ok(whole
            .strip_prefix(prefix)
            .map_or_else(|| args[1].clone(), |rest| Value::String(rest.into())))
    }),
    takes("nospace", TEXT, |scope, args| {
        let text = text(&args[0]);
        let kept: String = latin_1(text).filter(|c| !c.is_whitespace()).collect();
        // A text without white space is left as it is.
        let is_left = kept.chars().count() == text.len();
        made(scope, if is_left { text.to_vec() } else { kept.into_bytes() })
    }),
    takes("initials", TEXT, |scope, args| {
        let text: String = latin_1(text(&args[0])).collect();
        let words = text.split_whitespace();
        let initials: String = words.filter_map(|word| word.chars().next()).collect();
        made(scope, initials.into_bytes())
    }),
    takes("swapcase", TEXT, swapcase),
    takes("contains", TWO_TEXTS, |_, args| {
        Ok(Value::Bool(
            memchr::memmem::find(text(&args[1]), text(&args[0])).is_some(),
        ))
    }),
    takes("hasPrefix", TWO_TEXTS, |_, args| {
        Ok(Value::Bool(text(&args[1]).starts_with(text(&args[0]))))
    }),
    takes("hasSuffix", TWO_TEXTS, |_, args| {
        Ok(Value::Bool(text(&args[1]).ends_with(text(&args[0]))))
    }),
    takes_many("quote", &[], Type::Any, |scope, args| {
        each(scope, args, |out, value| {
            out.extend_from_slice(quoted(&to_text(value)).as_bytes());
        })
    }),
    takes_many("squote", &[], Type::Any, |scope, args| {
        each(scope, args, |out, value| {
            out.push(b'\'');
            print_value(out, value);
            out.push(b'\'');
        })
    }),
    takes_many("cat", &[], Type::Any, cat),
    takes("indent", &[Type::Int, Type::String], |scope, args| {
        indent(scope, args, false)
    }),
    takes("nindent", &[Type::Int, Type::String], |scope, args| {
        indent(scope, args, true)
    }),
    takes("replace", &[Type::String, Type::String, Type::String], replace),
    takes("plural", &[Type::String, Type::String, Type::Int], |_, args| {
        Ok(if integer(&args[2]) == 1 {
            args[0].clone()
        } else {
            args[1].clone()
        })
    }),
    takes("toString", &[Type::Any], |scope, args| {
        scope.walk(&args[0])?;
        Ok(Value::String(to_text(&args[0])))
    }),
    takes("toStrings", &[Type::Any], |scope, args| texts(scope, &args[0])),
    takes("split", TWO_TEXTS, |scope, args| {
        let parts = split_at(text(&args[0]), text(&args[1]), None);
        numbered(scope, parts)
    }),
    takes(
        "splitn",
        &[Type::String, Type::Int, Type::String],
        |scope, args| {
            let parts = split_at(text(&args[0]), text(&args[2]), Some(integer(&args[1])));
            numbered(scope, parts)
        },
    ),
    takes("splitList", TWO_TEXTS, |scope, args| {
        let parts = split_at(text(&args[0]), text(&args[1]), None);
        scope.items(parts.len())?;
        Ok(Value::strings(parts))
    }),
    takes("join", &[Type::String, Type::Any], join),
    takes("sortAlpha", &[Type::Any], sort_alpha),
    takes("wrap", &[Type::Int, Type::String], |scope, args| {
        let wrapped = wrap(text(&args[1]), integer(&args[0]), b"\n", false);
        made(scope, wrapped)
    }),
    takes(
        "wrapWith",
        &[Type::Int, Type::String, Type::String],
        |scope, args| {
            let lines = text(&args[2]).len() / usize::try_from(integer(&args[0]).max(1)).unwrap_or(1);
            scope.text(lines.saturating_mul(text(&args[1]).len()))?;
            let wrapped = wrap(text(&args[2]), integer(&args[0]), text(&args[1]), true);
            made(scope, wrapped)
        },
    ),
];

/// One character's upper case; Go never makes two out of one.
pub(super) fn upper_char(c: char) -> char {
    single(c.to_uppercase(), c)
}

/// The form of a character that begins a word: of a few double letters, only the first half is large.
fn title_char(c: char) -> char {
    match c {
        'Ǆ'..='ǆ' => 'ǅ',
        'Ǉ'..='ǉ' => 'ǈ',
        'Ǌ'..='ǌ' => 'ǋ',
        'Ǳ'..='ǳ' => 'ǲ',
        c => upper_char(c),
    }
}

pub(super) fn lower_char(c: char) -> char {
    match c {
        'İ' => 'i',
        c => single(c.to_lowercase(), c),
    }
}

fn single(mut mapped: impl Iterator<Item = char>, c: char) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

fn mapped(scope: &mut Scope, value: &Value, map: fn(char) -> char) -> Outcome {
    let mapped: String = string(value).chars().map(map).collect();
    made(scope, mapped.into_bytes())
}

/// Out-of-range positions, as Go's runtime words them.
fn out_of_bounds(low: i64, high: i64, len: usize) -> Fault {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    Fault::new(if high < 0 {
        format!("runtime error: slice bounds out of range [:{high}]")
    } else if high > len {
        format!("runtime error: slice bounds out of range [:{high}] with length {len}")
    } else {
        format!("runtime error: slice bounds out of range [{low}:{high}]")
    })
}

fn sliced(whole: &[u8], low: i64, high: i64) -> Result<&[u8], Fault> {
    let bounds = usize::try_from(low).ok().zip(usize::try_from(high).ok());
    bounds
        .and_then(|(low, high)| whole.get(low..high))
        .ok_or_else(|| out_of_bounds(low, high, whole.len()))
}

fn trunc(_: &mut Scope, args: &[Value]) -> Outcome {
    let (count, whole) = (integer(&args[0]), text(&args[1]));
    let len = i64::try_from(whole.len()).unwrap_or(i64::MAX);
    let cut = if count < 0 && len.saturating_add(count) > 0 {
        sliced(whole, len + count, len)?
    } else if (0..len).contains(&count) {
        sliced(whole, 0, count)?
    } else {
        return Ok(args[1].clone());
    };
    Ok(Value::String(cut.into()))
}

fn substr(_: &mut Scope, args: &[Value]) -> Outcome {
    let (start, end, whole) = (integer(&args[0]), integer(&args[1]), text(&args[2]));
    let len = i64::try_from(whole.len()).unwrap_or(i64::MAX);
    let cut = if start < 0 {
        sliced(whole, 0, end)?
    } else if end < 0 || end > len {
        if start > len {
            return Err(Fault::new(format!(
                "runtime error: slice bounds out of range [{start}:{len}]"
            )));
        }
        sliced(whole, start, len)?
    } else {
        sliced(whole, start, end)?
    };
    Ok(Value::String(cut.into()))
}

/// A text cut to a width, with dots where something was left out.
fn abbreviate(whole: &[u8], offset: i64, width: i64) -> Vec<u8> {
    let len = i64::try_from(whole.len()).unwrap_or(i64::MAX);
    let at = |position: i64| usize::try_from(position).unwrap_or(0).min(whole.len());
    if width < 4 || len <= width {
        return whole.to_vec();
    }
    let mut offset = offset.min(len);
    if len - offset < width - 3 {
        offset = len - (width - 3);
    }
    if offset <= 4 {
        return [&whole[..at(width - 3)], b"..."].concat();
    }
    if width < 7 {
        return Vec::new();
    }
    if offset + width - 3 < len {
        let inner = abbreviate(&whole[at(offset)..], 0, width - 3);
        return [&b"..."[..], &inner].concat();
    }
    [&b"..."[..], &whole[at(len - (width - 3))..]].concat()
}

fn abbrevboth(scope: &mut Scope, args: &[Value]) -> Outcome {
    let (left, right) = (integer(&args[0]), integer(&args[1]));
    if right < 4 || left > 0 && right < 7 {
        return Ok(args[2].clone());
    }
    made(scope, abbreviate(text(&args[2]), left, right))
}

fn title(scope: &mut Scope, args: &[Value]) -> Outcome {
    let mut previous = ' ';
    let mut out = String::new();
    for c in string(&args[0]).chars() {
        out.push(if separates(previous) { title_char(c) } else { c });
        previous = c;
    }
    made(scope, out.into_bytes())
}

/// Whether a character ends a word for `title`.
fn separates(c: char) -> bool {
    if c.is_ascii() {
        !c.is_ascii_alphanumeric() && c != '_'
    } else {
        !c.is_alphanumeric() && c.is_whitespace()
    }
}

fn untitle(scope: &mut Scope, args: &[Value]) -> Outcome {
    let mut first = true;
    let mut out = String::new();
    for c in string(&args[0]).chars() {
        out.push(if first { lower_char(c) } else { c });
        first = c.is_whitespace();
    }
    made(scope, out.into_bytes())
}

/// The bytes taken for characters each, as Helm's library does in a few functions: all but ASCII becomes another text.
fn latin_1(text: &[u8]) -> impl Iterator<Item = char> {
    text.iter().map(|byte| char::from(*byte))
}

fn swapcase(scope: &mut Scope, args: &[Value]) -> Outcome {
    let mut first = true;
    let mut out = String::new();
    for c in string(&args[0]).chars() {
        if c.is_uppercase() {
            out.push(lower_char(c));
            first = false;
        } else if c.is_lowercase() {
            out.push(upper_char(c));
            first = false;
        } else {
            out.push(c);
            first = c.is_whitespace();
        }
    }
    let _ = first;
    made(scope, out.into_bytes())
}

/// A text repeated, within the limits.
pub(super) fn repeated(scope: &mut Scope, unit: &[u8], count: i64) -> Result<Vec<u8>, Fault> {
    let count = usize::try_from(count).map_err(|_| Fault::new("strings: negative Repeat count"))?;
    scope.text(unit.len().saturating_mul(count))?;
    Ok(unit.repeat(count))
}

fn trim_all(_: &mut Scope, args: &[Value]) -> Outcome {
    let cutset = string(&args[0]);
    let whole = string(&args[1]);
    Ok(Value::from(whole.trim_matches(|c| cutset.contains(c))))
}

/// The values that are not nil, each written, with spaces between.
fn each(scope: &mut Scope, args: &[Value], write: fn(&mut Vec<u8>, &Value)) -> Outcome {
    let mut out = Vec::new();
    for (i, value) in args.iter().filter(|value| !value.is_nil()).enumerate() {
        scope.walk(value)?;
        if i > 0 {
            out.push(b' ');
        }
        write(&mut out, value);
    }
    made(scope, out)
}

fn cat(scope: &mut Scope, args: &[Value]) -> Outcome {
    each(scope, args, print_value)
}

fn indent(scope: &mut Scope, args: &[Value], newline: bool) -> Outcome {
    let pad = repeated(scope, b" ", integer(&args[0]))?;
    let whole = text(&args[1]);
    let lines = memchr::memchr_iter(b'\n', whole).count();
    let size = (lines + 1)
        .saturating_mul(pad.len())
        .saturating_add(whole.len() + 1);
    scope.text(size)?;
    let mut out = Vec::with_capacity(size);
    if newline {
        out.push(b'\n');
    }
    out.extend_from_slice(&pad);
    let mut rest = whole;
    while let Some(at) = memchr::memchr(b'\n', rest) {
        out.extend_from_slice(&rest[..=at]);
        out.extend_from_slice(&pad);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    Ok(Value::from(out))
}

fn replace(scope: &mut Scope, args: &[Value]) -> Outcome {
    let (old, new, whole) = (text(&args[0]), text(&args[1]), text(&args[2]));
    let cuts: Vec<usize> = if old.is_empty() {
        char_starts(whole).chain([whole.len()]).collect()
    } else {
        memchr::memmem::find_iter(whole, old).collect()
    };
    if cuts.is_empty() {
        return Ok(args[2].clone());
    }
    scope.text(whole.len().saturating_add(cuts.len().saturating_mul(new.len())))?;
    let mut out = Vec::with_capacity(whole.len());
    let mut from = 0;
    for cut in cuts {
        out.extend_from_slice(&whole[from..cut]);
        out.extend_from_slice(new);
        from = cut + old.len();
    }
    out.extend_from_slice(&whole[from..]);
    Ok(Value::from(out))
}

/// Where characters begin; a byte that is no text counts as one.
fn char_starts(whole: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let mut at = 0;
    whole.utf8_chunks().flat_map(move |chunk| {
        let start = at;
        let valid = chunk.valid();
        at += valid.len() + chunk.invalid().len();
        let invalid = start + valid.len();
        valid
            .char_indices()
            .map(move |(offset, _)| start + offset)
            .chain((0..chunk.invalid().len()).map(move |offset| invalid + offset))
            .collect::<Vec<_>>()
    })
}

/// The parts between separators, at most so many; an empty separator splits characters.
fn split_at(separator: &[u8], whole: &[u8], count: Option<i64>) -> Vec<Text> {
    let most = match count {
        Some(0) => return Vec::new(),
        Some(count) if count > 0 => usize::try_from(count).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let mut parts = Vec::new();
    let mut from = 0;
    if separator.is_empty() {
        for start in char_starts(whole).skip(1) {
            if parts.len() + 1 >= most {
                break;
            }
            parts.push(Text::from(&whole[from..start]));
            from = start;
        }
        if from < whole.len() {
            parts.push(Text::from(&whole[from..]));
        }
        return parts;
    }
    for cut in memchr::memmem::find_iter(whole, separator) {
        if parts.len() + 1 >= most {
            break;
        }
        parts.push(Text::from(&whole[from..cut]));
        from = cut + separator.len();
    }
    parts.push(Text::from(&whole[from..]));
    parts
}

/// Parts as a map with the keys `_0`, `_1` and so on.
fn numbered(scope: &mut Scope, parts: Vec<Text>) -> Outcome {
    scope.items(parts.len())?;
    let entries: BTreeMap<_, _> = parts
        .into_iter()
        .enumerate()
        .map(|(i, part)| (Text::from(format!("_{i}")), Value::String(part)))
        .collect();
    Ok(Value::typed_map(MapType::Strings, entries))
}

fn texts(scope: &mut Scope, value: &Value) -> Outcome {
    if let Value::List(list) = value
        && list.element() == Element::String
    {
        return Ok(value.clone());
    }
    scope.walk(value)?;
    Ok(Value::strings(to_texts(value)))
}

fn join(scope: &mut Scope, args: &[Value]) -> Outcome {
    scope.walk(&args[1])?;
    let parts = to_texts(&args[1]);
    let separator = text(&args[0]);
    let size = parts.iter().map(|part| part.len() + separator.len()).sum();
    scope.text(size)?;
    let mut out = Vec::with_capacity(size);
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(separator);
        }
        out.extend_from_slice(part);
    }
    Ok(Value::from(out))
}

fn sort_alpha(scope: &mut Scope, args: &[Value]) -> Outcome {
    scope.walk(&args[0])?;
    if let Value::List(list) = &args[0]
        && list.element() == Element::String
    {
        list.sort_in_place();
        return Ok(args[0].clone());
    }
    if args[0].items().is_none() {
        return Ok(Value::strings([to_text(&args[0])]));
    }
    let mut parts = to_texts(&args[0]);
    parts.sort();
    let items = parts.into_iter().map(Value::String).collect();
    Ok(Value::List(List::typed(Element::String, items).into()))
}

/// Breaks a text into lines of at most so many bytes, at spaces; long words only when asked.
fn wrap(whole: &[u8], width: i64, newline: &[u8], break_words: bool) -> Vec<u8> {
    let width = usize::try_from(width.max(1)).unwrap_or(1);
    let newline = if newline.is_empty() { b"\n" } else { newline };
    let mut out = Vec::new();
    let mut line = |bytes: &[u8]| {
        out.extend_from_slice(bytes);
        out.extend_from_slice(newline);
    };
    let mut rest = whole;
    while rest.len() > width {
        if let [b' ', tail @ ..] = rest {
            rest = tail;
        } else if let Some(space) = rest[..=width].iter().rposition(|byte| *byte == b' ') {
            line(&rest[..space]);
            rest = &rest[space + 1..];
        } else if break_words {
            line(&rest[..width]);
            rest = &rest[width..];
        } else if let Some(space) = rest[width..].iter().position(|byte| *byte == b' ') {
            line(&rest[..width + space]);
            rest = &rest[width + space + 1..];
        } else {
            break;
        }
    }
    out.extend_from_slice(rest);
    out
}
