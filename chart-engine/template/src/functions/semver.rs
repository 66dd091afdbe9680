//! Versions.

use std::any::Any;
use std::borrow::Cow;
use std::cmp::Ordering;

use chart_values::constraint::{Constraint, ConstraintError, Version, VersionError};

use super::{Entry, Outcome, string, takes};
use crate::fault::Fault;
use crate::signature::{Signature, Type};
use crate::surroundings::Scope;
use crate::value::{Integer, Kind, Object, Value};

pub(super) const ROWS: &[Entry] = &[
    takes("semver", &[Type::String], semver),
    takes("semverCompare", &[Type::String, Type::String], semver_compare),
];

fn parse(text: &str) -> Result<Version, Fault> {
    text.parse()
        .map_err(|err: VersionError| Fault::new(err.to_string()))
}

fn semver(_: &mut Scope, args: &[Value]) -> Outcome {
    Ok(Value::object(VersionValue {
        version: parse(&string(&args[0]))?,
        pointer: true,
    }))
}

fn semver_compare(_: &mut Scope, args: &[Value]) -> Outcome {
    let constraint: Constraint = string(&args[0]).parse().map_err(|err| constraint_fault(&err))?;
    Ok(Value::Bool(constraint.allows(&parse(&string(&args[1]))?)))
}

fn constraint_fault(err: &ConstraintError) -> Fault {
    Fault::new(match err {
        ConstraintError::Improper(text) => {
            format!("improper constraint: {}", crate::format::quote(text.as_bytes()))
        }
        err => err.to_string(),
    })
}

/// A version with the methods that Go's has.
#[derive(Debug)]
struct VersionValue {
    version: Version,
    /// Whether Go would hold a pointer to it: only those can be compared with others.
    pointer: bool,
}

impl VersionValue {
    fn changed(version: &Version, change: impl FnOnce(&mut Version)) -> Value {
        let mut version = version.clone();
        change(&mut version);
        Value::object(VersionValue {
            version,
            pointer: false,
        })
    }
}

const NONE: &[Type] = &[];
const ANOTHER: &[Type] = &[Type::Object("*semver.Version")];
const TEXT: &[Type] = &[Type::String];

impl Object for VersionValue {
    fn type_name(&self) -> Cow<'_, str> {
        Cow::Borrowed(if self.pointer {
            "*semver.Version"
        } else {
            "semver.Version"
        })
    }

    fn kind(&self) -> Kind {
        if self.pointer { Kind::Pointer } else { Kind::Struct }
    }

    fn method(&self, name: &str) -> Option<Signature> {
        Some(Signature::new(match name {
            "Major" | "Minor" | "Patch" | "Prerelease" | "Metadata" | "Original" | "String" | "IncMajor"
            | "IncMinor" | "IncPatch" => NONE,
            "Compare" | "Equal" | "LessThan" | "GreaterThan" | "LessThanEqual" | "GreaterThanEqual" => {
                ANOTHER
            }
            "SetPrerelease" | "SetMetadata" => TEXT,
            _ => return None,
        }))
    }

    fn call(&self, name: &str, args: &[Value]) -> Outcome {
        let version = &self.version;
        let number = |value: u64| Value::Int(value.cast_signed(), Integer::Uint64);
        let compared = || {
            let other = args.first().and_then(|other| other.downcast::<VersionValue>());
            other.map_or(Ordering::Equal, |other| version.cmp(&other.version))
        };
        Ok(match name {
            "Major" => number(version.major),
            "Minor" => number(version.minor),
            "Patch" => number(version.patch),
            "Prerelease" => Value::from(version.prerelease.as_str()),
            "Metadata" => Value::from(version.metadata.as_str()),
            "Original" => Value::from(version.original()),
            "IncMajor" => Self::changed(version, |version| {
                bump(version, |version| {
                    (version.major, version.minor, version.patch) = (version.major.saturating_add(1), 0, 0);
                });
            }),
            "IncMinor" => Self::changed(version, |version| {
                bump(version, |version| {
                    (version.minor, version.patch) = (version.minor.saturating_add(1), 0);
                });
            }),
            "IncPatch" => Self::changed(version, |version| {
                // A pre-release is followed by what it was before.
                let released = version.prerelease.is_empty();
                bump(version, |version| {
                    version.patch = version.patch.saturating_add(u64::from(released));
                });
            }),
            "Compare" => Value::int(compared() as i64),
            "Equal" => Value::Bool(compared().is_eq()),
            "LessThan" => Value::Bool(compared().is_lt()),
            "GreaterThan" => Value::Bool(compared().is_gt()),
            "LessThanEqual" => Value::Bool(compared().is_le()),
            "GreaterThanEqual" => Value::Bool(compared().is_ge()),
            "SetPrerelease" => {
                let text = string(&args[0]).into_owned();
                check_part(&text, '-')?;
                Self::changed(version, |version| version.prerelease = text)
            }
            "SetMetadata" => {
                let text = string(&args[0]).into_owned();
                check_part(&text, '+')?;
                Self::changed(version, |version| version.metadata = text)
            }
            _ => Value::from(version.to_string()),
        })
    }

    fn print(&self) -> Cow<'_, str> {
        Cow::Owned(self.version.to_string())
    }

    fn export(&self) -> Value {
        Value::from(self.version.to_string())
    }

    fn equals(&self, other: &dyn Object) -> bool {
        let other = other.as_any().downcast_ref::<VersionValue>();
        other.is_some_and(|other| {
            self.version == other.version
                && self.version.metadata == other.version.metadata
                && self.version.original() == other.version.original()
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn bump(version: &mut Version, change: impl FnOnce(&mut Version)) {
    change(version);
    version.prerelease.clear();
    version.metadata.clear();
}

/// Whether a text can stand behind `-` or `+` in a version.
fn check_part(text: &str, mark: char) -> Result<(), Fault> {
    if text.is_empty() {
        return Ok(());
    }
    match parse(&format!("0.0.0{mark}{text}")) {
        Ok(_) => Ok(()),
        Err(_) if mark == '-' => Err(Fault::new("invalid prerelease string")),
        Err(_) => Err(Fault::new("invalid metadata string")),
    }
}
