//! What users may do with which repositories.
//!
//! ```text
//! # user     repositories  rights
//! alice      team/**       read write delete
//! *          library/*     read
//! anonymous  public/**     read
//! ```
//!
//! Rights add up; what no line allows is refused. `*` is everybody with an account, `anonymous` everybody. In the name
//! of a repository `*` stands for one part, or within a part for anything, and `**` at the end for everything below, the
//! repository before it included.

use std::str::FromStr;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Right {
    Read,
    Write,
    Delete,
}

/// Lines of a rights file.
#[derive(Debug)]
pub(crate) struct Rights {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    who: Who,
    pattern: String,
    rights: Vec<Right>,
}

#[derive(Debug, PartialEq, Eq)]
enum Who {
    Everybody,
    Users,
    User(String),
}

/// What is wrong with a rights file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct RightsError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: String,
}

impl Right {
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write to",
            Self::Delete => "delete from",
        }
    }
}

impl FromStr for Right {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "read" | "pull" => Ok(Self::Read),
            "write" | "push" => Ok(Self::Write),
            "delete" => Ok(Self::Delete),
            other => Err(format!(
                "`{other}` is no right; there are `read`, `write` and `delete`"
            )),
        }
    }
}

impl Rights {
    /// Every account may do everything.
    pub(crate) fn everything_for_users() -> Self {
        let line = Line {
            who: Who::Users,
            pattern: "**".to_owned(),
            rights: vec![Right::Read, Right::Write, Right::Delete],
        };
        Self { lines: vec![line] }
    }

    pub(crate) fn read(text: &str) -> Result<Self, RightsError> {
        let mut lines = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let fault = |fault: String| RightsError {
                line: index + 1,
                fault,
            };
            let mut words = line.split([' ', '\t', ',']).filter(|word| !word.is_empty());
            let (Some(who), Some(pattern)) = (words.next(), words.next()) else {
                return Err(fault("`USER REPOSITORIES RIGHT...` is wanted".to_owned()));
            };
            let rights = words.map(|word| word.parse().map_err(fault));
            let rights = rights.collect::<Result<Vec<Right>, _>>()?;
            if rights.is_empty() {
                return Err(fault(
                    "a right is missing: `read`, `write` or `delete`".to_owned(),
                ));
            }
            let inner = pattern.strip_suffix("**").unwrap_or(pattern);
            if inner.contains("**")
                || (inner.len() < pattern.len() && !inner.is_empty() && !inner.ends_with('/'))
            {
                return Err(fault("`**` can only be the last part".to_owned()));
            }
            let who = match who {
                "*" => Who::Users,
                "anonymous" => Who::Everybody,
                name => Who::User(name.to_owned()),
            };
            lines.push(Line {
                who,
                pattern: pattern.trim_start_matches('/').to_owned(),
                rights,
            });
        }
        Ok(Self { lines })
    }

    fn of<'r>(&'r self, user: Option<&'r str>) -> impl Iterator<Item = &'r Line> {
        self.lines.iter().filter(move |line| match &line.who {
            Who::Everybody => true,
            Who::Users => user.is_some(),
            Who::User(name) => user == Some(name),
        })
    }

    /// Whether a user, or somebody without a name, has a right on a repository.
    pub(crate) fn allow(&self, user: Option<&str>, repository: &str, right: Right) -> bool {
        self.of(user)
            .any(|line| line.rights.contains(&right) && matches(&line.pattern, repository))
    }

    /// Whether a user has any right on a repository or on something below it.
    pub(crate) fn reach(&self, user: Option<&str>, repository: &str) -> bool {
        self.of(user)
            .any(|line| matches(&line.pattern, repository) || leads_below(&line.pattern, repository))
    }
}

/// Whether a pattern stands for a repository.
fn matches(pattern: &str, repository: &str) -> bool {
    let (patterns, open) = match pattern.strip_suffix("**") {
        Some(rest) => (rest.trim_end_matches('/'), true),
        None => (pattern, false),
    };
    let (patterns, parts) = (parts(patterns), parts(repository));
    if parts.len() < patterns.len() || (!open && parts.len() > patterns.len()) {
        return false;
    }
    patterns
        .iter()
        .zip(&parts)
        .all(|(pattern, part)| part_matches(pattern, part))
}

/// Whether a pattern can stand for something below a repository.
fn leads_below(pattern: &str, repository: &str) -> bool {
    let (patterns, parts) = (parts(pattern), parts(repository));
    patterns.len() > parts.len()
        && patterns
            .iter()
            .zip(&parts)
            .all(|(pattern, part)| part_matches(pattern, part))
}

fn parts(text: &str) -> Vec<&str> {
    text.split('/').filter(|part| !part.is_empty()).collect()
}

/// `*` stands for any letters of one part.
fn part_matches(pattern: &str, part: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = part.strip_prefix(first) else {
        return false;
    };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    for piece in pieces {
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = rest.get(at + piece.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_repositories() {
        for (pattern, repository, expected) in [
            ("**", "", true),
            ("**", "a/b", true),
            ("team/**", "team", true),
            ("team/**", "team/a/b", true),
            ("team/**", "teams", false),
            ("team/*", "team/a", true),
            ("team/*", "team", false),
            ("team/*", "team/a/b", false),
            ("*/web-*", "x/web-1", true),
            ("*/web-*", "x/we", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "ac", false),
            ("web", "web", true),
            ("web", "web/x", false),
        ] {
            assert_eq!(matches(pattern, repository), expected, "{pattern} {repository}");
        }
    }

    #[test]
    fn rights_add_up() {
        let rights = Rights::read(
            "alice team/** read, write # people\n* library/* read\nanonymous public/** read\nalice team/x delete\n",
        )
        .unwrap();
        for (user, repository, right, expected) in [
            (Some("alice"), "team/a", Right::Write, true),
            (Some("alice"), "team/a", Right::Delete, false),
            (Some("alice"), "team/x", Right::Delete, true),
            (Some("bob"), "team/a", Right::Read, false),
            (Some("bob"), "library/a", Right::Read, true),
            (None, "library/a", Right::Read, false),
            (None, "public/a", Right::Read, true),
            (Some("bob"), "public/a", Right::Read, true),
        ] {
            assert_eq!(
                rights.allow(user, repository, right),
                expected,
                "{user:?} {repository} {right:?}"
            );
        }
        assert!(
            rights.reach(None, "") && rights.reach(Some("bob"), "library") && !rights.reach(None, "team")
        );
    }

    #[test]
    fn err_faults_name_their_line() {
        for (text, fault) in [
            ("alice", "line 1: `USER REPOSITORIES RIGHT...` is wanted"),
            (
                "\nalice a",
                "line 2: a right is missing: `read`, `write` or `delete`",
            ),
            (
                "alice a own",
                "line 1: `own` is no right; there are `read`, `write` and `delete`",
            ),
            ("alice **/a read", "line 1: `**` can only be the last part"),
            ("alice a** read", "line 1: `**` can only be the last part"),
        ] {
            assert_eq!(Rights::read(text).unwrap_err().to_string(), fault);
        }
    }
}
