//! Files of `KEY=VALUE` lines.

use std::collections::BTreeMap;

use crate::template::{Lookup, TemplateFault, substitute};

/// What a file says, and the variables in it that had no value.
#[derive(Debug, Default)]
pub(crate) struct Dotenv {
    pub(crate) values: BTreeMap<String, String>,
    pub(crate) unset: Vec<String>,
}

/// What is wrong with a file: in words, and on which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DotenvFault {
    pub(crate) message: String,
    pub(crate) line: u32,
}

/// Reads a file. Variables in values are looked up outside first, then in the lines before, then in what was read before.
pub(crate) fn parse(
    text: &str,
    outside: &dyn Fn(&str) -> Option<String>,
    earlier: &dyn Fn(&str) -> Option<String>,
) -> Result<Dotenv, DotenvFault> {
    let text = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .replace("\r\n", "\n");
    let mut reader = Reader {
        line: 1,
        read: Dotenv::default(),
        outside,
        earlier,
    };
    reader.all(&text)?;
    Ok(reader.read)
}

/// Reads a file in which values mean just what is written.
pub(crate) fn parse_raw(text: &str, outside: &dyn Fn(&str) -> Option<String>) -> Result<Dotenv, DotenvFault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut read = Dotenv::default();
    for (line, number) in text.lines().zip(1u32..) {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (line, outside(line.trim_end())),
        };
        let trimmed = key.trim_start();
        if trimmed.is_empty() {
            return Err(DotenvFault {
                message: format!("no variable name on line '{line}'"),
                line: number,
            });
        }
        if trimmed.contains(char::is_whitespace) {
            return Err(DotenvFault {
                message: format!("variable '{trimmed}' contains whitespaces"),
                line: number,
            });
        }
        if let Some(value) = value {
            read.values.insert(trimmed.to_owned(), value);
        }
    }
    Ok(read)
}

struct Reader<'a> {
    line: u32,
    read: Dotenv,
    outside: &'a dyn Fn(&str) -> Option<String>,
    earlier: &'a dyn Fn(&str) -> Option<String>,
}

struct Values<'a> {
    outside: &'a dyn Fn(&str) -> Option<String>,
    before: &'a BTreeMap<String, String>,
    earlier: &'a dyn Fn(&str) -> Option<String>,
    unset: &'a mut Vec<String>,
}

impl Lookup for Values<'_> {
    fn value(&mut self, name: &str) -> Option<String> {
        (self.outside)(name)
            .or_else(|| self.before.get(name).cloned())
            .or_else(|| (self.earlier)(name))
    }

    fn unset(&mut self, name: &str) {
        self.unset.push(name.to_owned());
    }
}

/// White space within a line.
fn is_blank(c: char) -> bool {
    c != '\n' && c.is_whitespace()
}

impl Reader<'_> {
    fn fault<T>(&self, message: impl Into<String>) -> Result<T, DotenvFault> {
        Err(DotenvFault {
            message: format!("line {}: {}", self.line, message.into()),
            line: self.line,
        })
    }

    fn all(&mut self, text: &str) -> Result<(), DotenvFault> {
        let mut rest = text;
        while let Some(statement) = self.statement(rest) {
            let (key, after) = self.key(statement)?;
            let key = match key {
                Key::Given(key) => key,
                Key::Inherited(key) => {
                    if key.contains(' ') {
                        return self.fault("key cannot contain a space");
                    }
                    if let Some(value) = (self.outside)(key) {
                        self.read.values.insert(key.to_owned(), value);
                    }
                    rest = after;
                    continue;
                }
            };
            if key.contains(' ') {
                return self.fault("key cannot contain a space");
            }
            let (value, after) = self.value(after)?;
            self.read.values.insert(key.to_owned(), value);
            rest = after;
        }
        Ok(())
    }

    /// Where the next statement starts, past empty lines and comments.
    fn statement<'t>(&mut self, mut text: &'t str) -> Option<&'t str> {
        loop {
            let start = text.find(|c: char| !c.is_whitespace())?;
            self.line += newlines(&text[..start]);
            text = &text[start..];
            if !text.starts_with('#') {
                return Some(text);
            }
            text = &text[text.find('\n')?..];
        }
    }

    fn key<'t>(&mut self, text: &'t str) -> Result<(Key<'t>, &'t str), DotenvFault> {
        let text = match text.strip_prefix("export") {
            Some(rest) if rest.starts_with(is_blank) => rest.trim_start_matches(is_blank),
            _ => text,
        };
        for (at, c) in text.char_indices() {
            match c {
                '=' | ':' => {
                    return Ok((
                        Key::Given(text[..at].trim_end()),
                        text[at + 1..].trim_start_matches(is_blank),
                    ));
                }
                '\n' => {
                    let key = text[..at].trim_end();
                    if !key.contains(' ') {
                        self.line += 1;
                    }
                    return Ok((Key::Inherited(key), &text[at + 1..]));
                }
                '_' | '.' | '-' | '[' | ']' => {}
                c if is_blank(c) || c.is_alphanumeric() => {}
                c => {
                    let line = text.lines().next().unwrap_or_default();
                    return self.fault(format!(
                        "unexpected character \"{c}\" in variable name \"{line}\""
                    ));
                }
            }
        }
        Ok((Key::Inherited(text.trim_end()), ""))
    }

    fn value<'t>(&mut self, text: &'t str) -> Result<(String, &'t str), DotenvFault> {
        let Some(quote @ ('\'' | '"')) = text.chars().next() else {
            let (value, rest) = match text.split_once('\n') {
                Some((value, rest)) => (value, rest),
                None => (text, ""),
            };
            let value = value.split(" #").next().unwrap_or_default().trim_end();
            let value = self.expand(value)?;
            self.line += 1;
            return Ok((value, rest));
        };
        let mut value = String::new();
        let mut escaped = false;

        for (at, c) in text.char_indices().skip(1) {
            if c == '\n' {
                self.line += 1;
            }
            if c != quote {
                if !escaped && c == '\\' {
                    escaped = true;
                    continue;
                }
                if std::mem::take(&mut escaped) {
                    value.push('\\');
                }
                value.push(c);
            } else if std::mem::take(&mut escaped) {
                value.push(c);
            } else {
                let value = if quote == '"' {
                    self.expand(&unescape(&value))?
                } else {
                    value
                };
                return Ok((value, &text[at + 1..]));
            }
        }

        let line = text.lines().next().unwrap_or_default();
        self.fault(format!("unterminated quoted value {line}"))
    }

    fn expand(&mut self, value: &str) -> Result<String, DotenvFault> {
        if !value.contains('$') {
            return Ok(value.to_owned());
        }
        let mut values = Values {
            outside: self.outside,
            before: &self.read.values,
            earlier: self.earlier,
            unset: &mut self.read.unset,
        };
        substitute(value, &mut values).map_err(|fault| {
            let message = match fault {
                TemplateFault::Invalid => format!("Invalid template: \"{value}\""),
                TemplateFault::TooDeep => "defaults nest too deeply".to_owned(),
                TemplateFault::Required { variable, message } => {
                    let colon = if message.is_empty() { "" } else { ": " };
                    format!("required variable {variable} is missing a value{colon}{message}")
                }
            };
            DotenvFault {
                message,
                line: self.line,
            }
        })
    }
}

enum Key<'t> {
    /// With a value behind it.
    Given(&'t str),
    /// Alone: the value comes from outside.
    Inherited(&'t str),
}

fn newlines(text: &str) -> u32 {
    u32::try_from(text.bytes().filter(|b| *b == b'\n').count()).unwrap_or(u32::MAX)
}

/// The escapes of the shell; `\$` becomes the `$$` that variables know.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let mut length = 1;
        match after.bytes().next() {
            Some(b'a') => out.push('\u{7}'),
            Some(b'b') => out.push('\u{8}'),
            Some(b'f') => out.push('\u{c}'),
            Some(b'n') => out.push('\n'),
            Some(b'r') => out.push('\r'),
            Some(b't') => out.push('\t'),
            Some(b'v') => out.push('\u{b}'),
            Some(b'$') => out.push_str("$$"),
            Some(b'"') => out.push('"'),
            Some(b'\\') => out.push('\\'),
            Some(b'0') => {
                let digits: String = after[1..]
                    .chars()
                    .take(3)
                    .take_while(char::is_ascii_digit)
                    .collect();
                length += digits.len();
                match u8::from_str_radix(&digits, 8) {
                    Ok(byte) if digits.len() == 3 => out.push(char::from(byte)),
                    _ => {
                        out.push('\\');
                        out.push_str(&digits);
                    }
                }
            }
            _ => {
                out.push('\\');
                length = 0;
            }
        }
        rest = &after[length..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outside(name: &str) -> Option<String> {
        (name == "OUT").then(|| "out".to_owned())
    }

    #[test]
    fn lines() {
        for (text, wanted) in [
            ("A=1\nB = 2 \nC: 3\n", vec![("A", "1"), ("B", "2"), ("C", "3")]),
            ("# c\n\nexport A=1 # d\nB=a#b\n", vec![("A", "1"), ("B", "a#b")]),
            (
                "A='a $B \\n'\nB=\"x\\ny\\$z\"",
                vec![("A", "a $B \\n"), ("B", "x\ny$z")],
            ),
            ("A=1\nB=${A}-$OUT-${C:-d}\n", vec![("A", "1"), ("B", "1-out-d")]),
            ("OUT\nNO\nA=\n", vec![("A", ""), ("OUT", "out")]),
            ("A=\"x\ny\" # c\nB='it\\'s'", vec![("A", "x\ny"), ("B", "it's")]),
            ("\u{feff}A=1\r\nB=2", vec![("A", "1"), ("B", "2")]),
        ] {
            let read = parse(text, &outside, &|_| None).unwrap();
            let values: Vec<_> = read
                .values
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .collect();
            assert_eq!(values, wanted, "{text:?}");
        }
    }

    #[test]
    fn raw_values_are_as_written() {
        let read = parse_raw("A='x $B' # c\n# d\nOUT\n", &outside).unwrap();
        let values: Vec<_> = read
            .values
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(values, [("A", "'x $B' # c"), ("OUT", "out")]);
    }

    #[test]
    fn err_lines() {
        for (text, wanted) in [
            ("A B=1", "line 1: key cannot contain a space"),
            (
                "A=1\n!B=1",
                "line 2: unexpected character \"!\" in variable name \"!B=1\"",
            ),
            ("A=\"x\n", "line 2: unterminated quoted value \"x"),
        ] {
            assert_eq!(parse(text, &outside, &|_| None).unwrap_err().message, wanted);
        }
    }
}
