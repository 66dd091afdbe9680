//! Why a project could not be loaded.

use std::fmt;

use crate::position::Position;

/// One thing that is wrong with a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, in the words of `docker compose` where it has words for it.
    pub message: String,
    /// Where, if the fault has a place.
    pub position: Option<Position>,
    /// Where else the same is wrong: `docker compose` names all unknown keys of a mapping at once.
    pub also_at: Vec<Position>,
    /// What to do about it: the nearest known key, for instance.
    pub hint: Option<String>,
}

impl Fault {
    /// A fault without a place.
    pub fn new(message: impl Into<String>) -> Self {
        Fault {
            message: message.into(),
            position: None,
            also_at: Vec::new(),
            hint: None,
        }
    }

    /// The same fault at a place, unless it has one.
    #[must_use]
    pub fn at(mut self, position: Option<Position>) -> Self {
        self.position = self.position.or(position);
        self
    }

    /// The same fault with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = &self.position {
            write!(f, "{position}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with a project; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .faults.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>().join("\n"))]
pub struct LoadError {
    /// The faults, in the order of the stages; the first is the one that `docker compose` would name.
    pub faults: Vec<Fault>,
}

impl LoadError {
    /// A single fault.
    pub fn one(fault: Fault) -> Self {
        LoadError { faults: vec![fault] }
    }
}

impl From<Fault> for LoadError {
    fn from(fault: Fault) -> Self {
        LoadError::one(fault)
    }
}

impl From<Fault> for Vec<Fault> {
    fn from(fault: Fault) -> Self {
        vec![fault]
    }
}
