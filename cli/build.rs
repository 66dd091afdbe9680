//! How the binary is linked, and the charts that we ship put into it: a list of their files, as Rust text.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Where the program lies at a fixed place, as Go's programs do, the tables of the API need no fixing up at every
    // start; that takes as long as rendering a small chart. Stack, heap and libraries keep their random places.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg-bin=tug=-no-pie");
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
