//! Finding charts in indexes by words.

use chart_values::constraint::{Constraint, ConstraintError, Version};
use regex::Regex;
use repo_index::{ANY, DEVEL};

use crate::index_cache::{CachedIndex, CachedVersion, VersionEntry};

/// What is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// A word in the name, description or keywords; empty for everything.
    pub keyword: String,
    /// The word is a regular expression.
    pub regexp: bool,
    /// A constraint on versions.
    pub version: String,
    /// Pre-releases too, where no constraint is given.
    pub devel: bool,
    /// Every version of a chart, and not the best alone.
    pub all_versions: bool,
}

/// A chart that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// `REPOSITORY/CHART`.
    pub name: String,
    /// What the index says of the version.
    pub version: CachedVersion,
    /// How well it fits, 0 is best: by its name, its full name, its description, its keywords.
    pub score: usize,
}

/// Why nothing can be looked for.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The constraint cannot be read.
    #[error("an invalid version/constraint format: {0}")]
    Constraint(#[from] ConstraintError),
    /// The regular expression cannot be read.
    #[error("cannot read the regular expression: {0}")]
    Regexp(#[from] regex::Error),
}

enum Matcher {
    Everything,
    Word(String),
    Pattern(Box<Regex>),
}

/// Stands between the fields of a line.
const SEPARATOR: &str = "\u{b}";

impl Search {
    /// Looks into indexes, each with the name of its repository. The best come first.
    pub fn run(&self, indexes: &[(String, CachedIndex)]) -> Result<Vec<Found>, SearchError> {
        let constraint = match self.version.as_str() {
            "" if self.devel => DEVEL,
            "" => ANY,
            wish => wish,
        };
        let constraint: Constraint = constraint.parse()?;
        let matcher = match (self.keyword.as_str(), self.regexp) {
            ("", _) => Matcher::Everything,
            (word, false) => Matcher::Word(word.to_lowercase()),
            (pattern, true) => Matcher::Pattern(Box::new(Regex::new(pattern)?)),
        };
        let mut found: Vec<(Found, Version)> = Vec::new();
        let mut line = Line::default();
        for (repository, index) in indexes {
            for chart in index.charts() {
                let mut hits: Vec<(usize, Version, VersionEntry<'_>)> = Vec::new();
                for version in chart.versions() {
                    // The words first: most versions do not have them.
                    let Some(score) = matcher.score(&mut line, repository, chart.name, &version) else {
                        continue;
                    };
                    let Ok(parsed) = version.version.parse::<Version>() else {
                        continue;
                    };
                    if !constraint.allows(&parsed) {
                        continue;
                    }
                    hits.push((score, parsed, version));
                    // Versions are sorted; a later one could only fit better by its words.
                    if !self.all_versions && score == 0 {
                        break;
                    }
                }
                if !self.all_versions {
                    hits.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.cmp(&a.1)));
                    hits.truncate(1);
                }
                found.extend(hits.into_iter().map(|(score, parsed, version)| {
                    let hit = Found {
                        name: format!("{repository}/{}", chart.name),
                        version: version.to_owned(),
                        score,
                    };
                    (hit, parsed)
                }));
            }
        }
        found.sort_by(|(a, version_a), (b, version_b)| {
            (a.score, &a.name)
                .cmp(&(b.score, &b.name))
                .then_with(|| version_b.cmp(version_a))
        });
        Ok(found.into_iter().map(|(found, _)| found).collect())
    }
}

/// The fields that words are looked for in, as one text; its memory serves for the next one.
#[derive(Default)]
struct Line(String);

impl Line {
    fn fill(&mut self, repository: &str, chart: &str, version: &VersionEntry<'_>) {
        let line = &mut self.0;
        line.clear();
        for part in [
            chart,
            SEPARATOR,
            repository,
            "/",
            chart,
            SEPARATOR,
            version.description,
            SEPARATOR,
        ] {
            line.push_str(part);
        }
        for (place, keyword) in version.keywords.clone().enumerate() {
            if place > 0 {
                line.push(' ');
            }
            line.push_str(keyword);
        }
    }

    fn make_lowercase(&mut self) {
        if self.0.is_ascii() {
            self.0.make_ascii_lowercase();
        } else {
            self.0 = self.0.to_lowercase();
        }
    }
}

impl Matcher {
    /// How well a version fits, if it does.
    fn score(
        &self,
        line: &mut Line,
        repository: &str,
        chart: &str,
        version: &VersionEntry<'_>,
    ) -> Option<usize> {
        let start = match self {
            Self::Everything => return Some(0),
            Self::Word(word) => {
                line.fill(repository, chart, version);
                line.make_lowercase();
                line.0.find(word.as_str())?
            }
            Self::Pattern(pattern) => {
                line.fill(repository, chart, version);
                pattern.find(&line.0)?.start()
            }
        };
        Some(line.0[..start].matches(SEPARATOR).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index_cache::CachedChart;

    fn indexes() -> Vec<(String, CachedIndex)> {
        let version = |version: &str, description: &str, keywords: &[&str]| CachedVersion {
            version: version.into(),
            description: description.into(),
            keywords: keywords.iter().map(|word| (*word).to_owned()).collect(),
            ..CachedVersion::default()
        };
        let chart = |name: &str, versions: Vec<CachedVersion>| CachedChart {
            name: name.into(),
            versions,
        };
        let index = CachedIndex::with_charts(&[
            chart(
                "db",
                vec![
                    version("2.0.0-rc.1", "A Store", &[]),
                    version("1.0.0", "For the web", &["sql"]),
                ],
            ),
            chart(
                "web",
                vec![version("1.10.0", "Pages", &[]), version("1.9.0", "Pages", &[])],
            ),
        ]);
        vec![("t".into(), index)]
    }

    #[track_caller]
    fn check(search: &Search, wanted: &[&str]) {
        let found = search.run(&indexes()).unwrap();
        let found: Vec<String> = found
            .iter()
            .map(|found| format!("{} {} {}", found.name, found.version.version, found.score))
            .collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn the_best_come_first() {
        let word = |keyword: &str| Search {
            keyword: keyword.into(),
            ..Search::default()
        };
        check(&word(""), &["t/db 1.0.0 0", "t/web 1.10.0 0"]);
        check(&word("WEB"), &["t/web 1.10.0 0", "t/db 1.0.0 2"]);
        check(&word("t/w"), &["t/web 1.10.0 1"]);
        check(&word("sql"), &["t/db 1.0.0 3"]);
        check(&word("none"), &[]);
    }

    #[test]
    fn versions_are_chosen_by_constraint() {
        let all = Search {
            all_versions: true,
            ..Search::default()
        };
        check(&all, &["t/db 1.0.0 0", "t/web 1.10.0 0", "t/web 1.9.0 0"]);
        check(
            &Search {
                devel: true,
                ..Search::default()
            },
            &["t/db 2.0.0-rc.1 0", "t/web 1.10.0 0"],
        );
        check(
            &Search {
                version: "<1.10".into(),
                ..Search::default()
            },
            &["t/db 1.0.0 0", "t/web 1.9.0 0"],
        );
    }

    #[test]
    fn words_can_be_patterns() {
        let pattern = |keyword: &str| Search {
            keyword: keyword.into(),
            regexp: true,
            ..Search::default()
        };
        check(&pattern("^w.b"), &["t/web 1.10.0 0"]);
        check(&pattern("P[a-z]ges"), &["t/web 1.10.0 2"]);
        check(&pattern("pages"), &[]);
        assert!(pattern("(").run(&indexes()).is_err());
    }
}
