//! A registry that answers what a test tells it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cluster_node::image::Digest;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::archive::Parts;

/// A registry of one repository, `app`, that answers what it was given.
#[derive(Default)]
pub struct Registry {
    pub answers: BTreeMap<String, (&'static str, Vec<u8>)>,
    /// `user:password` that it wants, in base64.
    pub wants: Option<&'static str>,
    pub asked: Mutex<Vec<String>>,
    /// Whether it takes requests and says nothing.
    pub hangs: bool,
}

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Registry {
    pub fn of(image: &Parts) -> Self {
        let mut registry = Self::default();
        registry.manifest("latest", MANIFEST, &image.manifest);
        registry.blob(&image.config, &image.config);
        registry.blob(&image.layer, &image.layer);
        registry
    }

    pub fn manifest(&mut self, tag: &str, kind: &'static str, bytes: &[u8]) {
        for name in [tag.to_owned(), Digest::of(bytes).to_string()] {
            self.answers
                .insert(format!("/v2/app/manifests/{name}"), (kind, bytes.to_vec()));
        }
    }

    pub fn blob(&mut self, named_like: &[u8], bytes: &[u8]) {
        let path = format!("/v2/app/blobs/{}", Digest::of(named_like));
        self.answers
            .insert(path, ("application/octet-stream", bytes.to_vec()));
    }

    /// Serves until the test ends; gives its name.
    pub async fn serve(self) -> (String, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let name = listener.local_addr().unwrap().to_string();
        let registry = Arc::new(self);
        let serving = registry.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.answer(connection).await });
            }
        });
        (name, registry)
    }

    async fn answer(&self, connection: TcpStream) -> Option<()> {
        let mut connection = BufReader::new(connection);
        loop {
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                if connection.read_line(&mut line).await.ok()? == 0 {
                    return None;
                }
                match line.trim_end() {
                    "" => break,
                    text => lines.push(text.to_owned()),
                }
            }
            let path = lines[0].split(' ').nth(1)?.to_owned();
            self.asked.lock().unwrap().push(path.clone());
            if self.hangs {
                std::future::pending::<()>().await;
            }
            let allowed = self.wants.is_none_or(|wanted| {
                lines
                    .iter()
                    .any(|line| line.eq_ignore_ascii_case(&format!("authorization: Basic {wanted}")))
            });
            let (code, kind, body) = match self.answers.get(&path) {
                _ if !allowed => ("401 Unauthorized", "text/plain", Vec::new()),
                Some((kind, body)) => ("200 OK", *kind, body.clone()),
                None if path == "/v2/" => ("200 OK", "application/json", b"{}".to_vec()),
                None => (
                    "404 Not Found",
                    "application/json",
                    br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#.to_vec(),
                ),
            };
            let realm = if allowed {
                ""
            } else {
                "WWW-Authenticate: Basic realm=\"r\"\r\n"
            };
            let head = format!(
                "HTTP/1.1 {code}\r\nContent-Type: {kind}\r\n{realm}Content-Length: {}\r\n\r\n",
                body.len()
            );
            connection.write_all(head.as_bytes()).await.ok()?;
            connection.write_all(&body).await.ok()?;
        }
    }
}
