//! Testing a release: its hooks of the event `test`.

use std::time::Duration;

use crate::action::{ActionError, check_name};
use crate::apply::ApplyOptions;
use crate::cluster::{Cluster, DEFAULT_TIMEOUT};
use crate::hooks::HookRunner;
use crate::manifest;
use crate::record::{HookEvent, Release};
use crate::resource;

/// Runs the tests of a release.
#[derive(Clone, Debug)]
pub struct Test {
    /// Name of the release.
    pub name: String,
    /// Only tests of these names; empty is every test.
    pub include: Vec<String>,
    /// No tests of these names.
    pub exclude: Vec<String>,
    /// Longest wait for one test.
    pub timeout: Duration,
    /// Tell the logs of the tests.
    pub logs: bool,
}

impl Default for Test {
    fn default() -> Self {
        Self {
            name: String::new(),
            include: Vec::new(),
            exclude: Vec::new(),
            timeout: DEFAULT_TIMEOUT,
            logs: false,
        }
    }
}

impl Test {
    /// Runs the tests. The release, with how they went, comes back with the failure if there was one.
    pub async fn run(&self, cluster: &Cluster) -> Result<(Release, Option<ActionError>), ActionError> {
        check_name(&self.name)?;
        let storage = cluster.storage();
        let mut release = storage.get(&self.name, None).await?;
        let order: Vec<usize> = release
            .hooks_at(&HookEvent::Test)
            .into_iter()
            .filter(|index| {
                let name = &release.hooks[*index].name;
                (self.include.is_empty() || self.include.contains(name)) && !self.exclude.contains(name)
            })
            .collect();
        let runner = HookRunner {
            cluster,
            timeout: self.timeout,
            apply: ApplyOptions::default(),
        };
        let outcome = runner.run_these(&mut release, &HookEvent::Test, &order).await;
        if self.logs {
            for index in &order {
                let objects =
                    manifest::parse(&release.hooks[*index].manifest).map_err(ActionError::Manifest)?;
                let discovery = cluster.discovery().await.map_err(ActionError::Unreachable)?;
                let resources = resource::resolve(objects, &discovery, &release.namespace);
                for resource in resources.map_err(ActionError::UnknownKinds)? {
                    runner.print_logs(&resource).await;
                }
            }
        }
        storage.update(&release).await?;
        Ok((release, outcome.err().map(ActionError::from)))
    }
}
