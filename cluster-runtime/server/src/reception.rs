//! The server's side of the cluster's own protocol: who is taken in, what they are told, who belongs to the group.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cluster_apiserver::{MASTERS, Protocol, SERVERS, User};
use cluster_client::{Api, Collection, Connection, ListOptions, Patch, Target, WriteOptions};
use cluster_network::{Subnet, internal_address};
use cluster_objects::{Object, Status};
use cluster_store::{Member, RaftStore, Store};
use jiff::Timestamp;
use serde_json::json;
use time::OffsetDateTime;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Mutex, watch};

use crate::bootstrap::{ApiEndpoints, ensure_services};
use crate::dir::ClusterSettings;
use crate::invitation::redeem;
use crate::message::{
    self, BackupHead, ClusterKeys, JoinRequest, MemberStatus, Refusal, Reply, Request, ServerKeys, Welcome,
};
use crate::options::node_subnets;
use crate::pki::{Authority, NODE_USER_PREFIX, Validity};
use crate::token::{Role, hex, unhex};
use crate::{host, quorum};

/// Says of a node what it is in its cluster.
pub(crate) const ROLE_ANNOTATION: &str = "tug.dev/role";
/// Says of a node by which key it joined, so that it may ask twice and nobody else in its stead.
const KEY_ANNOTATION: &str = "tug.dev/joined-by";
/// The label of servers, as every Kubernetes cluster has it.
pub(crate) const SERVER_LABEL: &str = "node-role.kubernetes.io/control-plane";
/// Clocks may differ by so many seconds; certificates and leases are judged by them.
const CLOCK_SECONDS_MAX: i64 = 300;
/// A member that was not heard from for so long does not follow.
const HEARD_MAX: Duration = Duration::from_secs(3);

/// What a server knows to take others in.
pub(crate) struct Reception {
    pub(crate) api: Arc<dyn Api>,
    pub(crate) store: Arc<RaftStore>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) keys: ClusterKeys,
    /// Where backups are before they are sent.
    pub(crate) scratch: PathBuf,
    pub(crate) settings: ClusterSettings,
    /// The node's own address on its bridge.
    pub(crate) gateway: Ipv4Addr,
    /// How long certificates of nodes are good.
    pub(crate) validity: watch::Receiver<Duration>,
    /// Who joins gets what nobody else has: one decision at a time.
    pub(crate) deciding: Mutex<()>,
}

#[async_trait]
impl Protocol for Reception {
    async fn serve(&self, mut connection: Box<dyn Connection>, user: Option<&User>) {
        loop {
            let request = match message::read::<Request>(&mut connection).await {
                Ok(Some(request)) => request,
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(%error, "a request of another machine cannot be read");
                    return;
                }
            };
            if matches!(request, Request::Backup) {
                if let Err(error) = self.send_backup(&mut connection, user).await {
                    tracing::warn!(%error, "a backup was cut off");
                }
                return;
            }
            let reply = self.answer(request, user).await.unwrap_or_else(Reply::Refused);
            if message::write(&mut connection, &reply).await.is_err() {
                return;
            }
        }
    }
}

fn internal(what: &str, error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(
        format!("{what}: {error}"),
        "try again; the log of the server may tell more",
    )
}

fn options() -> WriteOptions {
    WriteOptions {
        field_manager: "tug-server".to_owned(),
        force: true,
        ..WriteOptions::default()
    }
}

fn node(name: &str) -> Target {
    Target::cluster_wide("v1", "nodes", name)
}

impl Reception {
    async fn answer(&self, request: Request, user: Option<&User>) -> Result<Reply, Refusal> {
        if let Request::Heard { member } = request {
            must_be_in(user, &[SERVERS])?;
            let ago = self.store.unheard(member);
            let ago_ms = ago.map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX));
            return Ok(Reply::Heard { ago_ms });
        }
        let leadership = self.store.leadership().borrow().clone();
        if !leadership.is_self {
            let nobody = || Refusal::new("no server leads at this time", "try again in a moment");
            let (_, address) = leadership.leader.ok_or_else(nobody)?;
            if matches!(request, Request::Ping) {
                return Ok(Reply::Done);
            }
            let address = address.parse().map_err(|_| nobody())?;
            return Ok(Reply::Elsewhere { address });
        }
        match request {
            Request::Ping => Ok(Reply::Done),
            Request::Join(request) => {
                let _deciding = self.deciding.lock().await;
                self.join(&request)
                    .await
                    .map(|welcome| Reply::Welcome(Box::new(welcome)))
            }
            Request::Enroll {
                member,
                address,
                vote,
            } => {
                must_be_in(user, &[SERVERS])?;
                let _deciding = self.deciding.lock().await;
                self.enroll(member, address, vote).await
            }
            Request::Demote { node } => {
                must_be_in(user, &[MASTERS])?;
                let _deciding = self.deciding.lock().await;
                self.demote(&node).await
            }
            Request::Promote { node } => {
                must_be_in(user, &[MASTERS])?;
                self.set_role(&node, Role::Server).await?;
                Ok(Reply::Done)
            }
            Request::Retire { member } => {
                must_be_in(user, &[SERVERS])?;
                let _deciding = self.deciding.lock().await;
                self.retire(member).await
            }
            Request::Promotion { address } => {
                let name = node_of(user)?;
                let _deciding = self.deciding.lock().await;
                self.promotion(&name, address).await
            }
            Request::Renew { request, address } => {
                let name = node_of(user)?;
                self.renew(&name, address, &request)
            }
            // Answered above.
            Request::Heard { .. } => Ok(Reply::Done),
            Request::Backup => Err(Refusal::new(
                "a backup is a connection's first question",
                "ask anew",
            )),
            Request::Members => {
                must_be_in(user, &[MASTERS])?;
                Ok(Reply::Members {
                    members: self.members(),
                })
            }
        }
    }

    async fn join(&self, request: &JoinRequest) -> Result<Welcome, Refusal> {
        let now = Timestamp::now();
        let ahead = request.clock - now.as_second();
        if ahead.abs() > CLOCK_SECONDS_MAX {
            let (seconds, way) = (ahead.abs(), if ahead > 0 { "ahead of" } else { "behind" });
            return Err(Refusal::new(
                format!("the clock of this machine is {seconds} s {way} the server's"),
                "set the clock, for example by NTP, and join again",
            ));
        }
        if !host::is_node_name(&request.node) {
            return Err(Refusal::new(
                format!("`{}` is no name for a node", request.node),
                "--node-name NAME gives another: lower-case letters, digits, `-` and `.`",
            ));
        }
        let key = self.check_name(request).await?;
        let secret = unhex(&request.secret).unwrap_or_default();
        let role = redeem(&self.api, &request.token, &secret, now).await?;
        let (certificate, pods) = self.make_node(request, role, &key).await?;
        let keys = match role {
            Role::Agent => None,
            Role::Server => Some(self.server_keys()),
        };
        tracing::info!(node = request.node, role = role.as_str(), "a machine joins");
        Ok(Welcome {
            role,
            authority: self.authority.certificate().to_owned(),
            certificate,
            pod_subnet: pods,
            cluster_pods: self.settings.cluster_pods(),
            service_subnet: self.settings.service_subnet,
            servers: self.servers(),
            keys,
        })
    }

    /// Refuses a name that another machine has; gives the mark of the key that the machine will have.
    async fn check_name(&self, request: &JoinRequest) -> Result<String, Refusal> {
        use sha2::{Digest, Sha256};
        let mark = hex(&Sha256::digest(request.request.as_bytes()));
        match self.api.get(&node(&request.node)).await {
            Err(status) if status.is_not_found() => Ok(mark),
            Err(status) => Err(internal("the nodes cannot be read", &status)),
            Ok(known) if known.text(&["metadata", "annotations", KEY_ANNOTATION]) == Some(&mark) => Ok(mark),
            Ok(_) => Err(Refusal::new(
                format!("a node named `{0}` is in the cluster already", request.node),
                format!(
                    "--node-name NAME gives this machine another name; if `{0}` is gone for good, `kubectl delete node {0}`",
                    request.node
                ),
            )),
        }
    }

    /// Writes the node of a machine, with addresses for its pods that no other has.
    async fn make_node(
        &self,
        request: &JoinRequest,
        role: Role,
        key: &str,
    ) -> Result<(String, Subnet), Refusal> {
        let list = self
            .api
            .list(&Collection::all("v1", "nodes"), &ListOptions::default())
            .await;
        let list = list.map_err(|status| internal("the nodes cannot be read", &status))?;
        let of = |node: &Object| {
            node.text(&["spec", "podCIDR"])
                .and_then(|text| text.parse::<Subnet>().ok())
        };
        let own = list
            .items
            .iter()
            .find(|known| known.name() == request.node)
            .and_then(|known| of(known));
        let taken: Vec<Subnet> = list.items.iter().filter_map(|known| of(known)).collect();
        let mut parts = node_subnets(self.settings.cluster_pods());
        let free = own.or_else(|| parts.find(|part| !taken.iter().any(|other| other.overlaps(part))));
        let pods = free.ok_or_else(|| {
            Refusal::new(
                format!("no addresses of pods are left in {} for another node", self.settings.cluster_pods()),
                "a cluster has its addresses from its first start: `tug cluster start --pod-subnet` of a new one takes more",
            )
        })?;
        let validity = self.validity();
        let certificate = self
            .authority
            .node(&request.node, request.address, &request.request, validity);
        let certificate = certificate.map_err(|error| internal("the node gets no certificate", &error))?;
        let mut labels = json!({});
        if role == Role::Server {
            labels[SERVER_LABEL] = "true".into();
        }
        let wanted = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {
                "name": request.node, "labels": labels,
                "annotations": {ROLE_ANNOTATION: role.as_str(), KEY_ANNOTATION: key},
            },
            "spec": {"podCIDR": pods.to_string(), "podCIDRs": [pods.to_string()]},
        });
        let written = self
            .api
            .patch(&node(&request.node), Patch::Apply(wanted), &options())
            .await;
        written.map_err(|status| internal("the node cannot be written", &status))?;
        Ok((certificate, pods))
    }

    /// Sends all that the cluster is, as of now; any server can.
    async fn send_backup(&self, connection: &mut Box<dyn Connection>, user: Option<&User>) -> io::Result<()> {
        let made = match must_be_in(user, &[MASTERS]) {
            Ok(()) => self.make_backup().await,
            Err(refusal) => Err(refusal),
        };
        match made {
            Err(refusal) => message::write(connection, &Reply::Refused(refusal)).await,
            Ok((head, file)) => {
                message::write(connection, &Reply::Backup(Box::new(head))).await?;
                let mut file = tokio::fs::File::from_std(file);
                tokio::io::copy(&mut file, connection).await?;
                connection.shutdown().await
            }
        }
    }

    async fn make_backup(&self) -> Result<(BackupHead, File), Refusal> {
        let failed = |error: &dyn std::fmt::Display| internal("the backup cannot be made", error);
        self.store.ensure_newest().await.map_err(|error| failed(&error))?;
        // Without a name: it is gone with the connection, however that ends.
        let file = tempfile::tempfile_in(&self.scratch).map_err(|error| failed(&error))?;
        let made = self.store.backup(file, None).await;
        let (mut file, revision) = made.map_err(|error| failed(&error))?;
        let bytes = file.seek(SeekFrom::End(0)).map_err(|error| failed(&error))?;
        file.rewind().map_err(|error| failed(&error))?;
        let head = BackupHead {
            settings: self.settings.clone(),
            authority: self.authority.certificate().to_owned(),
            keys: self.keys.clone(),
            revision: revision.0,
            bytes,
        };
        Ok((head, file))
    }

    fn server_keys(&self) -> ServerKeys {
        ServerKeys {
            keys: self.keys.clone(),
            // No other member can have it: the store has just written a node at an earlier revision.
            member: self.store.revision().0,
        }
    }

    async fn enroll(&self, member: u64, address: SocketAddr, vote: bool) -> Result<Reply, Refusal> {
        let at = address.to_string();
        let members = self.store.members();
        let known = members
            .iter()
            .find(|known| known.number == member && known.address == at);
        if known.is_none() {
            let added = self.store.add_member(member, &at).await;
            added.map_err(|error| internal("the server cannot be taken into the group", &error))?;
            tracing::info!(member, %address, "a server follows the group");
        }
        if vote && !known.is_some_and(|known| known.is_voter) {
            let voters = members.iter().filter(|known| known.is_voter);
            let voters = voters.map(|known| known.number).chain([member]).collect();
            let changed = self.store.set_voters(voters).await;
            changed.map_err(|error| internal("the server gets no vote", &error))?;
            tracing::info!(member, %address, "a server has a vote");
            self.write_endpoints().await;
        }
        Ok(Reply::Done)
    }

    async fn demote(&self, name: &str) -> Result<Reply, Refusal> {
        let found = self.find(name).await?;
        let address = internal_address(&found);
        let is_at = |member: &&Member| {
            let known = member.address.parse::<SocketAddr>().ok();
            known.is_some_and(|known| Some(known.ip()) == address.map(IpAddr::V4))
        };
        let members = self.store.members();
        let Some(member) = members.iter().find(is_at) else {
            return Err(Refusal::new(
                format!("the node `{name}` is no server"),
                "`tug cluster status` lists the servers",
            ));
        };
        let status = self.members();
        quorum::may_leave(&status, member.number)?;
        self.set_role(name, Role::Agent).await?;
        let rest = members
            .iter()
            .filter(|other| other.is_voter && other.number != member.number);
        let rest = rest.map(|other| other.number).collect();
        let changed = self.store.set_voters(rest).await;
        changed.map_err(|error| internal("the group cannot be changed", &error))?;
        // Who lives hears of it as a member without a vote, and then leaves; nobody waits for who is gone.
        let known = status.iter().find(|known| known.number == member.number);
        if known.is_some_and(|known| !known.leader && known.lag.is_none()) {
            return self.retire(member.number).await;
        }
        self.write_endpoints().await;
        Ok(Reply::Done)
    }

    async fn retire(&self, member: u64) -> Result<Reply, Refusal> {
        if self.store.members().iter().any(|known| known.number == member) {
            let removed = self.store.remove_member(member).await;
            removed.map_err(|error| internal("the member cannot be removed", &error))?;
            tracing::info!(member, "a server has left the group");
        }
        self.write_endpoints().await;
        Ok(Reply::Done)
    }

    async fn find(&self, name: &str) -> Result<Arc<Object>, Refusal> {
        self.api.get(&node(name)).await.map_err(|status| {
            if status.is_not_found() {
                Refusal::new(
                    format!("there is no node `{name}`"),
                    "`kubectl get nodes` lists them",
                )
            } else {
                internal("the node cannot be read", &status)
            }
        })
    }

    /// Writes down what a node is; its own process follows.
    async fn set_role(&self, name: &str, role: Role) -> Result<(), Refusal> {
        self.find(name).await?;
        let label = match role {
            Role::Server => json!("true"),
            Role::Agent => serde_json::Value::Null,
        };
        let change = json!({"metadata": {
            "annotations": {ROLE_ANNOTATION: role.as_str()}, "labels": {SERVER_LABEL: label},
        }});
        let options = WriteOptions {
            force: false,
            ..options()
        };
        let written = self.api.patch(&node(name), Patch::Merge(change), &options).await;
        written
            .map(drop)
            .map_err(|status| internal("the node cannot be written", &status))
    }

    async fn promotion(&self, name: &str, address: SocketAddr) -> Result<Reply, Refusal> {
        let found = self.find(name).await?;
        if found.text(&["metadata", "annotations", ROLE_ANNOTATION]) != Some(Role::Server.as_str()) {
            return Err(Refusal::new(
                format!("the node `{name}` is an agent"),
                format!("`tug cluster promote {name}` makes it a server"),
            ));
        }
        tracing::info!(node = name, %address, "an agent becomes a server");
        Ok(Reply::Keys(self.server_keys()))
    }

    fn renew(&self, name: &str, address: IpAddr, request: &str) -> Result<Reply, Refusal> {
        let life = *self.validity.borrow();
        let made = self.authority.node(name, address, request, self.validity());
        let certificate = made.map_err(|error| internal("the node gets no certificate", &error))?;
        let seconds = Some(life.as_secs());
        Ok(Reply::Certificate { certificate, seconds })
    }

    fn validity(&self) -> Validity {
        Validity::new(OffsetDateTime::now_utc(), *self.validity.borrow())
    }

    /// Tells everybody where servers are; who leads next tells it again.
    async fn write_endpoints(&self) {
        let settings = &self.settings;
        let (members, own) = (self.store.members(), settings.advertised());
        let endpoints = ApiEndpoints::new(&members, own, self.gateway, settings.api_port);
        let services = settings.service_subnet;
        if let Err(status) = ensure_services(self.api.as_ref(), services, &endpoints).await {
            tracing::warn!(%status, "the addresses of the servers are not up to date");
        }
    }

    fn servers(&self) -> Vec<SocketAddr> {
        let members = self.store.members();
        members
            .iter()
            .filter_map(|member| member.address.parse().ok())
            .collect()
    }

    fn members(&self) -> Vec<MemberStatus> {
        let leader = self.store.leadership().borrow().leader.clone();
        let status = self.store.group_status();
        let members = status.members.into_iter().map(|known| {
            let leads = leader
                .as_ref()
                .is_some_and(|(number, _)| *number == known.member.number);
            let is_heard = known.silent.is_none_or(|silent| silent < HEARD_MAX);
            MemberStatus {
                number: known.member.number,
                address: known.member.address,
                voter: known.member.is_voter,
                leader: leads,
                lag: known
                    .matched_index
                    .filter(|_| is_heard)
                    .map(|index| status.last_index.saturating_sub(index)),
            }
        });
        members.collect()
    }
}

fn must_be_in(user: Option<&User>, groups: &[&str]) -> Result<(), Refusal> {
    let is_in = user.is_some_and(|user| groups.iter().any(|group| user.is_in(group)));
    is_in.then_some(()).ok_or_else(|| {
        let who = user.map_or("somebody unknown", |user| user.name.as_str());
        Refusal::new(
            format!("{who} may not ask for this"),
            "an administrator of the cluster may, on a server",
        )
    })
}

fn node_of(user: Option<&User>) -> Result<String, Refusal> {
    let name = user.and_then(|user| user.name.strip_prefix(NODE_USER_PREFIX));
    name.map(str::to_owned).ok_or_else(|| {
        Refusal::new(
            "only a node of the cluster may ask for this",
            "join the cluster first",
        )
    })
}

/// What the API refuses to the server itself is a fault of the server.
impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        internal("the API refuses", &status)
    }
}
