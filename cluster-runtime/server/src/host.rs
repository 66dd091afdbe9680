//! What the host says of itself.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// Where the host keeps the addresses of its resolvers.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const DNS_PORT: u16 = 53;

/// The host's name as a node can have it.
pub(crate) fn node_name() -> String {
    let name = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok());
    let name = name.unwrap_or_default().to_ascii_lowercase().replace('_', "-");
    if is_node_name(&name) {
        name
    } else {
        "node".to_owned()
    }
}

/// Whether the API takes it as the name of a node: a DNS subdomain of RFC 1123.
pub(crate) fn is_node_name(name: &str) -> bool {
    let label = |label: &str| {
        let ends = label.bytes().next().zip(label.bytes().last());
        ends.is_some_and(|(first, last)| first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// The address by which other machines reach this one: that of the way out; `None` where there is none.
pub(crate) fn outward_address() -> Option<Ipv4Addr> {
    // An address for documents: nobody has it.
    let way_out = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), DNS_PORT));
    address_towards(way_out).filter(|address| !address.is_loopback())
}

/// The address of this host on the way to another; `None` where there is no way.
pub(crate) fn address_towards(other: SocketAddr) -> Option<Ipv4Addr> {
    // Connecting a datagram socket sends nothing; it asks the kernel for a route.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(other).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) if !address.is_unspecified() => Some(address),
        _ => None,
    }
}

/// The resolvers that the host asks; none where it has none.
pub(crate) fn resolvers() -> Vec<SocketAddr> {
    fs::read_to_string(RESOLV_CONF)
        .map(|text| parse_resolvers(&text))
        .unwrap_or_default()
}

fn parse_resolvers(text: &str) -> Vec<SocketAddr> {
    let servers = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"));
    servers
        .filter_map(|rest| rest.trim().parse::<IpAddr>().ok())
        .map(|ip| (ip, DNS_PORT).into())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_the_lines_that_name_one() {
        let text = "# nameserver 192.0.2.9\nnameserver 192.0.2.1\nsearch x\n nameserver\t2001:db8::1\nnameserver x\n";
        let servers: Vec<String> = parse_resolvers(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53"]);
    }

    #[test]
    fn node_names_are_dns_names() {
        for (name, good) in [
            ("a", true),
            ("a.b-c.9", true),
            ("", false),
            ("a..b", false),
            ("-a", false),
            ("A", false),
        ] {
            assert_eq!(is_node_name(name), good, "{name}");
        }
        assert!(is_node_name(&node_name()));
    }
}
