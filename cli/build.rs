//! How the binary is linked, and the charts that we ship put into it: a list of their files, as Rust text.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Where the program lies at a fixed place, as Go's programs do, the tables of the API need no fixing up at every
    // start; that takes as long as rendering a small chart. Stack, heap and libraries keep their random places.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg-bin=tug=-no-pie");
        if let Some(folder) = folder_of_unwinder() {
            println!("cargo::rustc-link-search=native={}", folder.display());
            println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
        }
    }
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the crate is");
    let charts = Path::new(&manifest).join("../charts");
    println!("cargo::rerun-if-changed={}", charts.display());
    let mut text = String::from("&[\n");
    for chart in entries(&charts) {
        if !chart.join("Chart.yaml").is_file() {
            continue;
        }
        text.push_str("    &[\n");
        add(&chart, &chart, &mut text);
        text.push_str("    ],\n");
    }
    text.push(']');
    let out = std::env::var_os("OUT_DIR").expect("cargo says where to write");
    fs::write(Path::new(&out).join("bundled_charts.rs"), text).expect("the folder of outputs can be written");
}

/// Where the compiler of C has the library that unwinds stacks in a form to be put into the binary: to load it with each
/// start takes a tenth of rendering a small chart. `None` where it has none, as in cross compilation: it is loaded then.
fn folder_of_unwinder() -> Option<PathBuf> {
    let is_own = std::env::var_os("HOST") == std::env::var_os("TARGET");
    if !is_own || std::env::var("CARGO_CFG_TARGET_ENV").as_deref() != Ok("gnu") {
        return None;
    }
    let asked = Command::new("cc")
        .arg("-print-file-name=libgcc_eh.a")
        .output()
        .ok()?;
    let path = PathBuf::from(String::from_utf8(asked.stdout).ok()?.trim());
    // The name alone comes back where there is none.
    path.is_absolute().then(|| path.parent().map(Path::to_owned))?
}

/// Adds the files below a folder.
fn add(chart: &Path, folder: &Path, text: &mut String) {
    for path in entries(folder) {
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            add(chart, &path, text);
            continue;
        }
        let name = path.strip_prefix(chart).expect("it is below");
        let full = fs::canonicalize(&path).expect("it exists");
        writeln!(
            text,
            "        ({:?}, include_bytes!({:?})),",
            name.display().to_string(),
            full
        )
        .expect("a text grows");
    }
}

/// What is in a folder, in the order of the names.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let list = fs::read_dir(folder).expect("the folder of charts is there");
    let mut paths: Vec<PathBuf> = list.map(|entry| entry.expect("it can be read").path()).collect();
    paths.sort();
    paths
}
