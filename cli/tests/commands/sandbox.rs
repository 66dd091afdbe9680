//! A folder of its own for each test, and nothing of the caller's surroundings.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A home folder, a data folder and a working folder that end with the test.
pub(crate) struct Sandbox {
    folder: TempDir,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the working folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Writes a chart `box` of one ConfigMap.
    pub(crate) fn write_chart(&self) {
        self.write("box/Chart.yaml", "apiVersion: v2\nname: box\nversion: 1.0.0\n");
        self.write("box/values.yaml", "size: 1\n");
        self.write(
            "box/values.schema.json",
            r#"{"type": "object", "properties": {"size": {"type": "integer"}}}"#,
        );
        self.write(
            "box/templates/config.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  size: {{ .Values.size | quote }}\n",
        );
        self.write("box/templates/NOTES.txt", "It is {{ .Values.size }} wide.\n");
    }

    /// `tug` in the working folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tug"));
        command
            .env_clear()
            .env("HOME", self.path())
            .env("TUG_DATA_DIR", self.path().join("cluster"))
            .env("TZ", "UTC")
            .current_dir(self.path())
            .stdin(Stdio::null())
            .args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        Self::output(&mut self.command(arguments))
    }

    pub(crate) fn output(command: &mut Command) -> Output {
        let output = command.output().unwrap();
        Output {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Output {
    /// Checks that the command went well, and gives what it printed.
    #[track_caller]
    pub(crate) fn ok(&self) -> &str {
        assert_eq!(
            (self.code, self.stderr.as_str()),
            (Some(0), ""),
            "{}",
            self.stdout
        );
        &self.stdout
    }

    /// Checks that the command failed with nothing but these lines on stderr.
    #[track_caller]
    pub(crate) fn refused(&self, expected: &[&str]) {
        let lines: Vec<&str> = self.stderr.lines().collect();
        assert_eq!(lines, expected);
        assert_eq!((self.code, self.stdout.as_str()), (Some(1), ""));
    }
}
