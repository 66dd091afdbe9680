//! An API that others answer, each request where its route leads.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cluster_objects::{Object, Status};

use crate::{
    Api, Collection, DeleteOptions, Deleted, Discovery, List, ListOptions, Patch, Target, WatchOptions,
    WatchStream, WriteOptions,
};

/// What a request to an [`Api`] is: its methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the methods")]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Post,
    Update,
    Patch,
    Delete,
    Discovery,
    Raw,
}

impl Verb {
    /// Whether it can change something.
    pub fn is_write(self) -> bool {
        matches!(
            self,
            Self::Create | Self::Post | Self::Update | Self::Patch | Self::Delete
        )
    }
}

/// Says where requests are answered.
#[async_trait]
pub trait Route: Send + Sync + 'static {
    /// The API to ask, or the answer where none is to be asked.
    async fn route(&self, verb: Verb) -> Result<Arc<dyn Api>, Status>;

    /// How a write is done there; as was asked for, unless it says otherwise.
    fn options(&self, options: &WriteOptions) -> WriteOptions {
        options.clone()
    }
}

/// Asks the API to which the route of a request leads. Streams and commands in containers have none: a body comes whole
/// ([`Api::raw_stream`]), and [`Api::exec`] is refused.
pub struct RoutedApi<R>(
    /// Says where.
    pub R,
);

impl<R> fmt::Debug for RoutedApi<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoutedApi").finish_non_exhaustive()
    }
}

#[async_trait]
impl<R: Route> Api for RoutedApi<R> {
    async fn get(&self, target: &Target) -> Result<Arc<Object>, Status> {
        self.0.route(Verb::Get).await?.get(target).await
    }

    async fn list(&self, collection: &Collection, options: &ListOptions) -> Result<List, Status> {
        self.0.route(Verb::List).await?.list(collection, options).await
    }

    async fn watch(&self, collection: &Collection, options: &WatchOptions) -> Result<WatchStream, Status> {
        self.0.route(Verb::Watch).await?.watch(collection, options).await
    }

    async fn create(
        &self,
        collection: &Collection,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.0
            .route(Verb::Create)
            .await?
            .create(collection, object, &self.0.options(options))
            .await
    }

    async fn post(
        &self,
        target: &Target,
        body: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.0
            .route(Verb::Post)
            .await?
            .post(target, body, &self.0.options(options))
            .await
    }

    async fn update(
        &self,
        target: &Target,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.0
            .route(Verb::Update)
            .await?
            .update(target, object, &self.0.options(options))
            .await
    }

    async fn patch(
        &self,
        target: &Target,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.0
            .route(Verb::Patch)
            .await?
            .patch(target, patch, &self.0.options(options))
            .await
    }

    async fn delete(&self, target: &Target, options: &DeleteOptions) -> Result<Deleted, Status> {
        self.0.route(Verb::Delete).await?.delete(target, options).await
    }

    async fn discovery(&self) -> Result<Arc<Discovery>, Status> {
        self.0.route(Verb::Discovery).await?.discovery().await
    }

    async fn raw(&self, path: &str) -> Result<Vec<u8>, Status> {
        self.0.route(Verb::Raw).await?.raw(path).await
    }
}
