//! Bringing a store up, in a thread and a runtime of its own, and down again.
//!
//! The log, the vote and the tables are served by one thread, apart from those that answer requests: heartbeats are
//! kept up however busy these are, and a commit changes threads only where it has to wait for the disk.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use openraft::storage::RaftLogStorage;
use openraft::{BasicNode, Config, LogIdOptionExt, SnapshotPolicy};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::directory::Directory;
use crate::raft::batch::Proposal;
use crate::raft::batcher::{Batcher, LogGrowth, Room};
use crate::raft::health::Health;
use crate::raft::leadership::{Leadership, LeadershipWatch};
use crate::raft::log_storage::LogStorage;
use crate::raft::network::{PeerFactory, Peers};
use crate::raft::read_index::{self, Ask, Confirmer};
use crate::raft::runtime::tick_while;
use crate::raft::state_machine::{Snapshots, StateMachine};
use crate::raft::store::RaftStoreConfig;
use crate::raft::types::{Raft, SnapshotMeta, log_id};
use crate::seal::Sealer;
use crate::shared_tables::SharedTables;
use crate::snapshot::{list_snapshots, read_snapshot, remove_older, remove_unfinished};
use crate::tables::Tables;
use crate::wal::{RecoveryError, Wal, WalOptions};
use crate::{OpenError, StoreError};

/// Transactions that wait for the batcher.
const QUEUE_MAX: usize = 4096;

/// How long a group of one may take to elect itself and to do what is in its log.
const START_MAX: Duration = Duration::from_secs(60);

/// What of a running store is used from other threads.
pub(crate) struct Running {
    pub(crate) raft: Raft,
    pub(crate) tables: Arc<SharedTables>,
    pub(crate) queue: mpsc::Sender<Proposal>,
    pub(crate) health: Health,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) asks: mpsc::Sender<Ask>,
    pub(crate) growth: Arc<LogGrowth>,
    pub(crate) room: Room,
    /// How many entries of the log are done.
    pub(crate) applied: watch::Receiver<u64>,
    /// How many the log had when the store was opened.
    pub(crate) at_start: u64,
}

/// The thread of a store.
pub(crate) struct StoreThread {
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) thread: JoinHandle<()>,
}

/// Starts the thread and waits until the store serves.
pub(crate) async fn start(config: RaftStoreConfig) -> Result<(Running, StoreThread), OpenError> {
    let (ready, started) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let runtime = Handle::current();
    let thread = std::thread::Builder::new().name("store".to_owned());
    let dir = config.dir.clone();
    let thread = thread.spawn(move || run(config, runtime, ready, stopped));
    let thread = thread.map_err(|source| OpenError::Io { path: dir, source })?;
    let died = |_| OpenError::Start {
        reason: "the thread of the store ended".to_owned(),
    };
    let running = started.await.map_err(died)??;
    Ok((running, StoreThread { stop, thread }))
}

fn run(config: RaftStoreConfig, runtime: Handle, ready: Ready, stopped: oneshot::Receiver<()>) {
    let own = match tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
    {
        Ok(own) => own,
        Err(source) => {
            let path = config.dir;
            _ = ready.send(Err(OpenError::Io { path, source }));
            return;
        }
    };
    let (outcome, directory) = own.block_on(async move {
        let directory = match Directory::open(&config.dir, config.member, config.encryption.as_ref()) {
            Ok(directory) => directory,
            Err(error) => return (Err((ready, error)), None),
        };
        let outcome = match Opened::open(&config, &directory, runtime).await {
            Ok(opened) => opened.serve(&config, ready, stopped).await,
            Err(error) => Err((ready, error)),
        };
        (outcome, Some(directory))
    });
    // A snapshot that is still being written is waited for here; only then the directory is free.
    drop(own);
    drop(directory);
    if let Err((ready, error)) = outcome {
        _ = ready.send(Err(error));
    }
}

type Ready = oneshot::Sender<Result<Running, OpenError>>;

/// A store whose directory was read.
struct Opened {
    raft: Raft,
    wal: Wal,
    tables: Arc<SharedTables>,
    snapshots: Arc<Snapshots>,
    health: Health,
    peers: Arc<Peers>,
    leadership: watch::Receiver<Leadership>,
    /// How many entries are done.
    applied: watch::Receiver<u64>,
    /// How many entries the log had.
    at_start: u64,
    growth: Arc<LogGrowth>,
    room: Room,
}

impl Opened {
    async fn open(
        config: &RaftStoreConfig,
        directory: &Directory,
        runtime: Handle,
    ) -> Result<Self, OpenError> {
        let health = Health::new(config.dir.clone());
        let sealer = config.sealer().map_err(|source| OpenError::Io {
            path: config.dir.clone(),
            source,
        })?;
        let (snapshots, meta, tables) =
            open_snapshots(&directory.snapshots(), config, &health, sealer.as_ref())?;
        let tables = Arc::new(SharedTables::of(tables));
        let options = WalOptions {
            segment_bytes: config.segment_bytes,
            first_segment_bytes: config.segment_bytes.min(1 << 20),
            newest_path: Some(directory.segments()),
            before_write: config.before_write.clone(),
        };
        let (wal, committed) = Wal::open(&directory.log(), options)?;
        check_whole(config, directory, &wal, &meta)?;
        let (last, _) = wal.state();
        // What was committed is never more than what is there, unless a torn tail was cut off after it.
        let committed = committed.min(last);
        let path = directory.vote();
        let log = LogStorage::new(
            wal.clone(),
            committed.map(log_id),
            path.clone(),
            health.clone(),
            sealer.clone(),
        );
        let log = log.map_err(|source| OpenError::Io { path, source })?;
        let (applied, applied_here) = watch::channel(meta.last_log_id.next_index());
        let state_machine = StateMachine {
            tables: tables.clone(),
            limits: config.limits.clone(),
            last_applied: meta.last_log_id,
            membership: meta.last_membership,
            snapshots: snapshots.clone(),
            applied,
        };
        let peers = Arc::new(Peers::new(config.transport.clone(), runtime, sealer));
        // Ticks begin when it is known that there are others.
        let (ticking, ticks) = watch::channel(false);
        tick_while(ticks);
        let raft = start_raft(config, log, PeerFactory(peers.clone()), state_machine).await;
        let raft = match raft {
            Ok(raft) => raft,
            Err(reason) => {
                wal.close();
                return Err(OpenError::Start { reason });
            }
        };
        let (told, leadership) = watch::channel(Leadership::default());
        let watch = LeadershipWatch {
            raft: raft.clone(),
            member: config.member,
            leadership: told,
            ticking,
        };
        tokio::spawn(watch.run());
        let growth = LogGrowth::new(wal.clone(), snapshots.clone(), config.snapshot_log_bytes);
        Ok(Self {
            growth: Arc::new(growth),
            room: Room::new(wal.clone(), config.segment_bytes),
            raft,
            wal,
            tables,
            snapshots,
            health,
            peers,
            leadership,
            applied: applied_here,
            at_start: last.map_or(0, |last| last.index + 1),
        })
    }

    /// Serves until it is stopped; gives back whom to tell when it did not come to that.
    async fn serve(
        self,
        config: &RaftStoreConfig,
        ready: Ready,
        stopped: oneshot::Receiver<()>,
    ) -> Result<(), (Ready, OpenError)> {
        let outcome = match self.lead(config).await {
            Ok(()) => {
                self.serve_writes(config, ready, stopped).await;
                Ok(())
            }
            Err(error) => Err((ready, error)),
        };
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "stopping the log");
        }
        self.tables.change(Tables::close);
        self.wal.close();
        outcome
    }

    async fn serve_writes(&self, config: &RaftStoreConfig, ready: Ready, stopped: oneshot::Receiver<()>) {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let (asks, asked) = mpsc::channel(read_index::WAITING_MAX);
        let confirmer = Confirmer {
            raft: self.raft.clone(),
            member: config.member,
            peers: self.peers.clone(),
            leadership: self.leadership.clone(),
            asks: asked,
            applied: self.applied.clone(),
            at_start: self.at_start,
        };
        let running = Running {
            raft: self.raft.clone(),
            tables: self.tables.clone(),
            queue: sender,
            health: self.health.clone(),
            snapshots: self.snapshots.clone(),
            peers: self.peers.clone(),
            leadership: self.leadership.clone(),
            asks,
            applied: self.applied.clone(),
            at_start: self.at_start,
            growth: self.growth.clone(),
            room: self.room.clone(),
        };
        let mut batcher = Batcher {
            queue,
            waiting: Vec::new(),
            raft: self.raft.clone(),
            member: config.member,
            leadership: self.leadership.clone(),
            health: self.health.clone(),
            log: self.growth.clone(),
            room: self.room.clone(),
        };
        if ready.send(Ok(running)).is_ok() {
            tokio::select! {
                () = batcher.run() => {}
                () = confirmer.run() => {}
                _ = stopped => {}
            }
            batcher.refuse_waiting();
        }
    }

    /// Forms the group where that is asked, and becomes the leader of a group of one.
    async fn lead(&self, config: &RaftStoreConfig) -> Result<(), OpenError> {
        let outcome = self.try_lead(config).await;
        outcome.or_else(|reason| match self.health.failure() {
            // What is there can still be read.
            Some(_) => Ok(()),
            None => Err(OpenError::Start { reason }),
        })
    }

    async fn try_lead(&self, config: &RaftStoreConfig) -> Result<(), String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let raft = &self.raft;
        let member = config.member;
        let is_initialized = raft.is_initialized().await.map_err(|error| told(&error))?;
        if !is_initialized {
            if !config.bootstrap {
                return Ok(());
            }
            let members = BTreeMap::from([(member, BasicNode::new(&config.address))]);
            raft.initialize(members).await.map_err(|error| told(&error))?;
        }
        let state = raft.with_raft_state(move |state| {
            let is_alone = state.membership_state.effective().voter_ids().eq([member]);
            let vote = state.vote_ref();
            (
                is_alone,
                vote.is_committed() && vote.leader_id().voted_for() == Some(member),
            )
        });
        let (is_alone, is_leader) = state.await.map_err(|error| told(&error))?;
        if !is_alone {
            return Ok(());
        }
        if is_initialized && !is_leader {
            raft.trigger().elect().await.map_err(|error| told(&error))?;
        }
        let wait = raft.wait(Some(START_MAX));
        let leads = wait.metrics(|metrics| metrics.current_leader == Some(member), "leading");
        leads.await.map_err(|error| told(&error))?;
        let (last, _) = self.wal.state();
        let last = last.map(|last| last.index);
        let done = wait.applied_index_at_least(last, "doing what is in the log");
        done.await.map_err(|error| told(&error))?;
        let mut leadership = self.leadership.clone();
        let knows = leadership.wait_for(|leadership| leadership.is_self).await;
        knows.map_err(|error| told(&error))?;
        Ok(())
    }
}

/// Refuses a directory of which something is missing that the rest depends on.
pub(crate) fn check_whole(
    config: &RaftStoreConfig,
    directory: &Directory,
    wal: &Wal,
    meta: &SnapshotMeta,
) -> Result<(), OpenError> {
    let (last, purged) = wal.state();
    // A log begins with the entry that forms the group; all others come after a vote.
    if last.is_some_and(|last| last.index > 0) && !directory.vote().exists() {
        return Err(OpenError::Incomplete {
            path: config.dir.clone(),
            missing: "vote".to_owned(),
            found: "log".to_owned(),
        });
    }
    let covered = meta.last_log_id.next_index();
    if purged.is_some_and(|purged| purged.index >= covered) {
        return Err(OpenError::Incomplete {
            path: config.dir.clone(),
            missing: "the snapshot that the log goes on from".to_owned(),
            found: "log".to_owned(),
        });
    }
    Ok(())
}

async fn start_raft(
    config: &RaftStoreConfig,
    log: impl RaftLogStorage<crate::raft::types::TypeConfig>,
    peers: PeerFactory,
    state_machine: StateMachine,
) -> Result<Raft, String> {
    let raft_config = Config {
        cluster_name: "store".to_owned(),
        // An election begins 1.3 to 1.8 seconds after the leader was heard last, and takes one or two round trips: writes
        // go on within three seconds. Others believe in a leader for the longest election time.
        heartbeat_interval: 200,
        election_timeout_min: 400,
        election_timeout_max: 900,
        install_snapshot_timeout: 60_000,
        max_payload_entries: 64,
        replication_lag_threshold: 4096,
        // Asked for when the log grew by so many bytes; entries are of very different size.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 64,
        ..Config::default()
    };
    let raft_config = raft_config.validate().map_err(|error| error.to_string())?;
    let raft = Raft::new(config.member, Arc::new(raft_config), peers, log, state_machine).await;
    raft.map_err(|error| error.to_string())
}

/// Reads the newest snapshot.
fn open_snapshots(
    dir: &Path,
    config: &RaftStoreConfig,
    health: &Health,
    sealer: Option<&Arc<Sealer>>,
) -> Result<(Arc<Snapshots>, SnapshotMeta, Tables), OpenError> {
    let io = |source| OpenError::Io {
        path: dir.to_owned(),
        source,
    };
    let newest = list_snapshots(dir).map_err(io)?.pop();
    let (meta, tables) = match &newest {
        None => (SnapshotMeta::default(), Tables::new(config.limits.clone())),
        Some(path) => {
            let damaged = |reason: String| OpenError::Damaged {
                path: path.clone(),
                offset: 0,
                reason,
            };
            let read = read_snapshot(path, config.limits.clone(), sealer.map(|sealer| &**sealer));
            let (header, tables) = read.map_err(|error| damaged(error.to_string()))?;
            let meta = serde_json::from_value(header.log).map_err(|error| damaged(error.to_string()))?;
            (meta, tables)
        }
    };
    // Only now: while the directory cannot be read, nothing in it is changed.
    remove_unfinished(dir).map_err(io)?;
    if let Some(newest) = &newest {
        remove_older(dir, newest).map_err(io)?;
    }
    let bytes = newest.as_ref().map(std::fs::metadata).transpose().map_err(io)?;
    let snapshots = Snapshots {
        dir: dir.to_owned(),
        health: health.clone(),
        bytes: AtomicU64::new(bytes.map_or(0, |metadata| metadata.len())),
        current: Mutex::new(newest.map(|path| (SnapshotMeta::clone(&meta), path))),
        is_building: AtomicBool::new(false),
        outcome: watch::Sender::new(Ok(())),
        received: AtomicU64::new(0),
        sealer: sealer.cloned(),
    };
    Ok((Arc::new(snapshots), meta, tables))
}

impl From<RecoveryError> for OpenError {
    fn from(error: RecoveryError) -> Self {
        match error {
            RecoveryError::Read { path, source } => Self::Io { path, source },
            RecoveryError::Missing { path } => Self::Incomplete {
                missing: path.display().to_string(),
                path: path
                    .parent()
                    .and_then(Path::parent)
                    .map(Path::to_owned)
                    .unwrap_or_default(),
                found: "segments".to_owned(),
            },
            RecoveryError::Damaged { path, offset, reason } => Self::Damaged { path, offset, reason },
        }
    }
}

/// What a write is told once the store is stopped.
pub(crate) fn stopped() -> StoreError {
    StoreError::Unavailable {
        reason: "the store was stopped".to_owned(),
    }
}
