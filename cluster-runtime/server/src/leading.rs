//! What only the server that leads does: the controllers, the scheduler, and the cluster's own objects.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use cluster_apiserver::{Engine, LocalApi};
use cluster_client::Jitter;
use cluster_controllers::{Controllers, ControllersOptions};
use cluster_objects::Status;
use cluster_scheduler::{Scheduler, SchedulerOptions};
use cluster_store::{Leadership, RaftStore};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::bootstrap::{ApiEndpoints, ensure_services, ensure_storage_class};
use crate::dir::ClusterSettings;
use crate::measurements::LeaderWork;

/// Between two tries of a new leader to begin.
const RETRY: Duration = Duration::from_millis(200);

/// How a leader works.
pub(crate) struct LeadingConfig {
    pub(crate) engine: Engine,
    pub(crate) store: Arc<RaftStore>,
    pub(crate) settings: ClusterSettings,
    /// The node's own address on its bridge, at which pods reach a server that is alone and has no other address.
    pub(crate) gateway: Ipv4Addr,
    /// PEM of the cluster's authority.
    pub(crate) authority: String,
    /// What services of type `LoadBalancer` get.
    pub(crate) outward: IpAddr,
    pub(crate) jitter: Jitter,
    pub(crate) node_grace: watch::Receiver<Duration>,
    /// Where it is told how much there is to do.
    pub(crate) work: LeaderWork,
}

/// Follows who leads, and leads while it is this server.
pub(crate) struct Leading {
    stop: CancellationToken,
    task: JoinHandle<()>,
    stage: watch::Receiver<Stage>,
}

/// How far a server is with leading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Nobody leads as far as it knows, or it has not begun.
    Nothing,
    /// Another server leads, or the cluster's own objects are there.
    Served,
    /// Another server leads, or controllers and scheduler have seen every object.
    CaughtUp,
}

impl Leading {
    pub(crate) fn start(config: LeadingConfig) -> Self {
        let stop = CancellationToken::new();
        let (stages, stage) = watch::channel(Stage::Nothing);
        let task = tokio::spawn(run(config, stop.clone(), stages));
        Self { stop, task, stage }
    }

    /// Waits until the cluster has what every cluster has, made here or by the server that leads.
    pub(crate) async fn served(&self) {
        self.reached(Stage::Served).await;
    }

    /// Waits until controllers and scheduler know every object, where this server leads.
    pub(crate) async fn caught_up(&self) {
        self.reached(Stage::CaughtUp).await;
    }

    async fn reached(&self, stage: Stage) {
        // The sender goes only with the task, which is stopped by us.
        let _ = self.stage.clone().wait_for(|reached| *reached >= stage).await;
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        // A task that panicked has nothing left to wait for.
        let _ = self.task.await;
    }
}

async fn run(config: LeadingConfig, stop: CancellationToken, stages: watch::Sender<Stage>) {
    let mut leadership = config.store.leadership();
    loop {
        let Leadership { leader, is_self } = leadership.borrow_and_update().clone();
        if is_self {
            lead(&config, &stop, &mut leadership, &stages).await;
        } else {
            let stage = if leader.is_some() {
                Stage::CaughtUp
            } else {
                Stage::Nothing
            };
            stages.send_replace(stage);
            tokio::select! {
                changed = leadership.changed() => if changed.is_err() { return },
                () = stop.cancelled() => {}
            }
        }
        if stop.is_cancelled() {
            return;
        }
    }
}

/// Leads until somebody else does.
async fn lead(
    config: &LeadingConfig,
    stop: &CancellationToken,
    leadership: &mut watch::Receiver<Leadership>,
    stages: &watch::Sender<Stage>,
) {
    while let Err(status) = begin(config).await {
        tracing::warn!(%status, "the cluster's own objects cannot be made yet");
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            _ = leadership.changed() => return,
            () = stop.cancelled() => return,
        }
    }
    tracing::info!(member = config.settings.member, "this server leads");
    stages.send_replace(Stage::Served);
    let api = |agent: &str| Arc::new(LocalApi::new(config.engine.clone(), agent));
    let controllers_options = ControllersOptions {
        root_certificate: Some(config.authority.clone()),
        load_balancer_address: Some(config.outward),
        jitter: config.jitter.clone(),
        node_grace: config.node_grace.clone(),
        ..ControllersOptions::default()
    };
    let controllers = Controllers::start(api("tug-controllers"), controllers_options);
    let scheduler_options = SchedulerOptions {
        jitter: config.jitter.clone(),
        ..SchedulerOptions::default()
    };
    let scheduler = Scheduler::start(api("tug-scheduler"), scheduler_options);
    let work = (controllers.queue_lengths(), scheduler.pending());
    config.work.set(Some(work));
    let ready = async {
        controllers.ready().await;
        scheduler.ready().await;
        stages.send_replace(Stage::CaughtUp);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = ready => {}
        // An error means that the store is gone.
        _ = leadership.wait_for(|leadership| !leadership.is_self) => tracing::info!("this server leads no more"),
        () = stop.cancelled() => {}
    }
    config.work.set(None);
    scheduler.stop().await;
    controllers.stop().await;
}

/// Takes over what the leader before has left, and makes sure of what every cluster has.
async fn begin(config: &LeadingConfig) -> Result<(), Status> {
    let LeadingConfig { engine, settings, .. } = config;
    engine.take_over();
    engine.bootstrap().await?;
    let api = LocalApi::new(engine.clone(), "tug-server");
    let members = config.store.members();
    let endpoints = ApiEndpoints::new(&members, settings.advertised(), config.gateway, settings.api_port);
    ensure_services(&api, settings.service_subnet, &endpoints).await?;
    ensure_storage_class(&api).await
}
