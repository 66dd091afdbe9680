//! What a person sees when a command fails: what happened, why, and how to go on.

use std::error::Error;

/// Exit code of a command that did what was asked.
pub(crate) const DONE: u8 = 0;
/// Exit code of a command that failed, also for arguments that cannot be understood (as Helm's).
pub(crate) const FAILED: u8 = 1;
/// Exit code of `plan` and `diff` when there are changes.
pub(crate) const CHANGES: u8 = 2;
/// Exit code after an interrupt, 128 + SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;
/// Exit code when nobody reads the output any more, 128 + SIGPIPE.
const PIPE_CLOSED: u8 = 141;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    heading: String,
    causes: Vec<String>,
    hints: Vec<String>,
    code: u8,
    quiet: bool,
}

impl Failure {
    /// A failure with a heading: lower case, no full stop, literals in backticks.
    pub(crate) fn new(heading: impl Into<String>) -> Self {
        Self {
            heading: heading.into(),
            causes: Vec::new(),
            hints: Vec::new(),
            code: FAILED,
            quiet: false,
        }
    }

    /// A failure whose heading is the error and whose causes are the error's sources.
    pub(crate) fn from_error(error: &dyn Error) -> Self {
        Self::new(error.to_string()).because_sources(error)
    }

    /// What was asked for is no; the output has said so, and the exit code repeats it.
    pub(crate) fn silent(code: u8) -> Self {
        Self {
            quiet: true,
            code,
            ..Self::new("no")
        }
    }

    /// The reader of the output went away: nothing is said.
    pub(crate) fn pipe_closed() -> Self {
        Self {
            quiet: true,
            code: PIPE_CLOSED,
            ..Self::new("the reader of the output went away")
        }
    }

    /// Puts words before the heading.
    #[must_use]
    pub(crate) fn prefixed(mut self, prefix: &str) -> Self {
        self.heading.insert_str(0, prefix);
        self
    }

    /// Adds a cause.
    #[must_use]
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.push_cause(cause.into());
        self
    }

    /// Adds an error and its sources as causes.
    #[must_use]
    pub(crate) fn because_error(self, error: &dyn Error) -> Self {
        self.because(error.to_string()).because_sources(error)
    }

    /// Adds a hint: something that can be typed.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Sets the exit code.
    #[must_use]
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// Whether nothing is printed.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// First line.
    pub(crate) fn heading(&self) -> &str {
        &self.heading
    }

    /// Why, outermost first.
    pub(crate) fn causes(&self) -> &[String] {
        &self.causes
    }

    /// What to type next.
    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }

    fn because_sources(mut self, error: &dyn Error) -> Self {
        let mut next = error.source();
        while let Some(source) = next {
            self.push_cause(source.to_string());
            next = source.source();
        }
        self
    }

    /// Keeps a cause unless what is said before holds it already, as many libraries repeat their source.
    fn push_cause(&mut self, cause: String) {
        let said = self.heading.contains(&cause) || self.causes.iter().any(|known| known.contains(&cause));
        if !said {
            self.causes.push(cause);
        }
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::from_error(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Inner(&'static str);

    #[test]
    fn sources_become_causes_once() {
        let failure = Failure::from(Outer(Inner("inner")));
        assert_eq!(failure.heading(), "outer");
        assert_eq!(failure.causes(), ["inner"]);
        let repeated = Failure::from(Outer(Inner("oute")));
        assert!(repeated.causes().is_empty());
    }
}
