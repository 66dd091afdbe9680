//! Paths in projects: relative to the project's folder until they are made absolute.

use std::path::{Component, Path, PathBuf};

use crate::error::Fault;
use crate::node::{Data, Map, Node, Sources};
use crate::short::each;
use crate::short::volume::is_windows_path;

/// A path without `.`, `..` and doubled slashes, as far as its text tells.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut steps: Vec<&str> = Vec::new();
    for step in path.split('/') {
        match step {
            "" | "." => {}
            ".." => match steps.last() {
                Some(&last) if last != ".." => {
                    steps.pop();
                }
                _ if rooted => {}
                _ => steps.push(".."),
            },
            step => steps.push(step),
        }
    }
    let joined = steps.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// A path below a folder, unless it is absolute.
pub(crate) fn join(folder: &str, path: &str) -> String {
    if path.starts_with('/') || folder.is_empty() {
        clean(path)
    } else {
        clean(&format!("{folder}/{path}"))
    }
}

/// [`join`] for paths of the system.
pub(crate) fn absolute(folder: &Path, path: &str) -> PathBuf {
    PathBuf::from(join(&folder.to_string_lossy(), path))
}

/// The way from one absolute folder to another.
pub(crate) fn relative(from: &Path, to: &Path) -> String {
    let normal = |path: &Path| -> Vec<String> {
        path.components()
            .filter_map(|component| match component {
                Component::Normal(step) => Some(step.to_string_lossy().into_owned()),
                _ => None,
            })
            .collect()
    };
    let (from, to) = (normal(from), normal(to));
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let mut steps = vec![".."; from.len() - common];
    steps.extend(to[common..].iter().map(String::as_str));
    if steps.is_empty() {
        ".".to_owned()
    } else {
        steps.join("/")
    }
}

/// What relative paths are resolved against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Base<'a> {
    /// The folder, which may be relative to the project's.
    pub(crate) folder: &'a str,
    pub(crate) home: Option<&'a Path>,
}

impl Base<'_> {
    fn path(&self, path: &str) -> String {
        if path.is_empty() {
            return String::new();
        }
        if let (Some(home), Some(rest)) = (self.home, path.strip_prefix('~'))
            && (rest.is_empty() || rest.starts_with('/'))
        {
            return join(&home.to_string_lossy(), rest.trim_start_matches('/'));
        }
        if path.starts_with('/') {
            path.to_owned()
        } else {
            join(self.folder, path)
        }
    }

    /// As [`Base::path`], but paths of Windows stay what they are.
    fn host_path(&self, path: &str) -> String {
        if is_windows_path(path) {
            path.to_owned()
        } else if path.is_empty() {
            join(self.folder, ".")
        } else {
            self.path(path)
        }
    }

    /// A build context: a folder, an address, or another service.
    fn context(&self, context: &str) -> String {
        let elsewhere = context.contains("://")
            || context.starts_with("service:")
            || context.starts_with("github.com/")
            || context.starts_with("git@");
        if elsewhere {
            context.to_owned()
        } else {
            self.path(context)
        }
    }
}

/// Makes the relative paths of a file in its long form start from a folder.
pub(crate) fn resolve(root: &mut Node, base: Base<'_>, sources: &Sources) -> Result<(), Vec<Fault>> {
    let mut faults = Vec::new();
    let Some(file) = root.as_map_mut() else {
        return Ok(());
    };
    each(file, "services", |_, service| {
        if let Some(service) = service.as_map_mut() {
            resolve_service(service, base, sources, &mut faults);
        }
    });
    for kind in ["configs", "secrets"] {
        each(file, kind, |_, entry| {
            at(entry, "file", |path| base.host_path(path));
        });
    }
    each(file, "volumes", |_, volume| {
        let Some(map) = volume.as_map_mut() else { return };
        if map.get("driver").and_then(Node::as_str) != Some("local") {
            return;
        }
        if let Some(options) = map.get_mut("driver_opts")
            && options.get("o").and_then(Node::as_str) == Some("bind")
        {
            at(options, "device", |path| base.host_path(path));
        }
    });
    for item in file
        .get_mut("include")
        .and_then(Node::as_list_mut)
        .into_iter()
        .flatten()
    {
        at(item, "project_directory", |path| base.path(path));
        for key in ["path", "env_file"] {
            let list = item.as_map_mut().and_then(|map| map.get_mut(key)?.as_list_mut());
            for path in list.into_iter().flatten() {
                change(path, |path| base.path(path));
            }
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn resolve_service(service: &mut Map, base: Base<'_>, sources: &Sources, faults: &mut Vec<Fault>) {
    if let Some(build) = service.get_mut("build") {
        at(build, "context", |path| base.context(path));
        if let Some(map) = build.as_map_mut() {
            if let Some(contexts) = map.get_mut("additional_contexts") {
                for (_, context) in contexts.as_map_mut().into_iter().flatten() {
                    change(context, |path| base.context(path));
                }
            }
            if let Some(ssh) = map.get_mut("ssh") {
                for (_, key) in ssh.as_map_mut().into_iter().flatten() {
                    change(key, |path| base.host_path(path));
                }
            }
        }
    }
    for item in service
        .get_mut("env_file")
        .and_then(Node::as_list_mut)
        .into_iter()
        .flatten()
    {
        at(item, "path", |path| base.path(path));
    }
    for item in service
        .get_mut("label_file")
        .and_then(Node::as_list_mut)
        .into_iter()
        .flatten()
    {
        change(item, |path| base.path(path));
    }
    if let Some(extends) = service.get_mut("extends") {
        at(extends, "file", |path| {
            if path.contains("://") {
                path.to_owned()
            } else {
                base.path(path)
            }
        });
    }
    let watch = service
        .get_mut("develop")
        .and_then(|develop| develop.as_map_mut()?.get_mut("watch")?.as_list_mut());
    for item in watch.into_iter().flatten() {
        at(item, "path", |path| base.path(path));
    }
    for item in service
        .get_mut("volumes")
        .and_then(Node::as_list_mut)
        .into_iter()
        .flatten()
    {
        if item.get("type").and_then(Node::as_str) != Some("bind") {
            continue;
        }
        match item.get("source").and_then(Node::as_str) {
            None => {
                let message = "invalid mount config for type \"bind\": field Source must not be empty";
                faults.push(Fault::new(message).at(sources.position(item.at)));
            }
            Some(_) => at(item, "source", |path| base.host_path(path)),
        }
    }
}

/// Changes the text under a key.
fn at(node: &mut Node, key: &str, to: impl FnOnce(&str) -> String) {
    if let Some(value) = node.as_map_mut().and_then(|map| map.get_mut(key)) {
        change(value, to);
    }
}

/// Changes a text.
fn change(node: &mut Node, to: impl FnOnce(&str) -> String) {
    if let Data::Text(text) = &node.data {
        node.data = Data::Text(to(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (path, wanted) in [
            ("./a/../b//c/.", "b/c"),
            ("../a", "../a"),
            ("/../a", "/a"),
            ("", "."),
            ("a/..", "."),
            ("/", "/"),
        ] {
            assert_eq!(clean(path), wanted, "{path}");
        }
        assert_eq!(relative(Path::new("/a/b"), Path::new("/a/c/d")), "../c/d");
        assert_eq!(relative(Path::new("/a"), Path::new("/a")), ".");
    }

    #[test]
    fn contexts_elsewhere_stay() {
        let base = Base {
            folder: "/p",
            home: Some(Path::new("/home/ann")),
        };
        for (context, wanted) in [
            ("./x", "/p/x"),
            ("https://example.org/x.git", "https://example.org/x.git"),
            ("git@example.org:x", "git@example.org:x"),
            ("docker-image://x", "docker-image://x"),
            ("~/x", "/home/ann/x"),
            ("/x/../y", "/x/../y"),
        ] {
            assert_eq!(base.context(context), wanted);
        }
    }
}
