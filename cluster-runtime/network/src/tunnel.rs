//! The link of the tunnel to other nodes, as the kernel has it.

use std::net::Ipv4Addr;

use rtnetlink::packet_route::neighbour::NeighbourFlags;
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{LinkUnspec, LinkVxlan, RouteMessageBuilder};

use crate::Subnet;
use crate::link::{Explain, LinkError, Links, is_os_error, present_is_fine};
use crate::overlay::{Overlay, Remote, VXLAN_PORT, hardware_address, ip};

/// What a packet gains in the tunnel: outer Ethernet, IPv4 and UDP, and VXLAN's own eight bytes.
const OVERHEAD_BYTES: u32 = 50;
/// The usual longest packet of a link.
const USUAL_MTU: u32 = 1500;

impl Links {
    /// Makes this node's end of the tunnel, unless it is there; gives the number of the link.
    pub(crate) async fn ensure_tunnel(
        &self,
        name: &str,
        overlay: &Overlay,
        pods: Subnet,
    ) -> Result<u32, LinkError> {
        let link = LinkVxlan::new(name, overlay.network)
            .local(overlay.address)
            .port(VXLAN_PORT)
            .learning(false)
            .address(hardware_address(overlay.address).to_vec())
            .mtu(USUAL_MTU - OVERHEAD_BYTES)
            .up()
            .build();
        let made = self.handle.link().add(link).execute().await;
        present_is_fine(made).explain(|| format!("make the tunnel `{name}`"))?;
        let index = self.index(name).await?;
        let index = index.ok_or_else(|| LinkError::NoLink(name.to_owned()))?;
        let up = LinkUnspec::new_with_index(index).up().build();
        let set = self.handle.link().set(up).execute().await;
        set.explain(|| format!("bring the tunnel `{name}` up"))?;
        self.add_address(index, pods.base(), 32).await?;
        Ok(index)
    }

    /// Leads packets for another node's pods into the tunnel, and the tunnel to that node.
    pub(crate) async fn add_remote(
        &self,
        link: u32,
        remote: Remote,
        source: Ipv4Addr,
    ) -> Result<(), LinkError> {
        let Remote { address, pods } = remote;
        let hardware = remote.hardware_address();
        let neighbours = self.handle.neighbours();
        let neighbour = neighbours
            .add(link, ip(remote.tunnel_address()))
            .link_layer_address(&hardware);
        let added = neighbour.replace().execute().await;
        added.explain(|| format!("name the tunnel's end at {address}"))?;
        let end = neighbours
            .add_bridge(link, &hardware)
            .destination(ip(address))
            .flags(NeighbourFlags::Own);
        let added = end.replace().execute().await;
        added.explain(|| format!("lead the tunnel to {address}"))?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(pods.base(), pods.prefix())
            .gateway(remote.tunnel_address())
            .pref_source(source)
            .output_interface(link)
            .onlink();
        let added = self.handle.route().add(route.build()).replace().execute().await;
        added.explain(|| format!("route the pods {pods}"))
    }

    /// Takes the way to another node's pods away; one that is gone is fine.
    pub(crate) async fn remove_remote(&self, link: u32, remote: Remote) -> Result<(), LinkError> {
        let Remote { pods, .. } = remote;
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(pods.base(), pods.prefix())
            .output_interface(link)
            .scope(RouteScope::Universe);
        match self.handle.route().del(route.build()).execute().await {
            Err(rtnetlink::Error::NetlinkError(message)) if is_os_error(&message, nix::libc::ESRCH) => Ok(()),
            // What is known of the node's end leads nowhere without the route, and is replaced with the next.
            other => other.explain(|| format!("remove the route of the pods {pods}")),
        }
    }
}
