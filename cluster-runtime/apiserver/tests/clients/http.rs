//! Plain requests, for what clients do not reach.

use bytes::Bytes;
use cluster_client::{Api, Collection, Patch, WriteOptions};
use cluster_objects::Object;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
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

#[tokio::test]
async fn metrics_count_requests_and_objects() {
    let server = TestServer::start().await;
    get(&server, CONFIG_MAPS, "").await;
    get(&server, "/apis/none/v1/things", "").await;
    let metrics = get(&server, "/metrics", "").await;
    assert_eq!(
        metrics.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    for wanted in [
        "apiserver_request_total{verb=\"LIST\",group=\"\",resource=\"configmaps\",subresource=\"\",code=\"200\"} 1\n",
        // What is not served has no label of its own, so that nobody can make them many.
        "apiserver_request_total{verb=\"LIST\",group=\"\",resource=\"\",subresource=\"\",code=\"404\"} 1\n",
        "apiserver_storage_objects{resource=\"namespaces\"} 4\n",
        "process_resident_memory_bytes ",
    ] {
        assert!(text.contains(wanted), "no {wanted} in\n{text}");
    }
    let nobody = send(&server, None, "GET", "/metrics", &[], "").await;
    assert_eq!(nobody.code, 403);
}

#[tokio::test]
async fn the_old_openapi_document_is_served_as_json() {
    let server = TestServer::start().await;
    let document = get(&server, "/openapi/v2", "application/json").await;
    assert_eq!(document.json()["swagger"], "2.0");
    let protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    assert_eq!(get(&server, "/openapi/v2", protobuf).await.code, 406);
    assert_eq!(
        get(&server, "/openapi/v2", &format!("{protobuf},*/*")).await.code,
        200
    );
}

#[tokio::test]
async fn err_deep_json_and_bad_patches_are_refused_and_change_nothing() {
    let server = TestServer::start().await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "1"}});
    assert_eq!(post(&server, CONFIG_MAPS, &map).await.code, 201);
    let path = format!("{CONFIG_MAPS}/m");
    let before = server.api.engine().revision();
    let deep = format!("{}{}", "{\"a\":".repeat(100_000), "1");
    let deep_list = format!("{{\"data\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    let many = json!([{"op": "copy", "from": "", "path": "/data/x"}]).to_string();
    let copies: Vec<Value> = (0..20_000)
        .map(|_| json!({"op": "add", "path": "/data/b", "value": "x"}))
        .collect();
    let copies = Value::from(copies).to_string();
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
        + &(0..12).map(|n| {
            let (this, before) = (char::from(b'b' + n), char::from(b'a' + n));
            format!("{this}: &{this} [*{before},*{before},*{before},*{before},*{before},*{before},*{before}]\n")
        }).collect::<String>();
    let json_patch = "application/json-patch+json";
    let merge = "application/merge-patch+json";
    let strategic = "application/strategic-merge-patch+json";
    let apply = "application/apply-patch+yaml";
    for (content_type, body, codes) in [
        (merge, deep.as_str(), &[400][..]),
        (merge, &deep_list, &[400]),
        (merge, "[]", &[400]),
        (merge, "\u{0}", &[400]),
        (merge, r#"{"metadata": {"name": "other"}}"#, &[400, 422]),
        (merge, r#"{"kind": "Secret"}"#, &[400]),
        (merge, r#"{"metadata": {"resourceVersion": "1"}}"#, &[409]),
        (merge, r#"{"data": {"a": 1}}"#, &[400]),
        (merge, r#"{"data": {"not/ok": "1"}}"#, &[422]),
        (json_patch, "{}", &[400]),
        (json_patch, r#"[{"op": "jump", "path": "/data/a"}]"#, &[400]),
        (
            json_patch,
            r#"[{"op": "remove", "path": "/data/missing"}]"#,
            &[422],
        ),
        (
            json_patch,
            r#"[{"op": "test", "path": "/data/a", "value": "2"}]"#,
            &[422],
        ),
        (
            json_patch,
            r#"[{"op": "move", "from": "/data", "path": "/data/a/b"}]"#,
            &[400, 422],
        ),
        (json_patch, &many, &[400, 422]),
        (json_patch, &copies, &[413]),
        (
            strategic,
            r#"{"metadata": {"finalizers": {"a": 1}}}"#,
            &[400, 422],
        ),
        (strategic, r#"{"data": {"$patch": "explode"}}"#, &[400]),
        (apply, "a: [", &[400]),
        (apply, &bomb, &[400, 413]),
    ] {
        let query = if content_type == apply {
            "?fieldManager=t"
        } else {
            ""
        };
        let headers = [("content-type", content_type)];
        let answer = send(
            &server,
            ADMIN,
            "PATCH",
            &format!("{path}{query}"),
            &headers,
            body.to_owned(),
        )
        .await;
        let told: String = body.chars().take(80).collect();
        assert!(
            codes.contains(&answer.code),
            "{} for {told}: {}",
            answer.code,
            answer.json()
        );
        assert_eq!(answer.json()["kind"], "Status", "{told}");
        assert!(
            answer.body.len() < 4096,
            "the answer to {told} repeats what was sent"
        );
    }
    assert_eq!(server.api.engine().revision(), before);
    let deep_object = send(
        &server,
        ADMIN,
        "POST",
        CONFIG_MAPS,
        &[("content-type", "application/json")],
        deep,
    )
    .await;
    assert_eq!(deep_object.code, 400);
}

#[tokio::test]
async fn err_a_flood_of_writes_is_told_when_to_come_again() {
    let server = Arc::new(TestServer::start().await);
    // Each holds its place: the head is sent, the body never comes.
    let mut held = Vec::new();
    for _ in 0..200 {
        let tls = server.client_tls(ADMIN, b"http/1.1");
        let stream = TcpStream::connect(server.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(tls))
            .connect(name, stream)
            .await
            .unwrap();
        let head = format!(
            "POST {CONFIG_MAPS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        held.push(stream);
    }
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "m-"}});
    let refused = loop {
        let answer = post(&server, CONFIG_MAPS, &map).await;
        if answer.code != 201 {
            break answer;
        }
    };
    assert_eq!(
        (refused.code, &refused.json()["reason"]),
        (429, &json!("TooManyRequests"))
    );
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(
        get(&server, CONFIG_MAPS, "").await.code,
        200,
        "reads have places of their own"
    );
    drop(held);
    let limit = std::time::Instant::now() + Duration::from_secs(20);
    while post(&server, CONFIG_MAPS, &map).await.code != 201 {
        assert!(
            std::time::Instant::now() < limit,
            "places come back when connections end"
        );
    }
}

#[tokio::test]
async fn err_a_watcher_that_does_not_read_is_cut_off() {
    let server = TestServer::start().await;
    let mut slow = open(
        &server,
        ADMIN,
        "GET",
        &format!("{CONFIG_MAPS}?watch=1"),
        &[],
        "",
        false,
    )
    .await;
    // More than all buffers of the connection hold, several times as much as the store keeps for one watcher.
    let text = "x".repeat(256 << 10);
    let map = Object::new("v1", "ConfigMap", Some("default"), "big");
    let collection = Collection::namespaced("v1", "configmaps", "default");
    server
        .api
        .create(&collection, map, &WriteOptions::default())
        .await
        .unwrap();
    for number in 0..250 {
        let patch = json!({"data": {"text": format!("{text}{number}")}});
        let target = collection.target("big");
        server
            .api
            .patch(&target, Patch::Merge(patch), &WriteOptions::default())
            .await
            .unwrap();
    }
    let mut last = Vec::new();
    let ended = async {
        while let Some(Ok(frame)) = slow.body_mut().frame().await {
            if let Ok(data) = frame.into_data() {
                last.extend_from_slice(&data);
                let keep = last.len().saturating_sub(4096);
                last.drain(..keep);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended)
        .await
        .expect("the watch ends");
    let end = String::from_utf8_lossy(&last).into_owned();
    assert!(
        end.contains("\"type\":\"ERROR\"") && end.contains("\"code\":410"),
        "{end}"
    );
}
