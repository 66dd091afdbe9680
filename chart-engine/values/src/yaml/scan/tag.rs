//! Tags.

use std::borrow::Cow;

use super::name::word;
use super::{ScanError, Scanner, Token};

impl<'t> Scanner<'t> {
    /// `!`, `!suffix`, `!!suffix`, `!handle!suffix` or `!<uri>`
    pub(super) fn fetch_tag(&mut self) -> Result<(), ScanError> {
        let mark = self.mark;
        let (handle, suffix) = if self.byte(1) == Some(b'<') {
            self.skip_ascii(2);
            let uri = self.scan_uri(true)?;
            if uri.is_empty() {
                return self.error("did not find expected tag URI");
            }
            if self.byte(0) != Some(b'>') {
                return self.error("did not find the expected '>'");
            }
            self.skip_ascii(1);
            ("", uri)
        } else {
            let name = word(&self.rest()[1..]);
            if self.byte(1 + name.len()) == Some(b'!') {
                let handle = &self.rest()[..name.len() + 2];
                self.skip_ascii(handle.len());
                let suffix = self.scan_uri(false)?;
                if suffix.is_empty() {
                    return self.error("did not find expected tag URI");
                }
                (handle, suffix)
            } else {
                self.skip_ascii(1);
                match self.scan_uri(false)? {
                    // A `!` alone is a tag with nothing to add to it.
                    suffix if suffix.is_empty() => ("", Cow::Borrowed("!")),
                    suffix => ("!", suffix),
                }
            }
        };
        let flow_end = self.flow() && self.byte(0) == Some(b',');
        if !self.blank_or_end(0) && !flow_end {
            return self.error("did not find expected whitespace or line break");
        }
        self.push(Token::Tag { handle, suffix }, mark);
        Ok(())
    }

    /// Reads the characters that a URI may have, with its escapes resolved.
    pub(super) fn scan_uri(&mut self, verbatim: bool) -> Result<Cow<'t, str>, ScanError> {
        let allowed = |b: u8| {
            b.is_ascii_alphanumeric()
                || b"-_;/?:@&=+$.!~*'()%".contains(&b)
                || (verbatim && b",[]".contains(&b))
        };
        let length = self.rest().bytes().take_while(|b| allowed(*b)).count();
        let raw = &self.rest()[..length];
        if !raw.contains('%') {
            self.skip_ascii(length);
            return Ok(Cow::Borrowed(raw));
        }
        let mut bytes = Vec::with_capacity(length);
        let mut rest = raw.as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            if first != b'%' {
                bytes.push(first);
                rest = after;
                continue;
            }
            let pair = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
            let Some(byte) = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) else {
                return self.error("did not find URI escaped octet");
            };
            bytes.push(byte);
            rest = &after[2..];
        }
        self.skip_ascii(length);
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Cow::Owned(text)),
            Err(_) => self.error("found an incorrect leading UTF-8 octet"),
        }
    }
}
