//! The terminal: data on stdout, talk on stderr.

use std::io::{self, IsTerminal, Write};

use crate::failure::Failure;

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Columns of a terminal that does not say.
const WIDTH: usize = 100;

/// Where a command prints.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    stdout_color: bool,
    stderr_color: bool,
    stderr_terminal: bool,
    width: usize,
}

/// A colour of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Color {
    Red,
    Green,
    Yellow,
    Cyan,
}

impl Console {
    /// Looks at the terminal once.
    pub(crate) fn open(choice: ColorChoice, environment_width: Option<usize>) -> Self {
        let stderr_terminal = io::stderr().is_terminal();
        let colored = |terminal: bool| match choice {
            ColorChoice::Auto => terminal,
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        };
        Self {
            stdout_color: colored(io::stdout().is_terminal()),
            stderr_color: colored(stderr_terminal),
            stderr_terminal,
            width: environment_width.unwrap_or(WIDTH),
        }
    }

    /// No colours, no progress.
    pub(crate) fn plain() -> Self {
        Self {
            stdout_color: false,
            stderr_color: false,
            stderr_terminal: false,
            width: WIDTH,
        }
    }

    /// Whether stderr takes colours.
    pub(crate) fn color_errors(&self) -> bool {
        self.stderr_color
    }

    /// Whether progress is shown.
    pub(crate) fn shows_progress(&self) -> bool {
        self.stderr_terminal
    }

    /// Columns of the terminal.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Paints text meant for stdout.
    pub(crate) fn paint(&self, color: Color, text: &str) -> String {
        paint(self.stdout_color, color, text)
    }

    /// Prints data to stdout as it is.
    pub(crate) fn data(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::pipe_closed()),
            Err(error) => Err(Failure::new("cannot write to stdout").because_error(&error)),
        }
    }

    /// Prints a line to stdout.
    pub(crate) fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.data(&format!("{}\n", text.as_ref()))
    }

    /// Says a line on stderr; a closed stderr is no failure.
    pub(crate) fn say(&self, text: impl AsRef<str>) {
        let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
    }

    /// Warns on stderr.
    pub(crate) fn warn(&self, text: impl AsRef<str>) {
        let label = paint(self.stderr_color, Color::Yellow, "Warning:");
        self.say(format!("{label} {}", text.as_ref()));
    }

    /// Writes to stderr without a line end, for progress.
    pub(crate) fn progress(&self, text: &str) {
        let mut err = io::stderr().lock();
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }

    /// Prints a failure: heading, causes, hints.
    pub(crate) fn failure(&self, failure: &Failure) {
        if failure.is_quiet() {
            return;
        }
        let mut text = format!(
            "{} {}\n",
            paint(self.stderr_color, Color::Red, "Error:"),
            failure.heading()
        );
        for cause in failure.causes() {
            text += &format!("Caused by: {cause}\n");
        }
        for hint in failure.hints() {
            text += &format!("{} {hint}\n", paint(self.stderr_color, Color::Cyan, "Hint:"));
        }
        self.progress(&text);
    }
}

fn paint(colored: bool, color: Color, text: &str) -> String {
    if !colored {
        return text.to_owned();
    }
    let code = match color {
        Color::Red => "31",
        Color::Green => "32",
        Color::Yellow => "33",
        Color::Cyan => "36",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}
