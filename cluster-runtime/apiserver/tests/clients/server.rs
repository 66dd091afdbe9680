//! A server on a free port, with certificates of its own and a store in memory.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use cluster_apiserver::{ApiServer, LocalApi, TokenTable, User};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A server that ends when dropped.
pub(crate) struct TestServer {
    pub(crate) api: LocalApi,
    pub(crate) address: SocketAddr,
    pub(crate) home: TempDir,
    authority: Authority,
    stop: CancellationToken,
}

struct Authority {
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
pub(crate) struct Leaf {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test-ca");
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    fn leaf(&self, name: &str, group: Option<&str>, hosts: &[&str]) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            certificate_pem: certificate.pem(),
            certificate: certificate.der().clone(),
            key,
        }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        Arc::new(roots)
    }
}

impl Leaf {
    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

impl TestServer {
    /// Starts a server on an API in memory.
    pub(crate) async fn start() -> Self {
        let api = LocalApi::in_memory().await.unwrap();
        let authority = Authority::new();
        let leaf = authority.leaf("apiserver", None, &["localhost", "127.0.0.1"]);
        let provider = Arc::new(default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(authority.roots(), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .unwrap();
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![leaf.certificate.clone()], leaf.private_key())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let mut tokens = TokenTable::default();
        tokens.insert(
            "letmein",
            User::authenticated("robot", ["system:masters".to_owned()]),
        );
        let server = ApiServer::new(api.engine().clone()).tokens(tokens);
        tokio::spawn(server.serve(listener, tls, stop.clone()));
        let server = Self {
            api,
            address,
            home: TempDir::new().unwrap(),
            authority,
            stop,
        };
        server.write_kubeconfig();
        server
    }

    /// Path of a kubeconfig of an administrator.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.home.path().join("config")
    }

    /// TLS settings of a client; with a user and group it has a certificate.
    pub(crate) fn client_tls(&self, identity: Option<(&str, &str)>, protocol: &[u8]) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.authority.roots());
        let mut config = match identity {
            Some((name, group)) => {
                let leaf = self.authority.leaf(name, Some(group), &[]);
                builder
                    .with_client_auth_cert(vec![leaf.certificate.clone()], leaf.private_key())
                    .unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        config
    }

    fn write_kubeconfig(&self) {
        let leaf = self.authority.leaf("admin", Some("system:masters"), &[]);
        let file = |name: &str, text: &str| {
            let path = self.home.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://{}", self.address),
                "certificate-authority": file("ca.crt", &self.authority.pem),
            }}],
            "users": [{"name": "admin", "user": {
                "client-certificate": file("admin.crt", &leaf.certificate_pem),
                "client-key": file("admin.key", &leaf.key.serialize_pem()),
            }}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        });
        std::fs::write(self.kubeconfig(), config.to_string()).unwrap();
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
