//! What every controller is given.

use std::sync::Arc;

use cluster_client::{Api, Clock, Informers, Jitter, Recorder};
use cluster_objects::Object;

use crate::step::{self, Outcome, Step, Written};

/// What every controller is given: the cluster, the caches, the clock and the recorder of events.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) api: Arc<dyn Api>,
    pub(crate) informers: Informers,
    pub(crate) recorder: Recorder,
    pub(crate) clock: Clock,
    pub(crate) jitter: Jitter,
}

impl Context {
    /// The same context for a controller of this name, which events carry.
    pub(crate) fn component(&self, name: &str) -> Self {
        Self {
            recorder: self.recorder.component(name),
            ..self.clone()
        }
    }

    /// Carries out steps about an object.
    pub(crate) async fn execute(&self, about: &Object, steps: Vec<Step>) -> Outcome {
        step::execute(&*self.api, &self.recorder, about, steps).await
    }

    /// Whether the caches show these writes, so that a plan does not repeat them.
    pub(crate) fn shows(&self, written: &[Written]) -> bool {
        written.iter().all(|write| {
            let informer = self.informers.running(write.resource());
            informer.is_none_or(|informer| write.is_shown_by(&informer))
        })
    }

    /// Waits until the caches show these writes.
    pub(crate) async fn until_shown(&self, written: &[Written]) {
        for write in written {
            if let Some(informer) = self.informers.running(write.resource()) {
                informer.wait_until(|informer| write.is_shown_by(informer)).await;
            }
        }
    }
}
