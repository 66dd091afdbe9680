//! Why no solution exists, told as chains of who wanted what.

use std::fmt;

use super::knowledge::Requirement;

/// Why a wish cannot be met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The charts with their versions from the root's dependency down to the one that wishes; empty for the root.
    pub wanted_by: Vec<String>,
    /// The wish.
    pub requirement: Requirement,
    /// The versions that there are, as they came.
    pub available: Vec<String>,
    /// The versions that fit the wish, the best first, and why they cannot be taken.
    pub rejected: Vec<(String, Rejection)>,
}

/// Why a version that fits cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// It is among the charts that want it.
    Cycle,
    /// Somebody else in the tree took another version, and there is to be one only.
    Taken {
        /// The other version.
        version: String,
        /// Who took it: the charts down to the one that wishes.
        by: Vec<String>,
        /// What that one wished.
        constraint: String,
    },
    /// With it, a later wish cannot be met.
    Leads(Box<Refusal>),
}

/// No solution exists, or none was found within the limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// There is none.
    #[error("{0}")]
    Impossible(Box<Refusal>),
    /// A constraint on versions cannot be read.
    #[error("{} wants `{}` in version `{constraint}`: {reason}", who(.wanted_by), .chart)]
    Constraint {
        /// Who wishes.
        wanted_by: Vec<String>,
        /// The chart.
        chart: String,
        /// The constraint.
        constraint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The tree is too large.
    #[error("the tree of dependencies has more than {limit} charts")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The search takes too long.
    #[error("no solution was found in {limit} steps; narrower version constraints make it easier")]
    TooHard {
        /// The limit.
        limit: usize,
    },
}

fn who(wanted_by: &[String]) -> String {
    if wanted_by.is_empty() {
        "the chart".to_owned()
    } else {
        wanted_by.join(" → ")
    }
}

/// How many versions or reasons are listed before the rest is only counted.
const LISTED_MAX: usize = 5;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

impl Refusal {
    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let Requirement { chart, constraint } = &self.requirement;
        write!(
            f,
            "{} wants {} {} from {}",
            who(&self.wanted_by),
            chart.name,
            if constraint.is_empty() { "*" } else { constraint },
            if chart.source.is_empty() {
                "charts/"
            } else {
                &chart.source
            },
        )?;
        if self.available.is_empty() {
            return write!(f, ": there is no such chart");
        }
        if self.rejected.is_empty() {
            write!(f, ": there is only ")?;
            let shown: Vec<&str> = self
                .available
                .iter()
                .take(LISTED_MAX)
                .map(String::as_str)
                .collect();
            write!(f, "{}", shown.join(", "))?;
            return more(f, self.available.len());
        }
        let indent = "  ".repeat(depth + 1);
        for (version, rejection) in self.rejected.iter().take(LISTED_MAX) {
            write!(f, "\n{indent}{} {version}: ", chart.name)?;
            match rejection {
                Rejection::Cycle => write!(f, "it would contain itself")?,
                Rejection::Taken {
                    version,
                    by,
                    constraint,
                } => write!(f, "{} wants {constraint} and has {version}", who(by))?,
                Rejection::Leads(refusal) => refusal.write(f, depth + 1)?,
            }
        }
        if self.rejected.len() > LISTED_MAX {
            write!(f, "\n{indent}and {} more", self.rejected.len() - LISTED_MAX)?;
        }
        Ok(())
    }
}

fn more(f: &mut fmt::Formatter<'_>, count: usize) -> fmt::Result {
    match count.checked_sub(LISTED_MAX) {
        None | Some(0) => Ok(()),
        Some(rest) => write!(f, " and {rest} more"),
    }
}
