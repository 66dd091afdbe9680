//! The API in the process of the engine: no sockets, no copies of objects.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cluster_client::{
    Api, Collection, DeleteOptions, Deleted, Discovery, FieldValidation, List, ListOptions, Patch, Target,
    WatchEvent, WatchOptions, WatchStream, WriteOptions,
};
use cluster_objects::table::partial_metadata;
use cluster_objects::{Object, Status, StatusReason};
use cluster_store::MemoryStore;
use futures::StreamExt;

use crate::discovery;
use crate::engine::{Body, Change, Engine, EngineOptions, ListQuery, WatchQuery, no_such_resource};
use crate::http::{self, Document};
use crate::user::Caller;

/// The engine as an [`Api`], for the parts of its own process.
///
/// Warnings of the engine are not passed on, so unknown fields are not looked for unless asked strictly.
#[derive(Clone, Debug)]
pub struct LocalApi {
    engine: Engine,
    caller: Caller,
}

impl LocalApi {
    /// An API for a part of this process, which may do everything; `agent` is its name and the owner of its fields.
    pub fn new(engine: Engine, agent: &str) -> Self {
        Self::as_caller(engine, Caller::system(agent))
    }

    /// An API for a caller with no more rights than they have.
    pub fn as_caller(engine: Engine, caller: Caller) -> Self {
        Self { engine, caller }
    }

    /// An API on a store in memory, with the namespaces that every cluster has: for tests and simulations.
    pub async fn in_memory() -> Result<Self, Status> {
        let engine = Engine::new(Arc::new(MemoryStore::default()), EngineOptions::default());
        engine.bootstrap().await?;
        Ok(Self::new(engine, "tug"))
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

/// How long a watch lives: there is no connection to lose, and so no reason to begin again.
const WATCH_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Spares the search for unknown fields whose warnings nobody would hear.
fn quiet(options: &WriteOptions) -> WriteOptions {
    let field_validation = match options.field_validation {
        FieldValidation::Strict => FieldValidation::Strict,
        FieldValidation::Warn | FieldValidation::Ignore => FieldValidation::Ignore,
    };
    WriteOptions {
        field_validation,
        ..options.clone()
    }
}

#[async_trait]
impl Api for LocalApi {
    async fn get(&self, target: &Target) -> Result<Arc<Object>, Status> {
        self.engine.read(&self.caller, target, "").await
    }

    async fn list(&self, collection: &Collection, options: &ListOptions) -> Result<List, Status> {
        let query = ListQuery {
            label_selector: options.label_selector.clone(),
            field_selector: options.field_selector.clone(),
            limit: options.limit as usize,
            continue_token: options.continue_token.clone(),
            ..ListQuery::default()
        };
        let page = self.engine.read_all(&self.caller, collection, &query).await?;
        let items = if options.metadata_only {
            let metadata = page
                .items
                .iter()
                .map(|object| Object::from_value(partial_metadata(object)));
            metadata.filter_map(Result::ok).map(Arc::new).collect()
        } else {
            page.items
        };
        Ok(List {
            items,
            resource_version: page.revision.to_string(),
            continue_token: page.continue_token,
        })
    }

    async fn watch(&self, collection: &Collection, options: &WatchOptions) -> Result<WatchStream, Status> {
        let query = WatchQuery {
            label_selector: options.label_selector.clone(),
            field_selector: options.field_selector.clone(),
            resource_version: options.resource_version.clone(),
            timeout: Some(WATCH_LIFE),
            ..WatchQuery::default()
        };
        if self.engine.is_behind(&query.resource_version) {
            self.engine.catch_up().await?;
        }
        let (_, changes) = self.engine.watch(&self.caller, collection, &query)?;
        Ok(Box::pin(changes.map(|change| match change {
            Change::Added(object) => WatchEvent::Added(object),
            Change::Modified(object) => WatchEvent::Modified(object),
            Change::Deleted(object) => WatchEvent::Deleted(object),
            Change::Bookmark { revision, .. } => WatchEvent::Bookmark(revision.to_string()),
            Change::Error(status) => WatchEvent::Error(status),
        })))
    }

    async fn create(
        &self,
        collection: &Collection,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        let options = quiet(options);
        let written = self
            .engine
            .create(&self.caller, collection, Body::from(object), &options)
            .await?;
        Ok(written.object)
    }

    async fn post(
        &self,
        target: &Target,
        body: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        let options = quiet(options);
        let written = self
            .engine
            .post(&self.caller, target, Body::from(body), &options)
            .await?;
        Ok(written.object)
    }

    async fn update(
        &self,
        target: &Target,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        let options = quiet(options);
        let written = self
            .engine
            .update(&self.caller, target, Body::from(object), &options)
            .await?;
        Ok(written.object)
    }

    async fn patch(
        &self,
        target: &Target,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        let mut options = quiet(options);
        if matches!(patch, Patch::Apply(_)) && options.field_manager.is_empty() {
            options.field_manager = self.caller.default_field_manager().to_owned();
        }
        let written = self
            .engine
            .patch(&self.caller, target, patch, &options, &[])
            .await?;
        Ok(written.object)
    }

    async fn delete(&self, target: &Target, options: &DeleteOptions) -> Result<Deleted, Status> {
        let (_, deleted) = self.engine.delete(&self.caller, target, options).await?;
        Ok(deleted)
    }

    async fn discovery(&self) -> Result<Arc<Discovery>, Status> {
        Ok(Arc::new(discovery::summary(&self.engine.registry())))
    }

    async fn raw(&self, path: &str) -> Result<Vec<u8>, Status> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let verbose = query.split('&').any(|part| part.starts_with("verbose"));
        match http::document(&self.engine, &self.caller.user, path, "", verbose)? {
            Some(Document::Value(value) | Document::Aggregated(value)) => Ok(value.to_string().into_bytes()),
            Some(Document::Text(200, text)) => Ok(text.into_bytes()),
            Some(Document::Text(code, text)) => Err(Status::new(code, StatusReason::Unknown, text)),
            None => Err(no_such_resource()),
        }
    }
}
