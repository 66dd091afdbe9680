//! Where a dependency comes from.

use std::path::{Component, Path, PathBuf};

use chart_model::Dependency;
use repo_index::check_chart_name;
use repo_index::resolve::{ChartKey, Requirement};

use super::error::DependencyError;
use crate::repositories::Repositories;

/// Where a dependency comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// It is in `charts/` of its parent already.
    Vendored(PathBuf),
    /// A folder, or a folder in which a chart of the name is.
    Folder(PathBuf),
    /// A repository by its address.
    Repository(String),
    /// A place in a registry, above the chart.
    Registry(String),
    /// The repository in the program itself.
    Builtin,
}

const VENDORED: &str = "charts:";
const FOLDER: &str = "file://";
const BUILTIN: &str = "@builtin";

impl Source {
    /// Reads the field `repository` of a dependency of the chart in `folder`. Names of repositories become addresses.
    pub(super) fn of(
        wish: &Dependency,
        folder: &Path,
        repositories: &Repositories,
        builtin: Option<&str>,
    ) -> Result<Self, DependencyError> {
        check_chart_name(&wish.name)?;
        let repository = wish.repository.as_str();
        if repository.is_empty() {
            return Ok(Self::Vendored(folder.to_owned()));
        }
        if let Some(path) = repository.strip_prefix(FOLDER) {
            let path = Path::new(path);
            return Ok(Self::Folder(plain(&folder.join(path))));
        }
        let name = repository
            .strip_prefix('@')
            .or_else(|| repository.strip_prefix("alias:"));
        if let Some(name) = name {
            return match repositories.get(name) {
                Some(known) if known.url.starts_with("oci://") => Ok(Self::Registry(known.url.clone())),
                Some(known) => Ok(Self::Repository(known.url.clone())),
                None if builtin == Some(name) => Ok(Self::Builtin),
                None => Err(DependencyError::NoRepository(repository.to_owned())),
            };
        }
        if repository.starts_with("oci://") {
            return Ok(Self::Registry(repository.trim_end_matches('/').to_owned()));
        }
        if repository.starts_with("http://") || repository.starts_with("https://") {
            return Ok(Self::Repository(repository.trim_end_matches('/').to_owned()));
        }
        Err(DependencyError::Repository {
            name: wish.name.clone(),
            repository: repository.to_owned(),
        })
    }

    /// The source in the form that the resolver compares.
    pub(super) fn key(&self, name: &str) -> ChartKey {
        let source = match self {
            Self::Vendored(folder) => format!("{VENDORED}{}", folder.display()),
            Self::Folder(folder) => format!("{FOLDER}{}", folder.display()),
            Self::Repository(url) | Self::Registry(url) => url.clone(),
            Self::Builtin => BUILTIN.to_owned(),
        };
        ChartKey {
            source,
            name: name.to_owned(),
        }
    }

    /// The other way round.
    pub(super) fn from_key(key: &ChartKey) -> Self {
        let source = key.source.as_str();
        if let Some(folder) = source.strip_prefix(VENDORED) {
            Self::Vendored(folder.into())
        } else if let Some(folder) = source.strip_prefix(FOLDER) {
            Self::Folder(folder.into())
        } else if source.starts_with("oci://") {
            Self::Registry(source.to_owned())
        } else if source == BUILTIN {
            Self::Builtin
        } else {
            Self::Repository(source.to_owned())
        }
    }
}

/// What a dependency asks of the resolver.
pub(super) fn requirement(
    wish: &Dependency,
    folder: &Path,
    repositories: &Repositories,
    builtin: Option<&str>,
) -> Result<Requirement, DependencyError> {
    let source = Source::of(wish, folder, repositories, builtin)?;
    Ok(Requirement {
        chart: source.key(&wish.name),
        constraint: wish.version.clone(),
    })
}

/// The path without `.` and `..`, as far as they can be told without asking the file system.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(plain.components().next_back(), Some(Component::Normal(_))) => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}
