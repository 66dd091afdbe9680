//! Certificates: whom to trust, and who we are.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use repo_fetch::{HttpOptions, RepositoryConfig};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::server::{Asked, Server, say};
use crate::stage::{Stage, access, http};

struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Authority {
        pem: certificate.pem(),
        der: certificate.der().clone(),
        issuer: Issuer::new(params, key),
    }
}

/// A certificate for 127.0.0.1 and its key.
fn leaf(authority: &Authority, expired: bool) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    if expired {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, &authority.issuer).unwrap(), key)
}

fn config(authority: &Authority, expired: bool, ask_clients: bool) -> ServerConfig {
    let (certificate, key) = leaf(authority, expired);
    let chain = vec![certificate.der().clone()];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let builder = ServerConfig::builder();
    let builder = if ask_clients {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der.clone()).unwrap();
        builder.with_client_cert_verifier(WebPkiClientVerifier::builder(roots.into()).build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    builder.with_single_cert(chain, key).unwrap()
}

/// What comes of asking a server, and how often it was reached.
async fn ask(stage: &Stage, server: &Server, options: HttpOptions) -> Result<(), String> {
    let mut access = access();
    access.http = options;
    let config = RepositoryConfig {
        name: "t".into(),
        url: server.url(),
        ..RepositoryConfig::default()
    };
    let client = stage
        .fetcher(access)
        .repository(config)
        .map_err(|error| error.to_string())?;
    client
        .update(&stage.told)
        .await
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn servers_are_trusted_by_the_authority_that_is_named() {
    let stage = Stage::new();
    let authority = authority();
    let ca_file = stage.path().join("ca.pem");
    std::fs::write(&ca_file, &authority.pem).unwrap();
    let index = |_: &Asked| say(200, "apiVersion: v1\nentries: {}\n");
    let good = Server::start_tls(config(&authority, false, false), index).await;
    let expired = Server::start_tls(config(&authority, true, false), index).await;
    let trusting = || {
        let mut options = http();
        options.tls.ca_file = Some(ca_file.clone());
        options
    };
    let blind = || {
        let mut options = http();
        options.tls.insecure = true;
        options
    };
    assert_eq!(ask(&stage, &good, trusting()).await, Ok(()));
    assert_eq!(ask(&stage, &expired, blind()).await, Ok(()));
    let unknown = ask(&stage, &good, http()).await.unwrap_err();
    assert!(unknown.contains("certificate"), "{unknown}");
    let old = ask(&stage, &expired, trusting()).await.unwrap_err();
    assert!(old.contains("expired"), "{old}");
}

#[tokio::test]
async fn a_server_that_wants_our_certificate_gets_it() {
    let stage = Stage::new();
    let authority = authority();
    let (certificate, key) = leaf(&authority, false);
    let write = |name: &str, text: String| {
        let path = stage.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut options = http();
    options.tls.ca_file = Some(write("ca.pem", authority.pem.clone()));
    let index = |_: &Asked| say(200, "apiVersion: v1\nentries: {}\n");
    let server = Server::start_tls(config(&authority, false, true), index).await;
    assert!(ask(&stage, &server, options.clone()).await.is_err());
    options.tls.cert_file = Some(write("cert.pem", certificate.pem()));
    options.tls.key_file = Some(write("key.pem", key.serialize_pem()));
    assert_eq!(ask(&stage, &server, options).await, Ok(()));
}

#[tokio::test]
async fn err_files_that_hold_no_certificate() {
    let stage = Stage::new();
    let server = Server::start(|_: &Asked| say(200, "")).await;
    let path = stage.path().join("none.pem");
    let mut options = http();
    options.tls.ca_file = Some(path.clone());
    for text in [None, Some(""), Some("no certificate")] {
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let error = ask(&stage, &server, options.clone()).await.unwrap_err();
        assert!(error.contains("none.pem"), "{error}");
    }
}
