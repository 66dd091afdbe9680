//! `[[IP:]PUBLISHED:]TARGET[/PROTOCOL]`.

use std::net::IpAddr;

use crate::node::{Data, Map, Node, Place};

/// Reads the short form: one entry per port of the container, in the order of their texts.
pub(crate) fn parse_ports(spec: &str, at: Place) -> Result<Vec<Node>, String> {
    let (head, container) = match spec.rsplit_once(':') {
        Some((head, container)) => (Some(head), container),
        None => (None, spec),
    };
    let (ip, host) = match head {
        None => ("", ""),
        Some(head) => match head.rsplit_once(':') {
            Some((ip, host)) => (ip, host),
            None => ("", head),
        },
    };
    let (container, protocol) = match container.split('/').collect::<Vec<_>>().as_slice() {
        ["", ..] => ("", ""),
        [port] | [port, "", ..] => (*port, "tcp"),
        [port, _, ..] => (*port, &container[port.len() + 1..]),
        [] => ("", ""),
    };
    if protocol.is_empty() {
        return Err("invalid proto: ".to_owned());
    }
    let ip = match ip.strip_prefix('[') {
        Some(inside) => inside
            .strip_suffix(']')
            .ok_or_else(|| format!("invalid IP address: {ip}"))?,
        None => ip,
    };
    if !ip.is_empty()
        && ip
            .split('%')
            .next()
            .is_none_or(|ip| ip.parse::<IpAddr>().is_err())
    {
        return Err(format!("invalid IP address: {ip}"));
    }
    let (first, last) = range(container).ok_or_else(|| format!("invalid containerPort: {container}"))?;
    let published = match host {
        "" => None,
        host => Some(range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?),
    };
    if let Some((first_host, last_host)) = published
        && last - first != last_host - first_host
        && first != last
    {
        return Err(format!(
            "invalid ranges specified for container and host Ports: {container} and {host}"
        ));
    }
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    let mut ports: Vec<u16> = (first..=last).collect();
    ports.sort_by_cached_key(|port| format!("{port}/{protocol}"));
    Ok(ports
        .into_iter()
        .map(|port| {
            let mut map = Map::new();
            let mut put = |key: &str, text: &str| map.insert(key.to_owned(), Node::text(text, at));
            put("mode", "ingress");
            put("protocol", &protocol);
            if !ip.is_empty() {
                put("host_ip", ip);
            }
            match published {
                // One port of the container takes any free one of the range.
                Some((first_host, last_host)) if first == last && first_host != last_host => {
                    put("published", &format!("{first_host}-{last_host}"));
                }
                Some((first_host, _)) => {
                    put(
                        "published",
                        &(u32::from(first_host) + u32::from(port - first)).to_string(),
                    );
                }
                None => {}
            }
            map.insert("target".to_owned(), Node::new(Data::Int(i64::from(port)), at));
            Node::new(Data::Map(map), at)
        })
        .collect())
}

/// `PORT` or `FIRST-LAST`.
pub(crate) fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    match text.split_once('-') {
        None => number(text).map(|port| (port, port)),
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some((first, last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: &str) -> Result<Vec<String>, String> {
        let ports = parse_ports(spec, Place::default())?;
        Ok(ports
            .iter()
            .map(|port| {
                let field = |key: &str| port.get(key).and_then(Node::scalar_text).unwrap_or_default();
                format!(
                    "{}|{}|{}|{}",
                    field("host_ip"),
                    field("published"),
                    field("target"),
                    field("protocol")
                )
            })
            .collect())
    }

    #[test]
    fn forms() {
        for (spec, wanted) in [
            ("80", vec!["||80|tcp"]),
            ("81/udp", vec!["||81|udp"]),
            ("80:90", vec!["|80|90|tcp"]),
            ("1.2.3.4::80", vec!["1.2.3.4||80|tcp"]),
            ("[::1]:80:81", vec!["::1|80|81|tcp"]),
            ("8000-8002:80", vec!["|8000-8002|80|tcp"]),
            ("8-10:98-100", vec!["|10|100|tcp", "|8|98|tcp", "|9|99|tcp"]),
            ("80:80/TCP", vec!["|80|80|tcp"]),
        ] {
            assert_eq!(check(spec).unwrap(), wanted, "{spec}");
        }
    }

    #[test]
    fn err_forms() {
        for (spec, wanted) in [
            ("70000:80", "invalid hostPort: 70000"),
            ("80:70000", "invalid containerPort: 70000"),
            ("x:80:80", "invalid IP address: x"),
            (
                "1-2:3-5",
                "invalid ranges specified for container and host Ports: 3-5 and 1-2",
            ),
            ("80/foo", "invalid proto: foo"),
            ("80:", "invalid proto: "),
            ("80/tcp/udp", "invalid proto: tcp/udp"),
        ] {
            assert_eq!(check(spec).unwrap_err(), wanted, "{spec}");
        }
    }
}
