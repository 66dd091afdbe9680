//! What every cluster has from its first start: the services of its API and its names, and a storage class.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use cluster_client::{Api, Collection, Patch, WriteOptions};
use cluster_network::Subnet;
use cluster_node::local_storage_class;
use cluster_objects::{Object, Status};
use cluster_store::Member;
use serde_json::{Value, json};

/// Name of the service of the API, and of the list of its endpoints.
pub(crate) const API_SERVICE: &str = "kubernetes";

/// Owner of the fields of what is made here.
const MANAGER: &str = "tug-server";

/// The address at which pods reach the API, the first of the services.
pub(crate) fn api_service_address(services: Subnet) -> Ipv4Addr {
    services.nth(1).expect("checked to be large enough")
}

/// The address at which pods ask for names, the tenth of the services, as is the custom.
pub(crate) fn dns_address(services: Subnet) -> Ipv4Addr {
    services.nth(10).expect("checked to be large enough")
}

/// Where the servers of a cluster serve the API: all of them on one port.
pub(crate) struct ApiEndpoints {
    addresses: Vec<Ipv4Addr>,
    port: u16,
}

impl ApiEndpoints {
    /// The members of the group; a server that is alone may have no address but the one that pods know it by.
    pub(crate) fn new(members: &[Member], own: Option<SocketAddr>, gateway: Ipv4Addr, port: u16) -> Self {
        let addresses = members.iter().filter_map(|member| member.address.parse().ok());
        let addresses = addresses
            .chain(own)
            .filter_map(|address: SocketAddr| match address.ip() {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            });
        let mut addresses: Vec<Ipv4Addr> = addresses.collect();
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.is_empty() {
            addresses.push(gateway);
        }
        Self { addresses, port }
    }
}

/// Makes the services of the API and of names as they must be.
///
/// The API's leads to where it listens, which selectors cannot say, so its endpoints are written here as well.
pub(crate) async fn ensure_services(
    api: &dyn Api,
    services: Subnet,
    endpoints: &ApiEndpoints,
) -> Result<(), Status> {
    let api_port = endpoints.port;
    let addresses = endpoints.addresses.iter();
    let listed: Vec<Value> = addresses
        .map(|address| json!({"addresses": [address.to_string()], "conditions": {"ready": true}}))
        .collect();
    let api_address = api_service_address(services).to_string();
    apply(
        api,
        Collection::namespaced("v1", "services", "default"),
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": API_SERVICE, "namespace": "default",
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "clusterIP": api_address, "type": "ClusterIP",
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": api_port}],
            },
        }),
    )
    .await?;
    apply(
        api,
        Collection::namespaced("discovery.k8s.io/v1", "endpointslices", "default"),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": API_SERVICE, "namespace": "default",
                "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "ports": [{"name": "https", "port": api_port, "protocol": "TCP"}],
            "endpoints": listed,
        }),
    )
    .await?;
    apply(
        api,
        Collection::namespaced("v1", "services", "kube-system"),
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "kube-dns", "namespace": "kube-system",
                "labels": {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"},
            },
            "spec": {
                "clusterIP": dns_address(services).to_string(), "type": "ClusterIP",
                "ports": [
                    {"name": "dns", "port": 53, "protocol": "UDP"},
                    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
                ],
            },
        }),
    )
    .await
}

/// Makes the default storage class, unless it is there, however it was changed since.
pub(crate) async fn ensure_storage_class(api: &dyn Api) -> Result<(), Status> {
    let class = Object::from_value(local_storage_class()).expect("it is an object");
    let classes = Collection::all("storage.k8s.io/v1", "storageclasses");
    let options = WriteOptions {
        field_manager: MANAGER.into(),
        ..WriteOptions::default()
    };
    match api.create(&classes, class, &options).await {
        Err(status) if !status.is_already_exists() => Err(status),
        _ => Ok(()),
    }
}

async fn apply(api: &dyn Api, collection: Collection, object: Value) -> Result<(), Status> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let options = WriteOptions {
        field_manager: MANAGER.into(),
        force: true,
        ..WriteOptions::default()
    };
    api.patch(&collection.target(&name), Patch::Apply(object), &options)
        .await
        .map(drop)
}
