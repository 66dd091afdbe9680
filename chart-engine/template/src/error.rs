//! Errors of templates: what a person reads, and where it happened as data.

use std::fmt;

use crate::format::quote;

/// A place in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, or `gotpl` for a text given to `tpl`.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in bytes, from 0, as Go counts.
    pub column: usize,
    /// The line itself.
    pub text: String,
}

impl Place {
    /// The line with a caret under the column.
    ///
    /// ```
    /// let place = chart_template::Place {
    ///     file: "a.yaml".into(),
    ///     line: 3,
    ///     column: 9,
    ///     text: "port: {{ .x }}".into(),
    /// };
    /// assert_eq!(place.snippet(), "3 | port: {{ .x }}\n  |          ^");
    /// ```
    pub fn snippet(&self) -> String {
        let number = self.line.to_string();
        let before = self.text.get(..self.column).unwrap_or(&self.text);
        // Tabs stay tabs, so that the caret stands where the terminal puts the text.
        let indent: String = before
            .chars()
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let margin = " ".repeat(number.len());
        format!("{number} | {}\n{margin} | {indent}^", self.text)
    }
}

/// How a template came to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// It is where the execution began.
    Start,
    /// By `include`.
    Include,
    /// By a `template` action, or `block`.
    Template,
    /// By `tpl`, with this text.
    Tpl(String),
}

/// One template on the way to the fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceFrame {
    /// Where in the file it stood.
    pub place: Place,
    /// The name of the template.
    pub template: String,
    /// The action or expression that was being executed, in normal form.
    pub action: String,
    /// How the template came to run.
    pub via: Via,
}

/// What kind of fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The text is no template.
    Syntax,
    /// An expression could not be evaluated.
    Execution,
    /// A function failed.
    Function,
    /// The chart refused, by `fail` or `required`.
    Raised,
    /// The template asked for more than the limits allow.
    Limit,
    /// There is no template of that name.
    NoTemplate,
}

/// Why a template could not be parsed or executed.
///
/// `Display` gives the text that Helm 4 prints, without its `Error: ` and its closing hint about `--debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// What kind of fault it is.
    pub kind: ErrorKind,
    /// The fault itself, without where it happened.
    pub message: String,
    /// The templates on the way to the fault, the outermost first.
    pub trace: Vec<TraceFrame>,
    /// The name of the function that failed, when one did.
    pub function: Option<String>,
}

impl TemplateError {
    /// Where the fault is: the innermost place.
    pub fn place(&self) -> Option<&Place> {
        self.trace.last().map(|frame| &frame.place)
    }

    /// The frames that Go's text shows, each with how it was entered: a `template` action hides the one it stands in.
    fn shown(&self) -> Vec<(&TraceFrame, &Via)> {
        let mut shown = Vec::new();
        let mut entered = &Via::Start;
        for (at, frame) in self.trace.iter().enumerate() {
            if frame.via != Via::Template {
                entered = &frame.via;
            }
            if self
                .trace
                .get(at + 1)
                .is_none_or(|next| next.via != Via::Template)
            {
                shown.push((frame, entered));
            }
        }
        shown
    }

    /// The error in one line, as Go's `text/template` words it.
    pub fn go_text(&self) -> String {
        if self.kind == ErrorKind::Syntax {
            return match self.place() {
                Some(place) => format!("template: {}:{}: {}", place.file, place.line, self.message),
                None => format!("template: {}", self.message),
            };
        }
        let mut text = String::new();
        for (frame, entered) in self.shown() {
            match entered {
                Via::Include => text.push_str("error calling include: "),
                Via::Tpl(given) => {
                    let given = quote(given.as_bytes());
                    text.push_str("error calling tpl: error during tpl function execution for ");
                    text.push_str(&given);
                    text.push_str(": ");
                }
                Via::Start | Via::Template => {}
            }
            let Place {
                file, line, column, ..
            } = &frame.place;
            let name = quote(frame.template.as_bytes());
            let action = &frame.action;
            text.push_str(&format!(
                "template: {file}:{line}:{column}: executing {name} at <{action}>: "
            ));
        }
        text + &self.cause()
    }

    fn cause(&self) -> String {
        match &self.function {
            Some(function) => format!("error calling {function}: {}", self.message),
            None => self.message.clone(),
        }
    }

    /// One paragraph per template, or nothing where Helm falls back to Go's one line.
    fn paragraphs(&self) -> Option<String> {
        if self.kind == ErrorKind::Function || self.trace.iter().any(|frame| matches!(frame.via, Via::Tpl(_)))
        {
            return None;
        }
        let mut paragraphs: Vec<String> = Vec::new();
        let shown = self.shown();
        for (i, (frame, _)) in shown.iter().enumerate() {
            let Place {
                file, line, column, ..
            } = &frame.place;
            let name = quote(frame.template.as_bytes());
            let message = match (i + 1 == shown.len(), self.kind) {
                (false, _) | (true, ErrorKind::NoTemplate) => "error calling include:".to_owned(),
                (true, _) => self.cause(),
            };
            let paragraph = format!(
                "{file}:{line}:{column}\n  executing {name} at <{}>:\n    {message}",
                frame.action
            );
            // A template that includes itself would repeat one paragraph a thousand times.
            if paragraphs.last() != Some(&paragraph) {
                paragraphs.push(paragraph);
            }
        }
        if self.kind == ErrorKind::NoTemplate {
            paragraphs.push(self.message.clone());
        }
        Some(paragraphs.join("\n").trim_end().to_owned())
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.trace.first()) {
            (ErrorKind::Syntax, Some(TraceFrame { place, .. })) => {
                // Helm keeps what stands behind the last colon.
                let message = self.message.rsplit(": ").next().unwrap_or(&self.message);
                write!(f, "parse error at ({}:{}): {message}", place.file, place.line)
            }
            (ErrorKind::Raised, Some(_)) => {
                let place = self.shown().first().map(|(frame, _)| &frame.place);
                let Some(Place {
                    file, line, column, ..
                }) = place
                else {
                    return f.write_str(&self.message);
                };
                write!(f, "execution error at ({file}:{line}:{column}): {}", self.message)
            }
            (_, Some(_)) => f.write_str(&self.paragraphs().unwrap_or_else(|| self.go_text())),
            (_, None) => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for TemplateError {}
