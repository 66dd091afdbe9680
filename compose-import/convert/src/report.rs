//! What could not be honoured, and where it was written.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use compose_load::{Position, Project};

/// Something of a project that its objects do not honour, or not as docker compose does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What it is about: `service `web``, `volume `data``.
    pub subject: String,
    /// The attribute: `deploy.update_config`.
    pub attribute: String,
    /// What becomes of it, and why.
    pub message: String,
    /// Where it was written.
    pub position: Option<Position>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = &self.position {
            write!(f, "{}:{}: ", position.file, position.line)?;
        }
        write!(f, "{}: {}: {}", self.subject, self.attribute, self.message)
    }
}

/// Collects warnings while a project is converted.
pub(crate) struct Report<'a> {
    project: &'a Project,
    warnings: RefCell<Vec<Warning>>,
    told: RefCell<BTreeSet<(String, String, String)>>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(project: &'a Project) -> Self {
        Self {
            project,
            warnings: RefCell::default(),
            told: RefCell::default(),
        }
    }

    /// Tells of an attribute of a service, by its path below it: `deploy.mode`.
    pub(crate) fn service(&self, service: &str, attribute: &str, message: impl Into<String>) {
        self.add("services", "service", service, attribute, None, message.into());
    }

    /// Tells of an item of a list of a service.
    pub(crate) fn item(&self, service: &str, attribute: &str, index: usize, message: impl Into<String>) {
        self.add(
            "services",
            "service",
            service,
            attribute,
            Some(index),
            message.into(),
        );
    }

    /// Tells of an attribute of an entry of a top-level key.
    pub(crate) fn resource(&self, kind: &str, key: &str, attribute: &str, message: impl Into<String>) {
        let noun = kind.trim_end_matches('s');
        self.add(kind, noun, key, attribute, None, message.into());
    }

    /// Tells of a top-level key.
    pub(crate) fn top(&self, key: &str, message: impl Into<String>) {
        self.warnings.borrow_mut().push(Warning {
            subject: "project".to_owned(),
            attribute: key.to_owned(),
            message: message.into(),
            position: self.project.position(&[key]),
        });
    }

    fn add(
        &self,
        kind: &str,
        noun: &str,
        name: &str,
        attribute: &str,
        index: Option<usize>,
        message: String,
    ) {
        let key = (format!("{kind}.{name}"), attribute.to_owned(), message.clone());
        if !self.told.borrow_mut().insert(key) {
            return;
        }
        let mut path = vec![kind, name];
        path.extend(attribute.split('.'));
        let index = index.map(|index| index.to_string());
        path.extend(index.as_deref());
        self.warnings.borrow_mut().push(Warning {
            subject: format!("{noun} `{name}`"),
            attribute: attribute.to_owned(),
            message,
            position: self.project.position(&path),
        });
    }

    /// What was told, in the order of the files.
    pub(crate) fn finish(self) -> Vec<Warning> {
        let mut warnings = self.warnings.into_inner();
        let place = |warning: &Warning| {
            let position = warning.position.as_ref();
            (
                position.map(|position| (position.file.clone(), position.line)),
                warning.subject.clone(),
                warning.attribute.clone(),
            )
        };
        warnings.sort_by_cached_key(place);
        warnings
    }
}
