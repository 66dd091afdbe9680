//! A server of a folder of its own on a free port, and a client.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Once;

use chart_model::{Chart, File, package};
use repo_serve::{Digest, RepoServer, ServeOptions};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A running server.
pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    scheme: &'static str,
    shutdown: CancellationToken,
    task: Option<JoinHandle<std::io::Result<()>>>,
}

/// What a test says of an answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Fixture {
    pub(crate) async fn open() -> Self {
        Self::with(|_| {}).await
    }

    /// With options, and files that are in the folder before the server starts.
    pub(crate) async fn with(change: impl FnOnce(&mut ServeOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::over(folder, Client::builder(), change).await
    }

    pub(crate) async fn over(
        folder: TempDir,
        client: reqwest::ClientBuilder,
        change: impl FnOnce(&mut ServeOptions),
    ) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            rustls::crypto::ring::default_provider()
                .install_default()
                .unwrap();
        });
        let mut options = ServeOptions::new(folder.path());
        change(&mut options);
        let server = RepoServer::open(options).unwrap();
        let scheme = if server.has_tls() { "https" } else { "http" };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(server.serve(listener, shutdown.clone()));
        Self {
            folder,
            address,
            client: client.no_proxy().build().unwrap(),
            scheme,
            shutdown,
            task: Some(task),
        }
    }

    /// Stops the server as SIGTERM does, and gives its folder back.
    pub(crate) async fn stop(mut self) -> TempDir {
        self.shutdown.cancel();
        // Connections that are kept open for a next request would be waited for.
        self.client = Client::new();
        self.task.take().unwrap().await.unwrap().unwrap();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    pub(crate) fn begin_stop(&self) {
        self.shutdown.cancel();
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.address.port())
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.client.request(method, self.url(path))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path).answer().await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        self.request("HEAD", path).answer().await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path).answer().await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.request("POST", path).body(body).answer().await
    }

    /// Pushes a blob at once.
    pub(crate) async fn push_blob(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let answer = self.post(&path, bytes.to_vec()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        digest
    }

    /// Begins an upload and gives its address.
    pub(crate) async fn begin_upload(&self, name: &str) -> String {
        let answer = self.post(&format!("/v2/{name}/blobs/uploads/"), "").await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.header("location").to_owned()
    }

    pub(crate) async fn put_manifest(&self, name: &str, reference: &str, manifest: &Value) -> Answer {
        let kind = manifest["mediaType"].as_str().unwrap_or(MANIFEST).to_owned();
        let request = self.request("PUT", &format!("/v2/{name}/manifests/{reference}"));
        request
            .header("content-type", kind)
            .body(manifest.to_string())
            .answer()
            .await
    }

    /// Pushes an image of one layer and gives its manifest.
    pub(crate) async fn push_image(&self, name: &str, tag: &str, layer: &[u8]) -> Value {
        let manifest = self.image(name, layer).await;
        let answer = self.put_manifest(name, tag, &manifest).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        manifest
    }

    /// Pushes what an image is made of, and gives the manifest that is to be pushed.
    pub(crate) async fn image(&self, name: &str, layer: &[u8]) -> Value {
        let config = b"{}";
        let config_digest = self.push_blob(name, config).await;
        let digest = self.push_blob(name, layer).await;
        json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": config_digest.to_string(), "size": config.len()},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest.to_string(), "size": layer.len()}],
        })
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub(crate) trait Ask {
    async fn answer(self) -> Answer;
}

impl Ask for RequestBuilder {
    async fn answer(self) -> Answer {
        Answer::of(self.send().await.unwrap()).await
    }
}

impl Answer {
    async fn of(response: Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap().to_vec(),
        }
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .unwrap_or_else(|| panic!("no header `{name}`: {:?}", self.headers))
            .to_str()
            .unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The code of an error as the distribution specification has it.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn digest_of(manifest: &Value) -> Digest {
    Digest::sha256(manifest.to_string().as_bytes())
}

/// A packed chart.
pub(crate) fn chart(name: &str, version: &str) -> Vec<u8> {
    chart_with(name, version, &[])
}

/// A packed chart with more files.
pub(crate) fn chart_with(name: &str, version: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let file = |name: &str, text: &str| File {
        name: name.to_owned(),
        data: text.as_bytes().into(),
    };
    let metadata =
        format!("apiVersion: v2\nname: {name}\nversion: {version}\ndescription: a chart of tests\n");
    let mut files = vec![
        file("Chart.yaml", &metadata),
        file("values.yaml", "replicas: 1\n"),
        file("templates/a.yaml", "a: {{ .Values.replicas }}\n"),
    ];
    files.extend(more.iter().map(|(name, text)| file(name, text)));
    package(&Chart::from_files(files).unwrap(), 1_700_000_000).unwrap()
}
