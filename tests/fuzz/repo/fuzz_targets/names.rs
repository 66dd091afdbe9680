//! A name, tag, file or digest that is taken stays in its folder and reads back the same.

#![no_main]

use std::fmt::Display;
use std::path::{Component, Path};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use repo_serve::{Digest, FileName, RepositoryName, Tag, Tenant};

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
