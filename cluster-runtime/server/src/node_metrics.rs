//! What a node tells Prometheus of itself, at `/metrics` of an agent's port, and among what a server tells.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use cluster_apiserver::{MASTERS, Measurement, SERVERS, User, measurements_text};
use cluster_client::{
    Api, Collection, Connection, NodeStreams, NodeUsage, PodContainer, Usage, WriteOptions,
};
use cluster_node::{BeatCounts, NodeHandle};
use cluster_objects::Object;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};

/// Name of the protocol that is spoken, for ALPN.
pub(crate) const PROTOCOL: &str = "http/1.1";
/// Time that a connection may be idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// What is measured of a node.
#[derive(Clone, Debug, Default)]
struct Measured {
    beats: BeatCounts,
    pods: usize,
    usage: NodeUsage,
}

/// The numbers of a node as of now.
pub(crate) async fn of_node(node: &NodeHandle) -> Vec<Measurement> {
    let measured = Measured {
        beats: node.beats(),
        pods: node.pods(),
        // A runtime that does not answer shows in what is missing.
        usage: node.usage().await.unwrap_or_default(),
    };
    numbers(&measured)
}

fn numbers(measured: &Measured) -> Vec<Measurement> {
    let Measured { beats, pods, usage } = measured;
    let one = |name, kind, help, value| Measurement {
        name,
        kind,
        help,
        values: vec![(Vec::new(), value)],
    };
    let containers = |name, kind, help, value: fn(&Usage) -> f64| Measurement {
        name,
        kind,
        help,
        values: usage
            .containers
            .iter()
            .map(|(of, usage)| (labels(of), value(usage)))
            .collect(),
    };
    let running = (
        vec![("container_state", "running".to_owned())],
        usage.containers.len() as f64,
    );
    let outcome = |outcome: &str, count: u64| (vec![("outcome", outcome.to_owned())], count as f64);
    vec![
        one(
            "kubelet_running_pods",
            "gauge",
            "Pods that the agent of this node looks after.",
            *pods as f64,
        ),
        Measurement {
            name: "kubelet_running_containers",
            kind: "gauge",
            help: "Containers that run on this node.",
            values: vec![running],
        },
        Measurement {
            name: "tug_node_heartbeats_total",
            kind: "counter",
            help: "Signs of life of this node, by whether the API took them.",
            values: vec![outcome("taken", beats.taken), outcome("failed", beats.failed)],
        },
        one(
            "tug_node_heartbeat_seconds_total",
            "counter",
            "Time until the API had taken signs of life of this node.",
            beats.took.as_secs_f64(),
        ),
        one(
            "node_cpu_usage_seconds_total",
            "counter",
            "Processor time of this node.",
            cpu_seconds(&usage.node),
        ),
        one(
            "node_memory_working_set_bytes",
            "gauge",
            "Memory of this node that cannot be given back easily.",
            usage.node.working_set_bytes as f64,
        ),
        containers(
            "container_cpu_usage_seconds_total",
            "counter",
            "Processor time of a container.",
            cpu_seconds,
        ),
        containers(
            "container_memory_working_set_bytes",
            "gauge",
            "Memory of a container that cannot be given back easily.",
            |usage| usage.working_set_bytes as f64,
        ),
    ]
}

fn cpu_seconds(usage: &Usage) -> f64 {
    usage.cpu_nanoseconds as f64 / 1e9
}

fn labels(of: &PodContainer) -> Vec<(&'static str, String)> {
    vec![
        ("namespace", of.namespace.clone()),
        ("pod", of.pod.clone()),
        ("container", of.container.clone()),
    ]
}

/// Says who may read.
#[async_trait]
trait Reviewer: Send + Sync {
    /// Whose a bearer token is.
    async fn user_of(&self, token: &str) -> Option<Value>;
    /// Whether a user, as a token's review or a certificate has it, may read the numbers of the node.
    async fn may_read(&self, user: &Value) -> bool;
}

/// The numbers of an agent's node over HTTP.
pub(crate) struct NodeMetrics {
    name: String,
    node: NodeHandle,
    api: Arc<dyn Api>,
}

impl NodeMetrics {
    /// `api` is asked who may read, besides servers and administrators: whoever may get `nodes/metrics` of this node.
    pub(crate) fn new(name: &str, node: NodeHandle, api: Arc<dyn Api>) -> Self {
        Self {
            name: name.to_owned(),
            node,
            api,
        }
    }

    /// Answers the requests of one connection, by a caller whose certificate names a user.
    pub(crate) async fn serve(self: Arc<Self>, connection: Box<dyn Connection>, user: Option<User>) {
        let user = Arc::new(user);
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let (metrics, user) = (self.clone(), user.clone());
            async move { Ok::<_, Infallible>(metrics.answer(&request, user.as_ref().as_ref()).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT);
        if let Err(error) = builder.serve_connection(TokioIo::new(connection), service).await {
            tracing::debug!(%error, "a connection to this node's measurements ended");
        }
    }

    async fn answer<B>(&self, request: &Request<B>, user: Option<&User>) -> Response<Body> {
        let refused = check(self, request, user).await;
        if let Some((code, reason)) = refused {
            return plain(code, reason.to_owned());
        }
        plain(StatusCode::OK, measurements_text(&of_node(&self.node).await))
    }

    async fn review(&self, resource: (&str, &str), spec: Value) -> Option<Arc<Object>> {
        let (version, resource) = resource;
        let kind = match resource {
            "tokenreviews" => "TokenReview",
            _ => "SubjectAccessReview",
        };
        let review = json!({"apiVersion": version, "kind": kind, "spec": spec});
        let review = Object::from_value(review).ok()?;
        let created = self
            .api
            .create(
                &Collection::all(version, resource),
                review,
                &WriteOptions::default(),
            )
            .await;
        match created {
            Ok(review) => Some(review),
            Err(status) => {
                tracing::warn!(%status, "who asks for this node's measurements cannot be looked up");
                None
            }
        }
    }
}

#[async_trait]
impl Reviewer for NodeMetrics {
    async fn user_of(&self, token: &str) -> Option<Value> {
        let review = self
            .review(
                ("authentication.k8s.io/v1", "tokenreviews"),
                json!({"token": token}),
            )
            .await?;
        let is_known = review.at(&["status", "authenticated"]) == Some(&Value::Bool(true));
        review.at(&["status", "user"]).filter(|_| is_known).cloned()
    }

    async fn may_read(&self, user: &Value) -> bool {
        let spec = json!({
            "user": user["username"], "uid": user["uid"], "groups": user["groups"],
            "resourceAttributes": {
                "verb": "get", "version": "v1", "resource": "nodes", "subresource": "metrics", "name": self.name,
            },
        });
        let review = self
            .review(("authorization.k8s.io/v1", "subjectaccessreviews"), spec)
            .await;
        review.is_some_and(|review| review.at(&["status", "allowed"]) == Some(&Value::Bool(true)))
    }
}

/// Why a request is not answered, if it is not.
async fn check<B>(
    reviewer: &dyn Reviewer,
    request: &Request<B>,
    user: Option<&User>,
) -> Option<(StatusCode, &'static str)> {
    let user = match (user, bearer(request)) {
        (Some(user), _) if user.is_in(SERVERS) || user.is_in(MASTERS) => None,
        (Some(user), _) => Some(json!({"username": user.name, "groups": user.groups})),
        (None, Some(token)) => match reviewer.user_of(token).await {
            Some(user) => Some(user),
            None => return Some((StatusCode::UNAUTHORIZED, "the token is not good")),
        },
        (None, None) => {
            let reason = "a client certificate of the cluster or a bearer token says who you are";
            return Some((StatusCode::UNAUTHORIZED, reason));
        }
    };
    if let Some(user) = user
        && !reviewer.may_read(&user).await
    {
        return Some((
            StatusCode::FORBIDDEN,
            "only who may get `nodes/metrics` may read this",
        ));
    }
    match (request.method() == Method::GET, request.uri().path()) {
        (true, "/metrics") => None,
        _ => Some((StatusCode::NOT_FOUND, "there is only `/metrics`")),
    }
}

fn bearer<B>(request: &Request<B>) -> Option<&str> {
    let text = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    text.strip_prefix("Bearer ").map(str::trim)
}

fn plain(code: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = code;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known;

    #[async_trait]
    impl Reviewer for Known {
        async fn user_of(&self, token: &str) -> Option<Value> {
            ["reader", "other"]
                .contains(&token)
                .then(|| json!({"username": token}))
        }

        async fn may_read(&self, user: &Value) -> bool {
            user["username"] == "reader"
        }
    }

    #[tokio::test]
    async fn err_who_may_not_read_a_nodes_numbers() {
        let user = |name: &str, group: &str| Some(User::authenticated(name, [group.to_owned()]));
        for (user, token, path, code) in [
            (user("a", SERVERS), "", "/metrics", None),
            (user("admin", MASTERS), "", "/metrics", None),
            (user("admin", MASTERS), "", "/", Some(404)),
            (user("reader", "people"), "", "/metrics", None),
            (user("other", "people"), "", "/metrics", Some(403)),
            (user("system:node:b", "system:nodes"), "", "/metrics", Some(403)),
            (None, "reader", "/metrics", None),
            (None, "other", "/metrics", Some(403)),
            (None, "stranger", "/metrics", Some(401)),
            (None, "", "/metrics", Some(401)),
        ] {
            let mut request = Request::get(path);
            if !token.is_empty() {
                request = request.header(AUTHORIZATION, format!("Bearer {token}"));
            }
            let request = request.body(()).unwrap();
            let refused = check(&Known, &request, user.as_ref()).await;
            let found = refused.map(|(code, _)| code.as_u16());
            assert_eq!(found, code, "{user:?} {token} {path}");
        }
    }

    #[test]
    fn a_nodes_numbers_are_read_by_prometheus() {
        let of = PodContainer {
            namespace: "shop".to_owned(),
            pod: "web".to_owned(),
            uid: "u".to_owned(),
            container: "main".to_owned(),
        };
        let used = Usage {
            cpu_nanoseconds: 2_500_000_000,
            working_set_bytes: 4096,
        };
        let measured = Measured {
            beats: BeatCounts {
                taken: 3,
                failed: 1,
                took: Duration::from_millis(12),
            },
            pods: 2,
            usage: NodeUsage {
                node: used,
                containers: vec![(of, used)],
            },
        };
        let text = measurements_text(&numbers(&measured));
        for line in [
            "# TYPE kubelet_running_pods gauge",
            "kubelet_running_pods 2",
            "kubelet_running_containers{container_state=\"running\"} 1",
            "tug_node_heartbeats_total{outcome=\"taken\"} 3",
            "tug_node_heartbeat_seconds_total 0.012",
            "container_cpu_usage_seconds_total{namespace=\"shop\",pod=\"web\",container=\"main\"} 2.5",
            "node_memory_working_set_bytes 4096",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
    }
}
