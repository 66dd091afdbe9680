//! Directives: lines that start with `%`.

use super::name::word;
use super::{ScanError, Scanner, Token};

impl Scanner<'_> {
    pub(super) fn fetch_directive(&mut self) -> Result<(), ScanError> {
        self.unroll(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        let mark = self.mark;
        self.skip_ascii(1);
        let name = word(self.rest());
        self.skip_ascii(name.len());
        if name.is_empty() {
            return self.error("could not find expected directive name");
        }
        if !self.blank_or_end(0) {
            return self.error("found unexpected non-alphabetical character");
        }
        let token = match name {
            "YAML" => {
                self.skip_blanks();
                let major = self.scan_version_number()?;
                if self.byte(0) != Some(b'.') {
                    return self.error("did not find expected digit or '.' character");
                }
                self.skip_ascii(1);
                Token::VersionDirective(major, self.scan_version_number()?)
            }
            "TAG" => {
                self.skip_blanks();
                let handle = self.scan_handle()?;
                if !self.blank_or_end(0) || self.at_end() {
                    return self.error("did not find expected whitespace");
                }
                self.skip_blanks();
                let prefix = self.scan_uri(true)?;
                if prefix.is_empty() {
                    return self.error("did not find expected tag URI");
                }
                if !self.blank_or_end(0) {
                    return self.error("did not find expected whitespace or line break");
                }
                Token::TagDirective { handle, prefix }
            }
            _ => return self.error("found unknown directive name"),
        };
        self.skip_blanks();
        if self.byte(0) == Some(b'#') {
            let comment = super::line(self.rest());
            self.skip_str(comment);
        }
        if !self.at_end() {
            if self.line_end() == 0 {
                return self.error("did not find expected comment or line break");
            }
            self.skip_line_end();
        }
        self.push(token, mark);
        Ok(())
    }

    pub(super) fn skip_blanks(&mut self) {
        while matches!(self.byte(0), Some(b' ' | b'\t')) {
            self.skip_ascii(1);
        }
    }

    fn scan_version_number(&mut self) -> Result<u32, ScanError> {
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        if digits > 9 {
            return self.error("found extremely long version number");
        }
        let number = self.rest()[..digits].parse();
        self.skip_ascii(digits);
        match number {
            Ok(number) => Ok(number),
            Err(_) => self.error("did not find expected version number"),
        }
    }
}

impl<'t> Scanner<'t> {
    /// `!`, `!!` or `!name!`
    fn scan_handle(&mut self) -> Result<&'t str, ScanError> {
        if self.byte(0) != Some(b'!') {
            return self.error("did not find expected '!'");
        }
        let name = word(&self.rest()[1..]);
        let closed = self.byte(1 + name.len()) == Some(b'!');
        if !closed && !name.is_empty() {
            return self.error("did not find expected '!'");
        }
        let handle = &self.rest()[..1 + name.len() + usize::from(closed)];
        self.skip_ascii(handle.len());
        Ok(handle)
    }
}
