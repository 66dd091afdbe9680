//! Which files a project is made of, its variables, and its name.

use std::path::{Path, PathBuf};

use crate::error::Fault;
use crate::interpolate::Environment;
use crate::node::{Node, Place};
use crate::options::Options;
use crate::paths::absolute;
use crate::reader::{Faults, Reader, unset};
use crate::template::{Lookup, substitute};

const NAMES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];
const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// What a project is made of.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Absolute paths, or `-`.
    pub(crate) files: Vec<String>,
    pub(crate) folder: PathBuf,
    pub(crate) environment: Environment,
    pub(crate) profiles: Vec<String>,
}

/// Finds the files, the folder and the variables.
pub(crate) fn find(options: &Options, reader: &mut Reader<'_>) -> Result<Found, Faults> {
    let mut environment = options.environment.clone();
    let mut files: Vec<String> = options.files.clone();
    let folder = |files: &[String]| -> PathBuf {
        match (&options.project_directory, files.iter().find(|file| *file != "-")) {
            (Some(directory), _) => absolute(&options.current_dir, directory),
            (None, Some(first)) => {
                let first = absolute(&options.current_dir, first);
                first.parent().unwrap_or(Path::new("/")).to_owned()
            }
            (None, None) => options.current_dir.clone(),
        }
    };
    // A `.env` here may say which files; one in the project's folder may say more.
    read_env_files(options, &folder(&files), &mut environment, reader)?;
    if files.is_empty()
        && let Some(listed) = environment
            .get("COMPOSE_FILE")
            .filter(|listed| !listed.is_empty())
    {
        let separator = environment
            .get("COMPOSE_PATH_SEPARATOR")
            .map(String::as_str)
            .filter(|separator| !separator.is_empty())
            .unwrap_or(":");
        files = listed.split(separator).map(str::to_owned).collect();
    }
    if files.is_empty() {
        files = usual_files(&folder(&files), reader);
    }
    if files.is_empty() {
        return Err(vec![
            Fault::new("no configuration file provided: not found")
                .with_hint("`-f FILE` names one; usual names are compose.yaml and docker-compose.yml"),
        ]);
    }
    let folder = folder(&files);
    read_env_files(options, &folder, &mut environment, reader)?;
    let files = files
        .into_iter()
        .map(|file| match file.as_str() {
            "-" => file,
            file => absolute(&options.current_dir, file)
                .to_string_lossy()
                .into_owned(),
        })
        .collect();
    let profiles = if options.profiles.is_empty() {
        environment
            .get("COMPOSE_PROFILES")
            .map(|listed| {
                listed
                    .split(',')
                    .map(str::trim)
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
                    .collect()
            })
            .unwrap_or_default()
    } else {
        options.profiles.clone()
    };
    Ok(Found {
        files,
        folder,
        environment,
        profiles,
    })
}

/// The files of usual names in a folder, or in the nearest one above that has any.
fn usual_files(folder: &Path, reader: &mut Reader<'_>) -> Vec<String> {
    for folder in folder.ancestors() {
        let there = |names: &[&str]| -> Vec<String> {
            names
                .iter()
                .map(|name| folder.join(name))
                .filter(|path| reader.files.is_file(path))
                .map(|path| path.to_string_lossy().into_owned())
                .collect()
        };
        let found = there(&NAMES);
        let Some(first) = found.first() else { continue };
        let overrides = there(&OVERRIDES);
        for (names, kind) in [(&found, "config"), (&overrides, "override")] {
            if names.len() > 1 {
                reader.warn(
                    format!(
                        "Found multiple {kind} files with supported names: {}",
                        names.join(", ")
                    ),
                    Place::default(),
                );
                reader.warn(format!("Using {}", names[0]), Place::default());
            }
        }
        let mut files = vec![first.clone()];
        files.extend(overrides.first().cloned());
        return files;
    }
    Vec::new()
}

/// Adds the variables of `.env` files that are not set yet.
fn read_env_files(
    options: &Options,
    folder: &Path,
    environment: &mut Environment,
    reader: &mut Reader<'_>,
) -> Result<(), Faults> {
    let named = |path: &str| absolute(&options.current_dir, path);
    let paths: Vec<PathBuf> = if !options.env_files.is_empty() {
        options.env_files.iter().map(|path| named(path)).collect()
    } else if let Some(listed) = environment
        .get("COMPOSE_ENV_FILES")
        .filter(|listed| !listed.is_empty())
    {
        listed.split(',').map(named).collect()
    } else if is_true(environment.get("COMPOSE_DISABLE_ENV_FILE")) {
        Vec::new()
    } else {
        let usual = folder.join(".env");
        if reader.files.is_file(&usual) {
            vec![usual]
        } else {
            Vec::new()
        }
    };
    let read = reader
        .env_files(&paths, environment)
        .map_err(|fault| vec![fault])?;
    for (key, value) in read {
        environment.entry(key).or_insert(value);
    }
    Ok(())
}

fn is_true(value: Option<&String>) -> bool {
    value.is_some_and(|value| matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"))
}

/// The name of the project: as told, else by the environment, else by the last file that has one, else by the folder.
pub(crate) fn project_name(
    options: &Options,
    found: &Found,
    reader: &mut Reader<'_>,
) -> Result<String, Faults> {
    let told = options
        .project_name
        .clone()
        .or_else(|| found.environment.get("COMPOSE_PROJECT_NAME").cloned())
        .filter(|name| !name.is_empty());
    if let Some(name) = told {
        if normal_name(&name) != name {
            let normal = normal_name(&name);
            let mut fault = Fault::new(format!(
                "invalid project name {name:?}: must consist only of lowercase alphanumeric characters, hyphens, and underscores as well as start with a letter or number"
            ));
            if !normal.is_empty() {
                fault = fault.with_hint(format!("`-p {normal}` would do"));
            }
            return Err(vec![fault]);
        }
        return Ok(name);
    }
    let mut named = None;
    for file in &found.files {
        let documents = reader.documents(file)?;
        for document in &documents {
            if let Some(name) = document.root.get("name")
                && let Some(text) = name.as_str().filter(|text| !text.is_empty())
            {
                named = Some((text.to_owned(), name.at));
            }
        }
        reader.read_before.insert(file.clone(), documents);
    }
    if let Some((text, at)) = named {
        let text = if reader.interpolate {
            let mut variables = Variables {
                environment: &found.environment,
                unset: Vec::new(),
            };
            let filled = substitute(&text, &mut variables);
            for name in variables.unset {
                reader.warn(unset(&name), at);
            }
            // What is wrong with the text is told when the whole file is read.
            filled.unwrap_or_default()
        } else {
            text
        };
        let name = normal_name(&text);
        if !name.is_empty() {
            return Ok(name);
        }
    }
    let base = found.folder.file_name().unwrap_or_default().to_string_lossy();
    let name = normal_name(&base);
    if name.is_empty() {
        return Err(vec![
            Fault::new("project name must not be empty").with_hint("`-p NAME` gives one"),
        ]);
    }
    Ok(name)
}

struct Variables<'a> {
    environment: &'a Environment,
    unset: Vec<String>,
}

impl Lookup for Variables<'_> {
    fn value(&mut self, name: &str) -> Option<String> {
        self.environment.get(name).cloned()
    }

    fn unset(&mut self, name: &str) {
        self.unset.push(name.to_owned());
    }
}

/// A name in small letters, digits, `-` and `_`, without what may not start it.
fn normal_name(name: &str) -> String {
    let kept: String = name
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
        .collect();
    kept.trim_start_matches(['-', '_']).to_owned()
}

/// Whether the root has nothing in it.
pub(crate) fn is_empty(root: &Node) -> bool {
    root.as_map().is_none_or(std::collections::BTreeMap::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised() {
        for (name, wanted) in [("My.Project_1", "myproject_1"), ("_-a", "a"), ("é", "")] {
            assert_eq!(normal_name(name), wanted);
        }
    }
}
