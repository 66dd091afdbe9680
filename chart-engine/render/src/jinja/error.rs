//! Why a Jinja template cannot be rendered.

use std::fmt;

use minijinja::Error;

use super::Source;

/// Why a Jinja template cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JinjaError {
    /// What is wrong.
    pub message: String,
    /// The templates on the way to the fault, the outermost first.
    pub trace: Vec<JinjaPlace>,
}

/// A place in a Jinja template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JinjaPlace {
    /// The template's path with the charts it lies in.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1, where it is known.
    pub column: Option<usize>,
    /// The line itself.
    pub text: String,
}

impl JinjaError {
    pub(super) fn new(error: &Error, sources: &[Source]) -> JinjaError {
        let mut trace = Vec::new();
        let mut messages = Vec::new();
        let mut next: Option<&Error> = Some(error);
        while let Some(error) = next {
            trace.extend(place(error, sources));
            messages.push(match error.detail() {
                Some(detail) => detail.to_owned(),
                None => error.kind().to_string(),
            });
            next = std::error::Error::source(error).and_then(|source| source.downcast_ref());
        }
        trace.dedup_by(|a, b| a.file == b.file && a.line == b.line);
        JinjaError {
            message: messages.pop().unwrap_or_default(),
            trace,
        }
    }

    /// A fault of a whole template, which the message names.
    pub(super) fn without_place(message: String) -> JinjaError {
        JinjaError {
            message,
            trace: Vec::new(),
        }
    }

    /// Where the fault is: the innermost place.
    pub fn place(&self) -> Option<&JinjaPlace> {
        self.trace.last()
    }
}

fn place(error: &Error, sources: &[Source]) -> Option<JinjaPlace> {
    let (file, line) = (error.name()?, error.line()?);
    let source = sources.iter().find(|source| source.name == file);
    let text = source
        .and_then(|source| source.text.lines().nth(line.checked_sub(1)?))
        .unwrap_or_default();
    let column = error.range().zip(source).and_then(|(range, source)| {
        let before = source.text.get(..range.start)?;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        Some(before[start..].chars().count() + 1)
    });
    Some(JinjaPlace {
        file: file.to_owned(),
        line,
        column,
        text: text.to_owned(),
    })
}

impl JinjaPlace {
    /// The line with a caret under the column.
    pub fn snippet(&self) -> String {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let mut text = format!("{number} | {}", self.text);
        if let Some(column) = self.column {
            text.push_str(&format!("\n{margin} | {}^", " ".repeat(column - 1)));
        }
        text
    }
}

impl fmt::Display for JinjaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place() {
            Some(place) => {
                write!(f, "{}:{}", place.file, place.line)?;
                if let Some(column) = place.column {
                    write!(f, ":{column}")?;
                }
                write!(f, ": {}", self.message)
            }
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for JinjaError {}
