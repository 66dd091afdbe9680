//! Text to tokens.
//!
//! Spaces inside an action leave a mark on the token after them: `.a .b` and `.a.b` differ by nothing else.
//!
//! Reading is most of what rendering a small chart costs, as few of its templates are used: so the lexer goes by bytes,
//! and tokens are copied, not owned.

/// What a token is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// The message is in [`Lexer::message`].
    Error,
    #[default]
    End,
    Text,
    LeftDelim,
    RightDelim,
    Assign,
    Declare,
    Pipe,
    LeftParen,
    RightParen,
    /// Any other printable character, such as the comma.
    Char,
    Bool,
    CharConstant,
    Complex,
    Number,
    String,
    RawString,
    Identifier,
    Variable,
    Field,
    // Keywords, which errors show as `<word>`.
    Dot,
    Nil,
    Block,
    Break,
    Continue,
    Define,
    Else,
    EndKeyword,
    If,
    Range,
    Template,
    With,
}

/// A piece of the text, which is shorter than 4 GiB.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    /// Whether there are spaces before it, inside its action.
    pub(super) spaced: bool,
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) line: u32,
}

impl Token {
    fn is_keyword(&self) -> bool {
        use TokenKind as K;
        matches!(
            self.kind,
            K::Dot
                | K::Nil
                | K::Block
                | K::Break
                | K::Continue
                | K::Define
                | K::Else
                | K::EndKeyword
                | K::If
                | K::Range
                | K::Template
                | K::With
        )
    }

    /// The text it is.
    pub(super) fn value<'t>(&self, text: &'t str) -> &'t str {
        &text[self.start as usize..self.end as usize]
    }

    /// How errors show the token.
    pub(super) fn describe(&self, text: &str) -> String {
        match self.kind {
            TokenKind::End => "EOF".to_owned(),
            _ => {
                let value = self.value(text);
                if self.is_keyword() {
                    format!("<{value}>")
                } else if value.len() > 10 {
                    let cut: String = value.chars().take(10).collect();
                    format!("{}...", crate::format::quote(cut.as_bytes()))
                } else {
                    crate::format::quote(value.as_bytes())
                }
            }
        }
    }
}

/// The state of reading one text.
pub(super) struct Lexer<'t> {
    text: &'t str,
    start: usize,
    at: usize,
    line: u32,
    start_line: u32,
    in_action: bool,
    parens: u32,
    spaced: bool,
    /// Why the text went on with no token.
    pub(super) message: String,
}

enum Step {
    Emit(Token),
    Go,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Lexer {
            text,
            start: 0,
            at: 0,
            line: 1,
            start_line: 1,
            in_action: false,
            parens: 0,
            spaced: false,
            message: String::new(),
        }
    }

    /// The next token; after the end or an error, the end again.
    pub(super) fn next_token(&mut self) -> Token {
        loop {
            let step = if self.in_action {
                self.inside_action()
            } else {
                self.outside()
            };
            if let Step::Emit(token) = step {
                return token;
            }
        }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn peek(&self) -> Option<char> {
        match self.byte()? {
            byte if byte.is_ascii() => Some(char::from(byte)),
            _ => self.rest().chars().next(),
        }
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn ignore(&mut self) {
        self.line += count_lines(&self.text[self.start..self.at]);
        self.skip();
    }

    /// Leaves out what was read and already counted.
    fn skip(&mut self) {
        self.start = self.at;
        self.start_line = self.line;
    }

    fn token(&mut self, kind: TokenKind) -> Token {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let token = Token {
            kind,
            spaced: std::mem::take(&mut self.spaced),
            start: place(self.start),
            end: place(self.at),
            line: self.start_line,
        };
        self.skip();
        token
    }

    fn emit(&mut self, kind: TokenKind) -> Step {
        Step::Emit(self.token(kind))
    }

    fn fail(&mut self, message: impl Into<String>) -> Step {
        let token = self.token(TokenKind::Error);
        self.message = message.into();
        self.at = self.text.len();
        self.start = self.at;
        self.in_action = false;
        Step::Emit(token)
    }

    fn outside(&mut self) -> Step {
        let Some(found) = find_pair(self.rest().as_bytes(), b'{') else {
            self.at = self.text.len();
            if self.at > self.start {
                self.line += count_lines(&self.text[self.start..self.at]);
                return self.emit(TokenKind::Text);
            }
            return self.emit(TokenKind::End);
        };
        if found > 0 {
            let delim = self.at + found;
            let mut end = delim;
            if has_left_trim(&self.text.as_bytes()[delim + 2..]) {
                end = self.start + self.text[self.start..delim].trim_end_matches(is_space).len();
            }
            self.at = end;
            self.line += count_lines(&self.text[self.start..end]);
            let token = self.token(TokenKind::Text);
            self.at = delim;
            self.ignore();
            if token.end > token.start {
                return Step::Emit(token);
            }
        }
        self.left_delim()
    }

    fn left_delim(&mut self) -> Step {
        self.at += 2;
        let marker = if has_left_trim(self.rest().as_bytes()) {
            2
        } else {
            0
        };
        if self.text[self.at + marker..].starts_with("/*") {
            self.at += marker;
            self.ignore();
            return self.comment();
        }
        let token = self.token(TokenKind::LeftDelim);
        self.in_action = true;
        self.parens = 0;
        self.at += marker;
        self.ignore();
        Step::Emit(token)
    }

    fn comment(&mut self) -> Step {
        self.at += 2;
        let Some(end) = self.rest().find("*/") else {
            return self.fail("unclosed comment");
        };
        self.at += end + 2;
        let Some(trim) = self.right_delim_ahead() else {
            return self.fail("comment ends before closing delimiter");
        };
        self.at += if trim { 4 } else { 2 };
        if trim {
            self.skip_spaces();
        }
        self.ignore();
        Step::Go
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(is_space).len();
    }

    /// Whether the action ends here, and then whether it trims.
    fn right_delim_ahead(&self) -> Option<bool> {
        match &self.text.as_bytes()[self.at..] {
            [b'}', b'}', ..] => Some(false),
            rest => ends_trimming(rest).then_some(true),
        }
    }

    fn right_delim(&mut self, trim: bool) -> Step {
        if trim {
            self.at += 2;
            self.ignore();
        }
        self.at += 2;
        let token = self.token(TokenKind::RightDelim);
        if trim {
            self.skip_spaces();
            self.ignore();
        }
        self.in_action = false;
        Step::Emit(token)
    }

    fn inside_action(&mut self) -> Step {
        let delim = loop {
            if let Some(trim) = self.right_delim_ahead() {
                break Some(trim);
            }
            match self.byte() {
                Some(byte) if is_space_byte(byte) => {
                    self.at += 1;
                    self.line += u32::from(byte == b'\n');
                    self.spaced = true;
                }
                _ => break None,
            }
        };
        self.skip();
        if let Some(trim) = delim {
            if self.parens > 0 {
                return self.fail("unclosed left paren");
            }
            return self.right_delim(trim);
        }
        let before = (self.at, self.line);
        let Some(c) = self.bump() else {
            return self.fail("unclosed action");
        };
        match c {
            '=' => self.emit(TokenKind::Assign),
            ':' if self.peek() == Some('=') => {
                self.bump();
                self.emit(TokenKind::Declare)
            }
            ':' => self.fail("expected :="),
            '|' => self.emit(TokenKind::Pipe),
            '"' => self.quoted(b'"', TokenKind::String, "unterminated quoted string"),
            '\'' => self.quoted(b'\'', TokenKind::CharConstant, "unterminated character constant"),
            '`' => self.raw(),
            '$' => self.field_or_variable(TokenKind::Variable),
            '.' if !self.peek().is_some_and(|c| c.is_ascii_digit()) => {
                self.field_or_variable(TokenKind::Field)
            }
            '.' | '+' | '-' | '0'..='9' => {
                (self.at, self.line) = before;
                self.number()
            }
            '(' => {
                self.parens += 1;
                self.emit(TokenKind::LeftParen)
            }
            ')' if self.parens == 0 => self.fail("unexpected right paren"),
            ')' => {
                self.parens -= 1;
                self.emit(TokenKind::RightParen)
            }
            c if is_alphanumeric(c) => self.identifier(),
            ' '..='~' => self.emit(TokenKind::Char),
            c => self.fail(format!(
                "unrecognized character in action: {}",
                describe_char(Some(c))
            )),
        }
    }

    fn quoted(&mut self, quote: u8, kind: TokenKind, unterminated: &str) -> Step {
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            match memchr::memchr3(quote, b'\\', b'\n', rest).map(|at| &rest[at..]) {
                Some([b'\\', after, tail @ ..]) if *after != b'\n' => {
                    // Past the whole character, which may be of several bytes.
                    let escaped = self.text.len() - tail.len() - 1;
                    let character = self.text[escaped..].chars().next();
                    self.at = escaped + character.map_or(1, char::len_utf8);
                }
                Some([last, tail @ ..]) if *last == quote => {
                    self.at = self.text.len() - tail.len();
                    return self.emit(kind);
                }
                _ => return self.fail(unterminated),
            }
        }
    }

    fn raw(&mut self) -> Step {
        let rest = &self.text.as_bytes()[self.at..];
        let Some(end) = memchr::memchr(b'`', rest) else {
            return self.fail("unterminated raw quoted string");
        };
        let from = self.at;
        self.at += end + 1;
        self.line += count_lines(&self.text[from..self.at]);
        self.emit(TokenKind::RawString)
    }

    fn at_terminator(&self) -> bool {
        match &self.text.as_bytes()[self.at..] {
            []
            | [
                b'.' | b',' | b'|' | b':' | b'(' | b')' | b' ' | b'\t' | b'\r' | b'\n',
                ..,
            ] => true,
            rest => rest.starts_with(b"}}"),
        }
    }

    fn field_or_variable(&mut self, kind: TokenKind) -> Step {
        if self.at_terminator() {
            let kind = if kind == TokenKind::Field {
                TokenKind::Dot
            } else {
                kind
            };
            return self.emit(kind);
        }
        self.word();
        if !self.at_terminator() {
            return self.fail(format!("bad character {}", describe_char(self.peek())));
        }
        self.emit(kind)
    }

    fn word(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        self.at += rest.iter().position(|byte| !plain(byte)).unwrap_or(rest.len());
        while self.peek().is_some_and(is_alphanumeric) {
            self.bump();
        }
    }

    fn identifier(&mut self) -> Step {
        self.word();
        if !self.at_terminator() {
            return self.fail(format!("bad character {}", describe_char(self.peek())));
        }
        let kind = match &self.text[self.start..self.at] {
            "block" => TokenKind::Block,
            "break" => TokenKind::Break,
            "continue" => TokenKind::Continue,
            "define" => TokenKind::Define,
            "else" => TokenKind::Else,
            "end" => TokenKind::EndKeyword,
            "if" => TokenKind::If,
            "nil" => TokenKind::Nil,
            "range" => TokenKind::Range,
            "template" => TokenKind::Template,
            "with" => TokenKind::With,
            "true" | "false" => TokenKind::Bool,
            _ => TokenKind::Identifier,
        };
        self.emit(kind)
    }

    fn accept(&mut self, set: &str) -> bool {
        let accepted = self.peek().is_some_and(|c| set.contains(c));
        if accepted {
            self.bump();
        }
        accepted
    }

    fn accept_run(&mut self, set: &str) {
        while self.accept(set) {}
    }

    fn number(&mut self) -> Step {
        if !self.scan_number() {
            return self.bad_number();
        }
        if matches!(self.peek(), Some('+' | '-')) {
            if !self.scan_number() || !self.text[..self.at].ends_with('i') {
                return self.bad_number();
            }
            return self.emit(TokenKind::Complex);
        }
        self.emit(TokenKind::Number)
    }

    fn bad_number(&mut self) -> Step {
        let text = crate::format::quote(&self.text.as_bytes()[self.start..self.at]);
        self.fail(format!("bad number syntax: {text}"))
    }

    fn scan_number(&mut self) -> bool {
        const DECIMAL: &str = "0123456789_";
        const HEX: &str = "0123456789abcdefABCDEF_";
        self.accept("+-");
        let mut digits = DECIMAL;
        if self.accept("0") {
            if self.accept("xX") {
                digits = HEX;
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        let exponent = match digits {
            DECIMAL => "eE",
            HEX => "pP",
            _ => "",
        };
        if self.accept(exponent) {
            self.accept("+-");
            self.accept_run(DECIMAL);
        }
        self.accept("i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.bump();
            return false;
        }
        true
    }
}

fn count_lines(text: &str) -> u32 {
    u32::try_from(memchr::memchr_iter(b'\n', text.as_bytes()).count()).unwrap_or(u32::MAX)
}

/// Where a byte stands twice in a row.
fn find_pair(text: &[u8], byte: u8) -> Option<usize> {
    memchr::memchr_iter(byte, text).find(|at| text.get(at + 1) == Some(&byte))
}

pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn is_space_byte(byte: u8) -> bool {
    is_space(char::from(byte))
}

fn has_left_trim(text: &[u8]) -> bool {
    matches!(text, [b'-', space, ..] if is_space_byte(*space))
}

/// Whether the action ends here with a `-}}`.
fn ends_trimming(text: &[u8]) -> bool {
    matches!(text, [space, b'-', b'}', b'}', ..] if is_space_byte(*space))
}

/// A character as Go's `%#U` shows it.
fn describe_char(c: Option<char>) -> String {
    match c {
        None => "U+FFFFFFFFFFFFFFFF".to_owned(),
        Some(c) if c.is_control() => format!("U+{:04X}", c as u32),
        Some(c) => format!("U+{:04X} '{c}'", c as u32),
    }
}
