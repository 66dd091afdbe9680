//! The examples of functions.
//!
//! A file of `tests/functions` holds cases: an expression, then `=> "output"` or `=! "end of the error"`, both as JSON
//! strings. The heading `# name: what it does` before the cases of a function documents it.

mod reference;

use std::fs;
use std::path::{Path, PathBuf};

/// An expression and what it must give.
pub(crate) struct Case {
    pub(crate) file: String,
    pub(crate) line: usize,
    /// The function and what is said of it; none under a heading without a colon.
    pub(crate) function: Option<(String, String)>,
    pub(crate) expression: String,
    pub(crate) expected: Result<String, String>,
}

impl Case {
    pub(crate) fn name(&self) -> String {
        format!("{}:{}: {}", self.file, self.line, self.expression)
    }
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/functions")
}

/// All examples, file by file.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (file, text) in files() {
        let mut function = None;
        let mut expression: Vec<&str> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let expected = match (line.strip_prefix("=> "), line.strip_prefix("=! ")) {
                (Some(output), _) => Ok(json(output)),
                (_, Some(error)) => Err(json(error)),
                _ if line.is_empty() || line.starts_with("# ") => {
                    assert!(expression.is_empty(), "{file}:{number}: a case without a result");
                    if let Some(heading) = line.strip_prefix("# ") {
                        let named = heading.split_once(": ");
                        function = named.map(|(name, about)| (name.to_owned(), about.to_owned()));
                    }
                    continue;
                }
                _ => {
                    expression.push(line);
                    continue;
                }
            };
            cases.push(Case {
                file: file.clone(),
                line: number,
                function: function.clone(),
                expression: expression.join("\n"),
                expected,
            });
            expression.clear();
        }
    }
    cases
}

fn files() -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn json(text: &str) -> String {
    match chart_values::json::from_json(text) {
        Ok(chart_values::Value::String(text)) => text,
        other => panic!("not a JSON string: {text}: {other:?}"),
    }
}
