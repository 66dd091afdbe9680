//! Versions and version constraints with the rules of Go's Masterminds library, which charts are written for.
//!
//! They differ from Rust's `semver` crate: versions may be short (`v1.2`), constraints know `||`, hyphen ranges, `!=`,
//! `x` in any place, and pre-releases match only where the constraint names one.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A version, complete or short.
///
/// Compares by precedence: build metadata counts for nothing.
///
/// ```
/// use chart_values::constraint::Version;
/// let short: Version = "v1.2".parse().unwrap();
/// assert_eq!(short.to_string(), "1.2.0");
/// assert!(short > "1.2.0-rc.1".parse().unwrap());
/// ```
#[derive(Debug, Clone)]
pub struct Version {
    /// The first number.
    pub major: u64,
    /// The second number.
    pub minor: u64,
    /// The third number.
    pub patch: u64,
    /// What follows `-`, without it.
    pub prerelease: String,
    /// What follows `+`, without it.
    pub metadata: String,
    original: String,
}

/// Why a text is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Not the form of a version.
    #[error("invalid semantic version")]
    Invalid,
    /// A number, or a number in the pre-release, with a nought in front.
    #[error("version segment starts with 0")]
    LeadingZero,
    /// Nothing at all.
    #[error("version string empty")]
    Empty,
}

impl Version {
    /// Reads a version that must be complete, as semver.org has it: three numbers, no `v`.
    pub fn parse_strict(text: &str) -> Result<Version, VersionError> {
        if text.is_empty() {
            return Err(VersionError::Empty);
        }
        let version: Version = text.parse()?;
        let core = text.split(['-', '+']).next().unwrap_or_default();
        let numbers: Vec<&str> = core.split('.').collect();
        if numbers.len() != 3 || text.starts_with('v') {
            return Err(VersionError::Invalid);
        }
        if numbers
            .iter()
            .any(|number| number.len() > 1 && number.starts_with('0'))
        {
            return Err(VersionError::LeadingZero);
        }
        Ok(version)
    }

    /// The text that the version was read from.
    pub fn original(&self) -> &str {
        &self.original
    }

    fn precedence(&self) -> (u64, u64, u64) {
        (self.major, self.minor, self.patch)
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let body = text.strip_prefix('v').unwrap_or(text);
        let (body, metadata) = match body.split_once('+') {
            Some((body, metadata)) => (body, Some(metadata)),
            None => (body, None),
        };
        let (core, prerelease) = match body.split_once('-') {
            Some((core, prerelease)) => (core, Some(prerelease)),
            None => (body, None),
        };
        for part in [prerelease, metadata].into_iter().flatten() {
            if !part.split('.').all(is_identifier) {
                return Err(VersionError::Invalid);
            }
        }
        let parts: Vec<&str> = core.split('.').collect();
        if parts.len() > 3 || !parts.iter().all(|part| is_number(part)) {
            return Err(VersionError::Invalid);
        }
        let mut numbers = [0; 3];
        for (number, part) in numbers.iter_mut().zip(parts) {
            *number = part.parse().map_err(|_| VersionError::Invalid)?;
        }
        let prerelease = prerelease.unwrap_or_default();
        if prerelease
            .split('.')
            .any(|part| part.len() > 1 && part.starts_with('0') && is_number(part))
        {
            return Err(VersionError::LeadingZero);
        }
        Ok(Version {
            major: numbers[0],
            minor: numbers[1],
            patch: numbers[2],
            prerelease: prerelease.to_owned(),
            metadata: metadata.unwrap_or_default().to_owned(),
            original: text.to_owned(),
        })
    }
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.prerelease.is_empty() {
            write!(f, "-{}", self.prerelease)?;
        }
        if !self.metadata.is_empty() {
            write!(f, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.precedence()
            .cmp(&other.precedence())
            .then_with(|| compare_prereleases(&self.prerelease, &other.prerelease))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

/// A version without a pre-release comes after all its pre-releases.
fn compare_prereleases(a: &str, b: &str) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) => match (is_number(x), is_number(y)) {
                // Equally long numbers compare like texts, longer ones are larger.
                (true, true) => (x.len(), x).cmp(&(y.len(), y)),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => x.cmp(y),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// A constraint on versions: alternatives of conditions that must all hold.
///
/// ```
/// use chart_values::constraint::Constraint;
/// let constraint: Constraint = ">=1.20.0-0, <2 || ^3.1".parse().unwrap();
/// assert!(constraint.allows(&"1.33.4-gke.1".parse().unwrap()));
/// assert!(!constraint.allows(&"2.5.0".parse().unwrap()));
/// assert!(constraint.allows(&"3.2.0".parse().unwrap()));
/// ```
#[derive(Debug, Clone)]
pub struct Constraint {
    alternatives: Vec<Vec<Condition>>,
    original: String,
}

/// Why a text is no constraint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// One of its alternatives has not the form of a constraint.
    #[error("improper constraint: {}", crate::number::go_quote(.0))]
    Improper(String),
    /// The version in a condition cannot be read.
    #[error("constraint parser error")]
    Version,
}

#[derive(Debug, Clone)]
struct Condition {
    operator: Operator,
    version: Version,
    /// Which numbers of the version were left out or given as `x`.
    open: Open,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    Tilde,
    Caret,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Patch,
    Minor,
    Major,
}

impl Constraint {
    /// Tells whether `version` satisfies the constraint.
    pub fn allows(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|conditions| {
            // A pre-release in one condition opens its neighbours for pre-releases as well.
            let prereleases = conditions
                .iter()
                .any(|condition| !condition.version.prerelease.is_empty());
            conditions
                .iter()
                .all(|condition| condition.allows(version, prereleases))
        })
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.original)
    }
}

impl FromStr for Constraint {
    type Err = ConstraintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let alternatives = rewrite_ranges(text)
            .split("||")
            .map(alternative)
            .collect::<Result<_, _>>()?;
        Ok(Constraint {
            alternatives,
            original: text.to_owned(),
        })
    }
}

/// Writes `1.2 - 1.4` as `>= 1.2, <= 1.4 `, also where an operator stands before it, which then is one too many.
fn rewrite_ranges(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let mut scanner = Scanner { rest };
        if let Some((start, end)) = scanner.range() {
            out.push_str(&format!(">= {start}, <= {end} "));
            rest = scanner.rest;
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

fn alternative(text: &str) -> Result<Vec<Condition>, ConstraintError> {
    let improper = || ConstraintError::Improper(text.to_owned());
    let mut scanner = Scanner { rest: text };
    let mut conditions = Vec::new();
    scanner.blank();
    loop {
        let operator = scanner.operator();
        scanner.blank();
        let (version, open) = scanner.version().ok_or_else(improper)?;
        // `1.2 - 1.4` is a range with both ends in it.
        conditions.push(condition(operator, &version, open)?);
        let spaces = scanner.blank();
        let comma = scanner.take(",");
        scanner.blank();
        if scanner.rest.is_empty() {
            return if comma { Err(improper()) } else { Ok(conditions) };
        }
        if !spaces && !comma {
            return Err(improper());
        }
    }
}

fn condition(operator: Operator, text: &str, open: Open) -> Result<Condition, ConstraintError> {
    let version = text.parse().map_err(|_| ConstraintError::Version)?;
    Ok(Condition {
        operator,
        version,
        open,
    })
}

struct Scanner<'t> {
    rest: &'t str,
}

impl<'t> Scanner<'t> {
    fn take(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn blank(&mut self) -> bool {
        let rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
        let found = rest.len() < self.rest.len();
        self.rest = rest;
        found
    }

    fn operator(&mut self) -> Operator {
        for (text, operator) in [
            (">=", Operator::GreaterEqual),
            ("=>", Operator::GreaterEqual),
            ("<=", Operator::LessEqual),
            ("=<", Operator::LessEqual),
            ("!=", Operator::NotEqual),
            ("~>", Operator::Tilde),
            ("=", Operator::Equal),
            (">", Operator::Greater),
            ("<", Operator::Less),
            ("~", Operator::Tilde),
            ("^", Operator::Caret),
        ] {
            if self.take(text) {
                return operator;
            }
        }
        Operator::Equal
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'t str {
        let length = self.rest.bytes().take_while(|byte| wanted(*byte)).count();
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    /// A version in which numbers may be missing or `x`, made complete with noughts.
    fn version(&mut self) -> Option<(String, Open)> {
        self.take("v");
        let mut numbers = vec![self.take_while(is_place)];
        if numbers[0].is_empty() {
            return None;
        }
        while numbers.len() < 3 {
            let mut ahead = Scanner { rest: self.rest };
            if !ahead.take(".") {
                break;
            }
            let number = ahead.take_while(is_place);
            if number.is_empty() {
                break;
            }
            numbers.push(number);
            self.rest = ahead.rest;
        }
        let tail_start = self.rest;
        if self.rest.starts_with('-') {
            self.identifiers();
        }
        if self.rest.starts_with('+') {
            self.identifiers();
        }
        let tail = &tail_start[..tail_start.len() - self.rest.len()];
        let open_from = numbers
            .iter()
            .position(|number| matches!(*number, "x" | "X" | "*"))
            .unwrap_or(numbers.len());
        Some(match open_from {
            0 => (format!("0.0.0{tail}"), Open::Major),
            1 => (format!("{}.0.0{tail}", numbers[0]), Open::Minor),
            2 => (format!("{}.{}.0{tail}", numbers[0], numbers[1]), Open::Patch),
            _ => (format!("{}{tail}", numbers.join(".")), Open::Nothing),
        })
    }

    /// A range `1.2 - 1.4` with the white space around it, as its two ends.
    fn range(&mut self) -> Option<(&'t str, &'t str)> {
        self.blank();
        let start = self.version_text()?;
        (self.blank() && self.take("-") && self.blank()).then_some(())?;
        let end = self.version_text()?;
        self.blank();
        Some((start, end))
    }

    fn version_text(&mut self) -> Option<&'t str> {
        let before = self.rest;
        self.version()?;
        Some(&before[..before.len() - self.rest.len()])
    }

    /// `-a.b` or `+a.b`; leaves everything as it is if that is not what follows.
    fn identifiers(&mut self) {
        let mut ahead = Scanner {
            rest: &self.rest[1..],
        };
        let identifier = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if ahead.take_while(identifier).is_empty() {
            return;
        }
        loop {
            self.rest = ahead.rest;
            if !ahead.take(".") || ahead.take_while(identifier).is_empty() {
                return;
            }
        }
    }
}

/// Masterminds' pattern lets a `|` pass for a digit, so that `1||2 - 3` is a range from `1||2`.
fn is_place(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'x' | b'X' | b'*' | b'|')
}

impl Condition {
    fn allows(&self, version: &Version, prereleases: bool) -> bool {
        let wanted = &self.version;
        if !version.prerelease.is_empty() && wanted.prerelease.is_empty() && !prereleases {
            return false;
        }
        match self.operator {
            Operator::Equal if self.open != Open::Nothing => self.tilde(version),
            Operator::Equal => version == wanted,
            Operator::NotEqual => self.not_equal(version),
            Operator::Greater => self.greater(version),
            Operator::Less => version < wanted,
            Operator::GreaterEqual => version >= wanted,
            Operator::LessEqual => self.less_equal(version),
            Operator::Tilde => self.tilde(version),
            Operator::Caret => self.caret(version),
        }
    }

    fn not_equal(&self, version: &Version) -> bool {
        let wanted = &self.version;
        match self.open {
            Open::Nothing | Open::Major => version != wanted,
            Open::Minor => version.major != wanted.major,
            Open::Patch => {
                (version.major, version.minor) != (wanted.major, wanted.minor)
                    || compare_prereleases(&version.prerelease, &wanted.prerelease) != Ordering::Equal
            }
        }
    }

    fn greater(&self, version: &Version) -> bool {
        let wanted = &self.version;
        match self.open {
            Open::Nothing | Open::Major => version > wanted,
            Open::Minor => version.major > wanted.major,
            Open::Patch => (version.major, version.minor) > (wanted.major, wanted.minor),
        }
    }

    fn less_equal(&self, version: &Version) -> bool {
        let wanted = &self.version;
        match self.open {
            Open::Nothing => version <= wanted,
            Open::Minor => version.major <= wanted.major,
            Open::Patch | Open::Major => (version.major, version.minor) <= (wanted.major, wanted.minor),
        }
    }

    /// As new as asked, and the same in every number but the last one given.
    fn tilde(&self, version: &Version) -> bool {
        let wanted = &self.version;
        if version < wanted {
            return false;
        }
        // `*` and `~0.0.0` allow everything.
        if wanted.precedence() == (0, 0, 0) && !matches!(self.open, Open::Minor | Open::Patch) {
            return true;
        }
        version.major == wanted.major && (self.open == Open::Minor || version.minor == wanted.minor)
    }

    /// As new as asked, and the same up to the first number that is not nought.
    fn caret(&self, version: &Version) -> bool {
        let wanted = &self.version;
        if version < wanted {
            return false;
        }
        if wanted.major > 0 || self.open == Open::Minor {
            return version.major == wanted.major;
        }
        if version.major > 0 {
            return false;
        }
        if wanted.minor > 0 || self.open == Open::Patch {
            return version.minor == wanted.minor;
        }
        if version.minor > 0 {
            return false;
        }
        version.patch == wanted.patch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allows_what_masterminds_allows() {
        for (constraint, version, allowed) in [
            ("*", "1.2.3", true),
            ("*", "1.2.3-alpha", false),
            ("*-0", "1.2.3-alpha", true),
            ("1.2", "1.2.9", true),
            ("=1.2", "1.3.0", false),
            ("!=1.x", "2.0.0", true),
            ("!=1.x", "1.5.0", false),
            (">11", "11.1.0", false),
            (">*", "0.0.5", true),
            (">11.1", "11.2.0", true),
            ("<=11", "11.9.9", true),
            ("<=11.1", "11.2.0", false),
            ("=>1", "1.0.0", true),
            ("~1.2.3", "1.2.9", true),
            ("~1.2.3", "1.3.0", false),
            ("~>1", "1.9.0", true),
            ("^0.2.3", "0.2.9", true),
            ("^0.2.3", "0.3.0", false),
            ("^0", "0.9.0", true),
            ("^0.0.3", "0.0.4", false),
            ("1.2 - 1.4", "1.4.9", true),
            ("1.2 - 1.4", "1.5.0", false),
            (">=1.0.0-0, <2.0.0", "1.5.0-beta", true),
            (">=1.19.0 <1.22.0", "v1.20.1", true),
            (">= 1.16.0-0 || ^3", "3.1.0", true),
            (">=1.20.0", "1.33.4-gke.1", false),
        ] {
            let parsed: Constraint = constraint.parse().unwrap();
            assert_eq!(
                parsed.allows(&version.parse().unwrap()),
                allowed,
                "{constraint} {version}"
            );
        }
    }

    #[test]
    fn err_says_what_masterminds_says() {
        for (constraint, message) in [
            ("latest", r#"improper constraint: "latest""#),
            ("", r#"improper constraint: """#),
            ("<1.1 - 2", r#"improper constraint: "<>= 1.1, <= 2 ""#),
            ("1.2,", r#"improper constraint: "1.2,""#),
            ("1.2.3-01", "constraint parser error"),
        ] {
            assert_eq!(constraint.parse::<Constraint>().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn orders_versions_by_precedence() {
        let sorted = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
        ];
        for pair in sorted.windows(2) {
            let (low, high): (Version, Version) = (pair[0].parse().unwrap(), pair[1].parse().unwrap());
            assert!(low < high, "{low} {high}");
        }
    }

    #[test]
    fn err_strict_versions_are_complete() {
        assert!(Version::parse_strict("1.2.3-a+b").is_ok());
        for text in ["1.2", "v1.2.3", "01.2.3", "", "a"] {
            assert!(Version::parse_strict(text).is_err(), "{text}");
        }
    }
}
