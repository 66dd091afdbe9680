//! The client over HTTP against a server that answers by a script.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use cluster_client::http::{HttpApi, HttpConfig};
use cluster_client::{Api, Collection, Target, WatchEvent, WatchOptions, WriteOptions};
use cluster_objects::{Object, StatusReason};
use futures::StreamExt;

/// Answers each request with the next line of its script, and notes what was asked.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

/// Status line and headers beyond the length, and the body.
type Answer = (&'static str, &'static str);

impl Server {
    fn start(script: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Mutex<VecDeque<Answer>>> = Arc::new(Mutex::new(script.into_iter().collect()));
        let notes = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (script, notes) = (script.clone(), notes.clone());
                std::thread::spawn(move || serve(&stream.unwrap(), &script, &notes));
            }
        });
        Self { address, asked }
    }

    async fn client(&self) -> HttpApi {
        let config = HttpConfig {
            api_server: Some(self.address.clone()),
            token: Some("secret".into()),
            ..HttpConfig::default()
        };
        HttpApi::connect(&config).await.unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(stream: &TcpStream, script: &Mutex<VecDeque<Answer>>, asked: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            head.push(line.trim_end().to_owned());
        }
        let header = |name: &str| {
            let found = head.iter().find_map(|line| {
                line.split_once(": ")
                    .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            });
            found.map(|(_, value)| value.to_owned())
        };
        let length = header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let request = head[0].trim_end_matches(" HTTP/1.1").to_owned();
        let token = header("authorization").unwrap_or_default();
        asked.lock().unwrap().push(format!("{request} {token}"));
        let Some((status, answer)) = script.lock().unwrap().pop_front() else {
            return;
        };
        let text = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        (&mut &*stream).write_all(text.as_bytes()).unwrap();
    }
}

fn pod() -> Target {
    Target::namespaced("v1", "pods", "shop", "web")
}

const POD: &str = r#"{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web"}}"#;

#[tokio::test]
async fn requests_carry_the_token_and_answers_are_objects() {
    let server = Server::start([("200 OK", POD)]);
    let object = server.client().await.get(&pod()).await.unwrap();
    assert_eq!(object.name(), "web");
    assert_eq!(
        server.asked(),
        ["GET /api/v1/namespaces/shop/pods/web Bearer secret"]
    );
}

#[tokio::test]
async fn what_may_be_sent_again_is() {
    let later = ("429 Too Many Requests\r\nretry-after: 0", "");
    let away = ("503 Service Unavailable\r\nretry-after: 0", "");
    let server = Server::start([later, away, ("200 OK", POD)]);
    server.client().await.get(&pod()).await.unwrap();
    assert_eq!(server.asked().len(), 3);
    // Nobody knows how far a write came before the server was away.
    let server = Server::start([later, away]);
    let object = Object::new("v1", "Pod", Some("shop"), "web");
    let client = server.client().await;
    let refused = client
        .create(&pod().collection(), object, &WriteOptions::default())
        .await
        .unwrap_err();
    assert_eq!((refused.code, server.asked().len()), (503, 2));
}

#[tokio::test]
async fn err_refusals_are_the_servers_own() {
    let missing = r#"{"kind": "Status", "message": "pods \"web\" not found", "reason": "NotFound", "code": 404,
        "details": {"name": "web", "kind": "pods"}}"#;
    let server = Server::start([("404 Not Found", missing)]);
    let refused = server.client().await.get(&pod()).await.unwrap_err();
    assert_eq!(refused.message, "pods \"web\" not found");
    assert_eq!(
        (refused.reason, refused.kind.as_deref()),
        (StatusReason::NotFound, Some("pods"))
    );
}

#[tokio::test]
async fn err_a_server_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let config = HttpConfig {
        api_server: Some(address.clone()),
        ..HttpConfig::default()
    };
    let client = HttpApi::connect(&config).await.unwrap();
    let refused = client.get(&pod()).await.unwrap_err();
    assert_eq!(refused.code, 503);
    assert!(
        refused.message.starts_with(&format!("cannot reach {address}: ")),
        "{refused}"
    );
    assert!(refused.message.contains("refused"), "{refused}");
}

#[tokio::test]
async fn a_watch_is_read_to_its_end() {
    let events = "{\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\",\"metadata\":{\"name\":\"web\"}}}\n\
        {\"type\":\"DELETED\",\"object\":{\"kind\":\"Pod\",\"metadata\":{\"name\":\"web\"}}}\n";
    let server = Server::start([("200 OK", events)]);
    let options = WatchOptions {
        resource_version: "7".into(),
        ..WatchOptions::default()
    };
    let pods = Collection::namespaced("v1", "pods", "shop");
    let changes: Vec<WatchEvent> = server
        .client()
        .await
        .watch(&pods, &options)
        .await
        .unwrap()
        .collect()
        .await;
    assert!(matches!(
        &changes[..],
        [WatchEvent::Added(_), WatchEvent::Deleted(_)]
    ));
    let path = "/api/v1/namespaces/shop/pods?watch=true&allowWatchBookmarks=true&resourceVersion=7";
    assert_eq!(server.asked(), [format!("GET {path} Bearer secret")]);
}

#[tokio::test]
async fn an_old_server_is_discovered_group_by_group() {
    // The three roots are asked at once, so the answers go by path.
    let server = PathServer::start(&[
        (
            "/version",
            r#"{"gitVersion": "v1.20.0-gke.1", "major": "1", "minor": "20+"}"#,
        ),
        (
            "/apis/apps/v1",
            r#"{"kind": "APIResourceList", "groupVersion": "apps/v1", "resources":
            [{"name": "deployments", "kind": "Deployment", "namespaced": true, "verbs": ["get"]}]}"#,
        ),
        (
            "/apis",
            r#"{"kind": "APIGroupList", "groups": [{"name": "apps", "versions": [{"groupVersion": "apps/v1"}]}]}"#,
        ),
        (
            "/api/v1",
            r#"{"kind": "APIResourceList", "groupVersion": "v1", "resources":
            [{"name": "pods", "kind": "Pod", "namespaced": true, "verbs": ["get"]}]}"#,
        ),
        ("/api", r#"{"kind": "APIVersions", "versions": ["v1"]}"#),
    ]);
    let config = HttpConfig {
        api_server: Some(server),
        ..HttpConfig::default()
    };
    let discovery = HttpApi::connect(&config)
        .await
        .unwrap()
        .discovery()
        .await
        .unwrap();
    let version = &discovery.version;
    assert_eq!(version.git_version, "v1.20.0-gke.1");
    assert_eq!((version.major.as_str(), version.minor.as_str()), ("1", "20+"));
    let kinds: Vec<&str> = discovery
        .resources
        .iter()
        .map(|served| served.kind.as_str())
        .collect();
    assert_eq!(kinds, ["Pod", "Deployment"]);
}

/// Answers each path with its text.
struct PathServer;

impl PathServer {
    fn start(answers: &[(&'static str, &'static str)]) -> String {
        let answers = answers.to_vec();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, stream) = (answers.clone(), stream.unwrap());
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(&stream);
                    let mut path = String::new();
                    loop {
                        let mut line = String::new();
                        if reader.read_line(&mut line).unwrap_or(0) == 0 {
                            return;
                        }
                        if let Some(rest) = line.strip_prefix("GET ") {
                            path = rest.split(' ').next().unwrap_or_default().to_owned();
                        }
                        if line == "\r\n" {
                            let found = answers.iter().find(|(known, _)| *known == path);
                            let text = found.map_or("{}", |(_, text)| text);
                            let answer =
                                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
                            (&stream).write_all(answer.as_bytes()).unwrap();
                        }
                    }
                });
            }
        });
        address
    }
}
