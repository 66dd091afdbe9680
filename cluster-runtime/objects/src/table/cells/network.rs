//! Services, endpoints, ingresses, network policies.

use jiff::Timestamp;
use serde_json::Value;

use super::{NONE, UNKNOWN, UNSET, age, first_of, joined, labels, name, plain, selector, text, text_or};
use crate::Object;

pub(in crate::table) fn service(object: &Object, now: Timestamp) -> Vec<Value> {
    let cluster_ip = object
        .list(&["spec", "clusterIPs"])
        .first()
        .and_then(Value::as_str);
    vec![
        name(object),
        text_or(object, &["spec", "type"], "").into(),
        cluster_ip
            .unwrap_or_else(|| text_or(object, &["spec", "clusterIP"], NONE))
            .into(),
        external_ip(object).into(),
        ports(object).into(),
        age(object, now),
        labels(object.at(&["spec", "selector"])).into(),
    ]
}

fn external_ip(object: &Object) -> String {
    let given = object
        .list(&["spec", "externalIPs"])
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned);
    let given: Vec<String> = given.collect();
    match object.text(&["spec", "type"]).unwrap_or_default() {
        "ClusterIP" | "NodePort" => joined(&given, ","),
        "LoadBalancer" => {
            let mut all = load_balancer(object);
            all.extend(given);
            if all.is_empty() {
                "<pending>".to_owned()
            } else {
                all.join(",")
            }
        }
        "ExternalName" => text_or(object, &["spec", "externalName"], "").to_owned(),
        _ => UNKNOWN.to_owned(),
    }
}

/// Addresses or names that a load balancer answers at.
fn load_balancer(object: &Object) -> Vec<String> {
    let points = object.list(&["status", "loadBalancer", "ingress"]).iter();
    let address = |point: &Value| match text(point, "ip") {
        "" => text(point, "hostname").to_owned(),
        ip => ip.to_owned(),
    };
    let mut found: Vec<String> = points
        .map(address)
        .filter(|address| !address.is_empty())
        .collect();
    found.sort();
    found.dedup();
    found
}

fn ports(object: &Object) -> String {
    let texts = object.list(&["spec", "ports"]).iter().map(|port| {
        let number = |key: &str| port.get(key).and_then(Value::as_i64).unwrap_or_default();
        let protocol = text(port, "protocol");
        match number("nodePort") {
            0 => format!("{}/{protocol}", number("port")),
            node_port => format!("{}:{node_port}/{protocol}", number("port")),
        }
    });
    joined(&texts.collect::<Vec<_>>(), ",")
}

pub(in crate::table) fn endpoints(object: &Object, now: Timestamp) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in object.list(&["subsets"]) {
        let list = |key: &str| {
            subset
                .get(key)
                .and_then(Value::as_array)
                .map_or(&[][..], Vec::as_slice)
        };
        let addresses = list("addresses").iter().map(|address| text(address, "ip"));
        if list("ports").is_empty() {
            all.extend(addresses.map(str::to_owned));
            continue;
        }
        for port in list("ports") {
            let port = port.get("port").and_then(Value::as_i64).unwrap_or_default();
            let joined = addresses.clone().map(|ip| match ip.contains(':') {
                true => format!("[{ip}]:{port}"),
                false => format!("{ip}:{port}"),
            });
            all.extend(joined);
        }
    }
    let shown = if object.list(&["subsets"]).is_empty() {
        NONE.to_owned()
    } else {
        first_of(&all, 3)
    };
    vec![name(object), shown.into(), age(object, now)]
}

pub(in crate::table) fn endpoint_slice(object: &Object, now: Timestamp) -> Vec<Value> {
    let or_unset = |items: Vec<String>| {
        if items.is_empty() {
            UNSET.to_owned()
        } else {
            first_of(&items, 3)
        }
    };
    let ports = object.list(&["ports"]).iter();
    let ports = ports
        .map(|port| port.get("port").map_or_else(|| "*".to_owned(), plain))
        .collect();
    let addresses = object.list(&["endpoints"]).iter();
    let addresses = addresses
        .filter_map(|endpoint| endpoint.get("addresses")?.as_array())
        .flatten();
    let addresses = addresses.map(plain).collect();
    vec![
        name(object),
        text_or(object, &["addressType"], "").into(),
        or_unset(ports).into(),
        or_unset(addresses).into(),
        age(object, now),
    ]
}

pub(in crate::table) fn ingress(object: &Object, now: Timestamp) -> Vec<Value> {
    let tls = !object.list(&["spec", "tls"]).is_empty();
    vec![
        name(object),
        text_or(object, &["spec", "ingressClassName"], NONE).into(),
        hosts(object.list(&["spec", "rules"])).into(),
        load_balancer(object).join(",").into(),
        if tls { "80, 443" } else { "80" }.into(),
        age(object, now),
    ]
}

fn hosts(rules: &[Value]) -> String {
    const SHOWN: usize = 3;
    let named: Vec<&str> = rules
        .iter()
        .map(|rule| text(rule, "host"))
        .filter(|host| !host.is_empty())
        .collect();
    if named.is_empty() {
        return "*".to_owned();
    }
    let list = named[..named.len().min(SHOWN)].join(",");
    if named.len() >= SHOWN && rules.len() > SHOWN {
        format!("{list} + {} more...", rules.len() - SHOWN)
    } else {
        list
    }
}

pub(in crate::table) fn ingress_class(object: &Object, now: Timestamp) -> Vec<Value> {
    let parameters = object
        .at(&["spec", "parameters"])
        .filter(|parameters| parameters.is_object());
    let parameters = parameters.map_or_else(
        || NONE.to_owned(),
        |parameters| {
            let group = text(parameters, "apiGroup");
            let dot = if group.is_empty() { "" } else { "." };
            format!(
                "{}{dot}{group}/{}",
                text(parameters, "kind"),
                text(parameters, "name")
            )
        },
    );
    vec![
        name(object),
        text_or(object, &["spec", "controller"], "").into(),
        parameters.into(),
        age(object, now),
    ]
}

pub(in crate::table) fn network_policy(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![
        name(object),
        selector(object.at(&["spec", "podSelector"])).into(),
        age(object, now),
    ]
}

pub(in crate::table) fn ip_address(object: &Object) -> Vec<Value> {
    let parent = object.at(&["spec", "parentRef"]).unwrap_or(&Value::Null);
    let resource = match text(parent, "group") {
        "" => text(parent, "resource").to_owned(),
        group => format!("{}.{group}", text(parent, "resource")),
    };
    let parts = [resource.as_str(), text(parent, "namespace"), text(parent, "name")];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    vec![name(object), parts.join("/").into()]
}

pub(in crate::table) fn service_cidr(object: &Object, now: Timestamp) -> Vec<Value> {
    let ranges: Vec<String> = object.list(&["spec", "cidrs"]).iter().map(plain).collect();
    vec![name(object), ranges.join(",").into(), age(object, now)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cells(of: fn(&Object, Timestamp) -> Vec<Value>, value: Value) -> Vec<String> {
        let cells = of(&Object::from_value(value).unwrap(), Timestamp::UNIX_EPOCH);
        cells.iter().map(plain).collect()
    }

    #[test]
    fn services_show_addresses_and_ports() {
        let ports =
            json!([{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]);
        let shown = cells(
            service,
            json!({
                "metadata": {"name": "web"},
                "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": ports,
                    "selector": {"app": "web", "a": "b"}},
            }),
        );
        assert_eq!(
            shown,
            [
                "web",
                "LoadBalancer",
                "10.0.0.1",
                "<pending>",
                "80:30080/TCP,53/UDP",
                "<unknown>",
                "a=b,app=web"
            ]
        );
        let shown = cells(
            service,
            json!({"spec": {"type": "ClusterIP", "clusterIP": "None"}}),
        );
        assert_eq!(shown[2..5], ["None", "<none>", "<none>"]);
    }

    #[test]
    fn endpoints_are_cut_at_three() {
        let addresses = json!([{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]);
        let ports = json!([{"port": 80}, {"port": 443}]);
        let shown = cells(
            endpoints,
            json!({"subsets": [{"addresses": addresses, "ports": ports}]}),
        );
        assert_eq!(shown[1], "10.0.0.1:80,10.0.0.2:80,10.0.0.1:443 + 1 more...");
        assert_eq!(cells(endpoints, json!({}))[1], "<none>");
    }

    #[test]
    fn ingresses_show_their_hosts() {
        let hosts = |names: &[&str]| {
            let rules: Vec<Value> = names.iter().map(|name| json!({"host": name})).collect();
            cells(ingress, json!({"spec": {"rules": rules}}))[2].clone()
        };
        assert_eq!(hosts(&[]), "*");
        assert_eq!(hosts(&["a", "b", "c"]), "a,b,c");
        assert_eq!(hosts(&["a", "b", "c", "d"]), "a,b,c + 1 more...");
    }
}
