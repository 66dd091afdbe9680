//! What the kernel remembers of UDP: a client that keeps its port is led where it was led before, also when that
//! backend is gone. Such memories are removed when backends change.
//!
//! The kernel is spoken to by its own protocol,
//! [ctnetlink](https://github.com/torvalds/linux/blob/master/include/uapi/linux/netfilter/nfnetlink_conntrack.h), since
//! the `conntrack` program is seldom installed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use crate::table::{Protocol, ServicePort};

/// `NFNL_SUBSYS_CTNETLINK` in the upper byte, the message in the lower.
const SUBSYSTEM: u16 = 0x0100;
const GET: u16 = 0x0101;
const DELETE: u16 = 0x0102;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// The upper bits say how an attribute is written.
const KIND: u16 = 0x3fff;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const UDP: u8 = 17;
const HEADER_BYTES: usize = 16;
/// Family, version and resource, after the header.
const FAMILY: [u8; 4] = [AF_INET, 0, 0, 0];
const AF_INET: u8 = 2;
/// The kernel fills pieces of up to 32 KiB.
const PIECE_BYTES: usize = 64 * 1024;
/// The kernel answers at once; this is for one that does not.
const ANSWER_SECONDS_MAX: i64 = 5;

/// Where datagrams to services may go: what clients send to, with the backends that there are now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flows {
    addresses: BTreeMap<SocketAddrV4, BTreeSet<SocketAddrV4>>,
    node_ports: BTreeMap<u16, BTreeSet<SocketAddrV4>>,
}

/// A memory of the kernel: who sent to whom, and who is to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    from: SocketAddrV4,
    to: SocketAddrV4,
    answers: SocketAddrV4,
    /// The first tuple as the kernel wrote it, by which it finds the entry again.
    original: Vec<u8>,
}

impl Flows {
    /// The UDP services of a table, with those of the table before that are gone; `None` where nothing of them changed.
    pub(crate) fn changed(before: Option<&[ServicePort]>, after: &[ServicePort]) -> Option<Self> {
        let of = |table: &[ServicePort]| {
            let mut flows = Self::default();
            for service in table.iter().filter(|service| service.protocol == Protocol::Udp) {
                for address in &service.cluster_ips {
                    let key = SocketAddrV4::new(*address, service.port);
                    flows.addresses.entry(key).or_default().extend(&service.backends);
                }
                if let Some(port) = service.node_port {
                    flows
                        .node_ports
                        .entry(port)
                        .or_default()
                        .extend(&service.backends);
                }
            }
            flows
        };
        let (old, mut new) = (of(before.unwrap_or_default()), of(after));
        if old == new {
            return None;
        }
        for address in old.addresses.into_keys() {
            new.addresses.entry(address).or_default();
        }
        for port in old.node_ports.into_keys() {
            new.node_ports.entry(port).or_default();
        }
        Some(new)
    }

    /// Whether a memory leads to somebody who is no backend any more.
    fn is_stale(&self, entry: &Entry) -> bool {
        if let Some(backends) = self.addresses.get(&entry.to) {
            return !backends.contains(&entry.answers);
        }
        // Datagrams to the same port of a machine elsewhere are not led anywhere else.
        let is_led = entry.answers != entry.to;
        let backends = self.node_ports.get(&entry.to.port()).filter(|_| is_led);
        backends.is_some_and(|backends| !backends.contains(&entry.answers))
    }
}

/// Makes the kernel of this thread's network namespace forget what leads to backends that are gone; gives how many.
pub(crate) fn forget(flows: &Flows) -> io::Result<usize> {
    let netlink = open()?;
    let mut stale = Vec::new();
    ask(&netlink, &message(GET, REQUEST | DUMP, &[]), |kind, body| {
        if kind == SUBSYSTEM {
            stale.extend(read(body).filter(|entry| flows.is_stale(entry)));
        }
    })?;
    let mut forgotten = 0;
    for entry in stale {
        match ask(
            &netlink,
            &message(DELETE, REQUEST | ACKNOWLEDGE, &entry.original),
            |_, _| {},
        ) {
            Ok(()) => forgotten += 1,
            // It went by itself meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(forgotten)
}

fn open() -> io::Result<OwnedFd> {
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    )?;
    setsockopt(
        &netlink,
        sockopt::ReceiveTimeout,
        &TimeVal::new(ANSWER_SECONDS_MAX, 0),
    )?;
    Ok(netlink)
}

/// A request: header, family and attributes.
fn message(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let length = HEADER_BYTES + FAMILY.len() + attributes.len();
    let mut message = Vec::with_capacity(length);
    message.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Neither number nor sender: one question at a time.
    message.extend([0; 8]);
    message.extend(FAMILY);
    message.extend(attributes);
    message
}

/// Asks the kernel, and gives every message of the answer, by kind and body, to `heard`.
fn ask(netlink: &OwnedFd, request: &[u8], mut heard: impl FnMut(u16, &[u8])) -> io::Result<()> {
    send(netlink.as_raw_fd(), request, MsgFlags::empty())?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = recv(netlink.as_raw_fd(), &mut piece, MsgFlags::empty())?;
        let mut rest = &piece[..length];
        while let Some((head, _)) = rest.split_at_checked(HEADER_BYTES) {
            let size = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]);
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            let kind = u16::from_ne_bytes([head[4], head[5]]);
            let body = rest.get(HEADER_BYTES..size);
            let body = body.ok_or_else(|| io::Error::other("an odd answer from the kernel"))?;
            match kind {
                DONE => return Ok(()),
                ERROR => return acknowledged(body),
                other => heard(other & SUBSYSTEM, body),
            }
            rest = rest.get(aligned(size)..).unwrap_or_default();
        }
    }
}

fn acknowledged(body: &[u8]) -> io::Result<()> {
    let number = body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    match number {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

/// The entry of a message, where it is one of UDP on IPv4.
fn read(body: &[u8]) -> Option<Entry> {
    let attributes = body.get(FAMILY.len()..)?;
    let (whole, original) = attribute(attributes, TUPLE_ORIGINAL)?;
    let (_, reply) = attribute(attributes, TUPLE_REPLY)?;
    let (from, to) = tuple(original)?;
    let (answers, _) = tuple(reply)?;
    Some(Entry {
        from,
        to,
        answers,
        original: whole.to_vec(),
    })
}

/// Sender and receiver of a tuple, where it is one of UDP on IPv4.
fn tuple(tuple: &[u8]) -> Option<(SocketAddrV4, SocketAddrV4)> {
    const SOURCE: u16 = 1;
    const TARGET: u16 = 2;
    const NUMBER: u16 = 1;
    const SOURCE_PORT: u16 = 2;
    const TARGET_PORT: u16 = 3;
    let (_, ip) = attribute(tuple, TUPLE_IP)?;
    let (_, protocol) = attribute(tuple, TUPLE_PROTOCOL)?;
    if attribute(protocol, NUMBER)?.1.first() != Some(&UDP) {
        return None;
    }
    let address = |kind| {
        let bytes: &[u8; 4] = attribute(ip, kind)?.1.first_chunk()?;
        Some(Ipv4Addr::from(*bytes))
    };
    let port = |kind| Some(u16::from_be_bytes(*attribute(protocol, kind)?.1.first_chunk()?));
    Some((
        SocketAddrV4::new(address(SOURCE)?, port(SOURCE_PORT)?),
        SocketAddrV4::new(address(TARGET)?, port(TARGET_PORT)?),
    ))
}

/// An attribute of a kind: all of it with its padding, and what it holds.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<(&[u8], &[u8])> {
    loop {
        let head: &[u8; 4] = attributes.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & KIND;
        let value = attributes.get(head.len()..length)?;
        let end = aligned(length).min(attributes.len());
        if kind == wanted {
            return Some((&attributes[..end], value));
        }
        attributes = &attributes[end..];
    }
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(ip: [u8; 4], node_port: Option<u16>, backends: &[&str]) -> ServicePort {
        ServicePort {
            name: "shop/dns:-".into(),
            cluster_ips: [ip.into()].into(),
            port: 53,
            node_port,
            protocol: Protocol::Udp,
            backends: backends.iter().map(|backend| backend.parse().unwrap()).collect(),
            affinity_seconds: None,
        }
    }

    fn entry(to: &str, answers: &str) -> Entry {
        Entry {
            from: "10.42.0.9:4000".parse().unwrap(),
            to: to.parse().unwrap(),
            answers: answers.parse().unwrap(),
            original: Vec::new(),
        }
    }

    #[test]
    fn what_leads_to_no_backend_any_more_is_forgotten() {
        let before = [
            service([10, 43, 0, 7], Some(30053), &["10.42.0.5:53"]),
            service([10, 43, 0, 8], None, &["10.42.0.5:53"]),
        ];
        let after = [service(
            [10, 43, 0, 7],
            Some(30053),
            &["10.42.0.6:53", "10.42.0.7:53"],
        )];
        let flows = Flows::changed(Some(&before), &after).unwrap();
        for (to, answers, stale) in [
            ("10.43.0.7:53", "10.42.0.5:53", true),
            ("10.43.0.7:53", "10.42.0.7:53", false),
            // It was sent before anybody led it.
            ("10.43.0.7:53", "10.43.0.7:53", true),
            ("10.43.0.7:54", "10.42.0.5:53", false),
            ("10.43.0.8:53", "10.42.0.5:53", true),
            ("192.0.2.1:30053", "10.42.0.5:53", true),
            ("192.0.2.1:30053", "10.42.0.6:53", false),
            ("192.0.2.1:30053", "192.0.2.1:30053", false),
            ("192.0.2.1:53", "10.42.0.5:53", false),
        ] {
            assert_eq!(
                flows.is_stale(&entry(to, answers)),
                stale,
                "{to} answered by {answers}"
            );
        }
        assert_eq!(Flows::changed(Some(&after), &after), None);
        let tcp = ServicePort {
            protocol: Protocol::Tcp,
            ..before[0].clone()
        };
        assert_eq!(
            Flows::changed(None, &[tcp]),
            None,
            "connections end by themselves"
        );
    }

    #[test]
    fn err_halved_messages_are_no_entries() {
        const NESTED: u16 = 1 << 15;
        let nested = |kind: u16, value: &[u8]| {
            let mut bytes = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
            bytes.extend((kind | NESTED).to_ne_bytes());
            bytes.extend(value);
            bytes.resize(aligned(bytes.len()), 0);
            bytes
        };
        let tuple = |from: &str, to: &str| {
            let [from, to]: [SocketAddrV4; 2] = [from, to].map(|one| one.parse().unwrap());
            let ip = [nested(1, &from.ip().octets()), nested(2, &to.ip().octets())].concat();
            let ports = [
                nested(1, &[UDP]),
                nested(2, &from.port().to_be_bytes()),
                nested(3, &to.port().to_be_bytes()),
            ];
            [nested(TUPLE_IP, &ip), nested(TUPLE_PROTOCOL, &ports.concat())].concat()
        };
        let original = nested(TUPLE_ORIGINAL, &tuple("10.42.0.9:4000", "10.43.0.7:53"));
        let reply = nested(TUPLE_REPLY, &tuple("10.42.0.5:53", "10.42.0.9:4000"));
        let whole = [FAMILY.to_vec(), original.clone(), reply].concat();
        let expected = Entry {
            original,
            ..entry("10.43.0.7:53", "10.42.0.5:53")
        };
        assert_eq!(read(&whole), Some(expected));
        for length in 0..whole.len() - 4 {
            assert_eq!(read(&whole[..length]), None, "{length} of {}", whole.len());
        }
    }
}
