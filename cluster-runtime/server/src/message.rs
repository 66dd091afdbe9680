//! What machines of a cluster say to each other besides HTTP: one JSON text for each message, after its length.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use cluster_network::Subnet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::dir::ClusterSettings;
use crate::token::Role;

/// Name of the protocol, for ALPN.
pub(crate) const PROTOCOL: &str = "tug-cluster/1";
/// Longest message; certificates and keys of a server are far below.
const MESSAGE_BYTES_MAX: u32 = 1 << 20;

/// What one machine asks a server for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Request {
    /// To be taken into the cluster, by a token.
    Join(JoinRequest),
    /// To have the member of a server taken into the group, first without a vote.
    Enroll {
        member: u64,
        address: SocketAddr,
        vote: bool,
    },
    /// To make a server an agent.
    Demote { node: String },
    /// To make an agent a server.
    Promote { node: String },
    /// To have the member of a server that becomes an agent forgotten.
    Retire { member: u64 },
    /// What a node needs to become a server, which an administrator has promoted it to.
    Promotion { address: SocketAddr },
    /// Another certificate for a node, before its own ends.
    Renew { request: String, address: IpAddr },
    /// Whether the server knows who leads.
    Ping,
    /// How long ago this server, whether it leads or not, heard of a member of the group.
    Heard { member: u64 },
    /// The members of the group, and how far they are.
    Members,
    /// All that the cluster is: the answer is followed by the state, and the end of the connection.
    Backup,
}

/// Who wants to join.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JoinRequest {
    /// Which token.
    pub(crate) token: String,
    /// Its secret, in hexadecimal.
    pub(crate) secret: String,
    /// The name that the node wants.
    pub(crate) node: String,
    /// Where other machines reach it.
    pub(crate) address: IpAddr,
    /// The request for its certificate (PKCS #10, PEM).
    pub(crate) request: String,
    /// What its clock says, in seconds since 1970.
    pub(crate) clock: i64,
}

/// What whoever joins has to know.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Welcome {
    pub(crate) role: Role,
    /// The authority's certificate, PEM.
    pub(crate) authority: String,
    /// The node's certificate, PEM.
    pub(crate) certificate: String,
    /// Addresses of the node's pods, of all pods, and of services.
    pub(crate) pod_subnet: Subnet,
    pub(crate) cluster_pods: Subnet,
    pub(crate) service_subnet: Subnet,
    /// Where servers are.
    pub(crate) servers: Vec<SocketAddr>,
    /// What only servers get.
    pub(crate) keys: Option<ServerKeys>,
}

/// What makes a machine a server of its cluster.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServerKeys {
    pub(crate) keys: ClusterKeys,
    /// The number of its member.
    pub(crate) member: u64,
}

/// The keys of a cluster: whoever has them can be anybody in it, and read everything of it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClusterKeys {
    /// The authority's, PEM.
    pub(crate) authority_key: String,
    /// That which signs tokens of service accounts, PEM.
    pub(crate) token_key: String,
    /// That which the state is encrypted with on disk, in hexadecimal.
    pub(crate) storage_key: String,
}

impl fmt::Debug for ClusterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKeys")
    }
}

/// A member of the group of servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Its number.
    pub number: u64,
    /// Where it is.
    pub address: String,
    /// Whether it counts for the quorum.
    pub voter: bool,
    /// Whether it leads.
    pub leader: bool,
    /// Entries of the log that it does not have yet, as far as the leader knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
}

/// What stands before the state in a backup: what else a cluster is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BackupHead {
    /// Of the server that made it, whose place a restored one takes.
    pub(crate) settings: ClusterSettings,
    /// The authority's certificate, PEM.
    pub(crate) authority: String,
    pub(crate) keys: ClusterKeys,
    /// The revision of the state.
    pub(crate) revision: u64,
    /// Bytes of the state.
    pub(crate) bytes: u64,
}

/// A server's answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Reply {
    Welcome(Box<Welcome>),
    Keys(ServerKeys),
    Certificate {
        certificate: String,
        /// For how long it is good.
        #[serde(default)]
        seconds: Option<u64>,
    },
    Members {
        members: Vec<MemberStatus>,
    },
    Backup(Box<BackupHead>),
    Done,
    /// So many milliseconds ago, if ever.
    Heard {
        ago_ms: Option<u64>,
    },
    /// Another server leads and can answer.
    Elsewhere {
        address: SocketAddr,
    },
    Refused(Refusal),
}

/// Why a server does not do what it was asked for, and what helps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub hint: String,
}

impl Refusal {
    pub(crate) fn new(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            hint: hint.into(),
        }
    }
}

/// Writes one message.
pub(crate) async fn write<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&text).await?;
    stream.flush().await
}

/// Reads one message; `None` at the end of the stream.
pub(crate) async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<T>> {
    let length = match stream.read_u32().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a message is longer than allowed",
        ));
    }
    let mut text = vec![0; length as usize];
    stream.read_exact(&mut text).await?;
    Ok(Some(serde_json::from_slice(&text)?))
}
