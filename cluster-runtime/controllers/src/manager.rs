//! Starting and stopping all controllers together.

use std::sync::Arc;

use cluster_client::{
    Api, Clock, InformerOptions, Informers, Jitter, ObjectKey, Recorder, RecorderOptions, WorkQueue,
};
use futures::future;
use tokio::task::JoinHandle;

use crate::context::Context;
use crate::deployment::Deployments;
use crate::reconcile::{self, Reconcile};
use crate::replica_set::ReplicaSets;

/// What the controllers are given beside the cluster.
#[derive(Clone, Debug)]
pub struct ControllersOptions {
    /// The wall clock.
    pub clock: Clock,
    /// Randomness of the waits between retries.
    pub jitter: Jitter,
}

impl Default for ControllersOptions {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            jitter: Jitter::none(),
        }
    }
}

/// The running controllers.
#[derive(Debug)]
pub struct Controllers {
    informers: Informers,
    queues: Vec<WorkQueue<ObjectKey>>,
    tasks: Vec<JoinHandle<()>>,
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
        let mut controllers = Self {
            informers,
            queues: Vec::new(),
            tasks: Vec::new(),
        };
        controllers.run(&context, Deployments::new);
        controllers.run(&context, ReplicaSets::<false>::new);
        controllers.run(&context, ReplicaSets::<true>::new);
        controllers
    }

    fn run<R: Reconcile>(
        &mut self,
        context: &Context,
        make: impl FnOnce(&Context, &WorkQueue<ObjectKey>) -> R,
    ) {
        let queue = reconcile::queue(context);
        let controller = Arc::new(make(context, &queue));
        self.queues.push(queue.clone());
        self.tasks
            .push(tokio::spawn(reconcile::run(controller, context.clone(), queue)));
    }

    /// Waits until every cache shows the cluster as it is.
    pub async fn ready(&self) {
        self.informers.synced().await;
    }

    /// Stops taking work and waits for the work under way.
    pub async fn stop(self) {
        self.queues.iter().for_each(WorkQueue::stop);
        future::join_all(self.tasks).await;
    }
}
