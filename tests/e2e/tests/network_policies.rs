//! Who may speak with whom: policies between real pods.

use std::time::Duration;

use test_support::{Kubectl, until};

const LIMIT: Duration = Duration::from_secs(60);

const PODS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: street, labels: {place: outside}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers: [{name: web, image: 'tug/hello:1.0', ports: [{name: http, containerPort: 80}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: friend, labels: {app: friend}}
spec:
  containers: [{name: friend, image: 'tug/hello:1.0'}]
---
apiVersion: v1
kind: Pod
metadata: {name: stranger, namespace: street, labels: {app: stranger}}
spec:
  containers: [{name: stranger, image: 'tug/hello:1.0'}]
";

const CLOSED: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec: {podSelector: {}, policyTypes: [Ingress]}
";

const FRIENDS: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: friends}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: friend}}}]
    ports: [{port: http}]
";

const STREET: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: street}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{namespaceSelector: {matchLabels: {place: outside}}}]}]
";

const SILENT: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: silent}
spec: {podSelector: {matchLabels: {app: friend}}, policyTypes: [Egress]}
";

#[test]
fn policies_decide_who_reaches_a_pod() {
    let Some(kubectl) = Kubectl::open() else { return };
    if test_support::peer("nft").is_none() {
        return test_support::skip("`nft` is not installed");
    }
    kubectl.lab.tug(["cluster", "start"]).ok();
    kubectl.feed("apply -f -", PODS).ok();
    kubectl
        .run("wait --for=condition=Ready pod --all -A --timeout=60s")
        .ok();
    // Through the service: names are found whatever policies say, and rules see the pod behind the address.
    let reaches = |who: &str| {
        let url = "http://web.default/";
        kubectl.run(&format!("exec {who} -- get {url}")).code == 0
    };
    let becomes = |what: &str, friend: bool, stranger: bool| {
        until(what, LIMIT, || {
            let seen = (reaches("friend"), reaches("stranger -n street"));
            (seen == (friend, stranger)).then_some(())
        });
    };
    becomes("everybody reaches it", true, true);
    kubectl.feed("apply -f -", CLOSED).ok();
    becomes("nobody reaches it", false, false);
    // Probes and the node's own connections are no pod's.
    kubectl
        .run("wait --for=condition=Ready pod/web --timeout=10s")
        .ok();
    kubectl.feed("apply -f -", FRIENDS).ok();
    becomes("the friend reaches it", true, false);
    kubectl.feed("apply -f -", STREET).ok();
    becomes("the street reaches it as well", true, true);
    kubectl.feed("apply -f -", SILENT).ok();
    becomes("the friend reaches nobody", false, true);
    // A new pod of the same kind is closed from its first moment.
    kubectl.run("delete networkpolicy friends street silent").ok();
    kubectl.run("delete pod web").ok();
    let web = PODS.split("---").nth(1).unwrap();
    kubectl.feed("apply -f -", web).ok();
    kubectl
        .run("wait --for=condition=Ready pod/web --timeout=60s")
        .ok();
    assert!(!reaches("friend"));
    kubectl.run("delete networkpolicy closed").ok();
    becomes("everybody reaches it again", true, true);
}
