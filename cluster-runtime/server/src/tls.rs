//! TLS of every connection inside the cluster: who may call, and whom one calls.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use rustls::client::ResolvesClientCert;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::pki::{Identity, PkiError};

/// The name that every server's certificate has, whichever its address is.
pub(crate) const SERVER_NAME: &str = "kubernetes";
/// Time for a server to take a connection and shake hands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a connection is silent before the other machine is looked for, how often then, and how many times in vain.
const IDLE_SECONDS: u32 = 5;
const LOOK_SECONDS: u32 = 2;
const LOOKS: u32 = 3;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> PkiError {
    PkiError::Tls(error.into())
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, PkiError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(failed)
}

fn roots(authority: &str) -> Result<Arc<RootCertStore>, PkiError> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(authority)?).map_err(failed)?;
    Ok(Arc::new(roots))
}

/// The chain that is shown, with the authority in it: those who join know it by its digest alone.
fn chain(authority: &str, identity: &Identity) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    Ok(vec![certificate(&identity.certificate)?, certificate(authority)?])
}

fn key(identity: &Identity) -> Result<PrivateKeyDer<'static>, PkiError> {
    PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(failed)
}

/// What one is known by: connections are made with the certificate that there is at the time.
#[derive(Debug)]
pub(crate) struct Credentials(RwLock<Arc<CertifiedKey>>);

impl Credentials {
    pub(crate) fn new(authority: &str, identity: &Identity) -> Result<Arc<Self>, PkiError> {
        let key = certified(authority, identity)?;
        Ok(Arc::new(Self(RwLock::new(key))))
    }

    /// Takes another certificate for what connects from now on; connections that are there stay.
    pub(crate) fn replace(&self, authority: &str, identity: &Identity) -> Result<(), PkiError> {
        let key = certified(authority, identity)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = key;
        Ok(())
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Credentials {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for Credentials {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn certified(authority: &str, identity: &Identity) -> Result<Arc<CertifiedKey>, PkiError> {
    let key = CertifiedKey::from_der(chain(authority, identity)?, key(identity)?, &provider());
    key.map(Arc::new).map_err(failed)
}

/// Whether a certificate is one that the authority has signed, good or not at this time.
pub(crate) fn is_signed_by(authority: &str, identity: &Identity) -> Result<bool, PkiError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(authority)?, provider());
    let verifier = verifier.build().map_err(failed)?;
    let shown = certificate(&identity.certificate)?;
    let verified = verifier.verify_client_cert(&shown, &[], UnixTime::now());
    Ok(!matches!(
        verified,
        Err(Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature
        ))
    ))
}

/// TLS for one that is called: client certificates of the authority are taken, and callers without one.
pub(crate) fn server(authority: &str, credentials: &Arc<Credentials>) -> Result<ServerConfig, PkiError> {
    let clients = WebPkiClientVerifier::builder_with_provider(roots(authority)?, provider())
        .allow_unauthenticated()
        .build()
        .map_err(failed)?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_client_cert_verifier(clients);
    Ok(config.with_cert_resolver(credentials.clone()))
}

/// TLS for one that calls, by a certificate of its own, and speaks one protocol (a name of ALPN).
pub(crate) fn client(
    authority: &str,
    credentials: &Arc<Credentials>,
    protocol: &str,
) -> Result<ClientConfig, PkiError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_root_certificates(roots(authority)?)
        .with_client_cert_resolver(credentials.clone());
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Ok(config)
}

/// TLS for one that calls without a certificate of its own, and knows the authority.
pub(crate) fn onlooker(authority: &str) -> Result<ClientConfig, PkiError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    Ok(config
        .with_root_certificates(roots(authority)?)
        .with_no_client_auth())
}

/// TLS for one that knows the authority by the digest of its certificate alone, and has no certificate yet.
pub(crate) fn stranger(authority: [u8; 32], protocol: &str) -> Result<ClientConfig, PkiError> {
    let verifier = Arc::new(Pinned {
        authority,
        provider: provider(),
    });
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Ok(config)
}

/// Connects and shakes hands; whoever answers must have a certificate for `name`.
pub(crate) async fn connect(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    name: &str,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let connecting = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        watch_over(&stream)?;
        TlsConnector::from(config.clone()).connect(name, stream).await
    };
    timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer"))?
}

/// Has the kernel look whether the other machine is there while nothing is sent. One that lost its power says nothing, and
/// who waits for its answer would wait for as long as the answer may take: the end of a snapshot, for a minute.
fn watch_over(stream: &TcpStream) -> io::Result<()> {
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &IDLE_SECONDS)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &LOOK_SECONDS)?;
    setsockopt(stream, sockopt::TcpKeepCount, &LOOKS)?;
    Ok(())
}

/// Takes certificates of the authority whose own certificate has a digest, which the other side shows along.
struct Pinned {
    authority: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pinned")
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is_ours = |shown: &&CertificateDer<'_>| <[u8; 32]>::from(Sha256::digest(shown)) == self.authority;
        let authority = intermediates.iter().find(is_ours);
        let authority = authority.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone());
        let verifier = verifier
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::getsockopt;
    use time::OffsetDateTime;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::pki::Authority;

    /// Connects, and gives the certificates that the server and the client have shown.
    async fn shown(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> [CertificateDer<'static>; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accept = async {
            let (stream, _) = listener.accept().await.unwrap();
            TlsAcceptor::from(server.clone()).accept(stream).await.unwrap()
        };
        let (accepted, connected) = tokio::join!(accept, connect(client, address, SERVER_NAME));
        let tcp = connected.as_ref().unwrap().get_ref().0;
        assert!(getsockopt(tcp, sockopt::KeepAlive).unwrap());
        assert_eq!(getsockopt(tcp, sockopt::TcpKeepIdle).unwrap(), IDLE_SECONDS);
        let first = |certificates: Option<&[CertificateDer<'static>]>| certificates.unwrap()[0].clone();
        [
            first(connected.unwrap().get_ref().1.peer_certificates()),
            first(accepted.get_ref().1.peer_certificates()),
        ]
    }

    #[tokio::test]
    async fn another_certificate_is_used_by_what_connects_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::now_utc();
        let authority = Authority::open(folder.path(), now).unwrap();
        let identity = || {
            authority
                .server("a", &[SERVER_NAME.to_owned()], &[], now)
                .unwrap()
        };
        let certificate = authority.certificate();
        let (old, new) = (identity(), identity());
        let [old_shown, new_shown] =
            [&old, &new].map(|identity| super::certificate(&identity.certificate).unwrap());
        let [serving, calling] = [(); 2].map(|()| Credentials::new(certificate, &old).unwrap());
        let server = Arc::new(server(certificate, &serving).unwrap());
        let client = Arc::new(client(certificate, &calling, "p").unwrap());
        assert_eq!(
            shown(&server, &client).await,
            [old_shown.clone(), old_shown.clone()]
        );
        serving.replace(certificate, &new).unwrap();
        assert_eq!(shown(&server, &client).await, [new_shown.clone(), old_shown]);
        calling.replace(certificate, &new).unwrap();
        assert_eq!(shown(&server, &client).await, [new_shown.clone(), new_shown]);
    }

    #[tokio::test]
    async fn err_a_key_of_another_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::now_utc();
        let authority = Authority::open(folder.path(), now).unwrap();
        let [one, other] = [(); 2].map(|()| authority.administrator(now).unwrap());
        let mixed = Identity {
            certificate: one.certificate.clone(),
            key: other.key,
        };
        let credentials = Credentials::new(authority.certificate(), &one).unwrap();
        assert!(is_signed_by(authority.certificate(), &one).unwrap());
        let elsewhere = tempfile::tempdir().unwrap();
        let stranger = Authority::open(elsewhere.path(), now).unwrap();
        assert!(!is_signed_by(stranger.certificate(), &one).unwrap());
        assert!(credentials.replace(authority.certificate(), &mixed).is_err());
    }
}
