//! Slash-separated paths.
//!
//! The `os` forms mean the same here: charts are rendered as on Linux, wherever that happens.

use super::{Entry, made, string, takes};
use crate::signature::Type;
use crate::value::Value;

const TEXT: &[Type] = &[Type::String];

pub(super) const ROWS: &[Entry] = &[
    takes("base", TEXT, |_, args| Ok(Value::from(base(&string(&args[0]))))),
    takes("osBase", TEXT, |_, args| Ok(Value::from(base(&string(&args[0]))))),
    takes("dir", TEXT, |scope, args| {
        made(scope, dir(&string(&args[0])).into_bytes())
    }),
    takes("osDir", TEXT, |scope, args| {
        made(scope, dir(&string(&args[0])).into_bytes())
    }),
    takes("clean", TEXT, |scope, args| {
        made(scope, clean(&string(&args[0])).into_bytes())
    }),
    takes("osClean", TEXT, |scope, args| {
        made(scope, clean(&string(&args[0])).into_bytes())
    }),
    takes("ext", TEXT, |_, args| Ok(Value::from(ext(&string(&args[0]))))),
    takes("osExt", TEXT, |_, args| Ok(Value::from(ext(&string(&args[0]))))),
    takes("isAbs", TEXT, |_, args| {
        Ok(Value::Bool(string(&args[0]).starts_with('/')))
    }),
    takes("osIsAbs", TEXT, |_, args| {
        Ok(Value::Bool(string(&args[0]).starts_with('/')))
    }),
];

fn base(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    match path.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed.rsplit('/').next().unwrap_or(trimmed),
    }
}

fn dir(path: &str) -> String {
    clean(path.rfind('/').map_or("", |at| &path[..=at]))
}

fn ext(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rfind('.').map_or("", |at| &name[at..])
}

/// The shortest path to the same place: no empty parts, no `.`, and `..` only in front.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}
