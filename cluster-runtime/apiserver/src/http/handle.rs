//! One request: who sends it, what it names, which verb, and the answer.

use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::response::Response;
use cluster_client::{Collection, Deleted, Patch, Target};
use cluster_objects::registry::KindRow;
use cluster_objects::table::IncludeObject;
use cluster_objects::{GroupVersionResource, Object, Status, StatusReason};
use futures::{FutureExt, StreamExt, stream};
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, Method, Request, request};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::answer::{self, encode, refusal, warn, whole};
use super::authenticate::{self, Tokens};
use super::document::{Document, document};
use super::encoded::Encoded;
use super::forward::{self, Forward, REMOTE_USER};
use super::metrics::{self, Asked, Measured, RequestCounts};
use super::negotiate::{Accepted, Format, View, negotiate};
use super::path::{ApiPath, ResourcePath};
use super::query::Parameters;
use super::view::Viewer;
use super::{body, compress, decode, fingerprint, stream as streams};
use crate::authorize::Action;
use crate::engine::{
    Engine, Page, Written, method_not_allowed, no_such_resource, only_name, unsupported_patch,
};
use crate::user::{Caller, SERVERS, User};

/// Reads that are answered at the same time, as Kubernetes has it; watches and streams do not count.
const READS_MAX: usize = 400;
/// Writes that are answered at the same time.
const WRITES_MAX: usize = 200;
/// Changes of a watch that are sent in one piece when they are all there.
const CHANGES_AT_ONCE: usize = 128;
/// Bytes after which such a piece gets no further change.
const BYTES_AT_ONCE: usize = 64 << 10;

const VIEWS: &[View] = &[View::Object, View::Table, View::Metadata];

/// What every request needs.
pub(crate) struct Server {
    pub(crate) engine: Engine,
    pub(crate) tokens: Arc<dyn Tokens>,
    /// The way to the server that takes writes.
    forward: Arc<dyn Forward>,
    measured: Vec<Arc<dyn Measured>>,
    /// Ends watches and streams when the server stops.
    pub(crate) stop: CancellationToken,
    /// Encodings that watches share.
    encoded: Arc<Encoded>,
    counts: RequestCounts,
    reads: Semaphore,
    writes: Semaphore,
}

/// A request with all that its head says.
pub(super) struct Call<'a> {
    pub(super) server: &'a Server,
    pub(super) caller: Caller,
    pub(super) parts: request::Parts,
    pub(super) parameters: Parameters,
    pub(super) accept: String,
    pub(super) gzip: bool,
}

impl Server {
    pub(crate) fn new(
        engine: Engine,
        tokens: Arc<dyn Tokens>,
        forward: Arc<dyn Forward>,
        measured: Vec<Arc<dyn Measured>>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            engine,
            tokens,
            forward,
            measured,
            stop,
            encoded: Arc::default(),
            counts: RequestCounts::default(),
            reads: Semaphore::new(READS_MAX),
            writes: Semaphore::new(WRITES_MAX),
        }
    }

    /// Answers a request of a connection whose certificate names a user, or none.
    pub(crate) async fn handle(&self, certificate: Option<&User>, request: Request<HttpBody>) -> Response {
        let accept = header(request.headers(), ACCEPT.as_str()).to_owned();
        let format = negotiate(&accept, VIEWS).map_or(Format::Json, |accepted| accepted.format);
        let asked = self.asked(&request);
        let start = Instant::now();
        let response = match self.respond(certificate, accept, request).await {
            Ok(response) => response,
            Err(status) => refusal(format, &status),
        };
        let lasts = matches!(asked.0, "WATCH" | "CONNECT");
        let took = (!lasts).then(|| start.elapsed());
        self.counts.count(asked, response.status().as_u16(), took);
        response
    }

    /// What a request asks for, in the words of metrics: names that are not served count as none.
    fn asked(&self, request: &Request<HttpBody>) -> Asked {
        let ApiPath::Resource(path) = ApiPath::parse(request.uri().path()) else {
            return (plain_verb(request.method()), String::new(), String::new(), "");
        };
        let resource = GroupVersionResource {
            group: path.group,
            version: path.version,
            resource: path.resource,
        };
        let subresource = path
            .subresource
            .as_deref()
            .and_then(subresource_name)
            .unwrap_or_default();
        let watches =
            || path.watch || Parameters::parse(request.uri().query().unwrap_or_default()).is_watch();
        let verb = match (request.method(), &path.name, subresource) {
            (_, _, "attach" | "exec" | "portforward") => "CONNECT",
            (&Method::GET, Some(_), _) => "GET",
            (&Method::GET, None, _) if watches() => "WATCH",
            (&Method::GET, None, _) => "LIST",
            (&Method::DELETE, None, _) => "DELETECOLLECTION",
            (method, _, _) => plain_verb(method),
        };
        if self.engine.row(&resource).is_err() {
            return (verb, String::new(), String::new(), "");
        }
        (verb, resource.group, resource.resource, subresource)
    }

    async fn metrics(&self) -> String {
        let reads = READS_MAX - self.reads.available_permits();
        let writes = WRITES_MAX - self.writes.available_permits();
        let mut text = self.counts.text(&self.engine, reads, writes);
        for part in &self.measured {
            metrics::add(&mut text, &part.measure().await);
        }
        text
    }

    async fn respond(
        &self,
        certificate: Option<&User>,
        accept: String,
        request: Request<HttpBody>,
    ) -> Result<Response, Status> {
        if self.forward.is_elsewhere()
            && forward::is_write(request.method())
            && !is_stream(request.uri().path())
        {
            return self.send_on(certificate, request).await;
        }
        let (parts, body) = request.into_parts();
        let caller = authenticate::caller(&parts.headers, certificate, self.tokens.as_ref(), &self.engine)?;
        let call = Call {
            server: self,
            caller,
            parameters: Parameters::parse(parts.uri.query().unwrap_or_default()),
            gzip: compress::is_asked(&parts.headers),
            accept,
            parts,
        };
        match ApiPath::parse(call.parts.uri.path()) {
            ApiPath::Resource(path) => call.resource(path, body).await,
            ApiPath::Other if call.parts.method == Method::GET && call.parts.uri.path() == "/metrics" => {
                let path = "/metrics";
                self.engine
                    .authorize(&call.caller.user, &Action::Path { verb: "get", path })?;
                let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                Ok(whole(
                    200,
                    content_type,
                    self.metrics().await.into_bytes(),
                    call.gzip,
                ))
            }
            _ if call.parts.method == Method::GET => call.document(),
            _ => Err(no_such_resource()),
        }
    }

    /// Has the server that leads answer.
    async fn send_on(
        &self,
        certificate: Option<&User>,
        mut request: Request<HttpBody>,
    ) -> Result<Response, Status> {
        let _place = self.place(request.method())?;
        // What another server has sent here was sent to one that led: it is not sent round.
        if certificate.is_some_and(|user| user.is_in(SERVERS)) && request.headers().contains_key(REMOTE_USER)
        {
            return Err(no_leader());
        }
        forward::prepare(&mut request, certificate)?;
        self.forward.send(request).await
    }

    /// A place among the requests that are answered at the same time; 429 when there is none.
    fn place(&self, method: &Method) -> Result<SemaphorePermit<'_>, Status> {
        let places = if method == Method::GET {
            &self.reads
        } else {
            &self.writes
        };
        places.try_acquire().map_err(|_| {
            let message = "Too many requests, please try again later.";
            let mut status = Status::new(429, StatusReason::TooManyRequests, message);
            status.retry_after_seconds = Some(1);
            status
        })
    }
}

impl Call<'_> {
    fn engine(&self) -> &Engine {
        &self.server.engine
    }

    /// Answers with version, health, discovery or OpenAPI.
    fn document(&self) -> Result<Response, Status> {
        let path = self.parts.uri.path();
        let verbose = self.parameters.flag("verbose").is_some();
        let found = document(self.engine(), &self.caller.user, path, &self.accept, verbose)?;
        let (body, content_type) = match found.ok_or_else(no_such_resource)? {
            Document::Text(code, text) => {
                let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
                return Ok(whole(code, content_type, text.into_bytes(), false));
            }
            Document::Aggregated(value) => {
                let content_type = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
                (
                    encode(Format::Json, &value),
                    HeaderValue::from_static(content_type),
                )
            }
            Document::Value(value) => {
                let format = negotiate(&self.accept, &[View::Object, View::AggregatedDiscovery])
                    .map_or(Format::Json, |accepted| accepted.format);
                (encode(format, &value), answer::content_type(format))
            }
        };
        let tag = format!("\"{:016X}\"", fingerprint(&body));
        let known = header(&self.parts.headers, IF_NONE_MATCH.as_str());
        let mut response = if known.split(',').any(|one| one.trim() == tag) {
            whole(304, content_type, Vec::new(), false)
        } else {
            whole(200, content_type, body, self.gzip)
        };
        let headers = response.headers_mut();
        headers.append(VARY, HeaderValue::from_static("Accept"));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(ETAG, tag);
        }
        Ok(response)
    }

    async fn resource(mut self, path: ResourcePath, body: HttpBody) -> Result<Response, Status> {
        let resource = GroupVersionResource {
            group: path.group,
            version: path.version,
            resource: path.resource,
        };
        let row = self.engine().row(&resource)?;
        let subresource = match path.subresource.as_deref() {
            None => None,
            Some(name) => Some(subresource_name(name).ok_or_else(no_such_resource)?),
        };
        let Some(name) = path.name else {
            let collection = Collection {
                resource,
                namespace: path.namespace,
            };
            return self.collection(&row, &collection, path.watch, body).await;
        };
        let target = Target {
            resource,
            namespace: path.namespace,
            name,
            subresource,
        };
        if let Some(kind) = streams::Kind::of(&target) {
            return streams::open(&mut self, &row, &target, kind).await;
        }
        let method = self.parts.method.clone();
        let _place = self.admitted(&method, &row, Some(&target), &target.collection())?;
        match method {
            Method::GET => {
                let viewer = self.viewer(&row)?;
                let version = self.parameters.text("resourceVersion");
                let object = self.engine().read(&self.caller, &target, version).await?;
                Ok(self.shown(200, viewer, &object, &[]))
            }
            Method::PUT => {
                let options = self.parameters.write()?;
                let viewer = self.viewer(&row)?;
                let body = decode::object(self.content_type(), &body::read(body).await?)?;
                let written = self
                    .engine()
                    .update(&self.caller, &target, body, &options)
                    .await?;
                Ok(self.written(viewer, &written))
            }
            Method::PATCH => {
                let options = self.parameters.write()?;
                let viewer = self.viewer(&row)?;
                let (patch, duplicates) = read_patch(self.content_type(), &body::read(body).await?)?;
                let engine = self.engine();
                let written = engine
                    .patch(&self.caller, &target, patch, &options, &duplicates)
                    .await?;
                Ok(self.written(viewer, &written))
            }
            Method::POST if target.subresource.is_some() => {
                let options = self.parameters.write()?;
                let viewer = self.viewer(&row)?;
                let body = decode::object(self.content_type(), &body::read(body).await?)?;
                let written = self.engine().post(&self.caller, &target, body, &options).await?;
                Ok(self.written(viewer, &written))
            }
            Method::DELETE if target.subresource.is_none() => {
                let viewer = self.viewer(&row)?;
                let options = self.delete_options(body).await?;
                let (last, deleted) = self.engine().delete(&self.caller, &target, &options).await?;
                Ok(match deleted {
                    Deleted::Marked(object) => self.shown(200, viewer, &object, &[]),
                    Deleted::Gone if shows_deleted(&row) => self.shown(200, viewer, &last, &[]),
                    Deleted::Gone => {
                        let status = answer::deleted(&row.plural, &row.group, &target.name, last.uid());
                        let format = viewer.accepted.format;
                        whole(200, answer::content_type(format), encode(format, &status), false)
                    }
                })
            }
            _ => Err(method_not_allowed()),
        }
    }

    /// A place for the request, once it is sure that the caller may do what they ask: nobody else may make the
    /// server read a body. The engine decides again when it knows all.
    fn admitted(
        &self,
        method: &Method,
        row: &KindRow,
        target: Option<&Target>,
        collection: &Collection,
    ) -> Result<SemaphorePermit<'_>, Status> {
        let verb = match (method, target) {
            (&Method::GET, Some(_)) => "get",
            (&Method::GET, None) => "list",
            (&Method::POST, _) => "create",
            (&Method::PUT, _) => "update",
            (&Method::PATCH, _) => "patch",
            (&Method::DELETE, Some(_)) => "delete",
            (&Method::DELETE, None) => "deletecollection",
            _ => return Err(method_not_allowed()),
        };
        let action = Action::Resource {
            verb,
            resource: &collection.resource,
            subresource: target.and_then(|target| target.subresource),
            namespace: collection.namespace.as_deref().filter(|_| row.namespaced),
            name: match target {
                Some(target) => Some(target.name.as_str()),
                None => only_name(self.parameters.text("fieldSelector")),
            },
        };
        self.engine().authorize(&self.caller.user, &action)?;
        self.server.place(method)
    }

    async fn collection(
        self,
        row: &Arc<KindRow>,
        collection: &Collection,
        old_watch: bool,
        body: HttpBody,
    ) -> Result<Response, Status> {
        let method = self.parts.method.clone();
        let misses_namespace = row.namespaced && collection.namespace.is_none();
        if method == Method::GET && (old_watch || self.parameters.is_watch()) {
            return self.watch(row, collection).await;
        }
        let _place = self.admitted(&method, row, None, collection)?;
        match method {
            Method::GET => {
                let viewer = self.viewer(row)?;
                let page: Page = self
                    .engine()
                    .read_all(&self.caller, collection, &self.parameters.list()?)
                    .await?;
                Ok(viewer.page(page, self.gzip))
            }
            Method::POST if !misses_namespace => {
                let options = self.parameters.write()?;
                let viewer = self.viewer(row)?;
                let bytes_max = if row.group == "tug.dev" {
                    body::TRANSACTION_BYTES_MAX
                } else {
                    body::BODY_BYTES_MAX
                };
                let bytes = body::read_up_to(body, bytes_max).await?;
                let body = decode::object(self.content_type(), &bytes)?;
                let written = self
                    .engine()
                    .create(&self.caller, collection, body, &options)
                    .await?;
                Ok(self.written(viewer, &written))
            }
            Method::DELETE if !misses_namespace => {
                let viewer = self.viewer(row)?;
                let query = self.parameters.list()?;
                let options = self.delete_options(body).await?;
                let engine = self.engine();
                let page = engine
                    .delete_collection(&self.caller, collection, &query, &options)
                    .await?;
                Ok(viewer.page(page, self.gzip))
            }
            _ => Err(method_not_allowed()),
        }
    }

    /// Answers with changes, one a line, for as long as the client stays and the watch lives.
    async fn watch(&self, row: &Arc<KindRow>, collection: &Collection) -> Result<Response, Status> {
        let viewer = self.viewer(row)?;
        let query = self.parameters.watch()?;
        let engine = self.engine().clone();
        if engine.is_behind(&query.resource_version) {
            engine.catch_up().await?;
        }
        let encoded = Arc::clone(&self.server.encoded);
        let (_, changes) = engine.watch(&self.caller, collection, &query)?;
        let changes = changes
            .take_until(Box::pin(self.server.stop.clone().cancelled_owned()))
            .fuse();
        let lines = stream::unfold((changes, true), move |(mut changes, mut first)| {
            let (mut viewer, engine, encoded) = (viewer.clone(), engine.clone(), Arc::clone(&encoded));
            async move {
                let mut next = changes.next().await;
                viewer.now = engine.now();
                let mut lines = Vec::new();
                let mut count = 0;
                while let Some(change) = next.take() {
                    viewer.change(&change, first, &encoded, &mut lines);
                    first = false;
                    count += 1;
                    // A reader that is slow holds no more than this: what comes after waits in the store.
                    if count < CHANGES_AT_ONCE && lines.len() < BYTES_AT_ONCE {
                        next = changes.next().now_or_never().flatten();
                    }
                }
                let piece = Ok::<_, std::convert::Infallible>(bytes::Bytes::from(lines));
                (count > 0).then_some((piece, (changes, first)))
            }
        });
        Ok(answer::answer(
            200,
            answer::content_type(Format::Json),
            HttpBody::from_stream(lines),
        ))
    }

    fn content_type(&self) -> &str {
        header(&self.parts.headers, CONTENT_TYPE.as_str())
    }

    fn viewer(&self, row: &Arc<KindRow>) -> Result<Viewer, Status> {
        let accepted = negotiate(&self.accept, VIEWS)?;
        let include = match self.parameters.text("includeObject") {
            "None" => IncludeObject::None,
            "Object" => IncludeObject::Object,
            _ => IncludeObject::Metadata,
        };
        Ok(Viewer {
            row: Arc::clone(row),
            accepted,
            include,
            now: self.engine().now(),
        })
    }

    fn written(&self, viewer: Viewer, written: &Written) -> Response {
        let code = if written.created { 201 } else { 200 };
        self.shown(code, viewer, &written.object, &written.warnings)
    }

    fn shown(&self, code: u16, mut viewer: Viewer, object: &Object, warnings: &[String]) -> Response {
        if object.kind() != viewer.row.kind {
            // Views of subresources, such as `Scale`, have no table of their own.
            viewer.accepted = Accepted {
                view: View::Object,
                ..viewer.accepted
            };
        }
        let content_type = answer::content_type(viewer.accepted.format);
        let mut response = whole(code, content_type, viewer.object(object), self.gzip);
        warn(&mut response, warnings);
        response
    }

    async fn delete_options(&self, body: HttpBody) -> Result<cluster_client::DeleteOptions, Status> {
        let bytes = body::read(body).await?;
        if bytes.is_empty() {
            return self.parameters.delete(None);
        }
        let (value, _) = decode::value(self.content_type(), &bytes)?;
        self.parameters.delete(Some(&value))
    }
}

/// Whether a path leads to the streams of a container: any server reaches every node.
fn is_stream(path: &str) -> bool {
    matches!(path.rsplit('/').next(), Some("exec" | "attach" | "portforward"))
}

fn no_leader() -> Status {
    let mut status = Status::unavailable("no server leads at this time: the request was not done");
    status.retry_after_seconds = Some(1);
    status
}

fn plain_verb(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

/// One header as text, empty where absent.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// The subresources that exist; rows say which kinds have them.
fn subresource_name(name: &str) -> Option<&'static str> {
    const NAMES: &[&str] = &[
        "approval",
        "attach",
        "binding",
        "ephemeralcontainers",
        "eviction",
        "exec",
        "finalize",
        "log",
        "portforward",
        "resize",
        "scale",
        "status",
        "token",
    ];
    NAMES.iter().copied().find(|known| *known == name)
}

/// Whether the deletion of an object answers with its last state, as some core kinds do.
fn shows_deleted(row: &KindRow) -> bool {
    const TABLES: &[&str] = &[
        "persistentvolumeclaims",
        "persistentvolumes",
        "pods",
        "podtemplates",
        "resourcequotas",
        "serviceaccounts",
        "services",
    ];
    TABLES.contains(&&*row.table)
}

fn read_patch(content_type: &str, bytes: &[u8]) -> Result<(Patch, Vec<String>), Status> {
    let json = || decode::json(bytes);
    Ok(match decode::media_type(content_type) {
        "application/json-patch+json" => (Patch::Json(json()?.0), Vec::new()),
        "application/merge-patch+json" => {
            let (patch, duplicates) = json()?;
            (Patch::Merge(patch), duplicates)
        }
        "application/strategic-merge-patch+json" => {
            let (patch, duplicates) = json()?;
            (Patch::Strategic(patch), duplicates)
        }
        "application/apply-patch+yaml" => {
            let (configuration, duplicates) = decode::value(content_type, bytes)?;
            (Patch::Apply(configuration), duplicates)
        }
        _ => return Err(unsupported_patch(content_type)),
    })
}
