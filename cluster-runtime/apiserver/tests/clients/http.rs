//! Plain requests, for what clients do not reach.

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::server::TestServer;

const ADMIN: Option<(&str, &str)> = Some(("admin", "system:masters"));

/// An answer, read whole.
struct Answer {
    code: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Sends one request over a connection of its own.
async fn open(
    server: &TestServer,
    identity: Option<(&str, &str)>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
    http2: bool,
) -> hyper::Response<Incoming> {
    let protocol: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
    let connector = TlsConnector::from(Arc::new(server.client_tls(identity, protocol)));
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TokioIo::new(connector.connect(name, stream).await.unwrap());
    let mut request = Request::builder().method(method).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let uri = if http2 {
        format!("https://localhost{path}")
    } else {
        path.to_owned()
    };
    let request = request.uri(uri).body(Full::new(body.into())).unwrap();
    if http2 {
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    }
}

async fn send(
    server: &TestServer,
    identity: Option<(&str, &str)>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let response = open(server, identity, method, path, headers, body, false).await;
    let (parts, body) = response.into_parts();
    Answer {
        code: parts.status.as_u16(),
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

async fn get(server: &TestServer, path: &str, accept: &str) -> Answer {
    send(server, ADMIN, "GET", path, &[("accept", accept)], "").await
}

async fn post(server: &TestServer, path: &str, body: &Value) -> Answer {
    let json = [("content-type", "application/json")];
    send(server, ADMIN, "POST", path, &json, body.to_string()).await
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}})
}

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn both_http_versions_answer() {
    let server = TestServer::start().await;
    for http2 in [false, true] {
        let response = open(&server, ADMIN, "GET", "/version", &[], "", http2).await;
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let version: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(version["gitVersion"], "v1.37.0+tug.0");
    }
}

#[tokio::test]
async fn who_may_what() {
    let server = TestServer::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let bearer = |token: &str| format!("Bearer {token}");
    for (identity, token, path, code, message) in [
        (None, None, "/version", 200, ""),
        (None, None, "/readyz", 200, ""),
        (
            None,
            None,
            "/apis",
            403,
            "forbidden: User \"system:anonymous\" cannot get path \"/apis\"",
        ),
        (
            None,
            None,
            pods,
            403,
            "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in the \
             namespace \"default\"",
        ),
        (Some(("jane", "people")), None, "/apis", 200, ""),
        (
            Some(("jane", "people")),
            None,
            "/api/v1/nodes/n1",
            403,
            "nodes \"n1\" is forbidden: User \"jane\" cannot get resource \"nodes\" in API group \"\" at the \
             cluster scope",
        ),
        (ADMIN, None, pods, 200, ""),
        (None, Some("letmein"), pods, 200, ""),
        (ADMIN, Some("wrong"), "/version", 401, "Unauthorized"),
    ] {
        let token = token.map(bearer);
        let headers: Vec<(&str, &str)> = token
            .iter()
            .map(|token| ("authorization", token.as_str()))
            .collect();
        let answer = send(&server, identity, "GET", path, &headers, "").await;
        assert_eq!(answer.code, code, "{identity:?} {path}");
        if code != 200 {
            assert_eq!(answer.json()["message"], message);
            assert_eq!(answer.json()["kind"], "Status");
        }
    }
}

#[tokio::test]
async fn who_may_all_may_act_as_others() {
    let server = TestServer::start().await;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = post(&server, path, &review).await;
    assert_eq!(answer.code, 201);
    assert_eq!(answer.json()["status"]["userInfo"]["username"], "admin");
    let headers = [("impersonate-user", "jane"), ("impersonate-group", "people")];
    let refused = send(&server, ADMIN, "GET", "/api/v1/nodes", &headers, "").await;
    assert_eq!(refused.code, 403);
    assert!(
        refused.json()["message"]
            .as_str()
            .unwrap()
            .contains("User \"jane\" cannot list")
    );
    let jane = Some(("jane", "people"));
    let refused = send(
        &server,
        jane,
        "GET",
        "/version",
        &[("impersonate-user", "admin")],
        "",
    )
    .await;
    assert_eq!(refused.code, 403);
}

#[tokio::test]
async fn err_bodies_that_are_refused() {
    let server = TestServer::start().await;
    let big = format!("{{\"data\": \"{}\"}}", "x".repeat(4 << 20));
    for (method, path, content_type, body, code, reason) in [
        (
            "POST",
            CONFIG_MAPS,
            "application/json",
            big.as_str(),
            413,
            "RequestEntityTooLarge",
        ),
        (
            "POST",
            CONFIG_MAPS,
            "application/cbor",
            "k8s",
            415,
            "UnsupportedMediaType",
        ),
        ("POST", CONFIG_MAPS, "application/json", "{", 400, "BadRequest"),
        ("POST", CONFIG_MAPS, "application/json", "[]", 400, "BadRequest"),
        (
            "POST",
            CONFIG_MAPS,
            "application/json",
            "{\"kind\": \"Pod\"}",
            400,
            "BadRequest",
        ),
        (
            "PATCH",
            "/api/v1/namespaces/default",
            "text/plain",
            "{}",
            415,
            "UnsupportedMediaType",
        ),
        (
            "POST",
            "/api/v1/configmaps",
            "application/json",
            "{}",
            405,
            "MethodNotAllowed",
        ),
        (
            "PUT",
            CONFIG_MAPS,
            "application/json",
            "{}",
            405,
            "MethodNotAllowed",
        ),
        (
            "POST",
            "/apis/none/v1/things",
            "application/json",
            "{}",
            404,
            "NotFound",
        ),
    ] {
        let answer = send(
            &server,
            ADMIN,
            method,
            path,
            &[("content-type", content_type)],
            body.to_owned(),
        )
        .await;
        assert_eq!(
            (answer.code, &answer.json()["reason"]),
            (code, &json!(reason)),
            "{method} {path}"
        );
    }
    let protobuf = get(&server, CONFIG_MAPS, "application/vnd.kubernetes.protobuf").await;
    assert_eq!(
        (protobuf.code, &protobuf.json()["reason"]),
        (406, &json!("NotAcceptable"))
    );
}

#[tokio::test]
async fn yaml_comes_and_goes() {
    let server = TestServer::start().await;
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n";
    let headers = [
        ("content-type", "application/yaml"),
        ("accept", "application/yaml"),
    ];
    let made = send(&server, ADMIN, "POST", CONFIG_MAPS, &headers, text).await;
    assert_eq!(
        (made.code, made.header("content-type")),
        (201, "application/yaml")
    );
    assert!(String::from_utf8_lossy(&made.body).contains("\n  k: v\n"));
    let list = get(&server, CONFIG_MAPS, "application/yaml").await;
    assert!(String::from_utf8_lossy(&list.body).contains("kind: ConfigMapList"));
}

#[tokio::test]
async fn lists_come_as_objects_tables_and_metadata() {
    let server = TestServer::start().await;
    for name in ["a", "b"] {
        assert_eq!(post(&server, CONFIG_MAPS, &config_map(name)).await.code, 201);
    }
    let list = get(&server, CONFIG_MAPS, "application/json").await.json();
    assert_eq!(list["kind"], "ConfigMapList");
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    let table = get(
        &server,
        CONFIG_MAPS,
        "application/json;as=Table;v=v1;g=meta.k8s.io",
    )
    .await
    .json();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["rows"][1]["cells"][0], "b");
    assert_eq!(table["rows"][1]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let partial = get(&server, CONFIG_MAPS, partial).await.json();
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert_eq!(partial["items"][0]["metadata"]["name"], "a");
    assert_eq!(partial["items"][0].get("data"), None);
    let selected = get(
        &server,
        &format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Db"),
        "",
    )
    .await
    .json();
    assert_eq!(selected["items"].as_array().unwrap().len(), 1);
    let refused = get(&server, &format!("{CONFIG_MAPS}?labelSelector=a%3D%3D%3Db"), "").await;
    assert_eq!(refused.code, 400);
    let future = get(&server, &format!("{CONFIG_MAPS}?resourceVersion=999999"), "").await;
    assert_eq!((future.code, future.header("retry-after")), (504, "1"));
}

#[tokio::test]
async fn long_lists_come_in_pieces_and_compressed() {
    let server = TestServer::start().await;
    for index in 0..40 {
        let mut object = config_map(&format!("map-{index:02}"));
        object["data"]["k"] = "x".repeat(10_000).into();
        post(&server, CONFIG_MAPS, &object).await;
    }
    let plain = get(&server, CONFIG_MAPS, "").await;
    assert_eq!(plain.json()["items"].as_array().unwrap().len(), 40);
    let packed = send(
        &server,
        ADMIN,
        "GET",
        CONFIG_MAPS,
        &[("accept-encoding", "gzip")],
        "",
    )
    .await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(packed.body.len() < plain.body.len() / 10);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed.body[..]), &mut text).unwrap();
    assert_eq!(text.as_bytes(), plain.body);
}

#[tokio::test]
async fn discovery_is_served_plain_and_aggregated() {
    let server = TestServer::start().await;
    assert_eq!(get(&server, "/api", "").await.json()["versions"], json!(["v1"]));
    let core = get(&server, "/api/v1", "").await.json();
    let resources = core["resources"].as_array().unwrap();
    let pods = resources
        .iter()
        .find(|resource| resource["name"] == "pods")
        .unwrap();
    assert_eq!(pods["shortNames"], json!(["po"]));
    assert!(resources.iter().any(|resource| resource["name"] == "pods/log"));
    assert_eq!(
        get(&server, "/apis/apps", "").await.json()["preferredVersion"]["version"],
        "v1"
    );
    let apps = get(&server, "/apis/apps/v1", "").await.json();
    let scale = apps["resources"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == "deployments/scale")
        .cloned();
    assert_eq!(scale.unwrap()["group"], "autoscaling");
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let aggregated = get(&server, "/apis", accept).await;
    assert!(
        aggregated
            .header("content-type")
            .contains("as=APIGroupDiscoveryList")
    );
    let list = aggregated.json();
    assert_eq!(list["kind"], "APIGroupDiscoveryList");
    assert!(
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|group| group["metadata"]["name"] == "apps")
    );
    let tag = aggregated.header("etag").to_owned();
    let headers = [("accept", accept), ("if-none-match", tag.as_str())];
    assert_eq!(send(&server, ADMIN, "GET", "/apis", &headers, "").await.code, 304);
}

#[tokio::test]
async fn unknown_fields_are_warned_of_or_refused() {
    let server = TestServer::start().await;
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "main", "image": "demo", "imagee": "x"}]},
    });
    let path = "/api/v1/namespaces/default/pods?dryRun=All";
    let warned = post(&server, path, &pod).await;
    assert_eq!(warned.code, 201);
    assert_eq!(
        warned.header("warning"),
        r#"299 - "unknown field \"spec.containers[0].imagee\"""#
    );
    let strict = post(&server, &format!("{path}&fieldValidation=Strict"), &pod).await;
    assert_eq!(strict.code, 400);
    assert_eq!(
        strict.json()["message"],
        "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \
         \"spec.containers[0].imagee\""
    );
    let ignored = post(&server, &format!("{path}&fieldValidation=Ignore"), &pod).await;
    assert_eq!((ignored.code, ignored.header("warning")), (201, ""));
    pod["spec"]["containers"] = json!("none");
    assert_eq!(post(&server, path, &pod).await.code, 400);
    let twice = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v", "k": "w"}}"#;
    let path = format!("{CONFIG_MAPS}?fieldValidation=Strict");
    let refused = send(&server, ADMIN, "POST", &path, &[], twice).await;
    assert!(
        refused.json()["message"]
            .as_str()
            .unwrap()
            .ends_with("duplicate field \"data.k\"")
    );
}

#[tokio::test]
async fn collections_are_deleted_by_selector() {
    let server = TestServer::start().await;
    for (name, tier) in [("a", "front"), ("b", "front"), ("c", "back")] {
        let mut object = config_map(name);
        object["metadata"]["labels"] = json!({"tier": tier});
        post(&server, CONFIG_MAPS, &object).await;
    }
    let path = format!("{CONFIG_MAPS}?labelSelector=tier%3Dfront");
    let deleted = send(&server, ADMIN, "DELETE", &path, &[], "").await;
    assert_eq!(deleted.json()["items"].as_array().unwrap().len(), 2);
    let left = get(&server, CONFIG_MAPS, "").await.json();
    assert_eq!(left["items"][0]["metadata"]["name"], "c");
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    let gone = send(&server, ADMIN, "DELETE", &format!("{CONFIG_MAPS}/c"), &[], "")
        .await
        .json();
    assert_eq!(
        (&gone["status"], &gone["details"]["kind"]),
        (&json!("Success"), &json!("configmaps"))
    );
}

/// The lines of a watch, until so many have come.
async fn lines(server: &TestServer, path: &str, accept: &str, count: usize) -> Vec<Value> {
    let response = open(server, ADMIN, "GET", path, &[("accept", accept)], "", true).await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let mut text = Vec::new();
    let read = async {
        while text.iter().filter(|byte| **byte == b'\n').count() < count {
            let Some(frame) = body.frame().await else { break };
            text.extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read)
        .await
        .expect("lines in time");
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

#[tokio::test]
async fn watches_start_with_a_list_and_a_bookmark_when_asked() {
    let server = TestServer::start().await;
    post(&server, CONFIG_MAPS, &config_map("a")).await;
    let path = format!(
        "{CONFIG_MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let events = lines(&server, &path, "", 2).await;
    assert_eq!(events[0]["type"], "ADDED");
    assert_eq!(events[1]["type"], "BOOKMARK");
    let metadata = &events[1]["object"]["metadata"];
    assert_eq!(metadata["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(
        metadata["resourceVersion"],
        server.api.engine().revision().to_string()
    );
    let refused = get(
        &server,
        &format!("{CONFIG_MAPS}?watch=true&sendInitialEvents=true"),
        "",
    )
    .await;
    assert_eq!(
        (refused.code, &refused.json()["reason"]),
        (422, &json!("Invalid"))
    );
}

#[tokio::test]
async fn watches_come_as_tables_and_metadata_and_end_in_time() {
    let server = TestServer::start().await;
    post(&server, CONFIG_MAPS, &config_map("a")).await;
    post(&server, CONFIG_MAPS, &config_map("b")).await;
    let path = format!("{CONFIG_MAPS}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true");
    let tables = lines(
        &server,
        &path,
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        100,
    )
    .await;
    let kinds: Vec<&Value> = tables.iter().map(|event| &event["type"]).collect();
    assert_eq!(kinds, ["ADDED", "ADDED", "BOOKMARK"]);
    assert_eq!(tables[0]["object"]["kind"], "Table");
    assert_eq!(tables[0]["object"]["columnDefinitions"][0]["name"], "Name");
    assert_eq!(tables[1]["object"]["columnDefinitions"], json!([]));
    let partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let partial = lines(&server, &path, partial, 2).await;
    assert_eq!(partial[0]["object"]["kind"], "PartialObjectMetadata");
}

#[tokio::test]
async fn floods_are_turned_away_and_the_server_stays() {
    let server = Arc::new(TestServer::start().await);
    let requests = (0..300).map(|_| {
        let server = Arc::clone(&server);
        tokio::spawn(async move { get(&server, CONFIG_MAPS, "").await.code })
    });
    for request in requests.collect::<Vec<_>>() {
        assert!([200, 429].contains(&request.await.unwrap()));
    }
    assert_eq!(get(&server, "/readyz", "").await.code, 200);
}
