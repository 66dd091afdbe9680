//! What an upgrade, or an installation, would change on the live cluster.

use std::fmt;

use cluster_client::{Discovery, Target};
use cluster_objects::Object;
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::deploy::DryRun;
use crate::action::upgrade::{Prepared, objects_before};
use crate::action::{ActionError, DeployOptions, Install, Upgrade, definitions, deploy};
use crate::apply::{self, ApplyError, ApplyOptions};
use crate::autoscaled;
use crate::cluster::Cluster;
use crate::difference::{self, FieldChange};
use crate::ownership;
use crate::record::Release;
use crate::resource::{self, Resource};
use crate::way_back;

/// Objects that are asked about at the same time.
const IN_FLIGHT_MAX: usize = 16;

/// What would change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the release.
    pub release: String,
    /// Namespace of the release.
    pub namespace: String,
    /// The last revision there is; absent where the release would be installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<u32>,
    /// The revision that would be made.
    pub revision: u32,
    /// Objects that would change, in the order in which they are applied; deletions come last.
    pub objects: Vec<ObjectChange>,
    /// How many objects would stay as they are.
    pub unchanged: usize,
    /// Hooks that would be run, as `EVENT Kind/name`.
    pub hooks: Vec<String>,
    /// The resource definitions that the chart brings, whole; they come before everything else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub definitions: Vec<Object>,
}

/// What would become of one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectChange {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace, empty where it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    pub name: String,
    /// What would be done to it.
    pub action: ChangeKind,
    /// The fields that would change.
    pub fields: Vec<FieldChange>,
    /// What follows from it: restarts, lost data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<String>,
    /// Why the cluster would refuse it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Whether it would be refused because only a new object can become what is asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unchangeable: bool,
}

/// What would be done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is made.
    Create,
    /// Fields of it change.
    Update,
    /// It is deleted and made anew, since its fields cannot be changed.
    Recreate,
    /// It is deleted.
    Delete,
    /// It is no longer the release's, and stays as its resource policy asks.
    Keep,
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Recreate => "recreate",
            Self::Delete => "delete",
            Self::Keep => "keep",
        })
    }
}

impl Plan {
    /// Whether anything would change.
    pub fn has_changes(&self) -> bool {
        self.objects
            .iter()
            .any(|object| object.action != ChangeKind::Keep)
    }
}

/// Plans an upgrade. Nothing is changed: the cluster is asked by server-side dry runs.
pub async fn plan_upgrade(action: &Upgrade, cluster: &Cluster) -> Result<(Plan, Release), ActionError> {
    let action = Upgrade {
        dry_run: DryRun::Server,
        ..action.clone()
    };
    let prepared = action.prepare(cluster).await?;
    let plan = plan(cluster, &action.deploy, &prepared).await?;
    Ok((plan, prepared.release))
}

/// Plans an installation.
pub async fn plan_install(action: &Install, cluster: &Cluster) -> Result<(Plan, Release), ActionError> {
    let action = Install {
        dry_run: DryRun::Server,
        ..action.clone()
    };
    let prepared = action.prepare(cluster).await?;
    let plan = plan(cluster, &action.deploy, &prepared).await?;
    Ok((plan, prepared.release))
}

/// What somebody changed by hand: the difference between the live objects of a release and its manifest.
///
/// Fields that the manifest does not name, and fields that a later writer owns by right, as an autoscaler the
/// replicas, are no drift: the cluster itself says what applying the manifest again would change.
pub async fn drift(cluster: &Cluster, release: &Release) -> Result<Plan, ActionError> {
    let options = DeployOptions {
        // What others wrote over the release's fields is what is looked for.
        force_conflicts: true,
        ..DeployOptions::default()
    };
    let mut after = deploy::old_resources(cluster, release).await?;
    for resource in &mut after {
        ownership::claim(&mut resource.object, &release.name, &release.namespace);
    }
    way_back::take(cluster, release, &mut after);
    let kept = autoscaled::keep_replicas(cluster, &mut after).await;
    kept.map_err(ActionError::Unreachable)?;
    let prepared = Prepared {
        current: release.clone(),
        release: release.clone(),
        after,
        ..Prepared::default()
    };
    let mut plan = plan(cluster, &options, &prepared).await?;
    plan.hooks.clear();
    plan.base = Some(release.revision);
    Ok(plan)
}

/// What would change from the live objects of one revision to those of a new one.
pub(crate) async fn plan(
    cluster: &Cluster,
    options: &DeployOptions,
    prepared: &Prepared,
) -> Result<Plan, ActionError> {
    let release = &prepared.release;
    let mut objects = defined(cluster, prepared).await?;
    let discovery = cluster.discovery().await.map_err(ActionError::Unreachable)?;
    let asked = prepared
        .after
        .iter()
        .map(|resource| applied(cluster, options, resource, &discovery));
    // Gathered first: the borrowed futures of a lazy iterator are not `Send` for every lifetime.
    let asked: Vec<_> = asked.collect();
    let mut answers = stream::iter(asked).buffered(IN_FLIGHT_MAX);
    let mut unchanged = 0;
    while let Some(answer) = answers.next().await {
        match answer? {
            Some(change) => objects.push(change),
            None => unchanged += 1,
        }
    }
    drop(answers);
    let mut dropped: Vec<Resource> = resource::dropped(&prepared.before, &prepared.after)
        .into_iter()
        .cloned()
        .collect();
    resource::sort_for_deletion(&mut dropped);
    for resource in &dropped {
        objects.extend(deleted(cluster, resource).await?);
    }
    let is_install = prepared.entries.is_empty();
    let events: &[crate::HookEvent] = if is_install {
        &[crate::HookEvent::PreInstall, crate::HookEvent::PostInstall]
    } else {
        &[crate::HookEvent::PreUpgrade, crate::HookEvent::PostUpgrade]
    };
    let mut hooks = Vec::new();
    for event in events.iter().filter(|_| !options.no_hooks) {
        for index in release.hooks_at(event) {
            let hook = &release.hooks[index];
            hooks.push(format!("{event} {}/{}", hook.kind, hook.name));
        }
    }
    Ok(Plan {
        release: release.name.clone(),
        namespace: release.namespace.clone(),
        base: prepared.entries.last().map(|entry| entry.revision),
        revision: release.revision,
        objects,
        unchanged,
        hooks,
        definitions: prepared
            .definitions
            .iter()
            .map(|definition| definition.object.clone())
            .collect(),
    })
}

/// What would become of the definitions that the chart brings.
async fn defined(cluster: &Cluster, prepared: &Prepared) -> Result<Vec<ObjectChange>, ActionError> {
    let discovery = cluster.discovery().await.map_err(ActionError::Unreachable)?;
    let options = DeployOptions::default();
    let mut changes = Vec::new();
    for (resource, live) in definitions::changed(cluster, prepared.definitions.clone()).await? {
        let Some(mut change) = applied(cluster, &options, &resource, &discovery).await? else {
            continue;
        };
        if let Some(live) = live
            && let Err(error) = definitions::check_removals(cluster, &live, &resource.object).await
        {
            change.refused = Some(error.to_string());
        }
        changes.push(change);
    }
    Ok(changes)
}

/// What applying an object would change; `None` where nothing.
async fn applied(
    cluster: &Cluster,
    options: &DeployOptions,
    resource: &Resource,
    discovery: &Discovery,
) -> Result<Option<ObjectChange>, ActionError> {
    if !resource.is_served(discovery) {
        // Its kind comes with the release: the cluster can neither have it nor check it.
        let mut change = ObjectChange::new(resource, ChangeKind::Create);
        change.fields = difference::fields(None, Some(&resource.object));
        return Ok(Some(change));
    }
    let target = resource.target();
    let live = live(cluster, resource, &target).await?;
    let apply_options = ApplyOptions {
        dry_run: true,
        force_conflicts: options.force_conflicts,
        migrate: false,
        skip_validation: options.skip_validation,
    };
    let mut change = ObjectChange::new(
        resource,
        if live.is_some() {
            ChangeKind::Update
        } else {
            ChangeKind::Create
        },
    );
    match apply::apply(&cluster.api, resource, &apply_options).await {
        Ok(after) => {
            change.fields = difference::fields(live.as_deref(), Some(&after));
            if live.is_some() {
                if change.fields.is_empty() {
                    return Ok(None);
                }
                change.effects = effects(resource.object.kind(), &change.fields);
            }
        }
        Err(ApplyError::Refused { status, .. })
            if live.is_none() && status.is_not_found() && status.kind.as_deref() == Some("namespaces") =>
        {
            // The namespace comes with the release: the cluster cannot check what is in it yet.
            change.fields = difference::fields(None, Some(&resource.object));
        }
        Err(error) if error.is_immutable() => {
            let kind = resource.object.kind();
            change.fields = named_only(live.as_deref(), &resource.object);
            if options.force_replace && !deploy::keeps_data(kind) {
                change.action = ChangeKind::Recreate;
                change.effects.push("it is deleted and made anew".to_owned());
                change.effects.extend(lost_with(kind).map(str::to_owned));
            } else {
                change.unchangeable = true;
                change.refused = Some(error.to_string());
            }
        }
        Err(error) => match error.status() {
            Some(status) if status.code == 503 => return Err(ActionError::Unreachable(status.clone())),
            _ => {
                change.fields = named_only(live.as_deref(), &resource.object);
                change.refused = Some(error.to_string());
            }
        },
    }
    Ok(Some(change))
}

/// What deleting an object would do; `None` where it is not there.
async fn deleted(cluster: &Cluster, resource: &Resource) -> Result<Option<ObjectChange>, ActionError> {
    let Some(live) = live(cluster, resource, &resource.target()).await? else {
        return Ok(None);
    };
    if ownership::is_kept(&live) {
        return Ok(Some(ObjectChange::new(resource, ChangeKind::Keep)));
    }
    let mut change = ObjectChange::new(resource, ChangeKind::Delete);
    change.fields = difference::fields(Some(&live), None);
    change.effects.extend(lost_with(live.kind()).map(str::to_owned));
    Ok(Some(change))
}

/// What is lost with an object of a kind.
fn lost_with(kind: &str) -> Option<&'static str> {
    match kind {
        "PersistentVolumeClaim" | "PersistentVolume" => Some("the data in it may be lost"),
        "Namespace" => Some("everything in it is deleted"),
        "CustomResourceDefinition" => Some("every object of its kind is deleted"),
        "Deployment" | "StatefulSet" | "DaemonSet" | "Job" | "ReplicaSet" => Some("its pods are stopped"),
        _ => None,
    }
}

async fn live(
    cluster: &Cluster,
    resource: &Resource,
    target: &Target,
) -> Result<Option<std::sync::Arc<Object>>, ActionError> {
    if !resource.is_named() {
        return Ok(None);
    }
    match cluster.api.get(target).await {
        Ok(live) => Ok(Some(live)),
        Err(status) if status.is_not_found() => Ok(None),
        Err(status) => Err(ActionError::Unreachable(status)),
    }
}

/// The fields that the wished object names and that differ: what a refused change was about.
fn named_only(live: Option<&Object>, wished: &Object) -> Vec<FieldChange> {
    let mut fields = difference::fields(live, Some(wished));
    if live.is_some() {
        fields.retain(|field| field.after.is_some());
    }
    fields
}

/// What follows from changed fields.
fn effects(kind: &str, fields: &[FieldChange]) -> Vec<String> {
    let touches = |path: &str| {
        fields.iter().any(|field| {
            field.path == path
                || field.path.starts_with(&format!("{path}."))
                || field.path.starts_with(&format!("{path}["))
        })
    };
    let mut effects = Vec::new();
    match kind {
        "Deployment" | "DaemonSet" | "StatefulSet" if touches("spec.template") => {
            effects.push("its pods are replaced".to_owned());
        }
        "Service" if touches("spec.selector") => {
            effects.push("its traffic goes to other pods".to_owned());
        }
        _ => {}
    }
    if let Some(field) = fields.iter().find(|field| field.path == "spec.replicas") {
        let number = |value: &Option<Value>| value.as_ref().map_or("none".to_owned(), Value::to_string);
        effects.push(format!(
            "it is scaled from {} to {}",
            number(&field.before),
            number(&field.after)
        ));
    }
    effects
}

impl ObjectChange {
    fn new(resource: &Resource, action: ChangeKind) -> Self {
        let object = &resource.object;
        let name = match object.name() {
            "" => object.text(&["metadata", "generateName"]).unwrap_or_default(),
            name => name,
        };
        Self {
            api_version: object.api_version().to_owned(),
            kind: object.kind().to_owned(),
            namespace: object.namespace().unwrap_or_default().to_owned(),
            name: name.to_owned(),
            action,
            fields: Vec::new(),
            effects: Vec::new(),
            refused: None,
            unchangeable: false,
        }
    }
}

/// What differs between the manifests of two revisions; the cluster is only asked for the records.
pub async fn compare_revisions(
    cluster: &Cluster,
    name: &str,
    from: u32,
    to: Option<u32>,
) -> Result<Plan, ActionError> {
    crate::action::check_name(name)?;
    let storage = cluster.storage();
    let (before, after) = (storage.get(name, Some(from)).await?, storage.get(name, to).await?);
    let resources = async |release: &Release| deploy::old_resources(cluster, release).await;
    let (old, new) = (resources(&before).await?, resources(&after).await?);
    let mut objects = Vec::new();
    let mut unchanged = 0;
    for resource in &new {
        let known = old
            .iter()
            .find(|other| other.is_named() && other.identity() == resource.identity());
        let fields = difference::fields(known.map(|known| &known.object), Some(&resource.object));
        if known.is_some() && fields.is_empty() {
            unchanged += 1;
            continue;
        }
        let action = if known.is_some() {
            ChangeKind::Update
        } else {
            ChangeKind::Create
        };
        let mut change = ObjectChange::new(resource, action);
        if known.is_some() {
            change.effects = effects(resource.object.kind(), &fields);
        }
        change.fields = fields;
        objects.push(change);
    }
    for resource in resource::dropped(&old, &new) {
        let mut change = ObjectChange::new(resource, ChangeKind::Delete);
        change.fields = difference::fields(Some(&resource.object), None);
        objects.push(change);
    }
    Ok(Plan {
        release: name.to_owned(),
        namespace: after.namespace.clone(),
        base: Some(before.revision),
        revision: after.revision,
        objects,
        unchanged,
        hooks: Vec::new(),
        definitions: Vec::new(),
    })
}

/// The objects that a plan starts from, for a revision that was rendered before.
pub(crate) async fn prepare_rendered(
    cluster: &Cluster,
    entries: Vec<crate::storage::Entry>,
    current: Release,
    release: Release,
    options: &DeployOptions,
) -> Result<Prepared, ActionError> {
    let before = if entries.is_empty() {
        Vec::new()
    } else {
        objects_before(cluster, &entries, &current).await?
    };
    let after = deploy::claimed_resources(cluster, &release).await?;
    if !options.take_ownership {
        let made = resource::dropped(&after, &before);
        let action = if entries.is_empty() { "install" } else { "update" };
        deploy::check_ownership(cluster, action, &made, &release).await?;
    }
    let chart = release.chart.as_ref().and_then(crate::StoredChart::metadata);
    let order = crate::order::order(&after, chart)?;
    Ok(Prepared {
        entries,
        current,
        release,
        before,
        after,
        order,
        definitions: Vec::new(),
    })
}
