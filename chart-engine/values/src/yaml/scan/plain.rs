//! Scalars without quotes.

use std::borrow::Cow;

use super::{ScanError, Scanner, Token};

impl<'t> Scanner<'t> {
    pub(super) fn fetch_plain(&mut self) -> Result<(), ScanError> {
        let start = self.mark;
        let indent = self.indent + 1;
        let mut text: Cow<'t, str> = Cow::Borrowed("");
        let mut end = self.at;
        // What lies between the words read so far and those to come.
        let mut blanks: &'t str = "";
        let mut first_break: Option<&str> = None;
        let mut more_breaks = String::new();
        loop {
            if self.at_document_mark() || self.byte(0) == Some(b'#') {
                break;
            }
            let word = self.plain_word();
            if !word.is_empty() {
                join(
                    &mut text,
                    blanks,
                    first_break.take(),
                    &more_breaks,
                    word,
                    self.text,
                    end,
                );
                more_breaks.clear();
                blanks = "";
                self.skip_str(word);
                end = self.at;
            }
            if !(matches!(self.byte(0), Some(b' ' | b'\t')) || (!self.at_end() && self.line_end() > 0)) {
                break;
            }
            let blank_start = self.at;
            loop {
                match self.byte(0) {
                    Some(b'\t') if first_break.is_some() && self.column() < indent => {
                        return self.error("found a tab character that violates indentation");
                    }
                    Some(b' ' | b'\t') => self.skip_ascii(1),
                    _ if !self.at_end() && self.line_end() > 0 => {
                        if first_break.is_none() {
                            blanks = "";
                            first_break = Some(self.skip_line_end());
                        } else {
                            more_breaks.push_str(self.skip_line_end());
                        }
                    }
                    _ => break,
                }
            }
            if first_break.is_none() {
                blanks = &self.text[blank_start..self.at];
            }
            if !self.flow() && self.column() < indent {
                break;
            }
        }
        if first_break.is_some() {
            self.simple_key_allowed = true;
        }
        self.push(Token::Scalar { text, plain: true }, start);
        Ok(())
    }

    /// The characters up to white space or an indicator that ends the scalar.
    fn plain_word(&self) -> &'t str {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let flow = self.flow();
        let length = bytes.iter().enumerate().position(|(at, byte)| match byte {
            b' ' | b'\t' | b'\n' | b'\r' => true,
            0xc2 | 0xe2 => super::line_end(&bytes[at..]) > 0,
            b':' => self.blank_or_end(at + 1),
            b',' | b'?' | b'[' | b']' | b'{' | b'}' => flow,
            _ => false,
        });
        &rest[..length.unwrap_or(rest.len())]
    }
}

/// Adds a word to the text, with what lies between: white space as it is, a line end as a space. As long as the text
/// stands in the source as it is, it is not copied.
fn join<'t>(
    text: &mut Cow<'t, str>,
    blanks: &str,
    first_break: Option<&str>,
    more_breaks: &str,
    word: &'t str,
    source: &'t str,
    end: usize,
) {
    if text.is_empty() {
        *text = Cow::Borrowed(word);
        return;
    }
    if let (Cow::Borrowed(known), None) = (&text, first_break) {
        let start = end - known.len();
        *text = Cow::Borrowed(&source[start..end + blanks.len() + word.len()]);
        return;
    }
    let text = text.to_mut();
    match first_break {
        None => text.push_str(blanks),
        Some("\n") if more_breaks.is_empty() => text.push(' '),
        Some("\n") => text.push_str(more_breaks),
        Some(other) => {
            text.push_str(other);
            text.push_str(more_breaks);
        }
    }
    text.push_str(word);
}
