//! The simulation: the parts of a cluster wired to each other, pods poured in, and what is measured meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_apiserver::{Engine, EngineOptions, LocalApi, Rbac};
use cluster_client::{Api, Collection, Jitter, ListOptions, WriteOptions};
use cluster_controllers::{Controllers, ControllersOptions};
use cluster_objects::{Object, Status};
use cluster_scheduler::{Profile, Scheduler, SchedulerOptions};
use cluster_store::{MemoryStore, RaftStore, RaftStoreConfig, Store};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;

use crate::kubelets::{Kubelets, register};
use crate::report::{Processor, Report, Requests, SimulationError};
use crate::sampler::{Sampler, Served};
use crate::timeline::{Counts, Timeline};
use crate::workload::{Application, NAMESPACE, applications, deployment, pod};
use crate::{Arrival, Latencies, SimulationOptions, Source, StorePlace, judge, machine};

/// Requests of whoever creates pods or deployments that are under way at once.
const CREATIONS_AT_ONCE: usize = 128;
/// How often it is told how far the simulation is.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// How far a simulation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Pods that exist.
    pub made: u32,
    /// Pods with a node.
    pub placed: u32,
    /// Pods that run.
    pub running: u32,
    /// Seconds since the first pod.
    pub seconds: u64,
}

/// Runs a simulation to its end, and tells now and then how far it is.
///
/// It needs a tokio runtime of several threads, and rustls's provider to be installed. The clock is the real one: what
/// comes out is how fast this machine is.
pub async fn simulate(
    options: &SimulationOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report, SimulationError> {
    let begin = Instant::now();
    let store = OpenStore::open(&options.store).await?;
    let engine_options = EngineOptions {
        authorizer: Box::new(Rbac::new(store.shared())),
        ..EngineOptions::default()
    };
    let engine = Engine::new(store.shared(), engine_options);
    engine.bootstrap().await?;
    let api = |agent: &str| -> Arc<dyn Api> { Arc::new(LocalApi::new(engine.clone(), agent)) };
    let jitter = Jitter::from_seed(options.seed);
    let controllers = Controllers::start(
        api("tug-controllers"),
        ControllersOptions {
            jitter: jitter.clone(),
            ..ControllersOptions::default()
        },
    );
    controllers.ready().await;
    let user = api("simulation");
    register(&*api("kubelet"), options).await?;
    make_namespace(&*user).await?;
    let timeline = Arc::new(Timeline::new());
    let kubelets = Kubelets::start(api("kubelet"), options, &timeline).await;
    let served = Served::start(&engine).await?;
    let applications = applications(options);
    let mut counts = timeline.counts();

    let start_scheduler = || {
        let scheduler_options = SchedulerOptions {
            profile: options.profile,
            jitter: jitter.clone(),
            ..SchedulerOptions::default()
        };
        Scheduler::start(api("tug-scheduler"), scheduler_options)
    };
    let mut scheduler = None;
    match options.arrival {
        Arrival::Waiting => {
            create(&*user, &applications, options).await?;
            let made = |counts: &Counts| counts.made >= options.pods;
            wait(&mut counts, made, options.patience, progress).await;
            let made = counts.borrow().made;
            if made < options.pods {
                return Err(SimulationError::NotMade {
                    made,
                    pods: options.pods,
                    seconds: options.patience.as_secs(),
                });
            }
        }
        Arrival::Flowing => {
            let started = start_scheduler();
            started.ready().await;
            scheduler = Some(started);
        }
    }
    let setup = begin.elapsed();
    let sampler = Sampler::start(&served, &timeline);
    let processor_before = machine::processor_time();
    timeline.restart();
    if options.arrival == Arrival::Flowing {
        create(&*user, &applications, options).await?;
    }
    let scheduler = scheduler.unwrap_or_else(start_scheduler);
    let over = |counts: &Counts| counts.running >= options.pods;
    wait(&mut counts, over, options.patience, progress).await;
    let processor = machine::processor_time() - processor_before;
    let reads = sampler.stop();

    let (memory_mib, memory_peak_mib) = machine::memory_mib();
    let nodes = all(&*user, &Collection::all("v1", "nodes")).await?;
    let pods = all(&*user, &Collection::namespaced("v1", "pods", NAMESPACE)).await?;
    let mut faults = judge::faults(&nodes, &pods, options.workload);
    let counts = *counts.borrow();
    if counts.made != options.pods {
        faults.push(format!("{} pods were made of {}", counts.made, options.pods));
    }
    let times = timeline.take();
    let since = |at: Option<Instant>| match (times.first_made, at) {
        (Some(first), Some(at)) => at.saturating_duration_since(first).as_secs_f64(),
        _ => 0.0,
    };
    let placement_seconds = since(times.last_placed);
    let rate = |count: u32, seconds: f64| {
        if seconds > 0.0 {
            f64::from(count) / seconds
        } else {
            0.0
        }
    };
    let report = Report {
        nodes: options.nodes,
        pods: options.pods,
        workload: options.workload,
        source: options.source,
        arrival: options.arrival,
        profile: profile_name(options.profile),
        store: match options.store {
            StorePlace::Folder(_) => "disk",
            StorePlace::Memory => "memory",
        },
        placed: counts.placed,
        running: counts.running,
        faults,
        setup_seconds: setup.as_secs_f64(),
        placement_seconds,
        placements_per_second: rate(counts.placed, placement_seconds),
        placements_best_second: times.best_second,
        running_seconds: since(times.last_running),
        placement_latency: Latencies::of(times.placing),
        requests: Requests {
            get: Latencies::of(reads),
        },
        revisions: engine.revision().0,
        memory_mib,
        memory_peak_mib,
        processor: Processor {
            seconds: processor.as_secs_f64(),
            micros_per_pod: if counts.placed == 0 {
                0.0
            } else {
                processor.as_secs_f64() * 1e6 / f64::from(counts.placed)
            },
        },
    };
    drop(kubelets);
    served.stop().await;
    scheduler.stop().await;
    controllers.stop().await;
    store.shutdown().await;
    Ok(report)
}

/// Waits for the counts to be as wished, until nothing happens any more.
async fn wait(
    counts: &mut watch::Receiver<Counts>,
    done: impl Fn(&Counts) -> bool,
    patience: Duration,
    progress: &(dyn Fn(Progress) + Sync),
) {
    let begin = Instant::now();
    let (mut last, mut last_change) = (*counts.borrow(), Instant::now());
    while !done(&last) && last_change.elapsed() < patience {
        let waited = counts.wait_for(|counts| done(counts));
        // The timeline outlives this, so that waiting ends with the wish or with the time.
        let _ = tokio::time::timeout(PROGRESS_EVERY, waited).await;
        let now = *counts.borrow();
        if now != last {
            (last, last_change) = (now, Instant::now());
        }
        progress(Progress {
            made: now.made,
            placed: now.placed,
            running: now.running,
            seconds: begin.elapsed().as_secs(),
        });
    }
}

/// The store, however it is kept.
enum OpenStore {
    Raft(Arc<RaftStore>),
    Memory(Arc<MemoryStore>),
}

impl OpenStore {
    async fn open(place: &StorePlace) -> Result<Self, SimulationError> {
        Ok(match place {
            StorePlace::Folder(folder) => {
                Self::Raft(Arc::new(RaftStore::open(RaftStoreConfig::new(folder)).await?))
            }
            StorePlace::Memory => Self::Memory(Arc::new(MemoryStore::default())),
        })
    }

    fn shared(&self) -> Arc<dyn Store> {
        match self {
            Self::Raft(store) => store.clone(),
            Self::Memory(store) => store.clone(),
        }
    }

    async fn shutdown(&self) {
        if let Self::Raft(store) = self {
            store.shutdown().await;
        }
    }
}

/// Makes the namespace, and waits for the account that pods in it have.
async fn make_namespace(api: &dyn Api) -> Result<(), Status> {
    let write = WriteOptions::default();
    let namespace = Object::new("v1", "Namespace", None, NAMESPACE);
    api.create(&Collection::all("v1", "namespaces"), namespace, &write)
        .await?;
    let account = Object::new("v1", "ServiceAccount", Some(NAMESPACE), "default");
    let accounts = Collection::namespaced("v1", "serviceaccounts", NAMESPACE);
    match api.create(&accounts, account, &write).await {
        // Its controller was faster.
        Err(status) if !status.is_already_exists() => Err(status),
        _ => Ok(()),
    }
}

/// Creates all applications: as deployments, or their pods one by one.
async fn create(
    api: &dyn Api,
    applications: &[Application],
    options: &SimulationOptions,
) -> Result<(), Status> {
    let write = &WriteOptions::default();
    match options.source {
        Source::Deployments => {
            let deployments = &Collection::namespaced("apps/v1", "deployments", NAMESPACE);
            let made = stream::iter(applications).map(|application| async move {
                let deployment = deployment(application, options);
                api.create(deployments, deployment, write).await.map(drop)
            });
            made.buffer_unordered(CREATIONS_AT_ONCE)
                .try_collect::<Vec<()>>()
                .await?;
        }
        Source::Bare => {
            let pods = &Collection::namespaced("v1", "pods", NAMESPACE);
            let numbered = applications
                .iter()
                .flat_map(|application| (0..application.replicas).map(move |number| (application, number)));
            let made = stream::iter(numbered).map(|(application, number)| async move {
                let pod = pod(application, number, options);
                api.create(pods, pod, write).await.map(drop)
            });
            let mut made = made.buffer_unordered(CREATIONS_AT_ONCE);
            while made.try_next().await?.is_some() {}
        }
    }
    Ok(())
}

async fn all(api: &dyn Api, collection: &Collection) -> Result<Vec<Arc<Object>>, Status> {
    Ok(api.list(collection, &ListOptions::default()).await?.items)
}

fn profile_name(profile: Profile) -> &'static str {
    match profile {
        Profile::Spread => "spread",
        Profile::Binpack => "binpack",
        Profile::Random => "random",
    }
}
