//! What a program did.

use std::process;

/// What a program did.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command as typed.
    pub command: String,
    /// Exit code; 128 + N when signal N killed it.
    pub code: i32,
    /// What it printed on stdout.
    pub stdout: String,
    /// What it printed on stderr.
    pub stderr: String,
}

impl Output {
    pub(crate) fn new(command: String, output: &process::Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let status = output.status;
        let code = status
            .code()
            .or_else(|| status.signal().map(|signal| 128 + signal))
            .unwrap_or(-1);
        Self {
            command,
            code,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Its stdout, if it succeeded.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert!(
            self.code == 0,
            "`{}` failed with {}\n{}{}",
            self.command,
            self.code,
            self.stdout,
            self.stderr
        );
        &self.stdout
    }

    /// Its stderr, if it failed.
    ///
    /// # Panics
    /// When it succeeded.
    #[track_caller]
    pub fn err(&self) -> &str {
        assert!(self.code != 0, "`{}` succeeded\n{}", self.command, self.stdout);
        &self.stderr
    }

    /// Its stdout as JSON, if it succeeded.
    ///
    /// # Panics
    /// When it did not, or printed something else.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.ok())
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", self.command, self.stdout))
    }
}
