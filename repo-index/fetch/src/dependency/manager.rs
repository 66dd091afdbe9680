//! Getting the dependencies of a chart into its `charts/` folder.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chart_model::{Chart, Dependency, File, LockedDependency, package};
use futures::{StreamExt, TryStreamExt, stream};
use repo_index::resolve::{
    ChartKey, Chosen, Knowledge, Outcome, Question, Requirement, ResolveOptions, resolve,
};
use repo_index::{ChartLock, Digest, LockedArtifact, OciReference, lock_digest};
use tokio::sync::Mutex;

use super::error::DependencyError;
use super::source::{Source, requirement};
use crate::atomic_file::write_atomic;
use crate::fetcher::{FetchError, Fetched, Fetcher, Wish};
use crate::index_cache::CachedIndex;
use crate::repositories::Repositories;
use crate::repository::Freshness;

/// Servers that are asked at once.
const PARALLEL: usize = 8;

/// Gets the dependencies of a chart.
pub struct DependencyManager<'f, 'o> {
    fetcher: &'f Fetcher<'o>,
    /// The chart's folder, absolute.
    folder: PathBuf,
    /// Rules of the resolver.
    pub options: ResolveOptions,
    /// Indexes that were kept are good enough.
    pub skip_refresh: bool,
    /// Provenance files are wanted too.
    pub provenance: bool,
    /// The time that charts packed from folders get, in seconds of the epoch.
    pub build_time: u64,
    repositories: Repositories,
    indexes: Mutex<HashMap<String, CachedIndex>>,
    archives: Mutex<HashMap<(ChartKey, String), Archive>>,
}

/// An archive of a dependency.
#[derive(Debug, Clone)]
struct Archive {
    bytes: Bytes,
    provenance: Option<Bytes>,
    file_name: String,
    /// Where it came from; none if it was packed from a folder.
    source: Option<String>,
}

/// What was got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Updated {
    /// The direct dependencies: name, version, and where it came from.
    pub charts: Vec<(String, String, String)>,
    /// Files that were in `charts/` and are not wanted any more.
    pub removed: Vec<String>,
    /// The lock is another one than before.
    pub lock_changed: bool,
    /// The archives with their provenance files, where these were wanted.
    pub provenance: Vec<(String, Bytes, Bytes)>,
}

impl<'f, 'o> DependencyManager<'f, 'o> {
    /// For the chart in a folder.
    pub fn new(fetcher: &'f Fetcher<'o>, folder: &Path) -> Result<Self, DependencyError> {
        let folder = fs::canonicalize(folder).map_err(|source| DependencyError::File {
            act: "find",
            path: folder.to_owned(),
            source,
        })?;
        Ok(Self {
            repositories: fetcher.repositories()?,
            fetcher,
            folder,
            options: ResolveOptions::default(),
            skip_refresh: false,
            provenance: false,
            build_time: 0,
            indexes: Mutex::default(),
            archives: Mutex::default(),
        })
    }

    /// Resolves the wishes anew, gets the charts and writes the lock. `now` is RFC 3339.
    pub async fn update(&self, now: &str) -> Result<Updated, DependencyError> {
        let chart = self.load_root()?;
        let wishes = &chart.metadata.dependencies;
        if wishes.is_empty() {
            return Ok(Updated::default());
        }
        let root = self.requirements(wishes, &self.folder)?;
        let tree = self.resolve(&root).await?;
        let locked: Vec<LockedDependency> = wishes
            .iter()
            .zip(&tree)
            .map(|(wish, chosen)| LockedDependency {
                name: wish.name.clone(),
                version: chosen.version.clone(),
                repository: self.written_repository(wish),
            })
            .collect();
        let digest = lock_digest(&self.written_wishes(wishes), &locked);
        let artifacts = self.artifacts(&tree).await?;
        let mut updated = self.install(&tree, None).await?;
        let old = self.read_lock(&chart)?;
        let (file, path) = self.lock_file(&chart);
        let generated = match &old {
            // As with Helm, the same lock stays as it is.
            Some(old) if old.digest == digest && old.artifacts == artifacts => return Ok(updated),
            _ => now.to_owned(),
        };
        let lock = ChartLock {
            dependencies: locked,
            digest,
            generated,
            artifacts,
        };
        tracing::debug!(file, "the lock changes");
        updated.lock_changed = true;
        self.write(&path, lock.write()?.as_bytes())?;
        Ok(updated)
    }

    /// Gets exactly what the lock says; without a lock, as [`Self::update`].
    pub async fn build(&self, now: &str) -> Result<Updated, DependencyError> {
        let chart = self.load_root()?;
        let Some(lock) = self.read_lock(&chart)? else {
            return self.update(now).await;
        };
        let wishes = &chart.metadata.dependencies;
        if !lock.fits(&self.written_wishes(wishes)) || lock.dependencies.len() != wishes.len() {
            let (file, _) = self.lock_file(&chart);
            return Err(DependencyError::OutOfSync { file });
        }
        let mut root = self.requirements(wishes, &self.folder)?;
        for (requirement, locked) in root.iter_mut().zip(&lock.dependencies) {
            requirement.constraint.clone_from(&locked.version);
        }
        let tree = self.resolve_locked(&root, &lock).await?;
        self.install(&tree, Some(&lock)).await
    }

    fn load_root(&self) -> Result<Chart, DependencyError> {
        // What else is in the folder may be broken, as archives in `charts/` that are about to be replaced.
        let mut files = Vec::new();
        for name in ["Chart.yaml", "requirements.yaml"] {
            let path = self.folder.join(name);
            match fs::read(&path) {
                Ok(data) => files.push(File {
                    name: name.to_owned(),
                    data: data.into(),
                }),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(DependencyError::File {
                        act: "read",
                        path,
                        source,
                    });
                }
            }
        }
        Ok(Chart::from_files(files)?)
    }

    fn requirements(
        &self,
        wishes: &[Dependency],
        folder: &Path,
    ) -> Result<Vec<Requirement>, DependencyError> {
        let builtin = self.fetcher.builtin().map(|builtin| builtin.name);
        wishes
            .iter()
            .map(|wish| requirement(wish, folder, &self.repositories, builtin))
            .collect()
    }

    /// The field `repository` as it enters the lock: names of repositories become addresses.
    fn written_repository(&self, wish: &Dependency) -> String {
        let name = wish
            .repository
            .strip_prefix('@')
            .or_else(|| wish.repository.strip_prefix("alias:"));
        match name.and_then(|name| self.repositories.get(name)) {
            Some(known) => known.url.clone(),
            None => wish.repository.clone(),
        }
    }

    fn written_wishes(&self, wishes: &[Dependency]) -> Vec<Dependency> {
        wishes
            .iter()
            .map(|wish| Dependency {
                repository: self.written_repository(wish),
                ..wish.clone()
            })
            .collect()
    }

    fn lock_file(&self, chart: &Chart) -> (&'static str, PathBuf) {
        let file = if chart.metadata.api_version == "v1" {
            "requirements.lock"
        } else {
            "Chart.lock"
        };
        (file, self.folder.join(file))
    }

    fn read_lock(&self, chart: &Chart) -> Result<Option<ChartLock>, DependencyError> {
        let (_, path) = self.lock_file(chart);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(DependencyError::File {
                    act: "read",
                    path,
                    source,
                });
            }
        };
        match ChartLock::read(&text) {
            Ok(lock) => Ok(Some(lock)),
            Err(source) => Err(DependencyError::Lock { path, source }),
        }
    }

    async fn resolve(&self, root: &[Requirement]) -> Result<Vec<Chosen>, DependencyError> {
        self.resolve_from(root, Knowledge::default()).await
    }

    /// As resolving, but only the versions in the lock are known to exist.
    async fn resolve_locked(
        &self,
        root: &[Requirement],
        lock: &ChartLock,
    ) -> Result<Vec<Chosen>, DependencyError> {
        let mut knowledge = Knowledge::default();
        let mut versions: BTreeMap<ChartKey, BTreeSet<String>> = BTreeMap::new();
        for requirement in root {
            let known = versions.entry(requirement.chart.clone()).or_default();
            known.insert(requirement.constraint.clone());
        }
        for artifact in &lock.artifacts {
            let name = last_name(&artifact.path);
            let key = ChartKey {
                source: artifact.repository.clone(),
                name: name.to_owned(),
            };
            // Sources of folders are absolute here and relative in the lock; those are asked again.
            if matches!(
                Source::from_key(&key),
                Source::Repository(_) | Source::Registry(_)
            ) {
                versions.entry(key).or_default().insert(artifact.version.clone());
            }
        }
        for (chart, known) in versions {
            if !matches!(Source::from_key(&chart), Source::Folder(_) | Source::Vendored(_)) {
                knowledge.set_versions(chart, known.into_iter().collect());
            }
        }
        self.resolve_from(root, knowledge).await
    }

    async fn resolve_from(
        &self,
        root: &[Requirement],
        mut knowledge: Knowledge,
    ) -> Result<Vec<Chosen>, DependencyError> {
        loop {
            let questions = match resolve(root, &knowledge, self.options)? {
                Outcome::Solved(tree) => return Ok(tree),
                Outcome::Ask(questions) => questions,
            };
            let answers = stream::iter(questions).map(|question| self.answer(question));
            let answers: Vec<Answer> = answers.buffered(PARALLEL).try_collect().await?;
            for answer in answers {
                match answer {
                    Answer::Versions(chart, versions) => knowledge.set_versions(chart, versions),
                    Answer::Requirements(chart, version, needs) => {
                        knowledge.set_requirements(chart, version, needs);
                    }
                }
            }
        }
    }

    async fn answer(&self, question: Question) -> Result<Answer, DependencyError> {
        match question {
            Question::Versions(chart) => {
                let versions = self.versions(&chart).await?;
                Ok(Answer::Versions(chart, versions))
            }
            Question::Requirements(chart, version) => {
                let needs = self.needs(&chart, &version).await?;
                Ok(Answer::Requirements(chart, version, needs))
            }
        }
    }

    async fn versions(&self, key: &ChartKey) -> Result<Vec<String>, DependencyError> {
        match Source::from_key(key) {
            Source::Vendored(folder) => Ok(vendored(&folder, &key.name)
                .into_iter()
                .map(|(_, chart)| chart.metadata.version)
                .collect()),
            Source::Folder(folder) => Ok(vec![load_folder(&folder)?.metadata.version]),
            Source::Builtin => {
                let builtin = self.fetcher.builtin();
                let versions = builtin.map(|builtin| builtin.versions(&key.name));
                Ok(versions.unwrap_or_default())
            }
            Source::Repository(url) => {
                let index = self.index(&url).await?;
                let chart = index.chart(&key.name).unwrap_or_default();
                let versions = chart.versions.into_iter();
                Ok(versions.map(|version| version.version).collect())
            }
            Source::Registry(url) => {
                let place = place_in_registry(&url, &key.name)?;
                let registry = self.fetcher.registry()?;
                match registry.versions(&place).await {
                    Err(crate::registry::RegistryError::NotFound { .. }) => Ok(Vec::new()),
                    outcome => Ok(outcome.map_err(FetchError::from)?),
                }
            }
        }
    }

    async fn index(&self, url: &str) -> Result<CachedIndex, DependencyError> {
        // Held while the index comes, so that it is asked for once.
        let mut indexes = self.indexes.lock().await;
        if let Some(known) = indexes.get(url) {
            return Ok(known.clone());
        }
        let client = self.fetcher.repository_at(url)?;
        let freshness = if self.skip_refresh {
            Freshness::Kept
        } else {
            Freshness::Asked
        };
        let index = client.index(freshness, self.fetcher.observer()).await;
        let index = index.map_err(FetchError::from)?;
        indexes.insert(url.to_owned(), index.clone());
        Ok(index)
    }

    /// What a version of a chart needs and does not bring along.
    async fn needs(&self, key: &ChartKey, version: &str) -> Result<Vec<Requirement>, DependencyError> {
        let (chart, folder) = match Source::from_key(key) {
            Source::Folder(folder) => (load_folder(&folder)?, folder),
            Source::Vendored(_) => return Ok(Vec::new()),
            _ => {
                let archive = self.archive(key, version).await?;
                // Archives have no folder for `file://` to start from.
                (
                    load_archive(&archive, key, version)?,
                    PathBuf::from("/nonexistent"),
                )
            }
        };
        let missing: Vec<Dependency> = missing(&chart);
        self.requirements(&missing, &folder)
    }

    /// The archive of a version, fetched once.
    async fn archive(&self, key: &ChartKey, version: &str) -> Result<Archive, DependencyError> {
        let place = (key.clone(), version.to_owned());
        if let Some(known) = self.archives.lock().await.get(&place) {
            return Ok(known.clone());
        }
        let wish = Wish {
            version: version.to_owned(),
            provenance: self.provenance,
            ..Wish::default()
        };
        let fetched = match Source::from_key(key) {
            Source::Repository(url) => {
                let index = self.index(&url).await?;
                let client = self.fetcher.repository_at(&url)?;
                let chart = index.chart(&key.name).unwrap_or_default();
                let known = chart.versions.iter().find(|known| known.version == version);
                match known {
                    Some(known) => {
                        let got = client
                            .archive(&key.name, known, self.provenance, self.fetcher.observer())
                            .await;
                        let (source, archive, provenance) = got.map_err(FetchError::from)?;
                        Archive {
                            bytes: archive,
                            provenance,
                            file_name: format!("{}-{version}.tgz", key.name),
                            source: Some(source),
                        }
                    }
                    None => Archive::of(
                        self.fetcher
                            .fetch_from_repository(&client, &key.name, &wish, None)
                            .await?,
                    ),
                }
            }
            Source::Registry(url) => {
                let place = place_in_registry(&url, &key.name)?.with_version(version);
                Archive::of(
                    self.fetcher
                        .fetch_from_registry(
                            &place,
                            &Wish {
                                version: String::new(),
                                ..wish
                            },
                        )
                        .await?,
                )
            }
            Source::Builtin => {
                let name = self
                    .fetcher
                    .builtin()
                    .map(|builtin| builtin.name)
                    .unwrap_or_default();
                let reference = format!("{name}/{}", key.name);
                let reference = reference.parse()?;
                Archive::of(self.fetcher.fetch(&reference, &wish).await?)
            }
            Source::Folder(_) | Source::Vendored(_) => {
                return Err(DependencyError::Repository {
                    name: key.name.clone(),
                    repository: key.source.clone(),
                });
            }
        };
        self.archives.lock().await.insert(place, fetched.clone());
        Ok(fetched)
    }

    /// The archives of the tree with their digests, as the lock keeps them.
    async fn artifacts(&self, tree: &[Chosen]) -> Result<Vec<LockedArtifact>, DependencyError> {
        let mut artifacts = Vec::new();
        for (place, chosen) in tree.iter().enumerate() {
            let key = &chosen.requirement.chart;
            let (repository, digest) = match Source::from_key(key) {
                Source::Vendored(_) => continue,
                // The folder's place on this machine is nobody else's business.
                Source::Folder(_) => ("file://".to_owned(), None),
                _ => {
                    let archive = self.archive(key, &chosen.version).await?;
                    (key.source.clone(), Some(Digest::of(&archive.bytes)))
                }
            };
            artifacts.push(LockedArtifact {
                path: path_of(tree, place),
                repository,
                version: chosen.version.clone(),
                digest,
            });
        }
        artifacts.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(artifacts)
    }

    /// Gets every chart of the tree, and swaps them in when all are there.
    async fn install(&self, tree: &[Chosen], lock: Option<&ChartLock>) -> Result<Updated, DependencyError> {
        let remote = tree.iter().enumerate().filter(|(_, chosen)| {
            !matches!(
                Source::from_key(&chosen.requirement.chart),
                Source::Folder(_) | Source::Vendored(_)
            )
        });
        let gets = stream::iter(remote).map(|(place, chosen)| async move {
            let archive = self.archive(&chosen.requirement.chart, &chosen.version).await?;
            let path = path_of(tree, place);
            let locked = lock
                .and_then(|lock| lock.artifact(&path))
                .and_then(|artifact| artifact.digest);
            let found = Digest::of(&archive.bytes);
            match locked {
                Some(wanted) if wanted != found => Err(DependencyError::Changed {
                    path,
                    version: chosen.version.clone(),
                    wanted,
                    found,
                }),
                _ => Ok(()),
            }
        });
        let () = gets.buffer_unordered(PARALLEL).try_collect().await?;
        let mut files: BTreeMap<String, Bytes> = BTreeMap::new();
        let mut kept: BTreeSet<PathBuf> = BTreeSet::new();
        let mut updated = Updated::default();
        for (place, chosen) in tree
            .iter()
            .enumerate()
            .filter(|(_, chosen)| chosen.owner.is_none())
        {
            let key = &chosen.requirement.chart;
            let name = format!("{}-{}.tgz", key.name, chosen.version);
            let source = match Source::from_key(key) {
                Source::Vendored(folder) => {
                    let found = vendored(&folder, &key.name).into_iter();
                    let mut found = found.filter(|(_, chart)| chart.metadata.version == chosen.version);
                    kept.extend(found.next().map(|(path, _)| path));
                    "charts/".to_owned()
                }
                _ => {
                    let archive = self.assemble(tree, place).await?;
                    let provenance = archive.provenance.clone();
                    if let Some(provenance) = provenance.filter(|_| self.provenance) {
                        updated.provenance.push((
                            archive.file_name.clone(),
                            archive.bytes.clone(),
                            provenance,
                        ));
                    }
                    files.insert(name, archive.bytes);
                    archive.source.unwrap_or_else(|| key.source.clone())
                }
            };
            updated
                .charts
                .push((key.name.clone(), chosen.version.clone(), source));
        }
        updated.removed = self.swap(&files, &kept, tree)?;
        Ok(updated)
    }

    /// The archive of a chart of the tree with all that it needs in it.
    async fn assemble(&self, tree: &[Chosen], place: usize) -> Result<Archive, DependencyError> {
        let chosen = &tree[place];
        let key = &chosen.requirement.chart;
        let below: Vec<usize> = (0..tree.len())
            .filter(|other| tree[*other].owner == Some(place))
            .collect();
        let (mut chart, archive) = match Source::from_key(key) {
            Source::Folder(folder) => (load_folder(&folder)?, None),
            _ => {
                let archive = self.archive(key, &chosen.version).await?;
                if below.is_empty() {
                    // As it came, so that its digest and signature hold.
                    load_archive(&archive, key, &chosen.version)?;
                    return Ok(archive);
                }
                (load_archive(&archive, key, &chosen.version)?, Some(archive))
            }
        };
        for inner in below {
            if matches!(
                Source::from_key(&tree[inner].requirement.chart),
                Source::Vendored(_)
            ) {
                continue;
            }
            let inner = Box::pin(self.assemble(tree, inner)).await?;
            chart.dependencies.push(Chart::from_archive(&inner.bytes)?);
        }
        Ok(Archive {
            bytes: package(&chart, self.build_time)?.into(),
            provenance: None,
            file_name: format!("{}-{}.tgz", chart.name(), chart.metadata.version),
            source: archive.and_then(|archive| archive.source),
        })
    }

    /// Puts the new archives into `charts/` and takes away older archives of the same charts.
    fn swap(
        &self,
        files: &BTreeMap<String, Bytes>,
        kept: &BTreeSet<PathBuf>,
        tree: &[Chosen],
    ) -> Result<Vec<String>, DependencyError> {
        let charts = self.folder.join("charts");
        for (name, bytes) in files {
            self.write(&charts.join(name), bytes)?;
        }
        let names: BTreeSet<&str> = tree
            .iter()
            .filter(|chosen| chosen.owner.is_none())
            .map(|chosen| chosen.requirement.chart.name.as_str())
            .collect();
        let mut removed = Vec::new();
        for entry in fs::read_dir(&charts).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let wanted = files.contains_key(&name) || kept.contains(&path);
            if wanted || !name.ends_with(".tgz") || !path.is_file() {
                continue;
            }
            // A stranger's archive is not ours to delete; one of a chart that we get, and broken ones, are.
            let ours = match Chart::load(&path) {
                Ok(chart) => names.contains(chart.name()),
                Err(_) => names.iter().any(|known| name.starts_with(&format!("{known}-"))),
            };
            if ours {
                fs::remove_file(&path).map_err(|source| DependencyError::File {
                    act: "remove",
                    path: path.clone(),
                    source,
                })?;
                removed.push(name);
            }
        }
        removed.sort();
        Ok(removed)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), DependencyError> {
        write_atomic(path, bytes, false).map_err(|source| DependencyError::File {
            act: "write",
            path: path.to_owned(),
            source,
        })
    }
}

enum Answer {
    Versions(ChartKey, Vec<String>),
    Requirements(ChartKey, String, Vec<Requirement>),
}

impl Archive {
    fn of(fetched: Fetched) -> Self {
        Self {
            bytes: fetched.archive,
            provenance: fetched.provenance,
            file_name: fetched.file_name,
            source: Some(fetched.source),
        }
    }
}

/// Charts in `charts/` of a folder by name.
fn vendored(folder: &Path, name: &str) -> Vec<(PathBuf, Chart)> {
    let entries = fs::read_dir(folder.join("charts"))
        .into_iter()
        .flatten()
        .flatten();
    let mut found: Vec<(PathBuf, Chart)> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|end| end == "tgz"))
        .filter_map(|path| Chart::load(&path).ok().map(|chart| (path, chart)))
        .filter(|(_, chart)| chart.name() == name)
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn load_folder(folder: &Path) -> Result<Chart, DependencyError> {
    if !folder.exists() {
        return Err(DependencyError::NoFolder {
            path: folder.to_owned(),
        });
    }
    Chart::load(folder).map_err(|source| DependencyError::Local {
        path: folder.to_owned(),
        source,
    })
}

fn load_archive(archive: &Archive, key: &ChartKey, version: &str) -> Result<Chart, DependencyError> {
    let chart = Chart::from_archive(&archive.bytes).map_err(|source| {
        DependencyError::Fetch(FetchError::NoChart {
            source_of: format!("{} {version}", key.name),
            source,
        })
    })?;
    if chart.name() == key.name && chart.metadata.version == version {
        return Ok(chart);
    }
    Err(DependencyError::OtherChart {
        name: key.name.clone(),
        version: version.to_owned(),
        found: format!("{} {}", chart.name(), chart.metadata.version),
    })
}

/// The wishes of a chart that its own `charts/` does not meet.
fn missing(chart: &Chart) -> Vec<Dependency> {
    let there = |wish: &&Dependency| chart.dependencies.iter().any(|found| found.name() == wish.name);
    let wishes = chart.metadata.dependencies.iter();
    wishes.filter(|wish| !there(wish)).cloned().collect()
}

/// The names of charts from the root's dependency down to a chart of the tree.
fn path_of(tree: &[Chosen], place: usize) -> String {
    let chosen = &tree[place];
    let name = &chosen.requirement.chart.name;
    let twins = tree
        .iter()
        .filter(|other| other.owner == chosen.owner && other.requirement.chart.name == *name);
    let own = if twins.count() > 1 {
        format!("{name}@{}", chosen.version)
    } else {
        name.clone()
    };
    match chosen.owner {
        None => own,
        Some(owner) => format!("{}/{own}", path_of(tree, owner)),
    }
}

fn last_name(path: &str) -> &str {
    let last = path.rsplit('/').next().unwrap_or_default();
    last.split('@').next().unwrap_or_default()
}

fn place_in_registry(url: &str, name: &str) -> Result<OciReference, DependencyError> {
    let place = format!("{}/{name}", url.trim_end_matches('/'));
    Ok(place.parse::<OciReference>().map_err(FetchError::from)?)
}
