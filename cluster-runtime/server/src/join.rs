//! Joining a cluster: the right to it is shown once, and what the machine is from then on is written down.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use nix::unistd::geteuid;
use time::OffsetDateTime;

use crate::ask::{AskError, ask};
use crate::control::ControlError;
use crate::dir::{AGENT_PORT, ClusterDir, ClusterSettings, FORMAT, SettingsError, first_member};
use crate::message::{self, JoinRequest, Reply, Request, Welcome};
use crate::options::ClusterOptions;
use crate::pki::{Identity, PkiError, request_certificate, write_keys, write_node};
use crate::token::{JoinToken, Role, hex};
use crate::{host, tls};

/// What an answer of a cluster without a key would lack.
const NO_KEYS: &str = "the server gave no keys to a server";

/// Why a machine could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Containers and networks are made by root.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The folder already has a cluster in it.
    #[error("this machine belongs to a cluster already, by `{folder}`")]
    Member {
        /// The data folder.
        folder: String,
    },
    /// Other machines must reach this one.
    #[error("this machine has no address by which {server} reaches it")]
    NoAddress {
        /// The server.
        server: SocketAddr,
    },
    /// No server let it in.
    #[error("cannot join the cluster")]
    Ask(#[from] AskError),
    /// The server shows a certificate that is not good now.
    #[error("the certificate of {server} is not good at the time that this machine has, {now}")]
    Clock {
        /// The server.
        server: SocketAddr,
        /// What the clock says.
        now: String,
    },
    /// The server at the address belongs to another cluster than the token.
    #[error("the server at {server} belongs to another cluster than the token")]
    OtherCluster {
        /// The server.
        server: SocketAddr,
    },
    /// Certificates and keys.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The data folder.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The answer is not what it should be.
    #[error("the server's answer cannot be used: {0}")]
    Answer(&'static str),
}

/// Joins the cluster of a token, with a data folder that has none yet. Nothing runs when this returns: start it.
///
/// Of the options the node's name, the address that is told to others, the port, and the bridge count.
///
/// # Errors
/// Nothing is written unless the cluster has let the machine in.
pub fn join(
    dir: &ClusterDir,
    token: &JoinToken,
    options: &ClusterOptions,
) -> Result<ClusterSettings, JoinError> {
    if !geteuid().is_root() {
        return Err(ControlError::NotRoot.into());
    }
    if dir.is_initialised() {
        return Err(JoinError::Member {
            folder: dir.path().display().to_string(),
        });
    }
    let server = *token
        .servers
        .first()
        .ok_or(JoinError::Answer("the token names no server"))?;
    let address = options
        .advertise_address
        .or_else(|| host::address_towards(server));
    let address = address.ok_or(JoinError::NoAddress { server })?;
    let (key, request) = request_certificate()?;
    let now = OffsetDateTime::now_utc();
    let request = JoinRequest {
        token: token.name(),
        secret: hex(&token.secret),
        node: options.node_name.clone().unwrap_or_else(host::node_name),
        address: IpAddr::V4(address),
        request,
        clock: now.unix_timestamp(),
    };
    let node_name = request.node.clone();
    let welcome = ask_for_entry(token, request, now)?;
    let identity = Identity {
        certificate: welcome.certificate.clone(),
        key,
    };
    dir.create()?;
    write_node(&dir.pki(), &welcome.authority, &identity)?;
    let settings = settings(&welcome, options, node_name, address, server)?;
    if let Some(keys) = &welcome.keys {
        write_keys(&dir.pki(), &keys.keys)?;
    }
    dir.save_settings(&settings)?;
    Ok(settings)
}

fn ask_for_entry(token: &JoinToken, request: JoinRequest, now: OffsetDateTime) -> Result<Welcome, JoinError> {
    let config = Arc::new(tls::stranger(token.authority, message::PROTOCOL)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| PkiError::Tls(error.into()))?;
    let reply = runtime.block_on(ask(&config, &token.servers, &Request::Join(request)));
    match reply {
        Ok(Reply::Welcome(welcome)) => Ok(*welcome),
        Ok(_) => Err(JoinError::Answer("it is the answer to something else")),
        Err(error) => Err(explain(error, now)),
    }
}

/// Certificates that are not good say why: by the clock, or by another authority.
fn explain(error: AskError, now: OffsetDateTime) -> JoinError {
    use rustls::CertificateError as Fault;
    let AskError::Unreachable { address, source } = &error else {
        return error.into();
    };
    let server = *address;
    let inner = source
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(
            Fault::NotValidYet
            | Fault::NotValidYetContext { .. }
            | Fault::Expired
            | Fault::ExpiredContext { .. },
        )) => JoinError::Clock {
            server,
            now: now.to_string(),
        },
        Some(rustls::Error::InvalidCertificate(_)) => JoinError::OtherCluster { server },
        _ => error.into(),
    }
}

fn settings(
    welcome: &Welcome,
    options: &ClusterOptions,
    node_name: String,
    address: Ipv4Addr,
    server: SocketAddr,
) -> Result<ClusterSettings, JoinError> {
    let (member, api_port) = match (welcome.role, &welcome.keys) {
        (Role::Agent, _) => (first_member(), options.api_port.unwrap_or(AGENT_PORT)),
        // All servers serve the API on one port.
        (Role::Server, Some(keys)) => (keys.member, server.port()),
        (Role::Server, None) => return Err(JoinError::Answer(NO_KEYS)),
    };
    let mut servers = welcome.servers.clone();
    if servers.is_empty() {
        servers.push(server);
    }
    Ok(ClusterSettings {
        format: FORMAT,
        role: welcome.role,
        member,
        node_name,
        advertise_address: Some(address),
        servers,
        api_address: options.api_address.unwrap_or(Ipv4Addr::LOCALHOST),
        api_port,
        bridge: options.bridge.clone().unwrap_or_else(|| "tug0".into()),
        pod_subnet: welcome.pod_subnet,
        cluster_pods: Some(welcome.cluster_pods),
        service_subnet: welcome.service_subnet,
        runtime: options.runtime.unwrap_or_default(),
        served: false,
    })
}
