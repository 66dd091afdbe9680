//! The store in a process of its own, behind the two calls of etcd's key-value service that are compared.
//!
//! Only this bench has such a server: in a cluster the API server calls the store in its own process. It is here so
//! that both stores do the same for the same clients.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use cluster_store::{
    Change, Key, Precondition, RaftStore, RaftStoreConfig, Revision, Store, Transaction, Write,
};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use crate::wire::{put_field, put_number};
use crate::{object, text_of};

/// A store that is served; it ends with this.
pub(crate) struct Served {
    process: Child,
    pub(crate) address: String,
}

impl Served {
    pub(crate) fn start(dir: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--bench", "serve"])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        let said = process.stdout.take().unwrap();
        BufReader::new(said).read_line(&mut address).unwrap();
        Self {
            process,
            address: address.trim().to_owned(),
        }
    }

    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// Serves a store until standard input ends, as it does with whoever started this.
pub(crate) async fn serve(dir: &Path) {
    let store = Arc::new(RaftStore::open(RaftStoreConfig::new(dir)).await.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    std::thread::spawn(|| {
        _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    serve_clients(listener, store).await;
}

/// Answers clients for ever.
pub(crate) async fn serve_clients(listener: TcpListener, store: Arc<RaftStore>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let store = store.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let store = store.clone();
            async move { Ok::<_, Infallible>(answer(&store, request).await) }
        });
        tokio::spawn(Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service));
    }
}

type Answer = Response<http_body_util::combinators::WithTrailers<Full<Bytes>, Trailers>>;
type Trailers = std::future::Ready<Option<Result<HeaderMap, Infallible>>>;

async fn answer(store: &RaftStore, request: Request<Incoming>) -> Answer {
    let is_put = request.uri().path() == "/etcdserverpb.KV/Put";
    let body = request.into_body().collect().await.unwrap().to_bytes();
    // A message is preceded by a byte for no compression and its length.
    let (key, value) = fields(&body[5..]);
    let mut message = vec![0; 5];
    if is_put {
        let writes = vec![Write {
            change: Change::Put(object(&key, value)),
            precondition: Precondition::None,
            key,
        }];
        let committed = store.commit(Transaction { writes }).await.unwrap();
        put_header(&mut message, committed.revision);
    } else {
        // Of the newest, as etcd's reads are; it costs a group of one nothing.
        store.ensure_newest().await.unwrap();
        put_header(&mut message, store.revision());
        if let Some(object) = store.get(&key) {
            put_found(&mut message, &key, &object);
        }
    }
    let bytes = message.len() as u32 - 5;
    message[1..5].copy_from_slice(&bytes.to_be_bytes());
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("grpc-message", HeaderValue::from_static(""));
    let body = Full::new(Bytes::from(message)).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(body);
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", content_type);
    response
}

/// Key and value of a request.
fn fields(message: &[u8]) -> (Key, &str) {
    let mut rest = message;
    let (mut key, mut value) = ("", "");
    while let [tag, after @ ..] = rest {
        let (number, after) = number(after);
        rest = after;
        if tag & 7 == 2 {
            let (bytes, after) = after.split_at(number as usize);
            let text = std::str::from_utf8(bytes).unwrap();
            match tag >> 3 {
                1 => key = text,
                _ => value = text,
            }
            rest = after;
        }
    }
    let mut parts = key.split('/').skip(2);
    let mut part = || parts.next().unwrap();
    let (table, namespace, name) = (part(), part(), part());
    (Key::new(table, namespace, name), value)
}

fn number(bytes: &[u8]) -> (u64, &[u8]) {
    let mut number = 0;
    for (place, byte) in bytes.iter().enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if *byte < 0x80 {
            return (number, &bytes[place + 1..]);
        }
    }
    panic!("a number without an end");
}

/// What etcd says in front of every answer: two ids, the revision and the term.
fn put_header(message: &mut Vec<u8>, revision: Revision) {
    let mut header = Vec::with_capacity(40);
    for (field, value) in [(1, u64::MAX / 3), (2, u64::MAX / 5), (3, revision.0), (4, 2)] {
        header.push(field << 3);
        put_number(&mut header, value);
    }
    put_field(message, 1, &header);
}

/// What etcd says of a key: itself, two revisions, a version and the value.
fn put_found(message: &mut Vec<u8>, key: &Key, object: &cluster_objects::Object) {
    let mut found = Vec::with_capacity(400);
    put_field(&mut found, 1, format!("/registry/{key}").as_bytes());
    let revision = object.resource_version().parse().unwrap();
    for (field, value) in [(2, revision), (3, revision), (4, 1)] {
        found.push(field << 3);
        put_number(&mut found, value);
    }
    put_field(&mut found, 5, text_of(object).as_bytes());
    put_field(message, 2, &found);
    message.extend_from_slice(&[4 << 3, 1]);
}
