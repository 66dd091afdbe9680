//! The text that `template` prints.

use chart_model::path_matches;

use crate::render::Rendered;
use crate::split::split_manifests;

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
            let secret = manifest.head.kind == "Secret" && manifest.head.api_version == "v1";
            if self.hide_secrets && secret {
                section(&mut text, &manifest.path, "# HIDDEN: The Secret output has been suppressed");
            } else {
                section(&mut text, &manifest.path, &manifest.content);
            }
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
        if self.show_only.is_empty() { Ok(text) } else { self.only(&text) }
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
                return Err(ShowOnlyError { pattern: pattern.clone() });
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
