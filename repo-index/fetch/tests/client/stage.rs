//! Folders, charts and clients for the tests.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use chart_model::{Chart, File, package};
use repo_fetch::{Access, Event, Fetcher, HttpOptions, Locations, Observer, RetryPolicy};
use tempfile::TempDir;

pub(crate) struct Stage {
    pub(crate) folder: TempDir,
    pub(crate) told: Told,
}

/// Remembers warnings.
#[derive(Default)]
pub(crate) struct Told(pub(crate) Mutex<Vec<String>>);

impl Observer for Told {
    fn event(&self, event: Event<'_>) {
        if let Event::Warning(text) = event {
            self.0.lock().unwrap().push(text);
        }
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        // The first one wins; all are the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            folder: tempfile::tempdir().unwrap(),
            told: Told::default(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn locations(&self) -> Locations {
        Locations {
            repositories: self.path().join("config/repositories.yaml"),
            repository_cache: self.path().join("cache/repository"),
            content_cache: self.path().join("cache/content"),
            registry_config: self.path().join("config/registry.json"),
            docker_config: None,
        }
    }

    pub(crate) fn fetcher(&self, access: Access) -> Fetcher<'_> {
        Fetcher::new(access, self.locations(), None, &self.told)
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        self.told.0.lock().unwrap().clone()
    }
}

/// Tries again without waiting.
pub(crate) fn http() -> HttpOptions {
    HttpOptions {
        retry: RetryPolicy {
            attempts_max: 3,
            backoff_first: Duration::from_millis(1),
            backoff_max: Duration::from_millis(1),
        },
        idle_max: Duration::from_secs(10),
        ..HttpOptions::default()
    }
}

pub(crate) fn access() -> Access {
    Access {
        http: http(),
        plain_http: true,
        ..Access::default()
    }
}

/// The archive of a chart with nothing but its metadata, and more lines of it.
pub(crate) fn archive(name: &str, version: &str, more: &str) -> Vec<u8> {
    let text = format!("apiVersion: v2\nname: {name}\nversion: {version}\n{more}");
    let file = File {
        name: "Chart.yaml".into(),
        data: text.into_bytes().into(),
    };
    package(&Chart::from_files(vec![file]).unwrap(), 0).unwrap()
}

/// An index of archives that are beside it.
pub(crate) fn index(charts: &[(&str, &str, &[u8])]) -> String {
    let mut index = repo_index::Index::default();
    for (name, version, archive) in charts {
        let url = format!("{name}-{version}.tgz");
        index.insert(
            repo_index::IndexEntry::of_archive(archive, &url, "2026-01-01T00:00:00Z")
                .unwrap()
                .1,
        );
    }
    index.write().unwrap()
}
