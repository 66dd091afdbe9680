//! A name, tag, file or digest that is taken stays in its folder and reads back the same.

#![no_main]

use std::fmt::Display;
use std::path::{Component, Path};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;

// The server's own files: the whole server would take long to build and is not needed.
#[allow(dead_code, reason = "the target uses a part of the file")]
#[path = "../../../../repo-index/serve/src/digest.rs"]
mod digest;
#[allow(dead_code, reason = "the target uses a part of the file")]
#[path = "../../../../repo-index/serve/src/name.rs"]
mod name;

use digest::Digest;
use name::{FileName, RepositoryName, Tag, Tenant};

fuzz_target!(|text: &str| {
    check::<RepositoryName>(text);
    check::<Tenant>(text);
    check::<FileName>(text);
    check::<Tag>(text);
    check::<Digest>(text);
});

fn check<T: FromStr + Display>(text: &str) {
    let Ok(name) = text.parse::<T>() else { return };
    let name = name.to_string();
    assert_eq!(name, text);
    assert!(!name.contains(['\0', '\\', '\n']));
    let mut parts = Path::new(&name).components();
    assert!(parts.all(|part| matches!(part, Component::Normal(part) if !part.to_string_lossy().starts_with(['.', '-']))));
}
