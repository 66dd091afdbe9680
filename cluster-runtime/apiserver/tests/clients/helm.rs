//! The real `helm`.

use cluster_client::{Api, Collection, ListOptions, Target};
use serde_json::Value;

use crate::program::{self, Run, is_there};
use crate::server::TestServer;

async fn helm(server: &TestServer, arguments: &str) -> Run {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    program::run(server, "helm", &arguments, "").await
}

async fn names(server: &TestServer, api_version: &str, resource: &str) -> Vec<String> {
    let collection = Collection::namespaced(api_version, resource, "default");
    let list = server
        .api
        .list(&collection, &ListOptions::default())
        .await
        .unwrap();
    list.items.iter().map(|item| item.name().to_owned()).collect()
}

#[tokio::test]
async fn a_chart_is_installed_changed_and_taken_away() {
    if !is_there("helm") {
        return;
    }
    let server = TestServer::start().await;
    helm(&server, "create web").await.ok();
    let before = server.api.engine().revision();
    let out = helm(&server, "install web ./web --dry-run=server").await.ok();
    assert!(out.contains("kind: Deployment"), "{out}");
    assert_eq!(server.api.engine().revision(), before);
    let out = helm(&server, "install web ./web --wait=hookOnly").await.ok();
    assert!(out.contains("STATUS: deployed"), "{out}");
    assert_eq!(names(&server, "apps/v1", "deployments").await, ["web"]);
    assert_eq!(names(&server, "v1", "services").await, ["web"]);
    assert_eq!(
        names(&server, "v1", "secrets").await,
        ["sh.helm.release.v1.web.v1"]
    );
    let out = helm(&server, "list --no-headers").await.ok();
    assert!(out.starts_with("web") && out.contains("deployed"), "{out}");
    helm(&server, "upgrade web ./web --set replicaCount=3 --wait=hookOnly")
        .await
        .ok();
    let target = Target::namespaced("apps/v1", "deployments", "default", "web");
    let deployment = server.api.get(&target).await.unwrap();
    assert_eq!(deployment.integer(&["spec", "replicas"]), Some(3));
    let manager = |entry: &Value| entry["manager"] == "helm" && entry["operation"] == "Apply";
    assert!(
        deployment
            .list(&["metadata", "managedFields"])
            .iter()
            .any(manager),
        "{deployment:?}"
    );
    helm(&server, "rollback web 1 --wait=hookOnly").await.ok();
    let deployment = server.api.get(&target).await.unwrap();
    assert_eq!(deployment.integer(&["spec", "replicas"]), Some(1));
    let out = helm(&server, "history web").await.ok();
    assert!(out.contains("Rollback to 1"), "{out}");
    let out = helm(&server, "get manifest web").await.ok();
    assert!(out.contains("kind: Deployment"), "{out}");
    let out = helm(&server, "status web").await.ok();
    assert!(out.contains("REVISION: 3"), "{out}");
    helm(&server, "uninstall web").await.ok();
    assert_eq!(
        names(&server, "apps/v1", "deployments").await,
        Vec::<String>::new()
    );
    assert_eq!(names(&server, "v1", "secrets").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_release_makes_its_namespace() {
    if !is_there("helm") {
        return;
    }
    let server = TestServer::start().await;
    helm(&server, "create web").await.ok();
    helm(
        &server,
        "install web ./web -n shop --create-namespace --wait=hookOnly",
    )
    .await
    .ok();
    let target = Target::cluster_wide("v1", "namespaces", "shop");
    let namespace = server.api.get(&target).await.unwrap();
    assert_eq!(namespace.label("name"), Some("shop"));
    let refused = helm(&server, "install web ./web -n nowhere").await.err();
    assert!(refused.contains("not found"), "{refused}");
}
