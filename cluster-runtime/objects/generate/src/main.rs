//! Writes the schema of the served types; see README.md.

mod numbers;
mod rust_source;
mod types;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folder of the Kubernetes version inside the crate.
const VERSION: &str = "v1_37";

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = crate_sources(&here.join("../../../Cargo.toml"), "k8s-openapi")?;
    let mut types = types::Types::default();
    let mut files = Vec::new();
    rust_files(&sources.join("src").join(VERSION), &mut files)?;
    files.sort();
    for file in &files {
        let text = fs::read_to_string(file)?;
        types.read(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    types.name_keys()?;
    types.correct(&fs::read_to_string(here.join("corrections.txt"))?)?;
    let text = types.write(&fs::read_to_string(here.join("kinds.txt"))?)?;
    let target = here.join("../src/schema/types.txt");
    fs::write(&target, &text)?;
    eprintln!("{}: {} lines, {} bytes", target.display(), text.lines().count(), text.len());
    write_numbers(here, &text)
}

fn write_numbers(here: &Path, types: &str) -> Result<(), Box<dyn Error>> {
    let root = crate_sources(&here.join("Cargo.toml"), "k8s-pb")?.join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files)?;
    let (text, missing) = numbers::Numbers::read(&root, &files)?.write(types);
    let target = here.join("../src/protobuf/numbers.txt");
    fs::write(&target, &text)?;
    eprintln!("{}: {} lines, {} bytes", target.display(), text.lines().count(), text.len());
    eprintln!("without a number: {}", missing.join(", "));
    Ok(())
}

/// Where cargo keeps the sources of a crate that a manifest is locked to.
fn crate_sources(manifest: &Path, name: &str) -> Result<PathBuf, Box<dyn Error>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--manifest-path"])
        .arg(manifest)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    let package = packages.iter().find(|package| package["name"] == name);
    let package = package.ok_or_else(|| format!("`{}` does not depend on {name}", manifest.display()))?;
    let manifest = package["manifest_path"].as_str().ok_or("a package has a manifest path")?;
    Ok(Path::new(manifest).parent().ok_or("the manifest has no folder")?.to_owned())
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
