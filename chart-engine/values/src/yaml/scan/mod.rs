//! From text to tokens.
//!
//! The rules are those of YAML 1.1 as libyaml reads it, which go-yaml follows: a key without `?` is known only when its
//! `:` comes, so tokens wait in a queue until it is clear whether a key starts before them.

mod block_scalar;
mod directive;
mod name;
mod plain;
mod quoted;
mod tag;

use std::borrow::Cow;
use std::collections::VecDeque;

/// A place in the text, all counted from nought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// Characters before it.
    pub index: usize,
    /// Lines before it.
    pub line: usize,
    /// Characters before it in its line.
    pub column: usize,
}

/// What the text is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'t> {
    StreamEnd,
    VersionDirective(u32, u32),
    TagDirective { handle: &'t str, prefix: Cow<'t, str> },
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(&'t str),
    Anchor(&'t str),
    Tag { handle: &'t str, suffix: Cow<'t, str> },
    Scalar { text: Cow<'t, str>, plain: bool },
}

/// A fault in the text, with what go-yaml says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScanError {
    pub(super) problem: &'static str,
    pub(super) mark: Mark,
}

/// A place where a key without `?` may start.
#[derive(Debug, Clone, Copy)]
struct SimpleKey {
    /// It stands where only a key can stand.
    required: bool,
    /// The number of its first token.
    token: usize,
    mark: Mark,
    /// Its first token waits in the queue until it is clear whether it is a key.
    holds: bool,
}

/// The block level, or a flow collection that is open.
#[derive(Debug)]
struct Level {
    key: Option<SimpleKey>,
    /// The token of the last key that could have been, or the one that opened the collection.
    last_token: usize,
}

/// The furthest that a `:` may be from the start of its key.
const SIMPLE_KEY_LENGTH_MAX: usize = 1024;
/// How deep collections may nest, as in go-yaml.
const DEPTH_MAX: usize = 10_000;

/// Reads tokens out of a text.
#[derive(Debug)]
pub(super) struct Scanner<'t> {
    text: &'t str,
    /// The byte at hand.
    at: usize,
    mark: Mark,
    tokens: VecDeque<(Token<'t>, Mark)>,
    taken: usize,
    ended: bool,
    /// The block level, and the flow collections in it.
    levels: Vec<Level>,
    /// No level before this one has a key that holds the queue. Inner keys are younger than outer ones.
    first_holding: usize,
    simple_key_allowed: bool,
    /// The column of the innermost block collection; -1 outside of all.
    indent: isize,
    indents: Vec<isize>,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Scanner {
            text: text.strip_prefix('\u{feff}').unwrap_or(text),
            at: 0,
            mark: Mark::default(),
            tokens: VecDeque::new(),
            taken: 0,
            ended: false,
            levels: vec![Level {
                key: None,
                last_token: 0,
            }],
            first_holding: 0,
            simple_key_allowed: true,
            indent: -1,
            indents: Vec::new(),
        }
    }

    /// The next token, which stays.
    pub(super) fn peek(&mut self) -> Result<(&Token<'t>, Mark), ScanError> {
        self.fill()?;
        match self.tokens.front() {
            Some((token, mark)) => Ok((token, *mark)),
            None => Ok((&Token::StreamEnd, self.mark)),
        }
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Result<(Token<'t>, Mark), ScanError> {
        self.fill()?;
        match self.tokens.pop_front() {
            Some(token) => {
                self.taken += 1;
                Ok(token)
            }
            None => Ok((Token::StreamEnd, self.mark)),
        }
    }

    /// Reads on until it is certain which token comes next.
    fn fill(&mut self) -> Result<(), ScanError> {
        while self.tokens.is_empty() || self.head_may_be_key()? {
            if self.ended {
                break;
            }
            self.fetch()?;
        }
        Ok(())
    }

    fn head_may_be_key(&mut self) -> Result<bool, ScanError> {
        while let Some(level) = self.levels.get(self.first_holding) {
            match level.key {
                Some(key) if key.holds => {
                    return Ok(key.token == self.taken && self.check_key(self.first_holding)?.is_some());
                }
                _ => self.first_holding += 1,
            }
        }
        Ok(false)
    }

    /// The key of a level, unless it is too late for its `:`. A key must end on its line, and soon.
    fn check_key(&mut self, level: usize) -> Result<Option<SimpleKey>, ScanError> {
        let Some(key) = self.levels[level].key else {
            return Ok(None);
        };
        if key.mark.line == self.mark.line && key.mark.index + SIMPLE_KEY_LENGTH_MAX >= self.mark.index {
            return Ok(Some(key));
        }
        if key.required {
            return self.error("could not find expected ':'");
        }
        self.levels[level].key = None;
        Ok(None)
    }

    fn innermost(&self) -> usize {
        self.levels.len() - 1
    }

    fn flow(&self) -> bool {
        self.levels.len() > 1
    }

    fn column(&self) -> isize {
        isize::try_from(self.mark.column).unwrap_or(isize::MAX)
    }

    fn error<T>(&self, problem: &'static str) -> Result<T, ScanError> {
        Err(ScanError {
            problem,
            mark: self.mark,
        })
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// Passes over `count` bytes that are all one-byte characters of one line.
    fn skip_ascii(&mut self, count: usize) {
        self.at += count;
        self.mark.index += count;
        self.mark.column += count;
    }

    /// Passes over a part of a line.
    fn skip_str(&mut self, part: &str) {
        let count = if part.is_ascii() {
            part.len()
        } else {
            part.chars().count()
        };
        self.at += part.len();
        self.mark.index += count;
        self.mark.column += count;
    }

    /// How many bytes the line end at hand has; nought if there is none.
    fn line_end(&self) -> usize {
        line_end(self.rest().as_bytes())
    }

    /// Passes over a line end and gives what it stands for in a scalar.
    fn skip_line_end(&mut self) -> &'static str {
        let length = self.line_end();
        let normal = match (length, &self.rest().as_bytes()[..length]) {
            (3, [_, _, 0xa8]) => "\u{2028}",
            (3, _) => "\u{2029}",
            (0, _) => "",
            _ => "\n",
        };
        let characters = if self.rest().starts_with("\r\n") { 2 } else { 1 };
        self.at += length;
        self.mark.index += characters;
        self.mark.line += 1;
        self.mark.column = 0;
        normal
    }

    /// Tells whether white space, a line end or the end of the text is `ahead` bytes from here.
    fn blank_or_end(&self, ahead: usize) -> bool {
        match self.text.as_bytes().get(self.at + ahead..) {
            None | Some([]) | Some([b' ' | b'\t', ..]) => true,
            Some(bytes) => line_end(bytes) > 0,
        }
    }

    fn at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    /// Tells whether `---` or `...` stands alone at the start of this line.
    fn at_document_mark(&self) -> bool {
        self.mark.column == 0
            && (self.rest().starts_with("---") || self.rest().starts_with("..."))
            && self.blank_or_end(3)
    }

    fn push(&mut self, token: Token<'t>, mark: Mark) {
        self.tokens.push_back((token, mark));
    }

    /// Puts a token before the one of the given number; if that is gone already, at the end.
    fn insert(&mut self, number: usize, token: Token<'t>, mark: Mark) {
        match number.checked_sub(self.taken) {
            Some(at) if at <= self.tokens.len() => self.tokens.insert(at, (token, mark)),
            _ => self.push(token, mark),
        }
    }

    fn fetch(&mut self) -> Result<(), ScanError> {
        self.skip_to_token();
        self.unroll(self.column());
        let mark = self.mark;
        let Some(first) = self.byte(0) else {
            return self.fetch_stream_end();
        };
        if mark.column == 0 {
            if first == b'%' {
                return self.fetch_directive();
            }
            if self.at_document_mark() {
                let token = if first == b'-' {
                    Token::DocumentStart
                } else {
                    Token::DocumentEnd
                };
                self.unroll(-1);
                self.remove_simple_key()?;
                self.simple_key_allowed = false;
                self.skip_ascii(3);
                self.push(token, mark);
                return Ok(());
            }
        }
        match first {
            b'[' => self.fetch_flow_start(Token::FlowSequenceStart),
            b'{' => self.fetch_flow_start(Token::FlowMappingStart),
            b']' => self.fetch_flow_end(Token::FlowSequenceEnd),
            b'}' => self.fetch_flow_end(Token::FlowMappingEnd),
            b',' => {
                self.remove_simple_key()?;
                self.simple_key_allowed = true;
                self.skip_ascii(1);
                self.push(Token::FlowEntry, mark);
                Ok(())
            }
            b'-' if self.blank_or_end(1) => self.fetch_block_entry(),
            b'?' if self.flow() || self.blank_or_end(1) => self.fetch_key(),
            b':' if self.flow() || self.blank_or_end(1) => self.fetch_value(),
            b'*' | b'&' => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                self.fetch_name()
            }
            b'!' => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                self.fetch_tag()
            }
            b'|' | b'>' if !self.flow() => {
                self.remove_simple_key()?;
                self.simple_key_allowed = true;
                self.fetch_block_scalar(first == b'|')
            }
            b'\'' | b'"' => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                self.fetch_quoted(first == b'\'')
            }
            b'-' if !matches!(self.byte(1), Some(b' ' | b'\t')) => self.fetch_plain_scalar(),
            b'?' | b':' if !self.flow() && !self.blank_or_end(1) => self.fetch_plain_scalar(),
            b'-' | b'?' | b':' | b'#' | b'|' | b'>' | b'%' | b'@' | b'`' | b' ' | b'\t' => {
                self.error("found character that cannot start any token")
            }
            _ => self.fetch_plain_scalar(),
        }
    }

    /// Goes to the next token: past white space, comments and line ends.
    fn skip_to_token(&mut self) {
        loop {
            match self.byte(0) {
                Some(b' ') => self.skip_ascii(1),
                // Where a key could start, a tab is no indentation.
                Some(b'\t') if self.flow() || !self.simple_key_allowed => self.skip_ascii(1),
                Some(b'#') => self.skip_str(line(self.rest())),
                _ if self.line_end() > 0 => {
                    self.skip_line_end();
                    if !self.flow() {
                        self.simple_key_allowed = true;
                    }
                }
                _ => return,
            }
        }
    }

    fn fetch_stream_end(&mut self) -> Result<(), ScanError> {
        if self.mark.column != 0 {
            self.mark.column = 0;
            self.mark.line += 1;
        }
        self.unroll(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        self.push(Token::StreamEnd, self.mark);
        self.ended = true;
        Ok(())
    }

    fn fetch_flow_start(&mut self, token: Token<'t>) -> Result<(), ScanError> {
        self.save_simple_key()?;
        if self.levels.len() > DEPTH_MAX {
            return self.error("exceeded max depth of 10000");
        }
        self.levels.push(Level {
            key: None,
            last_token: self.taken + self.tokens.len(),
        });
        self.simple_key_allowed = true;
        let mark = self.mark;
        self.skip_ascii(1);
        self.push(token, mark);
        Ok(())
    }

    fn fetch_flow_end(&mut self, token: Token<'t>) -> Result<(), ScanError> {
        self.remove_simple_key()?;
        if self.flow() {
            self.close_level();
        }
        self.simple_key_allowed = false;
        let mark = self.mark;
        self.skip_ascii(1);
        self.push(token, mark);
        Ok(())
    }

    /// Where nothing in a flow collection could be a key, go-yaml forgets that the collection itself could be one.
    fn close_level(&mut self) {
        let closed = self.levels.pop().map(|level| level.last_token);
        let outer = self.innermost();
        if let Some(key) = &mut self.levels[outer].key
            && Some(key.token) == closed
        {
            key.holds = false;
        }
        self.first_holding = self.first_holding.min(outer);
    }

    fn fetch_block_entry(&mut self) -> Result<(), ScanError> {
        if !self.flow() {
            if !self.simple_key_allowed {
                return self.error("block sequence entries are not allowed in this context");
            }
            self.roll(self.column(), None, Token::BlockSequenceStart, self.mark)?;
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = true;
        let mark = self.mark;
        self.skip_ascii(1);
        self.push(Token::BlockEntry, mark);
        Ok(())
    }

    fn fetch_key(&mut self) -> Result<(), ScanError> {
        if !self.flow() {
            if !self.simple_key_allowed {
                return self.error("mapping keys are not allowed in this context");
            }
            self.roll(self.column(), None, Token::BlockMappingStart, self.mark)?;
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = !self.flow();
        let mark = self.mark;
        self.skip_ascii(1);
        self.push(Token::Key, mark);
        Ok(())
    }

    fn fetch_value(&mut self) -> Result<(), ScanError> {
        if let Some(key) = self.check_key(self.innermost())? {
            let innermost = self.innermost();
            self.levels[innermost].key = None;
            self.insert(key.token, Token::Key, key.mark);
            let column = isize::try_from(key.mark.column).unwrap_or(isize::MAX);
            self.roll(column, Some(key.token), Token::BlockMappingStart, key.mark)?;
            self.simple_key_allowed = false;
        } else {
            if !self.flow() {
                if !self.simple_key_allowed {
                    return self.error("mapping values are not allowed in this context");
                }
                self.roll(self.column(), None, Token::BlockMappingStart, self.mark)?;
            }
            self.simple_key_allowed = !self.flow();
        }
        let mark = self.mark;
        self.skip_ascii(1);
        self.push(Token::Value, mark);
        Ok(())
    }

    fn fetch_plain_scalar(&mut self) -> Result<(), ScanError> {
        self.save_simple_key()?;
        self.simple_key_allowed = false;
        self.fetch_plain()
    }

    /// Opens a block collection if the column lies further in than the one that is open.
    fn roll(
        &mut self,
        column: isize,
        token_number: Option<usize>,
        token: Token<'t>,
        mark: Mark,
    ) -> Result<(), ScanError> {
        if self.flow() || self.indent >= column {
            return Ok(());
        }
        if self.indents.len() >= DEPTH_MAX {
            return self.error("exceeded max depth of 10000");
        }
        self.indents.push(self.indent);
        self.indent = column;
        match token_number {
            Some(number) => self.insert(number, token, mark),
            None => self.push(token, mark),
        }
        Ok(())
    }

    /// Closes the block collections that lie further in than the column.
    fn unroll(&mut self, column: isize) {
        if self.flow() {
            return;
        }
        while self.indent > column {
            self.push(Token::BlockEnd, self.mark);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    fn save_simple_key(&mut self) -> Result<(), ScanError> {
        if !self.simple_key_allowed {
            return Ok(());
        }
        let required = !self.flow() && self.indent == self.column();
        self.remove_simple_key()?;
        let token = self.taken + self.tokens.len();
        let level = self.innermost();
        self.levels[level].key = Some(SimpleKey {
            required,
            token,
            mark: self.mark,
            holds: true,
        });
        self.levels[level].last_token = token;
        self.first_holding = self.first_holding.min(level);
        Ok(())
    }

    fn remove_simple_key(&mut self) -> Result<(), ScanError> {
        let level = self.innermost();
        match self.levels[level].key.take() {
            Some(key) if key.required => self.error("could not find expected ':'"),
            _ => Ok(()),
        }
    }
}

/// How many bytes the line end at the head of `bytes` has.
fn line_end(bytes: &[u8]) -> usize {
    match bytes {
        [b'\r', b'\n', ..] | [0xc2, 0x85, ..] => 2,
        [b'\r' | b'\n', ..] => 1,
        [0xe2, 0x80, 0xa8 | 0xa9, ..] => 3,
        _ => 0,
    }
}

/// The text up to its first line end.
fn line(text: &str) -> &str {
    let mut from = 0;
    while let Some(found) = text.as_bytes()[from..]
        .iter()
        .position(|b| matches!(b, b'\n' | b'\r' | 0xc2 | 0xe2))
    {
        let at = from + found;
        if line_end(&text.as_bytes()[at..]) > 0 {
            return &text[..at];
        }
        from = at + 1;
    }
    text
}
