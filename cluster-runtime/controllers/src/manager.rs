//! Starting and stopping all controllers together.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cluster_client::{Api, Clock, InformerOptions, Informers, Jitter, Recorder, RecorderOptions, WorkQueue};
use futures::future;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::autoscaler::Autoscalers;
use crate::cluster_role::ClusterRoles;
use crate::context::Context;
use crate::cron_job::CronJobs;
use crate::daemon_set::DaemonSets;
use crate::deployment::Deployments;
use crate::disruption::Disruptions;
use crate::endpoints::Endpoints;
use crate::event::Events;
use crate::garbage::{self, Garbage};
use crate::job::Jobs;
use crate::load_balancer::LoadBalancers;
use crate::namespace::{self, Namespaces};
use crate::namespace_content::NamespaceContent;
use crate::node::{Evictions, NodeHealth};
use crate::reconcile::{self, Reconcile};
use crate::replica_set::ReplicaSets;
use crate::resource_quota::{self, ResourceQuotas};
use crate::resources::Resources;
use crate::stateful_set::StatefulSets;
use crate::volume::VolumeBinder;

/// What the controllers are given beside the cluster.
#[derive(Clone, Debug)]
pub struct ControllersOptions {
    /// The wall clock.
    pub clock: Clock,
    /// Randomness of the waits between retries.
    pub jitter: Jitter,
    /// PEM of the certificate that every namespace holds in `kube-root-ca.crt`; `None` hands none out.
    pub root_certificate: Option<String>,
    /// What services of type `LoadBalancer` get; `None` leaves them to somebody else.
    pub load_balancer_address: Option<IpAddr>,
    /// How long a node may be silent before it counts as lost; a change is followed, and silence counts anew from it.
    pub node_grace: watch::Receiver<Duration>,
}

impl Default for ControllersOptions {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            jitter: Jitter::none(),
            root_certificate: None,
            load_balancer_address: None,
            node_grace: watch::channel(Duration::from_secs(40)).1,
        }
    }
}

type Length = Arc<dyn Fn() -> usize + Send + Sync>;

/// How much the controllers have to do, for as long as somebody looks on.
#[derive(Clone)]
pub struct QueueLengths(Vec<(&'static str, Length)>);

impl QueueLengths {
    /// Each controller by its name, and how many objects it has yet to look at.
    pub fn now(&self) -> Vec<(&'static str, usize)> {
        self.0.iter().map(|(name, length)| (*name, length())).collect()
    }
}

/// The running controllers.
pub struct Controllers {
    informers: Informers,
    resources: Arc<Resources>,
    stops: Vec<Box<dyn Fn() + Send + Sync>>,
    queues: Vec<(&'static str, Length)>,
    tasks: Vec<JoinHandle<()>>,
    /// Tasks that only watch and can end at any time.
    watching: Vec<JoinHandle<()>>,
}

impl Controllers {
    /// Starts every controller, each in a task of its own on the current tokio runtime, with one shared informer
    /// for each resource.
    pub fn start(api: Arc<dyn Api>, options: ControllersOptions) -> Self {
        let informer_options = InformerOptions {
            jitter: options.jitter.clone(),
            ..InformerOptions::default()
        };
        let informers = Informers::new(api.clone(), informer_options);
        let recorder = Recorder::start(api.clone(), options.clock.clone(), RecorderOptions::default());
        let context = Context {
            api,
            informers: informers.clone(),
            recorder,
            clock: options.clock,
            jitter: options.jitter,
        };
        let garbage_queue = reconcile::queue(&context);
        let garbage_feed = garbage::Feed::new(&garbage_queue);
        let namespace_queue = reconcile::queue(&context);
        let quota_queue = reconcile::queue(&context);
        let resources = follow_resources(&context, &garbage_feed, &namespace_queue, &quota_queue);

        let mut controllers = Self {
            informers,
            resources: resources.clone(),
            stops: Vec::new(),
            queues: Vec::new(),
            tasks: Vec::new(),
            watching: vec![tokio::spawn(resources.clone().run())],
        };
        controllers.run(&context, Deployments::new);
        controllers.run(&context, ReplicaSets::<false>::new);
        controllers.run(&context, ReplicaSets::<true>::new);
        controllers.run(&context, Endpoints::new);
        controllers.run(&context, |context, queue| {
            NamespaceContent::new(context, queue, options.root_certificate)
        });
        controllers.run(&context, Jobs::new);
        controllers.run(&context, StatefulSets::new);
        controllers.run(&context, DaemonSets::new);
        controllers.run(&context, CronJobs::new);
        controllers.run(&context, Disruptions::new);
        controllers.run(&context, VolumeBinder::new);
        let mut follow_grace = None;
        controllers.run(&context, |context, queue| {
            let health = NodeHealth::new(context, queue, *options.node_grace.borrow());
            follow_grace = Some(health.follow_grace(options.node_grace, queue.clone()));
            health
        });
        controllers.watching.extend(follow_grace.map(tokio::spawn));
        controllers.run(&context, Evictions::new);
        controllers.run(&context, ClusterRoles::new);
        controllers.run(&context, Events::new);
        controllers.run(&context, |context, queue| {
            Autoscalers::new(context, queue, &resources)
        });
        if let Some(address) = options.load_balancer_address {
            controllers.run(&context, |context, queue| {
                LoadBalancers::new(context, queue, address)
            });
        }
        let namespaces = Namespaces::new(&context, &namespace_queue, &resources);
        controllers.run_with(&context, namespaces, namespace_queue);
        let quotas = ResourceQuotas::new(&context, &quota_queue, &resources);
        controllers.run_with(&context, quotas, quota_queue);
        let garbage = Garbage::new(&context, &resources, &garbage_feed);
        controllers.run_with(&context, garbage, garbage_queue);
        controllers
    }

    fn run<R: Reconcile>(&mut self, context: &Context, make: impl FnOnce(&Context, &WorkQueue<R::Key>) -> R) {
        let queue = reconcile::queue(context);
        let controller = make(context, &queue);
        self.run_with(context, controller, queue);
    }

    fn run_with<R: Reconcile>(&mut self, context: &Context, controller: R, queue: WorkQueue<R::Key>) {
        let stop = queue.clone();
        self.stops.push(Box::new(move || stop.stop()));
        let measured = queue.clone();
        self.queues.push((R::NAME, Arc::new(move || measured.len())));
        let running = reconcile::run(Arc::new(controller), context.clone(), queue);
        self.tasks.push(tokio::spawn(running));
    }

    /// Waits until every cache shows the cluster as it is.
    pub async fn ready(&self) {
        self.informers.synced().await;
        self.resources.ready().await;
    }

    /// How much there is to do, for who looks on.
    pub fn queue_lengths(&self) -> QueueLengths {
        QueueLengths(self.queues.clone())
    }

    /// Stops taking work and waits for the work under way.
    pub async fn stop(self) {
        self.stops.iter().for_each(|stop| stop());
        self.watching.iter().for_each(JoinHandle::abort);
        future::join_all(self.tasks).await;
    }
}

impl fmt::Debug for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controllers")
            .field("informers", &self.informers)
            .finish_non_exhaustive()
    }
}

/// All resources, whose changes go to the graph of owners, to the namespaces that are being emptied, and to quotas.
fn follow_resources(
    context: &Context,
    garbage: &garbage::Feed,
    namespaces: &WorkQueue<cluster_client::ObjectKey>,
    quotas: &WorkQueue<cluster_client::ObjectKey>,
) -> Arc<Resources> {
    let garbage = garbage.clone();
    let (quota_queue, limited) = (quotas.clone(), context.informers.of("v1", "resourcequotas"));
    let (queue, present) = (namespaces.clone(), context.informers.of("v1", "namespaces"));
    Resources::new(
        context,
        vec![
            Arc::new(move |resource, change| garbage.apply(resource, change)),
            Arc::new(move |resource, change| namespace::feed(&present, &queue, resource, change)),
            Arc::new(move |resource, change| resource_quota::feed(&limited, &quota_queue, resource, change)),
        ],
    )
}
