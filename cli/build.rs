//! How the binary is linked, and the charts that we ship put into it: a list of their files, as Rust text.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // Where the program lies at a fixed place, as Go's programs do, the tables of the API need no fixing up at every
        // start; that takes as long as rendering a small chart. Stack, heap and libraries keep their random places.
        link_with("-no-pie");
        if is_own() {
            if let Some(folder) = folder_of_unwinder() {
                println!("cargo::rustc-link-search=native={}", folder.display());
                println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
            }
            order_functions();
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

fn link_with(option: &str) {
    println!("cargo::rustc-link-arg-bin=tug={option}");
}

/// Whether the program is made for the machine that makes it, and for C's library of GNU: else what is tried out here says
/// nothing about it.
fn is_own() -> bool {
    std::env::var_os("HOST") == std::env::var_os("TARGET")
        && std::env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("gnu")
}

/// Where the compiler of C has the library that unwinds stacks in a form to be put into the binary: to load it with each
/// start takes a tenth of rendering a small chart. `None` where it has none: it is loaded then.
fn folder_of_unwinder() -> Option<PathBuf> {
    let asked = Command::new("cc")
        .arg("-print-file-name=libgcc_eh.a")
        .output()
        .ok()?;
    let path = PathBuf::from(String::from_utf8(asked.stdout).ok()?.trim());
    // The name alone comes back where there is none.
    path.is_absolute().then(|| path.parent().map(Path::to_owned))?
}

/// Puts the functions side by side that commands which compute and end call.
///
/// Of a program of 60 MB they are 2, spread over all of it: to fetch them page by page takes a quarter of rendering a small
/// chart, and a third of its memory. `scripts/order-functions.sh` makes the list; names in it that are gone do no harm.
fn order_functions() {
    println!("cargo::rerun-if-changed=functions.order");
    println!("cargo::rerun-if-env-changed=TUG_KEEP_SYMBOLS");
    if std::env::var_os("TUG_KEEP_SYMBOLS").is_some() {
        // As the last word on it; by a flag of the compiler they would be other names.
        link_with("-Wl,--strip-debug");
    }
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return;
    }
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the crate is");
    let options = [
        format!("-Wl,--symbol-ordering-file={folder}/functions.order"),
        "-Wl,--no-warn-symbol-ordering".to_owned(),
    ];
    // Not every linker can do it.
    if links_with(&options).unwrap_or(false) {
        options.iter().for_each(|option| link_with(option));
        link_with(&format!("-Wl,@{}", imports_first(&folder).display()));
    }
}

/// Options by which what is imported from C's library lies side by side in the table of addresses, as a file for the linker:
/// the names that it is told of first come first. Each start fills these addresses in, and each page that they lie on is
/// copied for it; elsewhere they are on sixteen. `scripts/order-functions.sh` makes the list; names in it that are gone do no
/// harm.
fn imports_first(folder: &str) -> PathBuf {
    println!("cargo::rerun-if-changed=imports.order");
    let list = fs::read_to_string(Path::new(folder).join("imports.order")).expect("the list is there");
    let names = list.lines().filter(|line| !line.starts_with('#'));
    let options: String = names.map(|name| format!("-u {name}\n")).collect();
    let out = std::env::var_os("OUT_DIR").expect("cargo says where to write");
    let path = Path::new(&out).join("imports.options");
    fs::write(&path, options).expect("the folder of outputs can be written");
    path
}

/// Whether the linker that will be used takes these options: a program of nothing is linked with them.
fn links_with(options: &[String]) -> Option<bool> {
    let folder = PathBuf::from(std::env::var_os("OUT_DIR")?);
    let source = folder.join("nothing.rs");
    fs::write(&source, "fn main() {}\n").ok()?;
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let linker = std::env::var("RUSTC_LINKER").map(|linker| format!("-Clinker={linker}"));
    let tried = Command::new(std::env::var_os("RUSTC")?)
        .args(flags.split('\x1f').filter(|flag| !flag.is_empty()))
        .args(linker)
        .args(options.iter().map(|option| format!("-Clink-arg={option}")))
        .arg("-o")
        .arg(folder.join("nothing"))
        .arg(&source)
        .output();
    Some(tried.ok()?.status.success())
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
