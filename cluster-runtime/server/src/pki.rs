//! The cluster's own certificate authority, and the certificates of its server and administrator.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cluster_apiserver::{MASTERS, SERVERS, TokenKeyError};
use cluster_store::StorageKey;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use crate::dir::write_private;
use crate::message::ClusterKeys;
use crate::token::{hex, unhex};

/// The authority outlives everything that it signs.
const AUTHORITY_DAYS: i64 = 3650;
/// Certificates are short-lived where nothing else is wished; they are made anew at each start.
const CERTIFICATE_DAYS: i64 = 365;
/// Clocks differ: a certificate is good from a little before it was made.
const BACKDATE_HOURS: i64 = 1;
/// File of a node's certificate and key, and how the second begins.
const NODE: &str = "node.pem";
const KEY_BEGINS: &str = "-----BEGIN PRIVATE KEY-----";
/// File of the key that the cluster's state is encrypted with.
const STORAGE_KEY: &str = "storage.key";
/// The group whose members may do everything, as in every Kubernetes cluster.
const ADMINISTRATORS: &str = MASTERS;
/// Who the agent of a node is, and the group of all of them, as in Kubernetes.
pub(crate) const NODE_USER_PREFIX: &str = "system:node:";
pub(crate) const NODES: &str = "system:nodes";

/// The certificate authority of a cluster.
pub(crate) struct Authority {
    certificate: String,
    /// PEM.
    key: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key, PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// From when and for how long a certificate is good.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validity {
    now: OffsetDateTime,
    life: Duration,
}

impl Validity {
    pub(crate) fn new(now: OffsetDateTime, life: std::time::Duration) -> Self {
        let life = Duration::try_from(life).unwrap_or(Duration::days(CERTIFICATE_DAYS));
        Self { now, life }
    }
}

impl From<OffsetDateTime> for Validity {
    /// As long as usual.
    fn from(now: OffsetDateTime) -> Self {
        Self {
            now,
            life: Duration::days(CERTIFICATE_DAYS),
        }
    }
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
    /// The key that the state is encrypted with.
    #[error("the key of the cluster's state, `{STORAGE_KEY}`, is damaged")]
    StorageKey,
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
            let authority = Validity {
                now,
                life: Duration::days(AUTHORITY_DAYS),
            };
            let mut params = named("tug cluster CA", None, authority);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            let certificate = params.self_signed(&key)?.pem();
            write_private(&certificate_path, certificate.as_bytes()).map_err(file(&certificate_path))?;
            write_private(&key_path, key.serialize_pem().as_bytes()).map_err(file(&key_path))?;
        }
        let certificate = fs::read_to_string(&certificate_path).map_err(file(&certificate_path))?;
        let key = fs::read_to_string(&key_path).map_err(file(&key_path))?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, KeyPair::from_pem(&key)?)?;
        Ok(Self {
            certificate,
            key,
            issuer,
        })
    }

    /// The authority's key, PEM: whoever has it can be anybody in the cluster.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The authority's certificate, PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a server that is reached at these names and addresses, and that speaks to other servers.
    pub(crate) fn server(
        &self,
        node: &str,
        names: &[String],
        addresses: &[IpAddr],
        validity: impl Into<Validity>,
    ) -> Result<Identity, PkiError> {
        let user = format!("system:tug-server:{node}");
        let mut params = named(&user, Some(SERVERS), validity.into());
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        reached_at(&mut params, names, addresses)?;
        self.sign(params)
    }

    /// A certificate for a node, which asked for it by a request of its own (PKCS #10, PEM): it calls servers by it, and
    /// shows it to them. What the request says of names is not looked at.
    pub(crate) fn node(
        &self,
        node: &str,
        address: IpAddr,
        request: &str,
        validity: impl Into<Validity>,
    ) -> Result<String, PkiError> {
        let mut params = named(&node_user(node), Some(NODES), validity.into());
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        reached_at(&mut params, &[node.to_owned()], &[address])?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let request = CertificateSigningRequestParams::from_pem(request)?;
        Ok(params.signed_by(&request.public_key, &self.issuer)?.pem())
    }

    /// A certificate for the administrator.
    pub(crate) fn administrator(&self, validity: impl Into<Validity>) -> Result<Identity, PkiError> {
        let mut params = named("tug-admin", Some(ADMINISTRATORS), validity.into());
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

    /// SHA-256 of the certificate (DER), by which those who join know the authority.
    pub(crate) fn digest(&self) -> Result<[u8; 32], PkiError> {
        authority_digest(&self.certificate)
    }
}

/// SHA-256 of an authority's certificate, given as PEM.
pub(crate) fn authority_digest(certificate: &str) -> Result<[u8; 32], PkiError> {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes());
    let der = der.map_err(|error| PkiError::Tls(error.into()))?;
    Ok(Sha256::digest(&der).into())
}

/// The user that a node's agent is.
pub(crate) fn node_user(node: &str) -> String {
    format!("{NODE_USER_PREFIX}{node}")
}

/// A key of its own and the request for a certificate, PEM.
pub(crate) fn request_certificate() -> Result<(String, String), PkiError> {
    let key = KeyPair::generate()?;
    let request = CertificateParams::default().serialize_request(&key)?.pem()?;
    Ok((key.serialize_pem(), request))
}

fn reached_at(
    params: &mut CertificateParams,
    names: &[String],
    addresses: &[IpAddr],
) -> Result<(), PkiError> {
    for name in names {
        let name = SanType::DnsName(name.as_str().try_into()?);
        params.subject_alt_names.push(name);
    }
    let addresses = addresses.iter().map(|address| SanType::IpAddress(*address));
    params.subject_alt_names.extend(addresses);
    Ok(())
}

/// The private key (PEM) that signs tokens of service accounts: read from a folder, or made.
pub(crate) fn token_key(dir: &Path) -> Result<String, PkiError> {
    let path = token_key_path(dir);
    let file = |source| PkiError::File {
        path: path.clone(),
        source,
    };
    if !path.exists() {
        write_private(&path, KeyPair::generate()?.serialize_pem().as_bytes()).map_err(file)?;
    }
    fs::read_to_string(&path).map_err(file)
}

/// The same as PKCS #8, DER.
pub(crate) fn token_key_der(pem: &str) -> Result<Vec<u8>, PkiError> {
    Ok(KeyPair::from_pem(pem)?.serialize_der())
}

/// The key (64 hexadecimal digits) that the cluster's state is encrypted with on disk: read from a folder, or made.
///
/// A folder with a state that an earlier version has not encrypted gets one as well; what is there stays readable.
pub(crate) fn storage_key(dir: &Path) -> Result<String, PkiError> {
    let path = dir.join(STORAGE_KEY);
    let file = |source| PkiError::File {
        path: path.clone(),
        source,
    };
    if !path.exists() {
        let mut secret = [0; 32];
        let filled = SystemRandom::new().fill(&mut secret);
        filled.map_err(|_| file(io::Error::other("the system gives no random bytes")))?;
        write_private(&path, hex(&secret).as_bytes()).map_err(file)?;
    }
    fs::read_to_string(&path).map_err(file)
}

/// The same for the store.
pub(crate) fn parse_storage_key(text: &str) -> Result<StorageKey, PkiError> {
    let secret = unhex(text.trim()).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    secret
        .map(|secret| StorageKey::new(1, secret))
        .ok_or(PkiError::StorageKey)
}

fn token_key_path(dir: &Path) -> PathBuf {
    dir.join("sa.key")
}

/// Writes what another server gave to this one.
pub(crate) fn write_keys(dir: &Path, keys: &ClusterKeys) -> Result<(), PkiError> {
    for (path, text) in [
        (token_key_path(dir), &keys.token_key),
        (dir.join(STORAGE_KEY), &keys.storage_key),
        // The authority's is written last: with it, all is there.
        (dir.join("ca.key"), &keys.authority_key),
    ] {
        write_private(&path, text.as_bytes()).map_err(|source| PkiError::File { path, source })?;
    }
    Ok(())
}

/// The authority's certificate, and what a node is known by, in a folder.
pub(crate) fn read_node(dir: &Path) -> Result<(String, Identity), PkiError> {
    let read = |name: &str| {
        let path = dir.join(name);
        fs::read_to_string(&path).map_err(|source| PkiError::File { path, source })
    };
    let both = read(NODE)?;
    let key = both.find(KEY_BEGINS).unwrap_or(both.len());
    let identity = Identity {
        certificate: both[..key].to_owned(),
        key: both[key..].to_owned(),
    };
    Ok((read("ca.crt")?, identity))
}

/// Writes what a node is known by: certificate and key in one file, so that a crash leaves the old ones or the new.
pub(crate) fn write_node(dir: &Path, authority: &str, identity: &Identity) -> Result<(), PkiError> {
    fs::create_dir_all(dir).map_err(|source| PkiError::File {
        path: dir.to_owned(),
        source,
    })?;
    let both = format!("{}{}", identity.certificate, identity.key);
    for (name, text) in [("ca.crt", authority), (NODE, &both)] {
        let path = dir.join(name);
        write_private(&path, text.as_bytes()).map_err(|source| PkiError::File { path, source })?;
    }
    Ok(())
}

/// A certificate's subject (a user's name first, a group after it) and validity.
fn named(user: &str, group: Option<&str>, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, user);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.not_before = validity.now - Duration::hours(BACKDATE_HOURS);
    params.not_after = validity.now + validity.life;
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls;

    #[test]
    fn an_authority_is_kept_and_its_certificates_work() {
        let folder = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let first = Authority::open(folder.path(), now).unwrap();
        let second = Authority::open(folder.path(), now).unwrap();
        assert_eq!(first.certificate(), second.certificate());
        let server = second.server("a", &["kubernetes".into()], &["127.0.0.1".parse().unwrap()], now);
        tls::Credentials::new(second.certificate(), &server.unwrap()).unwrap();
        assert!(second.administrator(now).is_ok());
    }

    #[test]
    fn a_node_is_known_by_what_the_authority_has_signed() {
        let folder = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::now_utc();
        let authority = Authority::open(folder.path(), now).unwrap();
        let (key, request) = request_certificate().unwrap();
        let certificate = authority
            .node("a", "192.0.2.1".parse().unwrap(), &request, now)
            .unwrap();
        let node = Identity { certificate, key };
        write_node(folder.path(), authority.certificate(), &node).unwrap();
        let (known, read) = read_node(folder.path()).unwrap();
        assert_eq!((known.as_str(), &read.key), (authority.certificate(), &node.key));
        tls::Credentials::new(&known, &read).unwrap();
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
