//! The cluster's own certificate authority, and the certificates of its server and administrator.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cluster_apiserver::TokenKeyError;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use time::{Duration, OffsetDateTime};

use crate::dir::write_private;

/// The authority outlives everything that it signs.
const AUTHORITY_DAYS: i64 = 3650;
/// Certificates are short-lived; they are made anew at each start.
const CERTIFICATE_DAYS: i64 = 365;
/// Clocks differ: a certificate is good from a little before it was made.
const BACKDATE_HOURS: i64 = 1;
/// The group whose members may do everything, as in every Kubernetes cluster.
const ADMINISTRATORS: &str = "system:masters";

/// The certificate authority of a cluster.
pub(crate) struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key, PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Why certificates cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file of the authority.
    #[error("cannot use `{}`", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// A certificate or key that is none.
    #[error("the cluster's certificate authority is damaged")]
    Certificate(#[from] rcgen::Error),
    /// The key that signs tokens.
    #[error("the cluster's token key is damaged")]
    TokenKey(#[source] TokenKeyError),
    /// TLS does not take what was made.
    #[error("cannot set TLS up")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Authority {
    /// Reads the authority of a folder, or makes one.
    pub(crate) fn open(dir: &Path, now: OffsetDateTime) -> Result<Self, PkiError> {
        let (certificate_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
        let file = |path: &Path| {
            let path = path.to_owned();
            move |source| PkiError::File { path, source }
        };
        fs::create_dir_all(dir).map_err(file(dir))?;
        // The key is written last: with it, the authority is whole.
        if !key_path.exists() {
            let key = KeyPair::generate()?;
            let mut params = named(&["tug cluster CA"], now, AUTHORITY_DAYS);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            let certificate = params.self_signed(&key)?.pem();
            write_private(&certificate_path, certificate.as_bytes()).map_err(file(&certificate_path))?;
            write_private(&key_path, key.serialize_pem().as_bytes()).map_err(file(&key_path))?;
        }
        let certificate = fs::read_to_string(&certificate_path).map_err(file(&certificate_path))?;
        let key = fs::read_to_string(&key_path).map_err(file(&key_path))?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, KeyPair::from_pem(&key)?)?;
        Ok(Self { certificate, issuer })
    }

    /// The authority's certificate, PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a server that is reached at these names and addresses.
    pub(crate) fn server(
        &self,
        names: &[String],
        addresses: &[IpAddr],
        now: OffsetDateTime,
    ) -> Result<Identity, PkiError> {
        let mut params = named(&["tug-apiserver"], now, CERTIFICATE_DAYS);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in names {
            params
                .subject_alt_names
                .push(SanType::DnsName(name.as_str().try_into()?));
        }
        params
            .subject_alt_names
            .extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
        self.sign(params)
    }

    /// A certificate for the administrator.
    pub(crate) fn administrator(&self, now: OffsetDateTime) -> Result<Identity, PkiError> {
        let mut params = named(&["tug-admin", ADMINISTRATORS], now, CERTIFICATE_DAYS);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Identity, PkiError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Identity {
            certificate,
            key: key.serialize_pem(),
        })
    }

    /// TLS for a server that takes client certificates of this authority and callers without one.
    pub(crate) fn tls(&self, server: &Identity) -> Result<ServerConfig, PkiError> {
        fn tls(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> PkiError {
            PkiError::Tls(error.into())
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.certificate.as_bytes()).map_err(tls)?)
            .map_err(tls)?;
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(tls)?;
        let chain = vec![CertificateDer::from_pem_slice(server.certificate.as_bytes()).map_err(tls)?];
        let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes()).map_err(tls)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(tls)?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .map_err(tls)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// The private key (PKCS #8, DER) that signs tokens of service accounts: read from a folder, or made.
pub(crate) fn token_key(dir: &Path) -> Result<Vec<u8>, PkiError> {
    let path = dir.join("sa.key");
    let file = |source| PkiError::File {
        path: path.clone(),
        source,
    };
    if !path.exists() {
        write_private(&path, KeyPair::generate()?.serialize_pem().as_bytes()).map_err(file)?;
    }
    let text = fs::read_to_string(&path).map_err(file)?;
    Ok(KeyPair::from_pem(&text)?.serialize_der())
}

/// A certificate's subject (a user's name first, groups after it) and validity.
fn named(subject: &[&str], now: OffsetDateTime, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some((user, groups)) = subject.split_first() {
        params.distinguished_name.push(DnType::CommonName, *user);
        for group in groups {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
    }
    params.not_before = now - Duration::hours(BACKDATE_HOURS);
    params.not_after = now + Duration::days(days);
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_kept_and_its_certificates_work() {
        let folder = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let first = Authority::open(folder.path(), now).unwrap();
        let second = Authority::open(folder.path(), now).unwrap();
        assert_eq!(first.certificate(), second.certificate());
        let server = second
            .server(&["kubernetes".into()], &["127.0.0.1".parse().unwrap()], now)
            .unwrap();
        assert_eq!(second.tls(&server).unwrap().alpn_protocols.len(), 2);
        assert!(second.administrator(now).is_ok());
    }

    #[test]
    fn err_a_damaged_authority_is_no_reason_to_make_another() {
        let folder = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        Authority::open(folder.path(), now).unwrap();
        fs::write(folder.path().join("ca.crt"), "nothing").unwrap();
        assert!(Authority::open(folder.path(), now).is_err());
    }
}
