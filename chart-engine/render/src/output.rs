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
        self.manifest_with_room(rendered, 0)
    }

    /// The manifest, in a text that takes so many more bytes without moving: large ones should be there once.
    fn manifest_with_room(&self, rendered: &Rendered, room: usize) -> String {
        let crds = rendered
            .crds
            .iter()
            .filter(|_| self.include_crds)
            .map(|crd| (crd.path.as_str(), crd.content.as_str()));
        let manifests = rendered
            .manifests
            .iter()
            .map(|manifest| (manifest.path.as_str(), self.shown(manifest)));
        let sections = crds.chain(manifests);
        let length: usize = sections
            .clone()
            .map(|(path, content)| section_length(path, content))
            .sum();
        let mut text = String::with_capacity(length + room);
        for (path, content) in sections {
            section(&mut text, path, content);
        }
        text
    }

    /// The whole text that `template` prints.
    pub fn text(&self, rendered: &Rendered) -> Result<String, ShowOnlyError> {
        let hooks = rendered
            .hooks
            .iter()
            .filter(|hook| !(self.no_hooks || self.skip_tests && hook.is_test()));
        let room = hooks
            .clone()
            .map(|hook| section_length(&hook.path, &hook.manifest));
        let mut text = self.manifest_with_room(rendered, room.sum::<usize>() + 1);
        text.truncate(text.trim_end().len());
        let blank = text.len() - text.trim_start().len();
        text.drain(..blank);
        text.push('\n');
        for hook in hooks {
            section(&mut text, &hook.path, &hook.manifest);
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

/// What stands before a document, up to the path.
const SECTION: &str = "---\n# Source: ";

fn section_length(path: &str, content: &str) -> usize {
    SECTION.len() + path.len() + content.len() + 2
}

fn section(text: &mut String, path: &str, content: &str) {
    text.push_str(SECTION);
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
