//! The small files that every container of a pod sees: hosts, host name, resolver.

use std::fs;
use std::io;
use std::net::IpAddr;

use super::container::PodFolder;
use super::pod::{DnsConfig, Pod};

/// Writes them; `cluster_dns` is the resolver file of the cluster, `host_dns` the machine's.
pub(crate) fn write(
    folder: &PodFolder,
    pod: &Pod,
    ips: &[IpAddr],
    cluster_dns: &str,
    host_dns: &str,
) -> io::Result<()> {
    fs::create_dir_all(folder.path.join("termination"))?;
    let hosts = if pod.spec.host_network {
        fs::read_to_string("/etc/hosts").unwrap_or_default() + &aliases(pod)
    } else {
        hosts(pod, ips)
    };
    fs::write(folder.hosts(), hosts)?;
    let name = pod.kernel_hostname().map_err(io::Error::other)?;
    fs::write(folder.hostname(), format!("{name}\n"))?;
    fs::write(folder.resolv_conf(), resolv_conf(pod, cluster_dns, host_dns))
}

fn hosts(pod: &Pod, ips: &[IpAddr]) -> String {
    let mut text = "# Kubernetes-managed hosts file.\n\
        127.0.0.1\tlocalhost\n\
        ::1\tlocalhost ip6-localhost ip6-loopback\n\
        fe00::\tip6-localnet\n\
        fe00::\tip6-mcastprefix\n\
        fe00::1\tip6-allnodes\n\
        fe00::2\tip6-allrouters\n"
        .to_owned();
    let name = pod.hostname();
    let full = if pod.spec.subdomain.is_empty() {
        String::new()
    } else {
        format!("{}\t", pod.full_hostname())
    };
    for ip in ips {
        text.push_str(&format!("{ip}\t{full}{name}\n"));
    }
    text + &aliases(pod)
}

fn aliases(pod: &Pod) -> String {
    let mut text = String::new();
    for (number, alias) in pod.spec.host_aliases.iter().enumerate() {
        if number == 0 {
            text.push_str("\n# Entries added by HostAliases.\n");
        }
        text.push_str(&format!("{}\t{}\n", alias.ip, alias.hostnames.join("\t")));
    }
    text
}

/// The resolver file by the pod's DNS policy, with what the pod adds.
fn resolv_conf(pod: &Pod, cluster_dns: &str, host_dns: &str) -> String {
    let base = match pod.spec.dns_policy.as_str() {
        "None" => "",
        "Default" => host_dns,
        "ClusterFirstWithHostNet" => cluster_dns,
        _ if pod.spec.host_network => host_dns,
        _ => cluster_dns,
    };
    merged(base, &pod.spec.dns_config)
}

fn merged(base: &str, own: &DnsConfig) -> String {
    if own == &DnsConfig::default() {
        return base.to_owned();
    }
    let words = |keyword: &str| -> Vec<String> {
        let lines = base.lines().filter_map(|line| line.trim().strip_prefix(keyword));
        lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
    };
    let mut nameservers = words("nameserver ");
    nameservers.extend(own.nameservers.iter().cloned());
    let mut searches = words("search ");
    searches.extend(own.searches.iter().cloned());
    let mut options = words("options ");
    for option in &own.options {
        let same = |one: &String| one.split(':').next() == Some(option.name.as_str());
        options.retain(|one| !same(one));
        options.push(match &option.value {
            Some(value) => format!("{}:{value}", option.name),
            None => option.name.clone(),
        });
    }
    let mut text: String = nameservers
        .iter()
        .map(|server| format!("nameserver {server}\n"))
        .collect();
    for (keyword, words) in [("search", searches), ("options", options)] {
        if !words.is_empty() {
            text.push_str(&format!("{keyword} {}\n", words.join(" ")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_objects::Object;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn check(spec: &Value, expected: &str) {
        let object = json!({ "metadata": { "name": "web", "namespace": "shop" }, "spec": spec });
        let pod = Pod::read(Arc::new(Object::from_value(object).unwrap())).unwrap();
        assert_eq!(
            resolv_conf(
                &pod,
                "nameserver 10.96.0.10\noptions ndots:5\n",
                "nameserver 1.1.1.1\n"
            ),
            expected
        );
    }

    #[test]
    fn the_policy_chooses_the_resolver() {
        check(&json!({}), "nameserver 10.96.0.10\noptions ndots:5\n");
        check(&json!({ "dnsPolicy": "Default" }), "nameserver 1.1.1.1\n");
        check(
            &json!({ "hostNetwork": true, "dnsPolicy": "ClusterFirst" }),
            "nameserver 1.1.1.1\n",
        );
        let config = json!({ "nameservers": ["9.9.9.9"], "searches": ["a.b"], "options": [{ "name": "ndots", "value": "2" }] });
        check(
            &json!({ "dnsPolicy": "None", "dnsConfig": config }),
            "nameserver 9.9.9.9\nsearch a.b\noptions ndots:2\n",
        );
        check(
            &json!({ "dnsConfig": config }),
            "nameserver 10.96.0.10\nnameserver 9.9.9.9\nsearch a.b\noptions ndots:2\n",
        );
    }

    #[test]
    fn a_pod_knows_itself_by_name() {
        let object = json!({ "metadata": { "name": "web-0", "namespace": "shop" },
            "spec": { "subdomain": "web", "hostAliases": [{ "ip": "1.2.3.4", "hostnames": ["a", "b"] }] } });
        let pod = Pod::read(Arc::new(Object::from_value(object).unwrap())).unwrap();
        let text = hosts(&pod, &["10.1.0.5".parse().unwrap()]);
        assert!(
            text.contains("10.1.0.5\tweb-0.web.shop.svc.cluster.local\tweb-0\n"),
            "{text}"
        );
        assert!(
            text.ends_with("# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"),
            "{text}"
        );
    }
}
