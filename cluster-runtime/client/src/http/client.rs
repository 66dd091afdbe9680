//! The client: sends requests, sends them again where that is safe, reads answers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cluster_objects::{Object, Status};
use futures::future::try_join_all;
use futures::{Stream, StreamExt, stream};
use http::{HeaderMap, Method, StatusCode, header};
use kube::client::Body;
use serde::Deserialize;

use super::config::{ConnectError, HttpConfig};
use super::discovery::{self, Root};
use super::request::{self, ApiRequest};
use super::{answer, streams, watch};
use crate::{
    Api, ApiResource, ByteStream, Collection, DeleteOptions, Deleted, Discovery, ExecRequest, ExecSession,
    List, ListOptions, Patch, ServerVersion, Target, WatchOptions, WatchStream, WriteOptions,
};

/// Times that a request is sent, the first included.
const ATTEMPTS_MAX: u32 = 4;
/// Longest wait before sending again, whatever the server asks for.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(10);

/// A cluster over HTTPS.
#[derive(Clone)]
pub struct HttpApi {
    client: kube::Client,
    address: String,
}

impl HttpApi {
    /// Makes the client; nothing is sent yet.
    ///
    /// Reads kubeconfig and certificate files and may run an exec plugin. Must be called within a tokio runtime.
    pub async fn connect(config: &HttpConfig) -> Result<Self, ConnectError> {
        let config = config.load().await?;
        let address = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let plugin = config
            .auth_info
            .exec
            .as_ref()
            .and_then(|exec| exec.command.clone());
        let client = kube::Client::try_from(config).map_err(|source| match (source, plugin) {
            (source @ kube::Error::Auth(_), Some(program)) => ConnectError::Plugin {
                program,
                source: Box::new(source),
            },
            (source, _) => ConnectError::Client {
                address: address.clone(),
                source: Box::new(source),
            },
        })?;
        Ok(Self { client, address })
    }

    /// Address of the API server.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Namespace of the kubeconfig's context, else `default`.
    pub fn default_namespace(&self) -> &str {
        self.client.default_namespace()
    }

    /// Sends a request until it is answered other than with "later", and reads the body.
    async fn send(&self, request: ApiRequest) -> Result<(StatusCode, Bytes), Status> {
        let response = self.send_retrying(request).await?;
        let (parts, body) = response.into_parts();
        log_warnings(&parts.headers);
        let body = body
            .collect_bytes()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if parts.status.is_success() {
            Ok((parts.status, body))
        } else {
            Err(answer::refusal(parts.status, &body))
        }
    }

    async fn send_retrying(&self, request: ApiRequest) -> Result<http::Response<Body>, Status> {
        let mut attempt = 1;
        loop {
            tracing::debug!(method = %request.method(), uri = %request.uri(), attempt, "request");
            let sent = request.clone().map(Body::from);
            let response = self
                .client
                .send(sent)
                .await
                .map_err(|error| self.unreachable(&error))?;
            if attempt == ATTEMPTS_MAX || !may_send_again(request.method(), response.status()) {
                return Ok(response);
            }
            tokio::time::sleep(retry_delay(attempt, response.headers())).await;
            attempt += 1;
        }
    }

    async fn send_for_object(&self, request: ApiRequest) -> Result<Arc<Object>, Status> {
        let (_, body) = self.send(request).await?;
        answer::object(&body)
    }

    /// Reads the resources below `/api` or `/apis`.
    async fn discover(&self, path: &str) -> Result<Vec<ApiResource>, Status> {
        let (_, body) = self.send(request::raw(path, discovery::ACCEPT)).await?;
        match discovery::root(&answer::json(&body)?) {
            Root::Aggregated(resources) => Ok(resources),
            Root::Versions(paths) => {
                let lists = paths.iter().map(|path| async move {
                    match self.send(request::raw(path, "application/json")).await {
                        Ok((_, body)) => Ok(discovery::resource_list(&answer::json(&body)?)),
                        // The server of one group may be away; the others are served.
                        Err(status) if matches!(status.code, 404 | 503) => Ok(Vec::new()),
                        Err(status) => Err(status),
                    }
                });
                Ok(try_join_all(lists).await?.into_iter().flatten().collect())
            }
        }
    }

    fn unreachable(&self, error: &kube::Error) -> Status {
        let mut reasons: Vec<String> = Vec::new();
        let mut next: Option<&dyn std::error::Error> = Some(match error {
            kube::Error::Service(source) => source.as_ref(),
            other => other,
        });
        while let Some(error) = next {
            let text = error.to_string();
            if !reasons.iter().any(|known| known.contains(&text)) {
                reasons.push(text);
            }
            next = error.source();
        }
        let address = &self.address;
        Status::unavailable(format!("cannot reach {address}: {}", reasons.join(": ")))
    }
}

/// Too many requests are refused before anything is done; otherwise only reading twice does no harm.
fn may_send_again(method: &Method, status: StatusCode) -> bool {
    match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => method == Method::GET,
        _ => false,
    }
}

fn retry_delay(attempt: u32, headers: &HeaderMap) -> Duration {
    let asked = headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let own = Duration::from_millis(250) * 2u32.pow(attempt);
    asked.unwrap_or(own).min(RETRY_DELAY_MAX)
}

fn log_warnings(headers: &HeaderMap) {
    for warning in headers.get_all(header::WARNING) {
        let text = String::from_utf8_lossy(warning.as_bytes()).into_owned();
        tracing::warn!(warning = text, "the server warns");
    }
}

/// The data frames of a body.
fn data_frames(body: Body) -> impl Stream<Item = Result<Bytes, kube::Error>> + Send + 'static {
    use http_body::Body as _;
    stream::unfold(Box::pin(body), |mut body| async {
        loop {
            let frame = futures::future::poll_fn(|context| body.as_mut().poll_frame(context)).await?;
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => return Some((Ok(data), body)),
                Ok(Err(_trailers)) => {}
                Err(error) => return Some((Err(error), body)),
            }
        }
    })
}

#[async_trait]
impl Api for HttpApi {
    async fn get(&self, target: &Target) -> Result<Arc<Object>, Status> {
        self.send_for_object(request::get(target)).await
    }

    async fn list(&self, collection: &Collection, options: &ListOptions) -> Result<List, Status> {
        let (_, body) = self.send(request::list(collection, options)).await?;
        answer::list(&body)
    }

    async fn watch(&self, collection: &Collection, options: &WatchOptions) -> Result<WatchStream, Status> {
        let response = self.send_retrying(request::watch(collection, options)).await?;
        let (parts, body) = response.into_parts();
        if !parts.status.is_success() {
            let body = body
                .collect_bytes()
                .await
                .map_err(|error| self.unreachable(&error))?;
            return Err(answer::refusal(parts.status, &body));
        }
        Ok(watch::events(data_frames(body)))
    }

    async fn create(
        &self,
        collection: &Collection,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.send_for_object(request::create(collection, object, options))
            .await
    }

    async fn post(
        &self,
        target: &Target,
        body: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.send_for_object(request::post(target, body, options)).await
    }

    async fn update(
        &self,
        target: &Target,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.send_for_object(request::update(target, object, options))
            .await
    }

    async fn patch(
        &self,
        target: &Target,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.send_for_object(request::patch(target, patch, options)).await
    }

    async fn delete(&self, target: &Target, options: &DeleteOptions) -> Result<Deleted, Status> {
        let (code, body) = self.send(request::delete(target, options)).await?;
        answer::deleted(code, &body)
    }

    async fn discovery(&self) -> Result<Arc<Discovery>, Status> {
        let version = async {
            let (_, body) = self.send(request::raw("/version", "application/json")).await?;
            let version = answer::json(&body)?;
            Ok::<_, Status>(ServerVersion::deserialize(version).unwrap_or_default())
        };
        let (version, core, groups) =
            futures::try_join!(version, self.discover("/api"), self.discover("/apis"))?;
        let resources = core.into_iter().chain(groups).collect();
        Ok(Arc::new(Discovery { version, resources }))
    }

    async fn raw(&self, path: &str) -> Result<Vec<u8>, Status> {
        let (_, body) = self.send(request::raw(path, "*/*")).await?;
        Ok(body.to_vec())
    }

    async fn raw_stream(&self, path: &str) -> Result<ByteStream, Status> {
        let mut request = request::raw(path, "*/*");
        // What is compressed comes in blocks, not as it is written.
        let identity = header::HeaderValue::from_static("identity");
        request.headers_mut().insert(header::ACCEPT_ENCODING, identity);
        let (parts, body) = self.send_retrying(request).await?.into_parts();
        if !parts.status.is_success() {
            let body = body.collect_bytes().await;
            let body = body.map_err(|error| self.unreachable(&error))?;
            return Err(answer::refusal(parts.status, &body));
        }
        Ok(Box::pin(
            data_frames(body).map(|frame| frame.map_err(std::io::Error::other)),
        ))
    }

    async fn exec(
        &self,
        target: &Target,
        container: &str,
        request: &ExecRequest,
    ) -> Result<ExecSession, Status> {
        let opened = streams::open(&self.client, target, container, request).await;
        opened.map_err(|error| streams::refusal(&error).unwrap_or_else(|| self.unreachable(&error)))
    }
}
