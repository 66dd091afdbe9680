//! A machine that becomes a server, or an agent, while its pods go on running.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cluster_client::{Api, Collection, Informer, InformerOptions};
use time::OffsetDateTime;

use crate::ask::{AskError, ask};
use crate::dir::{AGENT_PORT, ClusterDir, ClusterSettings, first_member};
use crate::message::{self, Reply, Request};
use crate::pki::{Authority, Identity, read_node, request_certificate, write_keys, write_node};
use crate::reception::ROLE_ANNOTATION;
use crate::serve::ServeError;
use crate::tls::{self, Credentials};
use crate::token::Role;

/// Between two tries to become something else.
const RETRY: Duration = Duration::from_secs(1);

/// Waits until the node is to be something else than it is, and has been let become that.
///
/// Gives the settings of the machine from then on; they are written down.
pub(crate) async fn changed(
    dir: ClusterDir,
    settings: ClusterSettings,
    api: Arc<dyn Api>,
) -> ClusterSettings {
    let options = InformerOptions {
        field_selector: format!("metadata.name={}", settings.node_name),
        ..InformerOptions::default()
    };
    let nodes = Informer::start(api, Collection::all("v1", "nodes"), options);
    let wanted = |nodes: &Informer| {
        let node = nodes.get("", &settings.node_name)?;
        Role::parse(node.text(&["metadata", "annotations", ROLE_ANNOTATION])?)
    };
    loop {
        nodes
            .wait_until(|nodes| wanted(nodes).is_some_and(|role| role != settings.role))
            .await;
        let outcome = match settings.role {
            Role::Agent => become_server(&dir, &settings).await,
            Role::Server => become_agent(&dir, &settings).await,
        };
        match outcome {
            Ok(settings) => return settings,
            Err(error) => {
                tracing::warn!(
                    error = crate::serve::describe(&error),
                    "the machine stays what it is for now"
                );
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn become_server(dir: &ClusterDir, settings: &ClusterSettings) -> Result<ClusterSettings, ServeError> {
    let (authority, identity) = read_node(&dir.pki())?;
    let credentials = Credentials::new(&authority, &identity)?;
    let config = Arc::new(tls::client(&authority, &credentials, message::PROTOCOL)?);
    let port = settings
        .servers
        .first()
        .map_or(settings.api_port, SocketAddr::port);
    let mut settings = settings.clone();
    settings.api_port = port;
    let address = settings.advertised().ok_or(AskError::NoLeader)?;
    let reply = ask(&config, &settings.servers, &Request::Promotion { address }).await?;
    let Reply::Keys(keys) = reply else {
        return Err(AskError::NoLeader.into());
    };
    write_keys(&dir.pki(), &keys.keys)?;
    settings.role = Role::Server;
    settings.served = false;
    settings.member = keys.member;
    dir.save_settings(&settings)?;
    Ok(settings)
}

async fn become_agent(dir: &ClusterDir, settings: &ClusterSettings) -> Result<ClusterSettings, ServeError> {
    let now = OffsetDateTime::now_utc();
    let authority = Authority::open(&dir.pki(), now)?;
    let address = settings.advertise_address.ok_or(AskError::NoLeader)?;
    let server = authority.server(&settings.node_name, &[], &[address.into()], now)?;
    let server = Credentials::new(authority.certificate(), &server)?;
    let config = Arc::new(tls::client(authority.certificate(), &server, message::PROTOCOL)?);
    let own = SocketAddr::from((address, settings.api_port));
    let Reply::Members { members } = ask(&config, &[own], &Request::Members).await? else {
        return Err(AskError::NoLeader.into());
    };
    let request = Request::Retire {
        member: settings.member,
    };
    ask(&config, &[own], &request).await?;
    let (key, request) = request_certificate()?;
    let identity = Identity {
        certificate: authority.node(&settings.node_name, address.into(), &request, now)?,
        key,
    };
    write_node(&dir.pki(), authority.certificate(), &identity)?;
    let mut settings = settings.clone();
    settings.role = Role::Agent;
    settings.served = false;
    settings.member = first_member();
    settings.api_port = AGENT_PORT;
    let others = members.iter().filter_map(|member| member.address.parse().ok());
    settings.servers = others.filter(|server| *server != own).collect();
    dir.save_settings(&settings)?;
    Ok(settings)
}

/// Removes what an agent must not have: the state of the cluster, its keys, and the administrator's entry.
pub(crate) fn forget_server(dir: &ClusterDir) -> io::Result<()> {
    let gone = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    gone(fs::remove_dir_all(dir.store()))?;
    gone(fs::remove_file(dir.kubeconfig()))?;
    for key in ["ca.key", "sa.key", "storage.key"] {
        gone(fs::remove_file(dir.pki().join(key)))?;
    }
    Ok(())
}
