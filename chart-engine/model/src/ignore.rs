//! `.helmignore`: which files of a folder do not belong to the chart.

use crate::pattern::path_matches;

/// A line of `.helmignore` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// `**` means nothing here.
    #[error("double-star (**) syntax is not supported")]
    DoubleStar {
        /// The line, counted from 1.
        line: usize,
    },
    /// The line is no pattern.
    #[error("syntax error in pattern")]
    Pattern {
        /// The line, counted from 1.
        line: usize,
    },
}

/// The rules of a `.helmignore` file.
///
/// The first rule that applies decides. A rule with `!` does not bring files back: it ignores everything that it does
/// *not* match, as in Helm.
#[derive(Debug, Clone, Default)]
pub struct IgnoreRules {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    pattern: String,
    negated: bool,
    folders_only: bool,
    /// The pattern is matched with the whole path, not with the last part of it.
    whole_path: bool,
}

impl IgnoreRules {
    /// Reads the rules out of the text of a `.helmignore` file.
    pub fn parse(text: &str) -> Result<IgnoreRules, IgnoreError> {
        let mut rules = IgnoreRules::default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.lines().enumerate() {
            rules.add(line, index + 1)?;
        }
        Ok(rules)
    }

    /// Adds the rule that every chart has: hidden files in `templates/` are left out.
    pub fn with_defaults(mut self) -> IgnoreRules {
        self.rules.push(Rule {
            pattern: "templates/.?*".to_owned(),
            negated: false,
            folders_only: false,
            whole_path: true,
        });
        self
    }

    fn add(&mut self, line: &str, number: usize) -> Result<(), IgnoreError> {
        let rule = line.trim();
        if rule.is_empty() || rule.starts_with('#') {
            return Ok(());
        }
        if rule.contains("**") {
            return Err(IgnoreError::DoubleStar { line: number });
        }
        if path_matches(rule, "abc").is_err() {
            return Err(IgnoreError::Pattern { line: number });
        }
        let (negated, rule) = strip(rule, |rule| rule.strip_prefix('!'));
        let (folders_only, rule) = strip(rule, |rule| rule.strip_suffix('/'));
        let (rooted, rule) = strip(rule, |rule| rule.strip_prefix('/'));
        self.rules.push(Rule {
            pattern: rule.to_owned(),
            negated,
            folders_only,
            whole_path: rooted || rule.contains('/'),
        });
        Ok(())
    }

    /// Tells whether the file or folder at `path`, given from the chart's folder on, is left out.
    pub fn ignores(&self, path: &str, is_folder: bool) -> bool {
        if path.is_empty() || path == "." || path == "./" {
            return false;
        }
        for rule in &self.rules {
            let name = if rule.whole_path {
                path
            } else {
                path.rsplit('/').next().unwrap_or(path)
            };
            let fits = path_matches(&rule.pattern, name).unwrap_or(false);
            let wrong_type = rule.folders_only && !is_folder;
            if rule.negated {
                if wrong_type || !fits {
                    return true;
                }
            } else if fits && !wrong_type {
                return true;
            }
        }
        false
    }
}

fn strip<'t>(text: &'t str, cut: impl Fn(&'t str) -> Option<&'t str>) -> (bool, &'t str) {
    match cut(text) {
        Some(rest) => (true, rest),
        None => (false, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignores_what_helm_ignores() {
        for (rules, path, folder, ignored) in [
            ("helm.txt", "helm.txt", false, true),
            ("helm.txt", "a/helm.txt", false, true),
            ("/helm.txt", "a/helm.txt", false, false),
            ("helm.*", "helm.txt", false, true),
            ("cargo/a.txt", "cargo/a.txt", false, true),
            ("cargo/*.txt", "mast/cargo/a.txt", false, false),
            ("rudder/", "rudder", true, true),
            ("rudder/", "rudder", false, false),
            ("# a.txt\n\n  a.txt  ", "a.txt", false, true),
            ("!helm.txt", "helm.txt", false, false),
            ("!helm.txt", "tiller.txt", false, true),
            ("", ".", true, false),
            ("", "templates/.hidden", false, true),
            ("", "templates/shown", false, false),
        ] {
            let rules = IgnoreRules::parse(rules).unwrap().with_defaults();
            assert_eq!(rules.ignores(path, folder), ignored, "{rules:?} {path}");
        }
    }

    #[test]
    fn err_names_the_line() {
        assert_eq!(
            IgnoreRules::parse("a\n**/b").unwrap_err(),
            IgnoreError::DoubleStar { line: 2 }
        );
        assert_eq!(
            IgnoreRules::parse("[").unwrap_err(),
            IgnoreError::Pattern { line: 1 }
        );
    }
}
