//! The node's bridge, and the pair of links that joins a pod to it.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use futures::TryStreamExt;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth};
use rtnetlink::packet_route::route::{RouteScope, RouteType};
use rtnetlink::{
    Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
};

use crate::namespace::inside;
use crate::overlay::link_name;
use crate::{NetworkConfig, Subnet};

/// The kernel's table of addresses that are the host's own.
const LOCAL_TABLE: u32 = 255;
/// Name of a pod's link inside the pod.
const POD_LINK: &str = "eth0";

/// What the kernel refused.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A netlink request.
    #[error("cannot {action}")]
    Netlink {
        /// What was tried.
        action: String,
        /// What the kernel said.
        source: rtnetlink::Error,
    },
    /// A file or a thread.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No link of that name.
    #[error("there is no network link `{0}`")]
    NoLink(String),
}

/// A connection to the kernel's network configuration in the namespace of the caller.
pub(crate) struct Links {
    pub(crate) handle: Handle,
    bridge: String,
}

pub(crate) trait Explain<T> {
    fn explain(self, action: impl FnOnce() -> String) -> Result<T, LinkError>;
}

impl<T> Explain<T> for Result<T, rtnetlink::Error> {
    fn explain(self, action: impl FnOnce() -> String) -> Result<T, LinkError> {
        self.map_err(|source| LinkError::Netlink {
            action: action(),
            source,
        })
    }
}

/// Takes "it is there already" as done.
pub(crate) fn present_is_fine(result: Result<(), rtnetlink::Error>) -> Result<(), rtnetlink::Error> {
    match result {
        Err(rtnetlink::Error::NetlinkError(message)) if is_os_error(&message, nix::libc::EEXIST) => Ok(()),
        other => other,
    }
}

pub(crate) fn is_os_error(message: &rtnetlink::packet_core::ErrorMessage, errno: i32) -> bool {
    message.to_io().raw_os_error() == Some(errno)
}

impl Links {
    /// Connects to the kernel; needs a tokio runtime.
    pub(crate) fn connect(bridge: &str) -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Self {
            handle,
            bridge: bridge.to_owned(),
        })
    }

    /// Brings the bridge up with its addresses and routes; what is there already stays.
    ///
    /// Service addresses are routed to the bridge when the kernel rewrites them on the way, and are the host's
    /// own when a proxy listens on them.
    pub(crate) async fn ensure_bridge(&self, config: &NetworkConfig) -> Result<(), LinkError> {
        let bridge = &self.bridge;
        let request = self.handle.link().add(LinkBridge::new(bridge).up().build());
        present_is_fine(request.execute().await).explain(|| format!("make the bridge `{bridge}`"))?;
        let index = self
            .index(bridge)
            .await?
            .ok_or_else(|| LinkError::NoLink(bridge.clone()))?;
        let up = LinkUnspec::new_with_index(index).up().build();
        self.handle
            .link()
            .set(up)
            .execute()
            .await
            .explain(|| format!("bring the bridge `{bridge}` up"))?;

        let gateway = gateway(config.pod_subnet);
        self.add_address(index, gateway, config.pod_subnet.prefix())
            .await?;
        self.add_address(index, config.dns_address, 32).await?;
        let services = config.service_subnet;
        let route = if config.nft.is_some() {
            RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(services.base(), services.prefix())
                .pref_source(gateway)
                .output_interface(index)
                .scope(RouteScope::Link)
        } else {
            let loopback = self
                .index("lo")
                .await?
                .ok_or_else(|| LinkError::NoLink("lo".into()))?;
            local_services(services, loopback)
        };
        let request = self.handle.route().add(route.build());
        present_is_fine(request.execute().await).explain(|| format!("route services {services}"))?;
        // In a fresh network namespace loopback is down, and nothing reaches the host's own addresses.
        self.up("lo").await?;
        fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        Ok(())
    }

    /// Removes the bridge, with everything that is linked to it, and the tunnel to other nodes.
    pub(crate) async fn remove_bridge(&self) -> Result<(), LinkError> {
        self.remove(&link_name(&self.bridge)).await?;
        self.remove(&self.bridge).await
    }

    /// Removes the route that makes service addresses the host's own; the other one went with the bridge.
    pub(crate) async fn remove_service_route(&self, config: &NetworkConfig) -> Result<(), LinkError> {
        if config.nft.is_some() {
            return Ok(());
        }
        let Some(loopback) = self.index("lo").await? else {
            return Ok(());
        };
        let route = local_services(config.service_subnet, loopback).build();
        match self.handle.route().del(route).execute().await {
            Err(rtnetlink::Error::NetlinkError(message)) if is_os_error(&message, nix::libc::ESRCH) => Ok(()),
            other => other.explain(|| format!("remove the route of services {}", config.service_subnet)),
        }
    }

    /// Links a pod's network namespace to the bridge. A link of the same name from an earlier try is replaced.
    pub(crate) async fn attach(
        &self,
        link: &str,
        namespace: &Path,
        address: Ipv4Addr,
        gateway: Ipv4Addr,
    ) -> Result<(), LinkError> {
        let bridge = self
            .index(&self.bridge)
            .await?
            .ok_or_else(|| LinkError::NoLink(self.bridge.clone()))?;
        self.remove(link).await?;
        let namespace_file = OwnedFd::from(File::open(namespace)?);
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(POD_LINK)
            .setns_by_fd(namespace_file.as_raw_fd())
            .build();
        let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(link)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .controller(bridge)
            .up()
            .build();
        self.handle
            .link()
            .add(pair)
            .execute()
            .await
            .explain(|| format!("make the link `{link}`"))?;
        // Where bridged packets pass the host's rules, one that a service sends back to its own pod stays on the
        // bridge and has to leave by the port it came from.
        let port = self
            .index(link)
            .await?
            .ok_or_else(|| LinkError::NoLink(link.to_owned()))?;
        let hairpin = LinkBridgePort::new(port).hairpin(true).build();
        self.handle
            .link()
            .set_port(hairpin)
            .execute()
            .await
            .explain(|| format!("set `{link}` up"))?;
        inside(namespace, async move || configure_pod(address, gateway).await).await
    }

    /// Whether there is a link of that name.
    pub(crate) async fn exists(&self, link: &str) -> Result<bool, LinkError> {
        Ok(self.index(link).await?.is_some())
    }

    /// Removes a link; one that is not there is fine.
    pub(crate) async fn remove(&self, link: &str) -> Result<(), LinkError> {
        let Some(index) = self.index(link).await? else {
            return Ok(());
        };
        match self.handle.link().del(index).execute().await {
            // Gone with its namespace meanwhile.
            Err(rtnetlink::Error::NetlinkError(message)) if is_os_error(&message, nix::libc::ENODEV) => {
                Ok(())
            }
            other => other.explain(|| format!("remove the link `{link}`")),
        }
    }

    async fn up(&self, link: &str) -> Result<(), LinkError> {
        let index = self
            .index(link)
            .await?
            .ok_or_else(|| LinkError::NoLink(link.to_owned()))?;
        let up = LinkUnspec::new_with_index(index).up().build();
        self.handle
            .link()
            .set(up)
            .execute()
            .await
            .explain(|| format!("bring `{link}` up"))
    }

    pub(crate) async fn add_address(
        &self,
        index: u32,
        address: Ipv4Addr,
        prefix: u8,
    ) -> Result<(), LinkError> {
        let request = self.handle.address().add(index, IpAddr::V4(address), prefix);
        present_is_fine(request.execute().await).explain(|| format!("add the address {address}"))
    }

    async fn add_route(&self, route: RouteMessageBuilder<Ipv4Addr>, what: &str) -> Result<(), LinkError> {
        let request = self.handle.route().add(route.build());
        present_is_fine(request.execute().await).explain(|| format!("add the {what} route"))
    }

    pub(crate) async fn index(&self, link: &str) -> Result<Option<u32>, LinkError> {
        let mut found = self.handle.link().get().match_name(link.to_owned()).execute();
        match found.try_next().await {
            Ok(message) => Ok(message.map(|message| message.header.index)),
            Err(rtnetlink::Error::NetlinkError(message)) if is_os_error(&message, nix::libc::ENODEV) => {
                Ok(None)
            }
            Err(error) => Err(error).explain(|| format!("look up the link `{link}`")),
        }
    }
}

/// The route that makes every service address the host's own, so that a proxy can listen on it.
fn local_services(services: Subnet, loopback: u32) -> RouteMessageBuilder<Ipv4Addr> {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(services.base(), services.prefix())
        .output_interface(loopback)
        .kind(RouteType::Local)
        .scope(RouteScope::Host)
        .table_id(LOCAL_TABLE)
}

/// The bridge's own address, which pods send everything to.
pub fn gateway(pod_subnet: Subnet) -> Ipv4Addr {
    pod_subnet.nth(1).expect("a subnet has at least four addresses")
}

/// Gives the pod's end its address and routes; runs inside the pod's namespace.
///
/// The address stands alone (/32) and everything goes through the gateway, also what is meant for a neighbour on the
/// same bridge: answers then pass the host, which has to rewrite those that come from a service.
async fn configure_pod(address: Ipv4Addr, gateway: Ipv4Addr) -> Result<(), LinkError> {
    let links = Links::connect(POD_LINK)?;
    links.up("lo").await?;
    links.up(POD_LINK).await?;
    let index = links
        .index(POD_LINK)
        .await?
        .ok_or_else(|| LinkError::NoLink(POD_LINK.into()))?;
    links.add_address(index, address, 32).await?;
    let to_gateway = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(gateway, 32)
        .output_interface(index)
        .scope(RouteScope::Link);
    links.add_route(to_gateway, "gateway").await?;
    let default = RouteMessageBuilder::<Ipv4Addr>::new()
        .gateway(gateway)
        .output_interface(index);
    links.add_route(default, "default").await?;
    // The gateway would send redirects to the neighbour; following them would leave out the host again.
    for name in ["all", POD_LINK] {
        fs::write(format!("/proc/sys/net/ipv4/conf/{name}/accept_redirects"), "0")?;
    }
    Ok(())
}
