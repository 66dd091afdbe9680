//! A new revision made real: hooks, objects, waiting, and the record that tells of it.
//!
//! Where the cluster offers transactions, and nothing in the release waits for anything else in it, objects and
//! records are one commit: whoever is killed leaves the old revision or the new one. Elsewhere objects are applied one
//! by one under a pending record, as Helm does, with a lease on it. Where parts of a release wait for others, each part
//! is a transaction of its own, under a pending record too.

use cluster_client::Propagation;
use cluster_objects::{Object, Status};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::action::ActionError;
use crate::action::deploy::{Deployment, WaitStrategy};
use crate::apply::{self, ApplyError};
use crate::codec;
use crate::lease::{self, Heartbeat};
use crate::order::Order;
use crate::progress::Event;
use crate::record::{HookEvent, Release, ReleaseStatus};
use crate::resource::Resource;
use crate::storage::{self, Entry, StorageError};
use crate::transaction::{self, Operation, Outcome, Refusal};

/// Everything that making a revision real depends on.
pub(crate) struct Rollout<'a> {
    pub(crate) deployment: &'a Deployment<'a>,
    /// The revisions before.
    pub(crate) entries: &'a [Entry],
    /// Revisions to keep; 0 is no limit.
    pub(crate) max_history: u32,
    pub(crate) before: HookEvent,
    pub(crate) after: HookEvent,
    /// What is said of it when it went well.
    pub(crate) success: String,
    /// What is said before the error when it did not.
    pub(crate) failure: String,
    /// Records that change as soon as the revision is in force, as they will be.
    pub(crate) superseded: Vec<Release>,
    /// Records that change when it failed, as they will be.
    pub(crate) restored: Vec<Release>,
    pub(crate) order: Order,
}

/// How far it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Progress {
    /// Nothing is written.
    #[default]
    Nothing,
    /// There is a pending record.
    Pending,
    /// Objects and record are committed as one.
    Committed,
    /// All is done and said.
    Finished,
}

/// What is going on.
#[derive(Default)]
struct State {
    progress: Progress,
    heartbeat: Option<Heartbeat>,
}

/// What is said of a revision whose objects are there and not yet known to be ready.
const APPLIED: &str = "Objects are applied, not yet known to be ready";

impl Rollout<'_> {
    /// Makes the revision real; a failure is recorded and returned.
    pub(crate) async fn run(&self, release: &mut Release) -> Result<(), ActionError> {
        for warning in &self.order.warnings {
            let observer = &self.deployment.cluster.observer;
            observer.event(Event::Warning(warning.clone()));
        }
        let mut state = State::default();
        let pending = release.info.status.clone();
        let outcome = self.carry_out(release, &mut state, &pending).await;
        if let Some(heartbeat) = state.heartbeat.take() {
            heartbeat.stop().await;
        }
        release.lease = None;
        match outcome {
            Ok(()) if state.progress == Progress::Finished => Ok(()),
            Ok(()) => {
                release.set_status(ReleaseStatus::Deployed, self.success.clone());
                let superseded = match state.progress {
                    Progress::Committed => &[][..],
                    _ => &self.superseded,
                };
                self.write(superseded, release).await
            }
            Err(ActionError::Storage(error @ StorageError::RevisionTaken { .. })) => Err(error.into()),
            Err(error) => {
                release.set_status(ReleaseStatus::Failed, format!("{}: {error}", self.failure));
                if state.progress == Progress::Nothing {
                    self.record(release).await?;
                } else {
                    self.write(&self.restored, release).await?;
                }
                Err(error)
            }
        }
    }

    async fn carry_out(
        &self,
        release: &mut Release,
        state: &mut State,
        pending: &ReleaseStatus,
    ) -> Result<(), ActionError> {
        let deployment = self.deployment;
        let cluster = deployment.cluster;
        let runs = |event: &HookEvent| !deployment.options.no_hooks && !release.hooks_at(event).is_empty();
        let (before, after) = (runs(&self.before), runs(&self.after));
        let ordered = !self.order.is_flat() && deployment.options.wait == WaitStrategy::Ready;
        let offered = transaction::is_offered(cluster)
            .await
            .map_err(ActionError::Unreachable)?;
        let whole = offered && !ordered;
        if before || !whole {
            self.begin(release, state).await?;
        }
        deployment.run_hooks(release, &self.before).await?;
        self.make_room(release, state).await?;
        if whole && self.commit(release, state, after).await? {
            if state.progress == Progress::Finished {
                return Ok(());
            }
        } else {
            release.info.status = pending.clone();
            if state.progress == Progress::Nothing {
                self.begin(release, state).await?;
            }
            if ordered {
                self.apply_in_order(release, offered).await?;
            } else {
                deployment.apply_these(&deployment.after, false).await?;
            }
            deployment.delete_dropped(false).await?;
        }
        deployment.wait().await?;
        deployment.run_hooks(release, &self.after).await
    }

    /// Writes the pending record, with a lease, and keeps the lease alive.
    async fn begin(&self, release: &mut Release, state: &mut State) -> Result<(), ActionError> {
        release.lease = Some(lease::take(self.deployment.cluster));
        self.record(release).await?;
        state.progress = Progress::Pending;
        self.keep_alive(release, state);
        Ok(())
    }

    /// Writes the record of the new revision, in the place of those that are too many.
    async fn record(&self, release: &mut Release) -> Result<(), ActionError> {
        let storage = self.deployment.cluster.storage();
        storage.prune(self.entries, self.max_history).await?;
        Ok(storage.create(release).await?)
    }

    fn keep_alive(&self, release: &Release, state: &mut State) {
        let Some(lease) = &release.lease else { return };
        if state.heartbeat.is_none() {
            let secret = codec::secret_name(&release.name, release.revision);
            let cluster = self.deployment.cluster;
            state.heartbeat = Some(Heartbeat::start(
                cluster,
                &secret,
                &release.namespace,
                &lease.holder,
            ));
        }
    }

    /// Commits objects and records as one; `false` where the cluster does not take it and it must be done one by one.
    async fn commit(
        &self,
        release: &mut Release,
        state: &mut State,
        hooks_follow: bool,
    ) -> Result<bool, ActionError> {
        let deployment = self.deployment;
        let cluster = deployment.cluster;
        self.hand_over(&deployment.after).await?;
        let going: Vec<Resource> = deployment.going().await?.into_iter().cloned().collect();
        let finished = !deployment.waits() && !hooks_follow;
        let description = if finished { self.success.as_str() } else { APPLIED };
        release.set_status(ReleaseStatus::Deployed, description);
        release.lease = (!finished).then(|| lease::take(cluster));
        let operations = self.operations(release, state.progress, &going)?;
        if cluster.cancel.is_cancelled() {
            return Err(ApplyError::Cancelled.into());
        }
        // From here on the commit may happen although nobody waits for it.
        let outcomes = match transaction::commit(
            cluster,
            &operations,
            false,
            deployment.options.skip_validation,
        )
        .await
        {
            Ok(outcomes) => outcomes,
            Err(Refusal::NotOffered(status) | Refusal::TooLarge(status)) => {
                let text = format!("the objects are applied one by one, not as one transaction: {status}");
                cluster.observer.event(Event::Warning(text));
                return Ok(false);
            }
            Err(refusal) => return Err(refused(refusal, &operations, release)),
        };
        state.progress = if finished {
            Progress::Finished
        } else {
            Progress::Committed
        };
        self.tell_applied(&deployment.after, &outcomes);
        for gone in &going {
            let label = gone.label();
            cluster.observer.event(Event::Deleted { label });
        }
        self.keep_alive(release, state);
        Ok(true)
    }

    /// Objects first, then records: what is refused is mostly an object.
    fn operations(
        &self,
        release: &mut Release,
        progress: Progress,
        going: &[Resource],
    ) -> Result<Vec<Operation>, ActionError> {
        let deployment = self.deployment;
        let storage = deployment.cluster.storage();
        let mut operations = self.applications(&deployment.after);
        operations.extend(going.iter().map(|resource| deletion(&resource.object)));
        if progress == Progress::Nothing {
            let (record, chunks) = storage.created(release)?;
            operations.push(Operation::Create(record));
            operations.extend(chunks.into_iter().map(|resource| Operation::Apply {
                resource,
                force: true,
            }));
            let superfluous = storage::superfluous(self.entries, self.max_history);
            let gone = superfluous.into_iter().flat_map(Entry::secrets);
            operations.extend(gone.map(|secret| deletion(&secret)));
        } else {
            operations.push(Operation::Update(storage.updated(release)?));
        }
        let kept = |older: &&Release| {
            let superfluous = storage::superfluous(self.entries, self.max_history);
            !superfluous.iter().any(|entry| entry.revision == older.revision)
        };
        for older in self.superseded.iter().filter(kept) {
            operations.push(Operation::Update(storage.updated(older)?));
        }
        Ok(operations)
    }

    /// Deletes what only a new object can become, where that is asked.
    async fn make_room(&self, release: &mut Release, state: &mut State) -> Result<(), ActionError> {
        if !self.deployment.options.force_replace {
            return Ok(());
        }
        let replaced = self.deployment.unchangeable().await?;
        if replaced.is_empty() {
            return Ok(());
        }
        // From here on something is missing: who finds the release must know that somebody is at work.
        if state.progress == Progress::Nothing {
            self.begin(release, state).await?;
        }
        self.deployment.remove(&replaced).await
    }

    /// Applies objects as one transaction where that is offered, one by one elsewhere.
    async fn apply_together(
        &self,
        resources: &[Resource],
        release: &Release,
        offered: bool,
    ) -> Result<(), ActionError> {
        let deployment = self.deployment;
        let cluster = deployment.cluster;
        if offered {
            if cluster.cancel.is_cancelled() {
                return Err(ApplyError::Cancelled.into());
            }
            self.hand_over(resources).await?;
            let operations = self.applications(resources);
            let skip_validation = deployment.options.skip_validation;
            match transaction::commit(cluster, &operations, false, skip_validation).await {
                Ok(outcomes) => {
                    self.tell_applied(resources, &outcomes);
                    return Ok(());
                }
                Err(Refusal::NotOffered(_) | Refusal::TooLarge(_)) => {}
                Err(refusal) => return Err(refused(refusal, &operations, release)),
            }
        }
        deployment.apply_these(resources, false).await.map(drop)
    }

    /// Makes what the client wrote once the server's.
    async fn hand_over(&self, resources: &[Resource]) -> Result<(), ActionError> {
        if self.deployment.migrate {
            for resource in resources.iter().filter(|resource| resource.is_named()) {
                apply::hand_over(&self.deployment.cluster.api, resource).await?;
            }
        }
        Ok(())
    }

    fn applications(&self, resources: &[Resource]) -> Vec<Operation> {
        let force = self.deployment.options.force_conflicts;
        let apply = |resource: &Resource| Operation::Apply {
            resource: resource.clone(),
            force,
        };
        resources.iter().map(apply).collect()
    }

    /// Tells of the objects of a transaction, which come first in it.
    fn tell_applied(&self, resources: &[Resource], outcomes: &[Outcome]) {
        for (index, (resource, outcome)) in resources.iter().zip(outcomes).enumerate() {
            self.deployment.cluster.observer.event(Event::Applied {
                object: outcome.object.as_ref().unwrap_or(&resource.object),
                done: index + 1,
                total: resources.len(),
            });
        }
    }

    /// Applies each part once those that it waits for are ready, each as one transaction where that is offered; parts
    /// that do not wait for each other go at the same time.
    async fn apply_in_order(&self, release: &Release, offered: bool) -> Result<(), ActionError> {
        let deployment = self.deployment;
        let parts = &self.order.parts;
        let mut done = vec![false; parts.len()];
        let mut started = vec![false; parts.len()];
        let mut running = FuturesUnordered::new();
        loop {
            for (index, part) in parts.iter().enumerate() {
                if started[index] || !part.after.iter().all(|needed| done[*needed]) {
                    continue;
                }
                started[index] = true;
                // What others wait for has to have done its work.
                let jobs = deployment.options.wait_for_jobs
                    || parts.iter().any(|other| other.after.contains(&index));
                let resources: Vec<Resource> = part
                    .resources
                    .iter()
                    .map(|place| deployment.after[*place].clone())
                    .collect();
                running.push(async move {
                    self.apply_together(&resources, release, offered).await?;
                    deployment.wait_for(&resources, jobs).await?;
                    Ok::<_, ActionError>(index)
                });
            }
            match running.next().await {
                Some(finished) => done[finished?] = true,
                None => return Ok(()),
            }
        }
    }

    /// Writes records together where that is offered, one after another elsewhere.
    async fn write(&self, others: &[Release], release: &Release) -> Result<(), ActionError> {
        let cluster = &self.deployment.cluster.uncancelled();
        let storage = cluster.storage();
        if !others.is_empty() && transaction::is_offered(cluster).await.unwrap_or_default() {
            let mut operations = Vec::new();
            for record in others.iter().chain(std::iter::once(release)) {
                operations.push(Operation::Update(storage.updated(record)?));
            }
            if transaction::commit(cluster, &operations, false, false)
                .await
                .is_ok()
            {
                return Ok(());
            }
        }
        for record in others {
            storage.update(record).await?;
        }
        Ok(storage.update(release).await?)
    }
}

fn deletion(object: &Object) -> Operation {
    Operation::Delete {
        object: object.clone(),
        cascade: Propagation::Background,
    }
}

/// The error that the refused operation alone would have been.
pub(crate) fn refused(refusal: Refusal, operations: &[Operation], release: &Release) -> ActionError {
    let (index, status): (usize, Status) = match refusal {
        Refusal::Operation { index, status } => (index, status),
        Refusal::Whole(status) | Refusal::NotOffered(status) | Refusal::TooLarge(status) => {
            return ActionError::Transaction(status);
        }
    };
    match operations.get(index) {
        Some(Operation::Apply { resource, .. }) => apply::refusal(&resource.object, status).into(),
        Some(Operation::Delete { object, .. }) => ApplyError::NotDeleted {
            object: Box::new(object.clone()),
            status,
        }
        .into(),
        Some(Operation::Create(_)) if status.is_already_exists() => StorageError::RevisionTaken {
            name: release.name.clone(),
            revision: release.revision,
        }
        .into(),
        Some(Operation::Create(_) | Operation::Update(_)) => StorageError::Api {
            verb: "write",
            source: status,
        }
        .into(),
        None => ActionError::Transaction(status),
    }
}
