//! Strings and characters in quotes.

use std::fmt::Write as _;

/// Bytes as `%q` writes them: in double quotes, with escapes, bytes that are no text as `\x..`.
pub(crate) fn quote(bytes: &[u8]) -> String {
    quote_with(bytes, '"', false)
}

/// As [`quote`], with nothing but ASCII in the result.
pub(super) fn quote_ascii(bytes: &[u8]) -> String {
    quote_with(bytes, '"', true)
}

/// A character in single quotes.
pub(super) fn quote_char(c: char, ascii: bool) -> String {
    quote_with(c.encode_utf8(&mut [0; 4]).as_bytes(), '\'', ascii)
}

fn quote_with(bytes: &[u8], mark: char, ascii: bool) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push(mark);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_char(&mut out, c, mark, ascii);
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push(mark);
    out
}

fn push_char(out: &mut String, c: char, mark: char, ascii: bool) {
    let simple = match c {
        c if c == mark => Some(c),
        '\\' => Some('\\'),
        '\x07' => Some('a'),
        '\x08' => Some('b'),
        '\x0c' => Some('f'),
        '\n' => Some('n'),
        '\r' => Some('r'),
        '\t' => Some('t'),
        '\x0b' => Some('v'),
        _ => None,
    };
    if let Some(simple) = simple {
        out.push('\\');
        out.push(simple);
        return;
    }
    let code = u32::from(c);
    if (0x20..0x7f).contains(&code) || (code >= 0xa0 && !ascii && is_printable(c)) {
        out.push(c);
        return;
    }
    let _ = match code {
        0..0x80 if code < 0x20 || code == 0x7f => write!(out, "\\x{code:02x}"),
        0..0x10000 => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// Whether Go prints a character beyond ASCII as it is: letters, marks, numbers, punctuation and symbols, but no
/// spaces other than U+0020 and nothing that only formats.
pub(crate) fn is_printable(c: char) -> bool {
    if c.is_control() || c.is_whitespace() {
        return false;
    }
    !matches!(u32::from(c),
        0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e
        | 0x2060..=0x206f | 0xe000..=0xf8ff | 0xfeff | 0xfff0..=0xfffb | 0xfffe..=0xffff | 0x1d173..=0x1d17a
        | 0xe0000..=0xe00ff | 0xe01f0..=0x10_ffff)
}
