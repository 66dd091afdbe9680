//! `tug apply`

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use chart_release::action::{
    ActionError, DeployOptions, Install, Plan, SavedPlan, Uninstall, Upgrade, WaitStrategy,
};
use chart_release::cluster::Cluster;
use chart_release::values::ReuseValues;
use chart_release::{Release, ReleaseName, ReleaseStatus};
use chart_values::{Map, UserValues, ValuesFile};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::Deserialize;

use super::{block_on, explain, plan, run_until_interrupted};
use crate::arguments::{WaitArgs, load_installable_chart};
use crate::connection::{self, Start};
use crate::failure::Failure;
use crate::settings::Settings;

/// Carry out a saved plan, or bring a set of releases to a declared state
///
/// `tug apply FILE` carries out what `tug plan --out FILE` wrote, if it is still what would happen. `tug apply -f
/// releases.yaml` installs, upgrades and removes releases until all are as the file says; what is so already is left.
#[derive(clap::Args)]
pub(crate) struct ApplyArgs {
    /// Plan to carry out
    #[arg(required_unless_present = "filename", conflicts_with = "filename")]
    plan: Option<PathBuf>,
    /// Releases to bring about
    #[arg(short, long, value_name = "FILE")]
    filename: Option<PathBuf>,
    /// Take fields over that others own
    #[arg(long)]
    force_conflicts: bool,
    /// Run no hooks
    #[arg(long)]
    no_hooks: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

/// A file of releases.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Releases {
    releases: Vec<Declared>,
}

/// One release of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Declared {
    /// Name of the release.
    name: String,
    /// Namespace, made if it is not there; that of the command where none is named.
    namespace: Option<String>,
    /// Chart: a folder or a .tgz file, from the folder of the file; not needed for a release that shall not be there.
    chart: Option<String>,
    /// Values.
    #[serde(default)]
    values: serde_yaml::Mapping,
    /// Files of values, below `values`, from the folder of the file.
    #[serde(default)]
    value_files: Vec<PathBuf>,
    /// Releases that must be ready before.
    #[serde(default)]
    needs: Vec<String>,
    /// Whether it shall be there.
    #[serde(default)]
    state: DeclaredState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DeclaredState {
    #[default]
    Present,
    Absent,
}

/// A release of the file, ready to be brought about.
struct Wanted {
    name: String,
    namespace: Option<String>,
    needs: Vec<usize>,
    /// What makes it; `None` where it shall not be there.
    upgrade: Option<Upgrade>,
}

/// What became of a release.
enum Outcome {
    Installed(u32),
    Upgraded(u32),
    Unchanged(u32),
    Removed,
    Absent,
}

pub(super) fn run(arguments: &ApplyArgs, settings: &Settings) -> Result<(), Failure> {
    match (&arguments.plan, &arguments.filename) {
        (Some(file), _) => apply_plan(arguments, file, settings),
        (None, Some(file)) => apply_releases(arguments, file, settings),
        (None, None) => Err(Failure::new("nothing to apply").hint("`tug apply -f releases.yaml`")),
    }
}

fn deploy(arguments: &ApplyArgs) -> DeployOptions {
    DeployOptions {
        timeout: arguments.wait.timeout,
        wait: arguments.wait.strategy(),
        no_hooks: arguments.no_hooks,
        force_conflicts: arguments.force_conflicts,
        ..DeployOptions::default()
    }
}

fn apply_plan(arguments: &ApplyArgs, file: &Path, settings: &Settings) -> Result<(), Failure> {
    let saved = SavedPlan::read(&read(file)?)
        .map_err(|error| Failure::new(format!("cannot apply `{}`", file.display())).because_error(&error))?;
    let config = connection::choose(settings, Start::IfThere)?;
    let release = block_on(async {
        let mut cluster = connection::connect(settings, &config).await?;
        cluster.namespace.clone_from(&saved.plan.namespace);
        let options = deploy(arguments);
        let outcome = saved.run(&cluster, &options, settings.max_history);
        let outcome = run_until_interrupted(&cluster, outcome).await;
        outcome.map_err(|error| {
            let failure = explain(&error).prefixed("APPLY FAILED: ");
            match error {
                ActionError::PlanMoved { .. } => failure.hint("make a new plan with `tug plan --out FILE`"),
                _ => failure,
            }
        })
    })?;
    let text = format!("Release {:?} is at revision {}.", release.name, release.revision);
    settings.console.line(text)
}

fn apply_releases(arguments: &ApplyArgs, file: &Path, settings: &Settings) -> Result<(), Failure> {
    let in_file = |failure: Failure| failure.prefixed(&format!("{}: ", file.display()));
    let declared: Releases = serde_yaml::from_str(&read(file)?)
        .map_err(|error| in_file(Failure::new("not a file of releases").because_error(&error)))?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let wanted = prepare(&declared.releases, folder, arguments, settings).map_err(in_file)?;
    let config = connection::choose(settings, Start::Always)?;
    block_on(async {
        let cluster = connection::connect(settings, &config).await?;
        run_until_interrupted(&cluster, bring_about(&wanted, &cluster, settings)).await
    })
}

/// Checks all of the file before anything is done.
fn prepare(
    declared: &[Declared],
    folder: &Path,
    arguments: &ApplyArgs,
    settings: &Settings,
) -> Result<Vec<Wanted>, Failure> {
    let mut seen = BTreeMap::new();
    for (index, release) in declared.iter().enumerate() {
        release
            .name
            .parse::<ReleaseName>()
            .map_err(|error| Failure::from_error(&error))?;
        if seen.insert((&release.namespace, &release.name), index).is_some() {
            return Err(Failure::new(format!(
                "release `{}` stands there twice",
                release.name
            )));
        }
    }
    let place = |dependant: &Declared, needed: &String| {
        let found = declared.iter().position(|other| other.name == *needed);
        found.ok_or_else(|| {
            let known: Vec<&str> = declared.iter().map(|other| other.name.as_str()).collect();
            Failure::new(format!(
                "`{}` needs `{needed}`, which is not in the file",
                dependant.name
            ))
            .hint(format!("releases are: {}", known.join(", ")))
        })
    };
    let mut wanted = Vec::new();
    for release in declared {
        let needs: Result<Vec<usize>, Failure> = release
            .needs
            .iter()
            .map(|needed| place(release, needed))
            .collect();
        let upgrade = match release.state {
            DeclaredState::Absent => None,
            DeclaredState::Present => Some(upgrade(release, folder, arguments, settings)?),
        };
        wanted.push(Wanted {
            name: release.name.clone(),
            namespace: release.namespace.clone(),
            needs: needs?,
            upgrade,
        });
    }
    check_circles(&wanted)?;
    Ok(wanted)
}

fn upgrade(
    release: &Declared,
    folder: &Path,
    arguments: &ApplyArgs,
    settings: &Settings,
) -> Result<Upgrade, Failure> {
    let Some(chart) = &release.chart else {
        return Err(Failure::new(format!("release `{}` names no chart", release.name)));
    };
    let chart = folder.join(chart).display().to_string();
    Ok(Upgrade {
        name: release.name.clone(),
        chart: load_installable_chart(&chart, settings)?,
        values: values(release, folder)?,
        // The file says all there is to say.
        reuse_values: ReuseValues::Reset,
        max_history: settings.max_history,
        deploy: deploy(arguments),
        ..Upgrade::default()
    })
}

fn values(release: &Declared, folder: &Path) -> Result<Map, Failure> {
    let mut files = Vec::new();
    for name in &release.value_files {
        let path = folder.join(name);
        files.push(ValuesFile {
            name: path.display().to_string(),
            text: read(&path)?,
        });
    }
    let own = serde_yaml::to_string(&release.values)
        .map_err(|error| Failure::new("cannot read the values").because_error(&error))?;
    files.push(ValuesFile {
        name: format!("values of `{}`", release.name),
        text: own,
    });
    let values = UserValues {
        files,
        ..UserValues::default()
    };
    let mut none = |name: &str| Err(format!("open {name}: not read here"));
    Ok(values.merge(&mut none)?)
}

fn check_circles(wanted: &[Wanted]) -> Result<(), Failure> {
    for start in 0..wanted.len() {
        let mut path = vec![start];
        if let Some(circle) = circle_from(start, wanted, &mut path) {
            let names: Vec<&str> = circle.iter().map(|index| wanted[*index].name.as_str()).collect();
            return Err(Failure::new(format!(
                "releases need each other: {}",
                names.join(" -> ")
            )));
        }
    }
    Ok(())
}

fn circle_from(start: usize, wanted: &[Wanted], path: &mut Vec<usize>) -> Option<Vec<usize>> {
    let last = *path.last()?;
    for needed in &wanted[last].needs {
        if *needed == start {
            return Some(path.iter().copied().chain([start]).collect());
        }
        if !path.contains(needed) {
            path.push(*needed);
            if let Some(circle) = circle_from(start, wanted, path) {
                return Some(circle);
            }
            path.pop();
        }
    }
    None
}

/// Brings each release about once those that it needs are; releases that do not need each other go together.
async fn bring_about(wanted: &[Wanted], cluster: &Cluster, settings: &Settings) -> Result<(), Failure> {
    let mut done = vec![false; wanted.len()];
    let mut started = vec![false; wanted.len()];
    let mut running = FuturesUnordered::new();
    let mut failures: Vec<(String, Failure)> = Vec::new();
    loop {
        for (index, release) in wanted.iter().enumerate() {
            if !started[index] && release.needs.iter().all(|needed| done[*needed]) {
                started[index] = true;
                running.push(async move { (index, bring_one(release, cluster).await) });
            }
        }
        let Some((index, outcome)) = running.next().await else {
            break;
        };
        let name = &wanted[index].name;
        match outcome {
            Ok(outcome) => {
                done[index] = true;
                settings.console.line(match outcome {
                    Outcome::Installed(revision) => format!("{name}: installed, revision {revision}"),
                    Outcome::Upgraded(revision) => format!("{name}: upgraded, revision {revision}"),
                    Outcome::Unchanged(revision) => format!("{name}: unchanged, revision {revision}"),
                    Outcome::Removed => format!("{name}: removed"),
                    Outcome::Absent => format!("{name}: not there, as declared"),
                })?;
            }
            Err(error) => failures.push((name.clone(), explain(&error))),
        }
    }
    let Some((name, first)) = failures.pop() else {
        return Ok(());
    };
    let mut failure = first.prefixed(&format!("release `{name}`: "));
    for (name, other) in failures {
        failure = failure.because(format!("release `{name}` failed too: {}", other.heading()));
    }
    let waiting = wanted.iter().zip(&started).filter(|(_, started)| !**started);
    for (release, _) in waiting {
        failure = failure.because(format!(
            "release `{}` was not begun: what it needs failed",
            release.name
        ));
    }
    Err(failure)
}

async fn bring_one(wanted: &Wanted, cluster: &Cluster) -> Result<Outcome, ActionError> {
    let mut cluster = cluster.clone();
    // One that is taken over by somebody else ends alone.
    cluster.cancel = cluster.cancel.child_token();
    if let Some(namespace) = &wanted.namespace {
        cluster.namespace.clone_from(namespace);
    }
    let cluster = &cluster;
    let Some(upgrade) = &wanted.upgrade else {
        return remove(wanted, cluster).await;
    };
    if !upgrade.exists(cluster).await? {
        let install = Install {
            name: upgrade.name.clone(),
            chart: upgrade.chart.clone(),
            values: upgrade.values.clone(),
            create_namespace: wanted.namespace.is_some(),
            replace: true,
            deploy: upgrade.deploy.clone(),
            ..Install::default()
        };
        let release = install.run(cluster).await?;
        return Ok(Outcome::Installed(release.revision));
    }
    let last = cluster.storage().get(&upgrade.name, None).await?;
    if last.info.status == ReleaseStatus::Deployed && last.lease.is_none() {
        let (plan, planned) = plan::plan_either(upgrade, cluster).await?;
        if is_same(&plan, &planned, &last) {
            return Ok(Outcome::Unchanged(last.revision));
        }
    }
    let release = upgrade.run(cluster).await?;
    Ok(Outcome::Upgraded(release.revision))
}

/// Whether an upgrade would make nothing new: neither on the cluster nor in what is recorded.
fn is_same(plan: &Plan, planned: &Release, last: &Release) -> bool {
    !plan.has_changes()
        && planned.config == last.config
        && planned.manifest == last.manifest
        && planned.chart_label() == last.chart_label()
}

async fn remove(wanted: &Wanted, cluster: &Cluster) -> Result<Outcome, ActionError> {
    let action = Uninstall {
        name: wanted.name.clone(),
        ignore_not_found: true,
        wait: WaitStrategy::Ready,
        ..Uninstall::default()
    };
    let uninstalled = action.run(cluster).await?;
    Ok(if uninstalled.release.is_some() {
        Outcome::Removed
    } else {
        Outcome::Absent
    })
}

fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file)
        .map_err(|error| Failure::new(format!("cannot read `{}`", file.display())).because_error(&error))
}
