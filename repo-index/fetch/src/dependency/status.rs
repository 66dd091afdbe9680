//! What of the wished dependencies is there.

use std::path::Path;

use chart_model::{Chart, Dependency, LoadChartError};
use chart_values::constraint::{Constraint, Version};

/// Whether a dependency is there, in Helm's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependencyStatus {
    /// The wish.
    pub name: String,
    /// The wished version.
    pub version: String,
    /// Where it should come from.
    pub repository: String,
    /// `ok`, `unpacked`, `missing`, `wrong version`, ...
    pub status: String,
}

/// Looks which dependencies of the chart in a folder or archive are there. Gives the names of files in `charts/` that
/// nothing asks for as well.
pub fn dependency_statuses(path: &Path, chart: &Chart) -> (Vec<DependencyStatus>, Vec<String>) {
    let wishes = &chart.metadata.dependencies;
    let statuses = wishes.iter().map(|wish| DependencyStatus {
        name: wish.name.clone(),
        version: wish.version.clone(),
        repository: wish.repository.clone(),
        status: status(path, chart, wish),
    });
    let mut strangers: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(path.join("charts"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let file = entry.path();
        if !(file.is_dir() || file.extension().is_some_and(|end| end == "tgz")) {
            continue;
        }
        if let Ok(found) = Chart::load(&file)
            && !wishes.iter().any(|wish| wish.name == found.name())
        {
            strangers.push(file.display().to_string());
        }
    }
    strangers.sort();
    (statuses.collect(), strangers)
}

fn status(path: &Path, parent: &Chart, wish: &Dependency) -> String {
    let folder = path.join("charts");
    let archives: Vec<_> = std::fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            // `web-*.tgz` is an archive of `web` if a version follows.
            let rest = name.strip_prefix(&format!("{}-", wish.name));
            let version = rest.and_then(|rest| rest.strip_suffix(".tgz"));
            version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit() || c == 'v'))
        })
        .collect();
    match archives.as_slice() {
        [] => {}
        [archive] => return status_of(Chart::load(archive), wish, "ok", "corrupt"),
        several => {
            // Helm gives up here; the version says which one is meant.
            let fits = several
                .iter()
                .any(|archive| status_of(Chart::load(archive), wish, "ok", "corrupt") == "ok");
            return if fits { "ok" } else { "too many matches" }.to_owned();
        }
    }
    let unpacked = folder.join(&wish.name);
    if unpacked.is_dir() {
        return status_of(Chart::load(&unpacked), wish, "unpacked", "mispackaged");
    }
    if unpacked.exists() {
        return "mispackaged".to_owned();
    }
    let inside = parent.dependencies.iter().any(|chart| chart.name() == wish.name);
    if inside && path.is_file() {
        "unpacked"
    } else {
        "missing"
    }
    .to_owned()
}

fn status_of(chart: Result<Chart, LoadChartError>, wish: &Dependency, good: &str, broken: &str) -> String {
    let Ok(chart) = chart else {
        return broken.to_owned();
    };
    if chart.name() != wish.name {
        return "misnamed".to_owned();
    }
    let version = &chart.metadata.version;
    if *version == wish.version {
        return good.to_owned();
    }
    let word = match (wish.version.parse::<Constraint>(), version.parse::<Version>()) {
        (Err(_), _) => "invalid version",
        (_, Err(_)) => "invalid version",
        (Ok(constraint), Ok(version)) if constraint.allows(&version) => good,
        _ => "wrong version",
    };
    word.to_owned()
}
