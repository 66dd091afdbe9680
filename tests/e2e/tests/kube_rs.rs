//! kube-rs's watcher, reflector and controller against the bundled cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{AttachParams, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::controller::Action;
use kube::runtime::{Controller, WatchStreamExt, reflector, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;
use test_support::{Lab, repository};
use tokio::io::AsyncReadExt;

const LIMIT: Duration = Duration::from_secs(60);

/// Runs a scenario with a client inside the network of a lab.
fn with_client<F: Future<Output = ()>>(lab: &Lab, scenario: impl FnOnce(Client) -> F + Send + 'static) {
    lab.with_client(async |client| {
        tokio::time::timeout(LIMIT, scenario(client))
            .await
            .expect("the scenario ends in time");
    });
}

fn lab() -> Option<Lab> {
    let lab = Lab::open()?;
    lab.tug(["cluster", "start"]).ok();
    Some(lab)
}

fn config_map(name: &str, data: &[(&str, &str)]) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    let data: BTreeMap<String, String> = data
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    map.data = Some(data);
    map
}

#[test]
fn a_watcher_sees_what_is_there_and_what_changes() {
    let Some(lab) = lab() else { return };
    with_client(&lab, |client| async move {
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        maps.create(&PostParams::default(), &config_map("before", &[]))
            .await
            .unwrap();
        for config in [
            watcher::Config::default(),
            watcher::Config::default().streaming_lists(),
        ] {
            let mut events = watcher(maps.clone(), config.fields("metadata.name!=kube-root-ca.crt")).boxed();
            let mut seen = Vec::new();
            while let Some(event) = events.try_next().await.unwrap() {
                match event {
                    watcher::Event::Init => seen.push("init".to_owned()),
                    watcher::Event::InitApply(map) => seen.push(format!("is {}", map.name_any())),
                    watcher::Event::InitDone => {
                        seen.push("done".to_owned());
                        maps.create(&PostParams::default(), &config_map("after", &[]))
                            .await
                            .unwrap();
                        maps.delete("after", &DeleteParams::default()).await.unwrap();
                    }
                    watcher::Event::Apply(map) => seen.push(format!("apply {}", map.name_any())),
                    watcher::Event::Delete(map) => {
                        seen.push(format!("delete {}", map.name_any()));
                        break;
                    }
                }
            }
            assert_eq!(seen, ["init", "is before", "done", "apply after", "delete after"]);
        }
    });
}

#[test]
fn a_reflector_holds_what_the_cluster_holds() {
    let Some(lab) = lab() else { return };
    with_client(&lab, |client| async move {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let (reader, writer) = reflector::store();
        let reflecting = watcher(namespaces.clone(), watcher::Config::default().page_size(2))
            .default_backoff()
            .reflect(writer)
            .touched_objects();
        let driven = tokio::spawn(reflecting.for_each(|_| async {}));
        reader.wait_until_ready().await.unwrap();
        let names = || -> BTreeSet<String> { reader.state().iter().map(|one| one.name_any()).collect() };
        assert!(names().contains("kube-system"), "{:?}", names());
        let wish: Namespace = serde_json::from_value(json!({"metadata": {"name": "reflected"}})).unwrap();
        namespaces.create(&PostParams::default(), &wish).await.unwrap();
        while !names().contains("reflected") {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        namespaces
            .delete("reflected", &DeleteParams::default())
            .await
            .unwrap();
        while names().contains("reflected") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        driven.abort();
    });
}

#[test]
fn a_controller_makes_for_each_object_one_that_it_owns() {
    let Some(lab) = lab() else { return };
    with_client(&lab, |client| async move {
        let widgets =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("kube.rs", "v1", "Widget"), "widgets");
        define(&client, &widgets).await;
        let api: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &widgets);
        let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
        let controller = Controller::new_with(api.clone(), watcher::Config::default(), widgets.clone())
            .owns(maps.clone(), watcher::Config::default());
        let context = Arc::new((client.clone(), widgets.clone()));
        let running = tokio::spawn(
            controller
                .run(
                    reconcile,
                    |_, _, _| Action::requeue(Duration::from_millis(100)),
                    context,
                )
                .for_each(|_| async {}),
        );
        let mut widget = DynamicObject::new("one", &widgets);
        widget.data = json!({"spec": {"text": "first"}});
        api.create(&PostParams::default(), &widget).await.unwrap();
        until_text(&maps, "first").await;
        let changed = json!({"spec": {"text": "second"}});
        api.patch("one", &PatchParams::default(), &Patch::Merge(changed))
            .await
            .unwrap();
        until_text(&maps, "second").await;
        // What is owned comes back when somebody takes it away.
        let uid = maps.get("one").await.unwrap().uid();
        maps.delete("one", &DeleteParams::default()).await.unwrap();
        while maps
            .get_opt("one")
            .await
            .unwrap()
            .is_none_or(|map| map.uid() == uid)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        running.abort();
        // And goes with its owner.
        api.delete("one", &DeleteParams::default()).await.unwrap();
        while maps.get_opt("one").await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn commands_logs_and_pages_through_the_client() {
    let Some(lab) = Lab::open() else { return };
    let chart = repository().join("charts/hello");
    lab.tug(["install", "hello", chart.to_str().unwrap()]).ok();
    with_client(&lab, |client| async move {
        let pods: Api<Pod> = Api::default_namespaced(client.clone());
        let found = pods
            .list(&ListParams::default().labels("app.kubernetes.io/instance=hello"))
            .await
            .unwrap();
        let name = found.items[0].name_any();
        let mut process = pods
            .exec(&name, ["/bin/echo", "from", "inside"], &AttachParams::default())
            .await
            .unwrap();
        let mut said = String::new();
        process.stdout().unwrap().read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "from inside\n");
        assert_eq!(
            process.take_status().unwrap().await.unwrap().status.as_deref(),
            Some("Success")
        );
        pods.logs(&name, &Default::default()).await.unwrap();
        let mut forward = pods.portforward(&name, &[8080]).await.unwrap();
        let mut stream = forward.take_stream(8080).unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /healthz HTTP/1.0\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("200"), "{answer}");

        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        for number in 0..5 {
            let map = config_map(&format!("page-{number}"), &[]);
            maps.create(&PostParams::default(), &map).await.unwrap();
        }
        let mut page = ListParams::default().limit(2);
        let mut names = Vec::new();
        loop {
            let list = maps.list_metadata(&page).await.unwrap();
            names.extend(
                list.items
                    .iter()
                    .map(ResourceExt::name_any)
                    .filter(|name| name.starts_with("page-")),
            );
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page.continue_token = Some(token),
                None => break,
            }
        }
        assert_eq!(names, ["page-0", "page-1", "page-2", "page-3", "page-4"]);
    });
}

/// Defines the kind and waits until it is served.
async fn define(client: &Client, kind: &ApiResource) {
    let definitions = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
    ));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &definitions);
    let name = format!("{}.{}", kind.plural, kind.group);
    let mut definition = DynamicObject::new(&name, &definitions);
    definition.data = json!({"spec": {
        "group": kind.group, "scope": "Namespaced", "names": {"plural": kind.plural, "kind": kind.kind},
        "versions": [{"name": kind.version, "served": true, "storage": true, "schema": {"openAPIV3Schema": {
            "type": "object",
            "properties": {"spec": {"type": "object", "properties": {"text": {"type": "string"}}}},
        }}}],
    }});
    let apply = PatchParams::apply("test");
    api.patch(&name, &apply, &Patch::Apply(&definition))
        .await
        .unwrap();
    let established = kube::runtime::wait::await_condition(api, &name, |found: Option<&DynamicObject>| {
        let conditions = found.and_then(|found| found.data["status"]["conditions"].as_array());
        conditions.is_some_and(|all| {
            all.iter()
                .any(|one| one["type"] == "Established" && one["status"] == "True")
        })
    });
    established.await.unwrap();
}

async fn reconcile(
    widget: Arc<DynamicObject>,
    context: Arc<(Client, ApiResource)>,
) -> Result<Action, kube::Error> {
    let (client, kind) = &*context;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let text = widget.data["spec"]["text"].as_str().unwrap_or_default();
    let mut map = config_map(&widget.name_any(), &[("text", text)]);
    map.metadata.owner_references = widget.controller_owner_ref(kind).map(|owner| vec![owner]);
    let apply = PatchParams::apply("widgets").force();
    maps.patch(&widget.name_any(), &apply, &Patch::Apply(&map))
        .await?;
    Ok(Action::await_change())
}

async fn until_text(maps: &Api<ConfigMap>, text: &str) {
    let shows = |map: &ConfigMap| {
        map.data
            .as_ref()
            .and_then(|data| data.get("text"))
            .is_some_and(|one| one == text)
    };
    while !maps.get_opt("one").await.unwrap().is_some_and(|map| shows(&map)) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
