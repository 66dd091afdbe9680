//! RE2 syntax, which Go reads, into the syntax of the `regex` crate.
//!
//! Both mean the same by most things. They differ in `\Q..\E`, octal escapes, `{` that begins no repetition, what `-`,
//! `&` and `~` mean in classes, and in that `\d`, `\w`, `\s` and `\b` are ASCII in RE2. What RE2 refuses is refused
//! here, with Go's words.

/// The largest count of a repetition.
const REPEAT_MAX: u32 = 1000;

/// Translates an expression; the error is Go's message.
pub(super) fn translate(expression: &str) -> Result<String, String> {
    let mut translator = Translator {
        whole: expression,
        at: 0,
        out: String::new(),
        groups: 0,
        repeatable: false,
        repeated: None,
    };
    translator.expression()?;
    Ok(translator.out)
}

struct Translator<'e> {
    whole: &'e str,
    at: usize,
    out: String,
    /// Open parentheses.
    groups: usize,
    /// Whether a repetition may come next.
    repeatable: bool,
    /// Where the repetition just read began.
    repeated: Option<usize>,
}

fn fault(what: &str, text: &str) -> String {
    format!("{what}: `{text}`")
}

impl<'e> Translator<'e> {
    fn rest(&self) -> &'e str {
        &self.whole[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        if found {
            self.at += prefix.len();
        }
        found
    }

    fn literal(&mut self, c: char) {
        push_literal(&mut self.out, c);
        self.atom();
    }

    fn atom(&mut self) {
        self.repeatable = true;
        self.repeated = None;
    }

    fn expression(&mut self) -> Result<(), String> {
        while let Some(c) = self.peek() {
            let start = self.at;
            match c {
                '(' => self.group()?,
                ')' => {
                    if self.groups == 0 {
                        return Err(fault("unexpected )", self.whole));
                    }
                    self.groups -= 1;
                    self.at += 1;
                    self.out.push(')');
                    self.atom();
                }
                '|' => {
                    self.at += 1;
                    self.out.push('|');
                    self.repeatable = false;
                    self.repeated = None;
                }
                '*' | '+' | '?' => {
                    self.at += 1;
                    self.out.push(c);
                    self.repetition(start)?;
                }
                '{' => match self.counts()? {
                    Some(counts) => {
                        self.out.push_str(&counts);
                        self.repetition(start)?;
                    }
                    None => {
                        self.at += 1;
                        self.literal('{');
                    }
                },
                '[' => self.class()?,
                '\\' => self.escape()?,
                '^' | '$' | '.' => {
                    self.at += 1;
                    self.out.push(c);
                    self.atom();
                }
                c => {
                    self.at += c.len_utf8();
                    self.literal(c);
                }
            }
        }
        if self.groups > 0 {
            return Err(fault("missing closing )", self.whole));
        }
        Ok(())
    }

    /// What follows a repetition operator that began at `start`.
    fn repetition(&mut self, start: usize) -> Result<(), String> {
        if self.accept("?") {
            self.out.push('?');
        }
        let operator = &self.whole[start..self.at];
        if let Some(before) = self.repeated {
            return Err(fault(
                "invalid nested repetition operator",
                &self.whole[before..self.at],
            ));
        }
        if !self.repeatable {
            return Err(fault("missing argument to repetition operator", operator));
        }
        self.repeated = Some(start);
        Ok(())
    }

    /// `{2}`, `{2,}` or `{2,5}`; anything else is text.
    fn counts(&mut self) -> Result<Option<String>, String> {
        let rest = self.rest();
        let Some(close) = rest.find('}') else {
            return Ok(None);
        };
        let inner = &rest[1..close];
        let number = |text: &str| -> Option<u32> {
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            // A leading zero makes it text, a huge number makes it wrong.
            (plain && (text.len() == 1 || !text.starts_with('0'))).then(|| text.parse().unwrap_or(u32::MAX))
        };
        let (least, most) = match inner.split_once(',') {
            None => (number(inner), number(inner)),
            Some((least, "")) => (number(least), Some(0)),
            Some((least, most)) => (number(least), number(most)),
        };
        let (Some(least), Some(most)) = (least, most) else {
            return Ok(None);
        };
        let unbounded = inner.ends_with(',');
        if least > REPEAT_MAX || most > REPEAT_MAX || !unbounded && most < least {
            return Err(fault("invalid repeat count", &rest[..=close]));
        }
        self.at += close + 1;
        Ok(Some(rest[..=close].to_owned()))
    }

    fn group(&mut self) -> Result<(), String> {
        let start = self.at;
        self.at += 1;
        self.repeatable = false;
        self.repeated = None;
        if !self.accept("?") {
            self.groups += 1;
            self.out.push('(');
            return Ok(());
        }
        let look_behind = self.rest().starts_with("<=") || self.rest().starts_with("<!");
        if self.accept("P<") || !look_behind && self.accept("<") {
            let Some(end) = self.rest().find('>') else {
                return Err(fault("invalid named capture", &self.whole[start..]));
            };
            let name = &self.rest()[..end];
            self.at += end + 1;
            let word = !name.is_empty() && name.chars().all(|c| c == '_' || c.is_alphanumeric());
            if !word {
                return Err(fault("invalid named capture", &self.whole[start..self.at]));
            }
            self.out.push_str(&format!("(?P<{name}>"));
            self.groups += 1;
            return Ok(());
        }
        self.flags(start)
    }

    fn flags(&mut self, start: usize) -> Result<(), String> {
        let (mut negated, mut some) = (false, false);
        loop {
            let c = self.bump();
            let refused = fault("invalid or unsupported Perl syntax", &self.whole[start..self.at]);
            match c {
                Some('i' | 'm' | 's' | 'U') => some = true,
                Some('-') if !negated => {
                    negated = true;
                    some = false;
                }
                Some(c @ (':' | ')')) if !negated || some => {
                    self.out.push_str(&self.whole[start..self.at]);
                    if c == ':' {
                        self.groups += 1;
                    }
                    return Ok(());
                }
                None => return Err(fault("missing closing )", self.whole)),
                _ => return Err(refused),
            }
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        let start = self.at;
        if self.accept(r"\Q") {
            let rest = self.rest();
            let end = rest.find(r"\E").unwrap_or(rest.len());
            for c in rest[..end].chars() {
                self.literal(c);
            }
            self.at += end;
            self.accept(r"\E");
            return Ok(());
        }
        if let Some(class) = perl_class(self.rest()) {
            self.at += 2;
            self.out.push_str(&format!("[{class}]"));
            self.atom();
            return Ok(());
        }
        if let Some(class) = self.unicode_class()? {
            self.out.push_str(&class);
            self.atom();
            return Ok(());
        }
        let assertion = match self.rest().as_bytes().get(1) {
            Some(b'A') => Some(r"\A"),
            Some(b'z') => Some(r"\z"),
            Some(b'b') => Some(r"(?-u:\b)"),
            Some(b'B') => Some(r"(?-u:\B)"),
            _ => None,
        };
        if let Some(assertion) = assertion {
            self.at += 2;
            self.out.push_str(assertion);
            self.atom();
            return Ok(());
        }
        let c = self.escaped_char(start)?;
        self.literal(c);
        Ok(())
    }

    /// `\p{Greek}` and its like.
    fn unicode_class(&mut self) -> Result<Option<String>, String> {
        let rest = self.rest();
        let mut negated = match rest.as_bytes() {
            [b'\\', b'p', ..] => false,
            [b'\\', b'P', ..] => true,
            _ => return Ok(None),
        };
        let tail = &rest[2..];
        let (name, len) = match tail.strip_prefix('{') {
            Some(inner) => match inner.find('}') {
                Some(end) => (&inner[..end], 2 + end + 2),
                None => return Err(fault("invalid character class range", rest)),
            },
            None => match tail.chars().next() {
                Some(c) => (&tail[..c.len_utf8()], 2 + c.len_utf8()),
                None => return Err(fault("invalid character class range", rest)),
            },
        };
        let plain = name.strip_prefix('^').unwrap_or(name);
        negated ^= plain.len() != name.len();
        let class = format!(r"\{}{{{plain}}}", if negated { 'P' } else { 'p' });
        let spelled = plain.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let starts_upper = plain.starts_with(|c: char| c.is_ascii_uppercase());
        if !spelled || !starts_upper || regex_automata::util::syntax::parse(&class).is_err() {
            return Err(fault("invalid character class range", &rest[..len]));
        }
        self.at += len;
        Ok(Some(class))
    }

    /// The character that an escape stands for.
    fn escaped_char(&mut self, start: usize) -> Result<char, String> {
        self.at += 1;
        let Some(c) = self.bump() else {
            return Err(fault("trailing backslash at end of expression", ""));
        };
        let next_octal = self.peek().is_some_and(|c| ('0'..='7').contains(&c));
        let found = match c {
            '1'..='7' if !next_octal => None,
            '0'..='7' => {
                let mut code = u32::from(c) - u32::from('0');
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else {
                        break;
                    };
                    self.at += 1;
                    code = code * 8 + digit;
                }
                char::from_u32(code)
            }
            'x' => self.hex(),
            'a' => Some('\x07'),
            'f' => Some('\x0c'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\x0b'),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(c),
            _ => None,
        };
        found.ok_or_else(|| fault("invalid escape sequence", &self.whole[start..self.at]))
    }

    fn hex(&mut self) -> Option<char> {
        let rest = self.rest();
        let (digits, len) = match rest.strip_prefix('{') {
            Some(inner) => {
                let end = inner.find('}')?;
                (&inner[..end], end + 2)
            }
            None => (rest.get(..2)?, 2),
        };
        if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.at += len;
        char::from_u32(u32::from_str_radix(digits, 16).ok()?)
    }

    fn class(&mut self) -> Result<(), String> {
        let start = self.at;
        let unclosed = || fault("missing closing ]", &self.whole[start..]);
        let mut class = String::from("[");
        self.at += 1;
        if self.accept("^") {
            class.push('^');
        }
        let mut first = true;
        loop {
            let Some(c) = self.peek() else {
                return Err(unclosed());
            };
            if c == ']' && !first {
                self.at += 1;
                break;
            }
            first = false;
            let posix = self.rest().strip_prefix("[:").and_then(|inner| inner.find(":]"));
            if let Some(end) = posix {
                let name = &self.rest()[..end + 4];
                if !is_posix(name) {
                    return Err(fault("invalid character class range", name));
                }
                class.push_str(name);
                self.at += name.len();
                continue;
            }
            if let Some(perl) = perl_class(self.rest()) {
                self.at += 2;
                class.push_str(&format!("[{perl}]"));
                continue;
            }
            if let Some(unicode) = self.unicode_class()? {
                class.push_str(&unicode);
                continue;
            }
            self.class_range(&mut class, start)?;
        }
        class.push(']');
        self.out.push_str(&class);
        self.atom();
        Ok(())
    }

    fn class_range(&mut self, class: &mut String, class_start: usize) -> Result<(), String> {
        let start = self.at;
        let low = self.class_char(class_start)?;
        push_literal(class, low);
        let rest = self.rest();
        if rest.len() >= 2 && rest.starts_with('-') && !rest[1..].starts_with(']') {
            self.at += 1;
            let high = self.class_char(class_start)?;
            if high < low {
                return Err(fault(
                    "invalid character class range",
                    &self.whole[start..self.at],
                ));
            }
            class.push('-');
            push_literal(class, high);
        }
        Ok(())
    }

    fn class_char(&mut self, class_start: usize) -> Result<char, String> {
        let start = self.at;
        match self.peek() {
            None => Err(fault("missing closing ]", &self.whole[class_start..])),
            Some('\\') => self.escaped_char(start),
            Some(c) => {
                self.at += c.len_utf8();
                Ok(c)
            }
        }
    }
}

/// Writes a character so that it stands for itself, in a class or outside.
fn push_literal(out: &mut String, c: char) {
    if r"\.+*?()|[]{}^$#&-~".contains(c) {
        out.push('\\');
    }
    out.push(c);
}

/// `\d` and its like at the head of a text, as what stands between the brackets of a class.
fn perl_class(text: &str) -> Option<&'static str> {
    Some(match text.as_bytes() {
        [b'\\', b'd', ..] => "0-9",
        [b'\\', b'D', ..] => "^0-9",
        [b'\\', b's', ..] => r"\t\n\x0C\r ",
        [b'\\', b'S', ..] => r"^\t\n\x0C\r ",
        [b'\\', b'w', ..] => "0-9A-Za-z_",
        [b'\\', b'W', ..] => "^0-9A-Za-z_",
        _ => return None,
    })
}

fn is_posix(name: &str) -> bool {
    let inner = name.trim_start_matches("[:").trim_end_matches(":]");
    let inner = inner.strip_prefix('^').unwrap_or(inner);
    matches!(
        inner,
        "alnum"
            | "alpha"
            | "ascii"
            | "blank"
            | "cntrl"
            | "digit"
            | "graph"
            | "lower"
            | "print"
            | "punct"
            | "space"
            | "upper"
            | "word"
            | "xdigit"
    )
}
