//! The requests of the Kubernetes API, with an in-process and a remote implementation behind one trait.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cluster_objects::{GroupVersionResource, Object, Status};
use futures::Stream;
use serde_json::Value;

use crate::{ByteStream, ExecRequest, ExecSession};

/// A cluster that answers the requests of the Kubernetes API.
///
/// Implemented in the process of the API server (without sockets and without copying objects) and over HTTPS.
/// Every method answers as the API does, with its [`Status`] where it refuses.
#[async_trait]
pub trait Api: Send + Sync + 'static {
    /// Reads one object, or a subresource of it such as `scale`.
    async fn get(&self, target: &Target) -> Result<Arc<Object>, Status>;

    /// Reads the objects of a collection.
    async fn list(&self, collection: &Collection, options: &ListOptions) -> Result<List, Status>;

    /// Follows the changes of a collection. The stream ends when the server ends it: list and watch again.
    async fn watch(&self, collection: &Collection, options: &WatchOptions) -> Result<WatchStream, Status>;

    /// Creates an object; `metadata.generateName` makes a name where none is given.
    async fn create(
        &self,
        collection: &Collection,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status>;

    /// Posts to a subresource such as `eviction`, `binding` or `token`.
    async fn post(
        &self,
        target: &Target,
        body: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status>;

    /// Replaces an object or a subresource such as `status`. A `resourceVersion` in it is a precondition.
    async fn update(
        &self,
        target: &Target,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status>;

    /// Changes an object or a subresource by a patch.
    async fn patch(
        &self,
        target: &Target,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status>;

    /// Deletes an object, or marks it for deletion where finalizers or a grace period hold it.
    async fn delete(&self, target: &Target, options: &DeleteOptions) -> Result<Deleted, Status>;

    /// What the cluster serves.
    async fn discovery(&self) -> Result<Arc<Discovery>, Status>;

    /// `GET` of any path outside the resources, as `/version` or `/readyz`.
    async fn raw(&self, path: &str) -> Result<Vec<u8>, Status>;

    /// The same as it comes, as the log of a container that is followed.
    async fn raw_stream(&self, path: &str) -> Result<ByteStream, Status> {
        let bytes = self.raw(path).await?;
        Ok(Box::pin(futures::stream::once(async { Ok(Bytes::from(bytes)) })))
    }

    /// Runs a command in a container of the pod whose subresource `exec` is named, or joins the container's main process
    /// where it is `attach`. Only over HTTPS; in the process the nodes are asked themselves.
    async fn exec(
        &self,
        target: &Target,
        container: &str,
        request: &ExecRequest,
    ) -> Result<ExecSession, Status> {
        let _ = (container, request);
        Err(Status::bad_request(format!(
            "commands cannot be run in {} here",
            target.name
        )))
    }
}

/// All objects of a resource, in one namespace or in all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Collection {
    /// The resource.
    pub resource: GroupVersionResource,
    /// The namespace; `None` for cluster-wide resources and for all namespaces.
    pub namespace: Option<String>,
}

/// One object of a resource, or a subresource of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The resource.
    pub resource: GroupVersionResource,
    /// The namespace; `None` for cluster-wide resources.
    pub namespace: Option<String>,
    /// The object's name.
    pub name: String,
    /// The subresource, as `status` or `scale`.
    pub subresource: Option<&'static str>,
}

/// Which objects a list returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Label selector as in the API, `app=web,tier in (a,b)`; empty selects all.
    pub label_selector: String,
    /// Field selector as in the API, `spec.nodeName=n1`; empty selects all.
    pub field_selector: String,
    /// Most objects in one answer; 0 is no limit.
    pub limit: u32,
    /// Where the answer before this one stopped.
    pub continue_token: String,
    /// Read only metadata: objects come as `PartialObjectMetadata`.
    pub metadata_only: bool,
}

/// Which changes a watch reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchOptions {
    /// Label selector, as in [`ListOptions`].
    pub label_selector: String,
    /// Field selector, as in [`ListOptions`].
    pub field_selector: String,
    /// Report changes after this revision; empty starts with the present objects as additions.
    pub resource_version: String,
}

/// One page of a list.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// The objects.
    pub items: Vec<Arc<Object>>,
    /// The revision that the list shows; a watch from here misses nothing.
    pub resource_version: String,
    /// Where to go on, empty on the last page.
    pub continue_token: String,
}

/// One reported change.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// The object is new, or newly selected.
    Added(Arc<Object>),
    /// The object changed.
    Modified(Arc<Object>),
    /// The object is gone, or no longer selected; in its last state.
    Deleted(Arc<Object>),
    /// Nothing changed up to this revision.
    Bookmark(String),
    /// The watch failed, with 410 when the revision is no longer kept.
    Error(Status),
}

/// The changes of a collection.
pub type WatchStream = Pin<Box<dyn Stream<Item = WatchEvent> + Send>>;

/// How unknown and duplicate fields are met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Dropped or kept in silence.
    Ignore,
    /// Reported as warnings.
    #[default]
    Warn,
    /// Refused.
    Strict,
}

/// How a write is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Check everything and change nothing.
    pub dry_run: bool,
    /// Who writes, for field ownership.
    pub field_manager: String,
    /// Take fields over from other managers (server-side apply only).
    pub force: bool,
    /// How unknown fields are met.
    pub field_validation: FieldValidation,
}

/// A change to an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// RFC 6902, a list of operations.
    Json(Value),
    /// RFC 7386, JSON merge patch.
    Merge(Value),
    /// Kubernetes' strategic merge patch.
    Strategic(Value),
    /// Server-side apply: the full set of fields that the manager wants.
    Apply(Value),
}

/// What happens to the objects that the deleted one owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted after the owner.
    #[default]
    Background,
    /// They are deleted before the owner.
    Foreground,
    /// They stay, without owner.
    Orphan,
}

/// How an object is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Check everything and change nothing.
    pub dry_run: bool,
    /// Seconds for a pod to stop; `None` takes the pod's own.
    pub grace_period_seconds: Option<i64>,
    /// What happens to owned objects.
    pub propagation: Propagation,
    /// Delete only the object of this UID.
    pub uid: Option<String>,
    /// Delete only the object at this revision.
    pub resource_version: Option<String>,
}

/// The answer to a deletion.
#[derive(Clone, Debug)]
pub enum Deleted {
    /// The object is gone.
    Gone,
    /// The object is marked and goes when its finalizers and grace period are done.
    Marked(Arc<Object>),
}

/// What a cluster serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// What the server says that it is.
    pub version: ServerVersion,
    /// Resources of all served groups and versions; subresources are not among them.
    pub resources: Vec<ApiResource>,
}

/// The version of a server, as `GET /version` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerVersion {
    /// In full, as `v1.37.0+tug.0`.
    pub git_version: String,
    /// The first number.
    pub major: String,
    /// The second number; some providers put a `+` behind it.
    pub minor: String,
}

/// One served resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiResource {
    /// Group, version and plural name.
    pub resource: GroupVersionResource,
    /// Kind of its objects.
    pub kind: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Verbs that it answers to.
    pub verbs: Vec<String>,
}

impl Collection {
    /// A resource in one namespace, `Collection::namespaced("apps/v1", "deployments", "default")`.
    pub fn namespaced(api_version: &str, resource: &str, namespace: &str) -> Self {
        let resource = GroupVersionResource::new(api_version, resource);
        Self {
            resource,
            namespace: Some(namespace.to_owned()),
        }
    }

    /// A cluster-wide resource, or a resource in all namespaces.
    pub fn all(api_version: &str, resource: &str) -> Self {
        Self {
            resource: GroupVersionResource::new(api_version, resource),
            namespace: None,
        }
    }

    /// The object of that name in this collection.
    pub fn target(&self, name: &str) -> Target {
        Target {
            resource: self.resource.clone(),
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            subresource: None,
        }
    }
}

impl Target {
    /// An object in a namespace.
    pub fn namespaced(api_version: &str, resource: &str, namespace: &str, name: &str) -> Self {
        Collection::namespaced(api_version, resource, namespace).target(name)
    }

    /// A cluster-wide object.
    pub fn cluster_wide(api_version: &str, resource: &str, name: &str) -> Self {
        Collection::all(api_version, resource).target(name)
    }

    /// The target of an object of a known resource: its namespace and name.
    pub fn of(resource: &GroupVersionResource, object: &Object) -> Self {
        Self {
            resource: resource.clone(),
            namespace: object.namespace().map(str::to_owned),
            name: object.name().to_owned(),
            subresource: None,
        }
    }

    /// A subresource of the same object.
    #[must_use]
    pub fn subresource(mut self, subresource: &'static str) -> Self {
        self.subresource = Some(subresource);
        self
    }

    /// The collection that the object is in.
    pub fn collection(&self) -> Collection {
        Collection {
            resource: self.resource.clone(),
            namespace: self.namespace.clone(),
        }
    }
}

impl Discovery {
    /// The served resource of a kind.
    pub fn resource_of(&self, group: &str, version: &str, kind: &str) -> Option<&ApiResource> {
        self.resources.iter().find(|served| {
            served.kind == kind && served.resource.group == group && served.resource.version == version
        })
    }
}
