//! The text that `template` prints.

use chart_model::path_matches;

use crate::manifest::Manifest;
use crate::render::Rendered;
use crate::split::split_manifests;

/// What stands in place of a secret.
const HIDDEN: &str = "# HIDDEN: The Secret output has been suppressed";

/// What to print of a rendering.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// The files of `crds/` first.
    pub include_crds: bool,
    /// No hooks.
    pub no_hooks: bool,
    /// No tests.
    pub skip_tests: bool,
    /// Only what comes from these templates: patterns of paths in the chart.
    pub show_only: Vec<String>,
    /// A line in place of each secret.
    pub hide_secrets: bool,
}

/// A template that was asked for and is not there, or gives nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not find template {pattern} in chart")]
pub struct ShowOnlyError {
    /// What was asked for.
    pub pattern: String,
}

impl Output {
    /// The manifest of a release: its objects without the hooks, as it is stored.
    pub fn manifest(&self, rendered: &Rendered) -> String {
        let mut text = String::new();
        if self.include_crds {
            for crd in &rendered.crds {
                section(&mut text, &crd.path, &crd.content);
            }
        }
        for manifest in &rendered.manifests {
            section(&mut text, &manifest.path, self.shown(manifest));
        }
        text
    }

    /// The whole text that `template` prints.
    pub fn text(&self, rendered: &Rendered) -> Result<String, ShowOnlyError> {
        let mut text = self.manifest(rendered).trim().to_owned();
        text.push('\n');
        if !self.no_hooks {
            for hook in &rendered.hooks {
                if !(self.skip_tests && hook.is_test()) {
                    section(&mut text, &hook.path, &hook.manifest);
                }
            }
        }
        if self.show_only.is_empty() {
            Ok(text)
        } else {
            self.only(&text)
        }
    }

    /// The documents as files: per document the path of its template and its text, in the order of printing.
    pub fn files(&self, rendered: &Rendered) -> Vec<(String, String)> {
        let mut files = Vec::new();
        let mut add = |path: &str, content: &str| {
            let mut text = String::new();
            section(&mut text, path, content);
            files.push((path.to_owned(), text));
        };
        if self.include_crds {
            rendered.crds.iter().for_each(|crd| add(&crd.path, &crd.content));
        }
        rendered
            .manifests
            .iter()
            .for_each(|manifest| add(&manifest.path, self.shown(manifest)));
        if !self.no_hooks {
            let hooks = rendered
                .hooks
                .iter()
                .filter(|hook| !(self.skip_tests && hook.is_test()));
            hooks.for_each(|hook| add(&hook.path, &hook.manifest));
        }
        files
    }

    /// What is printed of an object.
    fn shown<'m>(&self, manifest: &'m Manifest) -> &'m str {
        let secret = manifest.head.kind == "Secret" && manifest.head.api_version == "v1";
        if self.hide_secrets && secret {
            HIDDEN
        } else {
            &manifest.content
        }
    }

    fn only(&self, text: &str) -> Result<String, ShowOnlyError> {
        let manifests = split_manifests(text);
        let mut shown = String::new();
        for pattern in &self.show_only {
            let mut missing = true;
            for manifest in &manifests {
                let fits = source(manifest).is_some_and(|path| path_matches(pattern, path).unwrap_or(false));
                if fits {
                    missing = false;
                    shown.push_str("---\n");
                    shown.push_str(manifest);
                    shown.push('\n');
                }
            }
            if missing {
                return Err(ShowOnlyError {
                    pattern: pattern.clone(),
                });
            }
        }
        Ok(shown)
    }
}

fn section(text: &mut String, path: &str, content: &str) {
    text.push_str("---\n# Source: ");
    text.push_str(path);
    text.push('\n');
    text.push_str(content);
    text.push('\n');
}

/// The path below the chart's name in the comment that [`section`] writes.
fn source(manifest: &str) -> Option<&str> {
    const MARK: &str = "# Source: ";
    let start = manifest.find(MARK)? + MARK.len();
    let line = manifest[start..].lines().next()?;
    line.split_once('/').map(|(_, path)| path)
}
