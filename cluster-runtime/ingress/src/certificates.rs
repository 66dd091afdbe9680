//! Certificates by the name that a client asks for.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cluster_objects::Object;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::routes::Routes;

/// What is shown to clients now. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    provider: Arc<CryptoProvider>,
    shown: Arc<RwLock<Shown>>,
}

#[derive(Debug, Default)]
struct Shown {
    routes: Arc<Routes>,
    /// By `namespace/name` of their secret.
    keys: HashMap<String, Arc<CertifiedKey>>,
    /// For names that have none: clients see that it is nobody's.
    nameless: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let shown = Shown {
            nameless: nameless(&provider),
            ..Shown::default()
        };
        Self {
            provider,
            shown: Arc::new(RwLock::new(shown)),
        }
    }

    /// Shows the certificates that routes name, from TLS secrets; gives the secrets that hold none, with why.
    pub(crate) fn set(&self, routes: &Arc<Routes>, secrets: &[Arc<Object>]) -> Vec<(String, String)> {
        let mut keys = HashMap::new();
        let mut faults = Vec::new();
        let used = |key: &String| routes.certificates.values().any(|used| used == key);
        for secret in secrets {
            let key = secret.key().into_owned();
            if !used(&key) {
                continue;
            }
            match certified(secret, &self.provider) {
                Ok(certified) => drop(keys.insert(key, Arc::new(certified))),
                Err(why) => faults.push((key, why)),
            }
        }
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        shown.routes = routes.clone();
        shown.keys = keys;
        faults
    }

    /// TLS that shows them.
    pub(crate) fn tls(&self) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        let secret = hello
            .server_name()
            .and_then(|name| shown.routes.certificate(name));
        let own = secret.and_then(|secret| shown.keys.get(secret));
        own.or(shown.nameless.as_ref()).cloned()
    }
}

fn certified(secret: &Object, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let part = |key: &str| {
        let text = secret
            .text(&["data", key])
            .ok_or_else(|| format!("it has no `{key}`"))?;
        STANDARD.decode(text).map_err(|error| format!("`{key}`: {error}"))
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&part("tls.crt")?).collect();
    let chain = chain.map_err(|error| format!("`tls.crt`: {error}"))?;
    let key =
        PrivateKeyDer::from_pem_slice(&part("tls.key")?).map_err(|error| format!("`tls.key`: {error}"))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| error.to_string())
}

fn nameless(provider: &CryptoProvider) -> Option<Arc<CertifiedKey>> {
    let made = rcgen::generate_simple_self_signed(["ingress.invalid".to_owned()]).ok()?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).ok()?;
    let certified = CertifiedKey::from_der(vec![made.cert.der().clone()], key, provider);
    certified.ok().map(Arc::new)
}
