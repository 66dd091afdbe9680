//! `tug logs`: what the pods of a release print.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use chart_release::Release;
use chart_release::action::Get;
use chart_release::cluster::Cluster;
use chart_release::manifest;
use cluster_client::{Collection, Discovery, Target};
use cluster_objects::{Object, OwnerReference};
use tokio_util::sync::CancellationToken;

use super::{block_on, explain};
use crate::connection::{self, Start};
use crate::failure::Failure;
use crate::pod_logs::{EndsWith, Follower, Lines, Since, Source, last};
use crate::settings::Settings;

/// How many owners stand above a pod at most.
const OWNERS_MAX: usize = 8;
const EVERY_LIST: &[&str] = &["initContainers", "containers", "ephemeralContainers"];

/// Print the logs of a release, of all its pods
#[derive(clap::Args)]
pub(crate) struct LogsArgs {
    /// Name of the release
    name: String,
    /// Go on as lines are written, also by pods that come later, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Only so many lines of each container, from the end
    #[arg(long, visible_alias = "lines", value_name = "N")]
    tail: Option<String>,
    /// Only lines since a time (`2026-01-02T13:23:37Z`), or of the last while (`42m`)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Of containers that were started again, what the one before printed
    #[arg(short, long, conflicts_with = "follow")]
    previous: bool,
    /// Only containers of this name
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// Print times
    #[arg(long)]
    timestamps: bool,
    /// Print no names before lines
    #[arg(long)]
    no_log_prefix: bool,
}

pub(super) fn run(arguments: &LogsArgs, settings: &Settings) -> Result<(), Failure> {
    let lines = Lines {
        last: last(arguments.tail.as_deref())?,
        since: arguments.since.as_deref().map(Since::parse).transpose()?,
        timestamps: arguments.timestamps,
        no_prefix: arguments.no_log_prefix,
        previous: arguments.previous,
        container: arguments.container.clone(),
    };
    let action = Get {
        name: arguments.name.clone(),
        revision: None,
    };
    let config = connection::choose(settings, Start::IfThere)?;
    block_on(async {
        let cluster = connection::connect(settings, &config).await?;
        let release = action.run(&cluster).await.map_err(|error| explain(&error))?;
        let pods = ReleasePods::of(&cluster, &release).await?;
        let follower = Follower::new(&cluster, &settings.console, pods, lines);
        if !arguments.follow {
            if follower.print().await? == 0 {
                let name = &release.name;
                settings
                    .console
                    .say(format!("No container of `{name}` has such a log."));
            }
            return Ok(());
        }
        // More pods may come at any time.
        let never = CancellationToken::new();
        follower.follow(&EndsWith::All, &never).await.map(drop)
    })
}

/// An object that is named by a manifest or by an owner: group, kind, namespace and name.
type Named = (String, String, String, String);

/// Pods of a release: those that its manifest and its hooks name, and those whose owners they name.
struct ReleasePods<'a> {
    cluster: &'a Cluster,
    discovery: std::sync::Arc<Discovery>,
    named: BTreeSet<Named>,
    /// Whether an owner, by its UID, is of the release.
    known: RefCell<HashMap<String, bool>>,
}

impl<'a> ReleasePods<'a> {
    async fn of(cluster: &'a Cluster, release: &Release) -> Result<Self, Failure> {
        let discovery = cluster.discovery().await;
        let discovery = discovery.map_err(|status| Failure::from_error(&status))?;
        let hooks = release.hooks.iter().map(|hook| hook.manifest.as_str());
        let mut named = BTreeSet::new();
        for text in std::iter::once(release.manifest.as_str()).chain(hooks) {
            let objects = manifest::parse(text).map_err(|error| Failure::from_error(&error))?;
            named.extend(objects.iter().map(|one| {
                let namespace = one.object.namespace().unwrap_or(&release.namespace);
                name_of(&one.object, namespace)
            }));
        }
        Ok(Self {
            cluster,
            discovery,
            named,
            known: RefCell::default(),
        })
    }

    /// Whether an object is of the release, or somebody is who owns it.
    async fn is_ours(&self, object: &Object) -> bool {
        let namespace = object.namespace().unwrap_or_default();
        if self.named.contains(&name_of(object, namespace)) {
            return true;
        }
        let mut asked = Vec::new();
        let mut owner = object.controller();
        let mut ours = false;
        while let Some(reference) = owner.take().filter(|_| asked.len() < OWNERS_MAX) {
            if let Some(known) = self.known.borrow().get(&reference.uid) {
                ours = *known;
                break;
            }
            asked.push(reference.uid.clone());
            let group = group(&reference.api_version).to_owned();
            let (kind, name) = (reference.kind.clone(), reference.name.clone());
            if self.named.contains(&(group, kind, namespace.to_owned(), name)) {
                ours = true;
                break;
            }
            owner = self
                .read(&reference, namespace)
                .await
                .and_then(|found| found.controller());
        }
        let mut known = self.known.borrow_mut();
        known.extend(asked.into_iter().map(|uid| (uid, ours)));
        ours
    }

    /// The owner that is meant; `None` where it is gone, or may not be read.
    async fn read(&self, owner: &OwnerReference, namespace: &str) -> Option<std::sync::Arc<Object>> {
        let resource = self.discovery.resources.iter().find(|resource| {
            resource.kind == owner.kind && resource.resource.api_version() == owner.api_version
        })?;
        let target = Target {
            resource: resource.resource.clone(),
            namespace: resource.namespaced.then(|| namespace.to_owned()),
            name: owner.name.clone(),
            subresource: None,
        };
        let found = self.cluster.api.get(&target).await.ok()?;
        (found.uid() == owner.uid).then_some(found)
    }
}

impl Source for ReleasePods<'_> {
    fn pods(&self) -> (Collection, String, String) {
        let mut namespaces = self.named.iter().map(|(_, _, namespace, _)| namespace);
        let collection = match namespaces.next() {
            Some(first) if namespaces.all(|other| other == first) => {
                Collection::namespaced("v1", "pods", first)
            }
            _ => Collection::all("v1", "pods"),
        };
        (collection, String::new(), String::new())
    }

    async fn shows(&self, pod: &Object) -> bool {
        self.is_ours(pod).await
    }

    fn lists(&self) -> &'static [&'static str] {
        EVERY_LIST
    }

    fn group<'p>(&self, pod: &'p Object) -> &'p str {
        pod.name()
    }

    fn name(&self, pod: &Object, container: &str) -> String {
        format!("{}/{container}", pod.name())
    }
}

fn name_of(object: &Object, namespace: &str) -> Named {
    (
        group(object.api_version()).to_owned(),
        object.kind().to_owned(),
        namespace.to_owned(),
        object.name().to_owned(),
    )
}

/// The group of an API version; charts and owners may name different versions.
fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}
