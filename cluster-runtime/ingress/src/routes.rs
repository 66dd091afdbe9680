//! Where a request goes: the rules of all Ingresses as one table.
//!
//! Matching is that of <https://kubernetes.io/docs/concepts/services-networking/ingress/>: an exact host goes before a
//! wildcard and that before none, an exact path before a prefix, and of prefixes the longest.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cluster_network::table::{Protocol, ServicePort, service_table};
use cluster_objects::Object;
use serde_json::Value;

/// The class that Ingresses name to be served here.
pub const CLASS: &str = "tug";
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// The service behind a rule.
#[derive(Debug)]
pub struct Backend {
    /// `namespace/service:port`, for messages.
    pub name: String,
    /// Its endpoints; none while no pod is ready.
    pub endpoints: Vec<SocketAddrV4>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Route {
    path: String,
    is_exact: bool,
    backend: Arc<Backend>,
}

/// Routes of one host, the most particular path first.
type Paths = Vec<Route>;

/// The rules of all Ingresses.
#[derive(Debug, Default)]
pub struct Routes {
    hosts: HashMap<String, Paths>,
    /// By what follows the star.
    wildcards: HashMap<String, Paths>,
    any_host: Paths,
    fallback: Option<Arc<Backend>>,
    /// `namespace/secret` of certificates by host; a host may have a star.
    pub certificates: BTreeMap<String, String>,
    /// Whether there is any Ingress to serve.
    pub is_used: bool,
}

impl Backend {
    /// The endpoints in the order in which they are to be tried: each request begins with the next one.
    pub fn turn(&self) -> impl Iterator<Item = SocketAddrV4> + '_ {
        let count = self.endpoints.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        (0..count).map(move |offset| self.endpoints[first.wrapping_add(offset) % count])
    }
}

impl Route {
    fn takes(&self, path: &str) -> bool {
        if self.is_exact {
            return path == self.path;
        }
        // Element by element: `/foo` takes `/foo/bar` and not `/foobar`.
        let prefix = self.path.trim_end_matches('/');
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl Routes {
    /// The backend of a request; `host` without a port.
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<Backend>> {
        let host = host.to_ascii_lowercase();
        let wildcard = host
            .split_once('.')
            .and_then(|(_, rest)| self.wildcards.get(rest));
        let tables = [self.hosts.get(&host), wildcard, Some(&self.any_host)];
        let mut routes = tables.into_iter().flatten().flatten();
        routes
            .find(|route| route.takes(path))
            .map(|route| &route.backend)
            .or(self.fallback.as_ref())
    }

    /// The secret with the certificate of a host.
    pub fn certificate(&self, host: &str) -> Option<&str> {
        let host = host.to_ascii_lowercase();
        let exact = self.certificates.get(&host);
        let wildcard = || {
            let (_, rest) = host.split_once('.')?;
            self.certificates.get(&format!("*.{rest}"))
        };
        exact.or_else(wildcard).map(String::as_str)
    }
}

/// Whether an Ingress is served here: it names no class, ours, or one that nobody has defined.
///
/// Charts name the controller that their author uses; where there is no such controller, a rule that nobody serves
/// helps nobody.
pub fn is_served(ingress: &Object, classes: &[Arc<Object>]) -> bool {
    if ingress.deletion_timestamp().is_some() {
        return false;
    }
    let class = ingress
        .text(&["spec", "ingressClassName"])
        .or_else(|| ingress.annotation(CLASS_ANNOTATION))
        .unwrap_or_default();
    class.is_empty() || class == CLASS || classes.iter().all(|known| known.name() != class)
}

/// Puts Ingresses, services and their endpoints together. The result depends on the order of names alone.
pub fn routes(
    ingresses: &[Arc<Object>],
    classes: &[Arc<Object>],
    services: &[Arc<Object>],
    slices: &[Arc<Object>],
) -> Routes {
    let ports = service_table(services, slices, None);
    let backends = Backends {
        by_port: ports
            .iter()
            .map(|port| ((service_of(port), port.port), port))
            .collect(),
        by_name: ports.iter().map(|port| (port.name.as_str(), port)).collect(),
    };
    let mut sorted: Vec<&Arc<Object>> = ingresses.iter().filter(|one| is_served(one, classes)).collect();
    sorted.sort_by_key(|ingress| ingress.key());
    let mut routes = Routes {
        is_used: !sorted.is_empty(),
        ..Routes::default()
    };
    for ingress in sorted {
        add(&mut routes, ingress, &backends);
    }
    let all = routes.hosts.values_mut().chain(routes.wildcards.values_mut());
    for paths in all.chain([&mut routes.any_host]) {
        // Stable: of equal ones the first Ingress has it.
        paths.sort_by_key(|route| (!route.is_exact, usize::MAX - route.path.len()));
    }
    routes
}

fn service_of(port: &ServicePort) -> &str {
    port.name.rsplit_once(':').map_or("", |(service, _)| service)
}

struct Backends<'a> {
    by_port: HashMap<(&'a str, u16), &'a ServicePort>,
    by_name: HashMap<&'a str, &'a ServicePort>,
}

impl Backends<'_> {
    /// The service that `backend` of a rule names; `None` for backends that are no services.
    fn of(&self, namespace: &str, backend: &Value) -> Option<Arc<Backend>> {
        let service = &backend["service"];
        let key = format!("{namespace}/{}", service["name"].as_str()?);
        let port = &service["port"];
        let number = port["number"]
            .as_u64()
            .and_then(|number| u16::try_from(number).ok());
        let (name, found) = match (number, port["name"].as_str()) {
            (Some(number), _) => (format!("{key}:{number}"), self.by_port.get(&(&*key, number))),
            (None, Some(named)) => {
                let name = format!("{key}:{named}");
                let found = self.by_name.get(&*name);
                (name, found)
            }
            (None, None) => return None,
        };
        let found = found.filter(|port| port.protocol == Protocol::Tcp);
        Some(Arc::new(Backend {
            name,
            endpoints: found.map(|port| port.backends.clone()).unwrap_or_default(),
            next: AtomicUsize::new(0),
        }))
    }
}

fn add(routes: &mut Routes, ingress: &Object, backends: &Backends<'_>) {
    let namespace = ingress.namespace().unwrap_or_default();
    for tls in ingress.list(&["spec", "tls"]) {
        let Some(secret) = tls["secretName"].as_str().filter(|name| !name.is_empty()) else {
            continue;
        };
        for host in tls["hosts"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            let secret = format!("{namespace}/{secret}");
            routes
                .certificates
                .entry(host.to_ascii_lowercase())
                .or_insert(secret);
        }
    }
    if routes.fallback.is_none() {
        let fallback = ingress.at(&["spec", "defaultBackend"]);
        routes.fallback = fallback.and_then(|backend| backends.of(namespace, backend));
    }
    for rule in ingress.list(&["spec", "rules"]) {
        let host = rule["host"].as_str().unwrap_or_default().to_ascii_lowercase();
        let paths = if host.is_empty() {
            &mut routes.any_host
        } else if let Some(rest) = host.strip_prefix("*.") {
            routes.wildcards.entry(rest.to_owned()).or_default()
        } else {
            routes.hosts.entry(host).or_default()
        };
        for path in rule["http"]["paths"].as_array().into_iter().flatten() {
            let Some(backend) = backends.of(namespace, &path["backend"]) else {
                continue;
            };
            paths.push(Route {
                path: path["path"].as_str().unwrap_or("/").to_owned(),
                is_exact: path["pathType"] == "Exact",
                backend,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Arc<Object> {
        Arc::new(Object::from_value(value).unwrap())
    }

    fn service(name: &str) -> Arc<Object> {
        object(json!({
            "metadata": {"namespace": "shop", "name": name},
            "spec": {"clusterIP": "10.43.0.9", "ports": [{"name": "http", "port": 80}]},
        }))
    }

    fn slice(name: &str, address: &str) -> Arc<Object> {
        object(json!({
            "metadata": {"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": name}},
            "ports": [{"name": "http", "port": 8080}], "endpoints": [{"addresses": [address]}],
        }))
    }

    fn rule(host: Option<&str>, paths: &[(&str, &str, &str)]) -> Value {
        let paths: Vec<Value> = paths
            .iter()
            .map(|(kind, path, service)| {
                json!({"pathType": kind, "path": path, "backend": {"service": {"name": service, "port": {"name": "http"}}}})
            })
            .collect();
        json!({"host": host, "http": {"paths": paths}})
    }

    fn ingress(name: &str, spec: &Value) -> Arc<Object> {
        object(json!({"metadata": {"namespace": "shop", "name": name}, "spec": spec}))
    }

    #[test]
    fn the_most_particular_rule_is_taken() {
        let rules = [
            rule(
                Some("a.example"),
                &[
                    ("Prefix", "/", "root"),
                    ("Prefix", "/foo", "foo"),
                    ("Exact", "/foo", "exact"),
                ],
            ),
            rule(Some("*.example"), &[("Prefix", "/", "star")]),
            rule(None, &[("Prefix", "/any/", "any")]),
        ];
        let names = ["root", "foo", "exact", "star", "any", "rest"];
        let services = names.map(service);
        let slices = names.map(|name| slice(name, "10.42.0.5"));
        let fallback = json!({"service": {"name": "rest", "port": {"number": 80}}});
        let one = ingress("one", &json!({"rules": rules, "defaultBackend": fallback}));
        let routes = routes(&[one], &[], &services, &slices);
        let check = |host: &str, path: &str, expected: &str| {
            let found = routes.find(host, path).map(|backend| backend.name.clone());
            let service = found
                .as_deref()
                .and_then(|name| name.strip_prefix("shop/")?.split(':').next());
            assert_eq!(service, Some(expected), "{host}{path}");
        };
        check("a.example", "/", "root");
        check("A.Example", "/foo", "exact");
        check("a.example", "/foo/bar", "foo");
        check("a.example", "/foobar", "root");
        check("b.example", "/x", "star");
        check("c.b.example", "/x", "rest");
        check("elsewhere", "/any", "any");
        check("elsewhere", "/any/x", "any");
        check("elsewhere", "/", "rest");
    }

    #[test]
    fn endpoints_take_turns() {
        let spec = json!({"rules": [rule(None, &[("Prefix", "/", "web")])]});
        let mut web = Object::clone(&slice("web", "10.42.0.5"));
        web.set(
            &["endpoints"],
            json!([{"addresses": ["10.42.0.5"]}, {"addresses": ["10.42.0.6"]}]),
        );
        let routes = routes(&[ingress("one", &spec)], &[], &[service("web")], &[Arc::new(web)]);
        let backend = routes.find("x", "/").unwrap();
        let first = |backend: &Backend| backend.turn().next().unwrap();
        assert_ne!(first(backend), first(backend));
        assert_eq!(backend.turn().count(), 2);
    }

    #[test]
    fn a_class_that_somebody_else_serves_is_left_alone() {
        let nginx = [object(json!({"metadata": {"name": "nginx"}}))];
        let check = |class: Value, classes: &[Arc<Object>], expected: bool| {
            let one = ingress("one", &json!({"ingressClassName": class}));
            assert_eq!(is_served(&one, classes), expected, "{class}");
        };
        check(Value::Null, &nginx, true);
        check(json!("tug"), &nginx, true);
        check(json!("nginx"), &nginx, false);
        check(json!("nginx"), &[], true);
    }

    #[test]
    fn certificates_are_found_by_host() {
        let spec = json!({"tls": [{"hosts": ["a.example", "*.b.example"], "secretName": "cert"}]});
        let routes = routes(&[ingress("one", &spec)], &[], &[], &[]);
        assert_eq!(routes.certificate("A.example"), Some("shop/cert"));
        assert_eq!(routes.certificate("x.b.example"), Some("shop/cert"));
        assert_eq!(routes.certificate("b.example"), None);
        assert!(routes.find("a.example", "/").is_none());
    }
}
