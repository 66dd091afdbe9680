//! Finding charts in indexes by words.

use chart_values::constraint::{Constraint, ConstraintError, Version};
use regex::Regex;
use repo_index::{ANY, DEVEL};

use crate::index_cache::{CachedIndex, CachedVersion};

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
const SEPARATOR: char = '\u{b}';

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
        for (repository, index) in indexes {
            for chart in &index.charts {
                let mut hits: Vec<(Found, Version)> = Vec::new();
                for version in &chart.versions {
                    let Ok(parsed) = version.version.parse::<Version>() else {
                        continue;
                    };
                    if !constraint.allows(&parsed) {
                        continue;
                    }
                    let Some(score) = matcher.score(repository, &chart.name, version) else {
                        continue;
                    };
                    let hit = Found {
                        name: format!("{repository}/{}", chart.name),
                        version: version.clone(),
                        score,
                    };
                    hits.push((hit, parsed));
                    // Versions are sorted; a later one could only fit better by its words.
                    if !self.all_versions && score == 0 {
                        break;
                    }
                }
                if !self.all_versions {
                    hits.sort_by(|a, b| a.0.score.cmp(&b.0.score).then_with(|| b.1.cmp(&a.1)));
                    hits.truncate(1);
                }
                found.extend(hits);
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

impl Matcher {
    /// How well a version fits, if it does.
    fn score(&self, repository: &str, chart: &str, version: &CachedVersion) -> Option<usize> {
        let line = || {
            let keywords = version.keywords.join(" ");
            format!(
                "{chart}{SEPARATOR}{repository}/{chart}{SEPARATOR}{}{SEPARATOR}{keywords}",
                version.description
            )
        };
        let (line, start) = match self {
            Self::Everything => return Some(0),
            Self::Word(word) => {
                let line = line().to_lowercase();
                let start = line.find(word.as_str())?;
                (line, start)
            }
            Self::Pattern(pattern) => {
                let line = line();
                let start = pattern.find(&line)?.start();
                (line, start)
            }
        };
        Some(line[..start].matches(SEPARATOR).count())
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
        let index = CachedIndex::with_charts(vec![
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
