//! Scalars behind `|` and `>`.

use std::borrow::Cow;

use super::{ScanError, Scanner, Token, line};

/// What to do with the line ends at the end of the scalar.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chomp {
    Strip,
    Clip,
    Keep,
}

impl Scanner<'_> {
    pub(super) fn fetch_block_scalar(&mut self, literal: bool) -> Result<(), ScanError> {
        let start = self.mark;
        self.skip_ascii(1);
        let (chomp, increment) = self.scan_block_header()?;
        self.skip_blanks();
        if self.byte(0) == Some(b'#') {
            self.skip_str(line(self.rest()));
        }
        if !self.at_end() {
            if self.line_end() == 0 {
                return self.error("did not find expected comment or line break");
            }
            self.skip_line_end();
        }
        let mut indent = increment.map(|increment| usize::try_from(self.indent).unwrap_or(0) + increment);
        let mut text = String::new();
        // Line ends that may yet be folded or dropped.
        let mut last_break = "";
        let mut blank_lines = self.scan_blank_lines(&mut indent)?;
        let indent = indent.unwrap_or(0);
        let mut after_blank = false;
        while self.mark.column == indent && !self.at_end() {
            let starts_blank = matches!(self.byte(0), Some(b' ' | b'\t'));
            if !literal && last_break.starts_with('\n') && !after_blank && !starts_blank {
                if blank_lines.is_empty() {
                    text.push(' ');
                }
            } else {
                text.push_str(last_break);
            }
            text.push_str(&blank_lines);
            after_blank = starts_blank;
            let content = line(self.rest());
            text.push_str(content);
            self.skip_str(content);
            last_break = if self.at_end() { "" } else { self.skip_line_end() };
            blank_lines = self.scan_blank_lines(&mut Some(indent))?;
        }
        if chomp != Chomp::Strip {
            text.push_str(last_break);
        }
        if chomp == Chomp::Keep {
            text.push_str(&blank_lines);
        }
        self.push(
            Token::Scalar {
                text: Cow::Owned(text),
                plain: false,
            },
            start,
        );
        Ok(())
    }

    fn scan_block_header(&mut self) -> Result<(Chomp, Option<usize>), ScanError> {
        let mut chomp = None;
        let mut increment = None;
        loop {
            match self.byte(0) {
                Some(sign @ (b'+' | b'-')) if chomp.is_none() => {
                    chomp = Some(if sign == b'+' { Chomp::Keep } else { Chomp::Strip });
                }
                Some(digit @ b'0'..=b'9') if increment.is_none() => {
                    if digit == b'0' {
                        return self.error("found an indentation indicator equal to 0");
                    }
                    increment = Some(usize::from(digit - b'0'));
                }
                _ => return Ok((chomp.unwrap_or(Chomp::Clip), increment)),
            }
            self.skip_ascii(1);
        }
    }

    /// Passes over indentation and blank lines, and gives their line ends. An indentation that is not known yet becomes
    /// that of the first line with something on it.
    fn scan_blank_lines(&mut self, indent: &mut Option<usize>) -> Result<String, ScanError> {
        let mut breaks = String::new();
        let mut deepest = 0;
        loop {
            while self.byte(0) == Some(b' ') && indent.is_none_or(|indent| self.mark.column < indent) {
                self.skip_ascii(1);
            }
            deepest = deepest.max(self.mark.column);
            if self.byte(0) == Some(b'\t') && indent.is_none_or(|indent| self.mark.column < indent) {
                return self.error("found a tab character where an indentation space is expected");
            }
            if self.at_end() || self.line_end() == 0 {
                break;
            }
            breaks.push_str(self.skip_line_end());
        }
        if indent.is_none() {
            *indent = Some(deepest.max(usize::try_from(self.indent + 1).unwrap_or(0)).max(1));
        }
        Ok(breaks)
    }
}
