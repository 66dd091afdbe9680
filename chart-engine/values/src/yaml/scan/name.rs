//! Anchors and aliases.

use super::{ScanError, Scanner, Token};

impl Scanner<'_> {
    /// `&name` or `*name`
    pub(super) fn fetch_name(&mut self) -> Result<(), ScanError> {
        let mark = self.mark;
        let alias = self.byte(0) == Some(b'*');
        self.skip_ascii(1);
        let name = word(self.rest());
        let after = self.byte(name.len());
        let ends = self.blank_or_end(name.len())
            || matches!(after, Some(b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`'));
        self.skip_ascii(name.len());
        if name.is_empty() || !ends {
            return self.error("did not find expected alphabetic or numeric character");
        }
        self.push(
            if alias {
                Token::Alias(name)
            } else {
                Token::Anchor(name)
            },
            mark,
        );
        Ok(())
    }
}

/// The letters, digits, `-` and `_` at the head of a text.
pub(super) fn word(text: &str) -> &str {
    let length = text
        .bytes()
        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        .count();
    &text[..length]
}
