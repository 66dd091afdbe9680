//! Go's string and character literals.

/// Whether the value of a quoted or raw string literal is just what stands between its quotes.
pub(super) fn is_literal(literal: &str) -> bool {
    let special = if literal.starts_with('`') { b'\r' } else { b'\\' };
    memchr::memchr(special, literal.as_bytes()).is_none()
}

/// The value of a quoted or raw string literal.
pub(super) fn unquote(literal: &str) -> Option<String> {
    if let Some(raw) = literal.strip_prefix('`') {
        // A raw string leaves out carriage returns.
        return Some(raw.strip_suffix('`')?.replace('\r', ""));
    }
    let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while !rest.is_empty() {
        let (unit, tail) = next_unit(rest, '"')?;
        rest = tail;
        match unit {
            Unit::Char(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Unit::Byte(byte) => bytes.push(byte),
        }
    }
    // `\xff` may spell bytes that are no text; literals hold text, so those become U+FFFD.
    Some(String::from_utf8(bytes).unwrap_or_else(|err| String::from_utf8_lossy(err.as_bytes()).into_owned()))
}

/// The value of a character literal.
///
/// The error is the message of a parse error.
pub(super) fn unquote_char(literal: &str) -> Result<char, String> {
    let tail = literal.strip_prefix('\'').unwrap_or(literal);
    match next_unit(tail, '\'') {
        None => Err("invalid syntax".to_owned()),
        Some((_, rest)) if rest != "'" => Err(format!("malformed character constant: {literal}")),
        Some((Unit::Char(c), _)) => Ok(c),
        Some((Unit::Byte(byte), _)) => Ok(char::from(byte)),
    }
}

enum Unit {
    Char(char),
    Byte(u8),
}

fn next_unit(text: &str, quote: char) -> Option<(Unit, &str)> {
    let mut chars = text.chars();
    let first = chars.next()?;
    if first == quote || first == '\n' {
        return None;
    }
    if first != '\\' {
        return Some((Unit::Char(first), chars.as_str()));
    }
    let escape = chars.next()?;
    let rest = chars.as_str();
    let simple = |c| Some((Unit::Char(c), rest));
    match escape {
        'a' => simple('\x07'),
        'b' => simple('\x08'),
        'f' => simple('\x0c'),
        'n' => simple('\n'),
        'r' => simple('\r'),
        't' => simple('\t'),
        'v' => simple('\x0b'),
        '\\' => simple('\\'),
        '\'' | '"' if escape == quote => simple(escape),
        'x' => hex(rest, 2).and_then(|(code, rest)| Some((Unit::Byte(u8::try_from(code).ok()?), rest))),
        'u' => hex(rest, 4).and_then(|(code, rest)| Some((Unit::Char(char::from_u32(code)?), rest))),
        'U' => hex(rest, 8).and_then(|(code, rest)| Some((Unit::Char(char::from_u32(code)?), rest))),
        '0'..='7' => {
            let digits = text.get(1..4)?;
            let code = u32::from_str_radix(digits, 8).ok()?;
            Some((Unit::Byte(u8::try_from(code).ok()?), &text[4..]))
        }
        _ => None,
    }
}

fn hex(text: &str, digits: usize) -> Option<(u32, &str)> {
    let code = text.get(..digits)?;
    if !code.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some((u32::from_str_radix(code, 16).ok()?, &text[digits..]))
}
