//! A gate before an API, which hears of every request first and may refuse it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cluster_objects::Status;

use crate::{Api, Route, Verb};

/// The route to an API through a gate: a request that the gate refuses gets its answer from there.
pub struct Gate<G> {
    api: Arc<dyn Api>,
    opens: G,
}

impl<G: Fn(Verb) -> Result<(), Status> + Send + Sync + 'static> Gate<G> {
    /// Puts a gate before an API.
    pub fn new(api: Arc<dyn Api>, opens: G) -> Self {
        Self { api, opens }
    }
}

impl<G> fmt::Debug for Gate<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

#[async_trait]
impl<G: Fn(Verb) -> Result<(), Status> + Send + Sync + 'static> Route for Gate<G> {
    async fn route(&self, verb: Verb) -> Result<Arc<dyn Api>, Status> {
        (self.opens)(verb)?;
        Ok(self.api.clone())
    }
}
