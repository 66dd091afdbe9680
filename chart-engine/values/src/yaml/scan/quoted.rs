//! Scalars in quotes.

use std::borrow::Cow;

use super::{ScanError, Scanner, Token};

impl Scanner<'_> {
    pub(super) fn fetch_quoted(&mut self, single: bool) -> Result<(), ScanError> {
        let start = self.mark;
        self.skip_ascii(1);
        let simple = self.rest().bytes().position(|b| match b {
            b'"' => !single,
            b'\'' => single,
            b'\\' => !single,
            // A line end, or the first byte of one.
            b'\n' | b'\r' | 0xc2 | 0xe2 => true,
            _ => false,
        });
        let closing = if single { b'\'' } else { b'"' };
        if let Some(length) = simple
            && self.byte(length) == Some(closing)
            && !(single && self.byte(length + 1) == Some(b'\''))
        {
            let text = &self.rest()[..length];
            self.skip_str(text);
            self.skip_ascii(1);
            self.push(
                Token::Scalar {
                    text: Cow::Borrowed(text),
                    plain: false,
                },
                start,
            );
            return Ok(());
        }
        let text = if single {
            self.scan_quoted::<true>()
        } else {
            self.scan_quoted::<false>()
        }?;
        self.push(
            Token::Scalar {
                text: Cow::Owned(text),
                plain: false,
            },
            start,
        );
        Ok(())
    }

    fn scan_quoted<const SINGLE: bool>(&mut self) -> Result<String, ScanError> {
        let closing = if SINGLE { b'\'' } else { b'"' };
        let mut text = String::new();
        loop {
            if self.at_document_mark() {
                return self.error("found unexpected document indicator");
            }
            if self.at_end() {
                return self.error("found unexpected end of stream");
            }
            let mut line_was_continued = false;
            while !self.blank_or_end(0) {
                match self.byte(0) {
                    Some(b'\'') if SINGLE && self.byte(1) == Some(b'\'') => {
                        text.push('\'');
                        self.skip_ascii(2);
                    }
                    Some(byte) if byte == closing => break,
                    Some(b'\\') if !SINGLE => {
                        let after = &self.rest().as_bytes()[1..];
                        if super::line_end(after) > 0 {
                            self.skip_ascii(1);
                            self.skip_line_end();
                            line_was_continued = true;
                            break;
                        }
                        self.scan_escape(&mut text)?;
                    }
                    _ => {
                        if let Some(c) = self.rest().chars().next() {
                            text.push(c);
                            self.skip_str(&self.rest()[..c.len_utf8()]);
                        }
                    }
                }
            }
            if self.byte(0) == Some(closing) {
                self.skip_ascii(1);
                return Ok(text);
            }
            self.scan_quoted_blanks(&mut text, line_was_continued);
        }
    }

    /// White space and line ends inside of quotes: one line end is a space, of more the first goes.
    fn scan_quoted_blanks(&mut self, text: &mut String, continued: bool) {
        let start = text.len();
        let mut first_break: Option<&str> = None;
        let mut more_breaks = String::new();
        let mut in_new_line = continued;
        loop {
            match self.byte(0) {
                Some(blank @ (b' ' | b'\t')) => {
                    if !in_new_line {
                        text.push(char::from(blank));
                    }
                    self.skip_ascii(1);
                }
                _ if !self.at_end() && self.line_end() > 0 => {
                    let line_end = self.skip_line_end();
                    if in_new_line {
                        more_breaks.push_str(line_end);
                    } else {
                        text.truncate(start);
                        first_break = Some(line_end);
                        in_new_line = true;
                    }
                }
                _ => break,
            }
        }
        match first_break {
            Some("\n") if more_breaks.is_empty() => text.push(' '),
            Some("\n") | None => {}
            Some(other) => text.push_str(other),
        }
        text.push_str(&more_breaks);
    }

    fn scan_escape(&mut self, text: &mut String) -> Result<(), ScanError> {
        let plain = match self.byte(1) {
            Some(b'0') => '\0',
            Some(b'a') => '\u{7}',
            Some(b'b') => '\u{8}',
            Some(b't' | b'\t') => '\t',
            Some(b'n') => '\n',
            Some(b'v') => '\u{b}',
            Some(b'f') => '\u{c}',
            Some(b'r') => '\r',
            Some(b'e') => '\u{1b}',
            Some(c @ (b' ' | b'"' | b'\'' | b'\\')) => char::from(c),
            Some(b'N') => '\u{85}',
            Some(b'_') => '\u{a0}',
            Some(b'L') => '\u{2028}',
            Some(b'P') => '\u{2029}',
            Some(b'x') => return self.scan_code(text, 2),
            Some(b'u') => return self.scan_code(text, 4),
            Some(b'U') => return self.scan_code(text, 8),
            _ => return self.error("found unknown escape character"),
        };
        text.push(plain);
        self.skip_ascii(2);
        Ok(())
    }

    fn scan_code(&mut self, text: &mut String, digits: usize) -> Result<(), ScanError> {
        self.skip_ascii(2);
        let code = self
            .rest()
            .get(..digits)
            .filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(code) = code.and_then(|code| u32::from_str_radix(code, 16).ok()) else {
            return self.error("did not find expected hexdecimal number");
        };
        let Some(c) = char::from_u32(code) else {
            return self.error("found invalid Unicode character escape code");
        };
        text.push(c);
        self.skip_ascii(digits);
        Ok(())
    }
}
