//! The real kubectl in a laboratory.

use std::borrow::Borrow;
use std::fs;
use std::path::PathBuf;

use crate::lab::Lab;
use crate::peers::{peer, skip};
use crate::program::Output;

/// A laboratory, its own or one of several, and the real kubectl for the cluster in it.
pub struct Kubectl<L: Borrow<Lab> = Lab> {
    /// Where it runs; the cluster is yet to be started.
    pub lab: L,
    /// Where the program is, for what is to go on in the background.
    pub program: PathBuf,
}

impl Kubectl {
    /// A laboratory of its own; `None` where there is no kubectl or no laboratory, which is said.
    pub fn open() -> Option<Self> {
        let Some(program) = peer("kubectl") else {
            skip("`kubectl` is not installed");
            return None;
        };
        Some(Self {
            lab: Lab::open()?,
            program,
        })
    }
}

impl<L: Borrow<Lab>> Kubectl<L> {
    /// Runs to a good end with arguments that have no spaces in them, and gives what it has printed.
    pub fn ok(&self, arguments: &str) -> String {
        self.run(arguments).ok().to_owned()
    }

    /// Runs with arguments that have no spaces in them.
    pub fn run(&self, arguments: &str) -> Output {
        self.args(&arguments.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs with arguments.
    pub fn args(&self, arguments: &[&str]) -> Output {
        self.lab.borrow().client(&self.program, arguments)
    }

    /// Runs with text on stdin, as in `kubectl apply -f -`.
    pub fn feed(&self, arguments: &str, text: &str) -> Output {
        let file = self.file("input.yaml", text);
        self.run(&arguments.replace(" -f -", &format!(" -f {file}")))
    }

    /// Writes a file into the laboratory's folder, and gives its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.lab.borrow().folder().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}
