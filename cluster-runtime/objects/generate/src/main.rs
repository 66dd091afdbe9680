//! Writes the schema of the served types; see README.md.

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
    let sources = crate_sources(here)?;
    let mut types = types::Types::default();
    let mut files = Vec::new();
    rust_files(&sources.join("src").join(VERSION), &mut files)?;
    files.sort();
    for file in &files {
        let text = fs::read_to_string(file)?;
        types
            .read(&text)
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    types.name_keys()?;
    types.correct(&fs::read_to_string(here.join("corrections.txt"))?)?;
    let text = types.write(&fs::read_to_string(here.join("kinds.txt"))?)?;
    let target = here.join("../src/schema/types.txt");
    fs::write(&target, &text)?;
    eprintln!(
        "{}: {} lines, {} bytes",
        target.display(),
        text.lines().count(),
        text.len()
    );
    Ok(())
}

/// Where cargo keeps the sources of the crate that the workspace is locked to.
fn crate_sources(here: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let manifest = here.join("../../../Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--manifest-path"])
        .arg(manifest)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"]
        .as_array()
        .ok_or("cargo metadata lists no packages")?;
    let package = packages
        .iter()
        .find(|package| package["name"] == "k8s-openapi")
        .ok_or("the workspace does not depend on k8s-openapi")?;
    let manifest = package["manifest_path"]
        .as_str()
        .ok_or("k8s-openapi has no manifest path")?;
    Ok(Path::new(manifest)
        .parent()
        .ok_or("the manifest has no folder")?
        .to_owned())
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
