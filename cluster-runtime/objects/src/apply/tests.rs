use super::*;
use serde_json::json;

fn schema(kind: &str) -> Schema {
    match kind {
        "Deployment" => Schema::of_kind("apps", "v1", kind).with_status_subresource(),
        "Widget" => Schema::unknown(),
        _ => Schema::of_kind("", "v1", kind),
    }
}

/// An object on which managers write one after the other.
struct Story {
    object: Option<Object>,
    second: i64,
}

impl Story {
    fn new() -> Self {
        Self {
            object: None,
            second: 0,
        }
    }

    fn writer<'a>(&mut self, manager: &'a str, api_version: &'a str) -> Writer<'a> {
        self.second += 1;
        Writer {
            manager,
            api_version,
            subresource: "",
            now: Timestamp::from_second(self.second).unwrap(),
        }
    }

    fn try_apply(&mut self, manager: &str, value: &Value, force: bool) -> Result<Value, Status> {
        let configuration = Object::from_value(value.clone()).unwrap();
        let version = configuration.api_version().to_owned();
        let writer = self.writer(manager, &version);
        let schema = schema(configuration.kind());
        let object = apply(self.object.as_ref(), &configuration, writer, force, &schema)?;
        self.object = Some(object.clone());
        Ok(object.into_value())
    }

    fn apply(&mut self, manager: &str, value: Value) -> Value {
        self.try_apply(manager, &value, false)
            .unwrap_or_else(|status| panic!("{status}: {value}"))
    }

    fn update(&mut self, manager: &str, value: Value) -> Value {
        let mut object = Object::from_value(value).unwrap();
        let version = object.api_version().to_owned();
        let writer = self.writer(manager, &version);
        let schema = schema(object.kind());
        track(self.object.as_ref(), &mut object, writer, &schema);
        self.object = Some(object.clone());
        object.into_value()
    }

    /// What a manager owns.
    fn owned(&self, manager: &str) -> Value {
        let object = self.object.as_ref().unwrap().wire_value();
        let entries = object["metadata"]["managedFields"].as_array();
        let found = entries
            .into_iter()
            .flatten()
            .find(|entry| entry["manager"] == manager);
        found.map_or(Value::Null, |entry| entry["fieldsV1"].clone())
    }
}

fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})
}

fn deployment(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
}

fn template(containers: Value) -> Value {
    json!({"template": {"spec": {"containers": containers}}})
}

#[test]
fn an_applier_owns_what_it_applies() {
    let mut story = Story::new();
    story.apply(
        "helm",
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
            "spec": {
                "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
                "template": {"spec": {"containers": [{
                    "name": "a", "image": "x", "args": ["1"], "ports": [{"containerPort": 80}],
                }]}},
            },
            "status": {"replicas": 3},
        }),
    );
    assert_eq!(
        story.owned("helm"),
        json!({
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {
                "f:replicas": {}, "f:selector": {},
                "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {
                    ".": {}, "f:name": {}, "f:image": {}, "f:args": {},
                    "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                }}}},
            },
        })
    );
    let object = story.object.unwrap();
    assert_eq!(object.at(&["status"]), None);
    let entry = &object.list(&["metadata", "managedFields"])[0];
    assert_eq!(entry["operation"], "Apply");
    assert_eq!(entry["time"], "1970-01-01T00:00:01Z");
    assert_eq!(entry["fieldsType"], "FieldsV1");
}

#[test]
fn what_is_no_longer_applied_goes() {
    let mut story = Story::new();
    story.apply("helm", config_map(json!({"a": "1", "b": "2"})));
    let object = story.apply("helm", config_map(json!({"a": "1"})));
    assert_eq!(object["data"], json!({"a": "1"}));
    let object = story.apply(
        "helm",
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}),
    );
    assert_eq!(object.get("data"), None);
}

#[test]
fn what_nobody_owns_stays() {
    let mut story = Story::new();
    story.apply("helm", deployment(json!({"replicas": 1})));
    // The server filled in a field that nobody owns.
    story
        .object
        .as_mut()
        .unwrap()
        .set(&["spec", "revisionHistoryLimit"], 10);
    let object = story.apply("helm", deployment(json!({"paused": true})));
    assert_eq!(
        object["spec"],
        json!({"revisionHistoryLimit": 10, "paused": true})
    );
}

#[test]
fn err_fields_of_others_conflict() {
    let mut story = Story::new();
    story.update("kubectl", deployment(json!({"replicas": 1})));
    let wish = deployment(json!({"replicas": 3}));
    let status = story.try_apply("helm", &wish, false).unwrap_err();
    assert_eq!((status.code, status.reason), (409, StatusReason::Conflict));
    assert_eq!(
        status.message,
        "Apply failed with 1 conflict: conflict with \"kubectl\" using apps/v1: .spec.replicas"
    );
    assert_eq!(
        status.causes,
        [StatusCause {
            reason: "FieldManagerConflict".to_owned(),
            message: "conflict with \"kubectl\" using apps/v1".to_owned(),
            field: ".spec.replicas".to_owned(),
        }]
    );
    let object = story.try_apply("helm", &wish, true).unwrap();
    assert_eq!(object["spec"]["replicas"], 3);
    assert_eq!(story.owned("kubectl"), Value::Null);
    assert_eq!(story.owned("helm"), json!({"f:spec": {"f:replicas": {}}}));
}

#[test]
fn err_several_conflicts_are_listed_by_manager() {
    let mut story = Story::new();
    story.apply("one", config_map(json!({"a": "1", "b": "1"})));
    story.apply("two", config_map(json!({"c": "1"})));
    let status = story
        .try_apply("three", &config_map(json!({"a": "2", "b": "2", "c": "2"})), false)
        .unwrap_err();
    assert_eq!(
        status.message,
        "Apply failed with 3 conflicts: conflicts with \"one\":\n- .data.a\n- .data.b\nconflicts with \"two\":\n- .data.c"
    );
    assert_eq!(status.causes.len(), 3);
}

#[test]
fn the_same_value_is_owned_together() {
    let mut story = Story::new();
    story.apply("one", config_map(json!({"a": "1"})));
    story.apply("two", config_map(json!({"a": "1"})));
    assert_eq!(story.owned("one"), story.owned("two"));
    // The one lets go, the other still wants it.
    let object = story.apply("one", config_map(json!({"b": "1"})));
    assert_eq!(object["data"], json!({"a": "1", "b": "1"}));
    let object = story.apply("two", config_map(json!({})));
    assert_eq!(object["data"], json!({"b": "1"}));
}

#[test]
fn an_update_takes_the_fields_that_it_changes() {
    let mut story = Story::new();
    story.apply("helm", config_map(json!({"a": "1", "b": "1"})));
    let mut object = story.object.clone().unwrap();
    object.set(&["data", "a"], "2");
    object.set(&["data", "c"], "2");
    story.update("editor", object.into_value());
    assert_eq!(story.owned("editor"), json!({"f:data": {"f:a": {}, "f:c": {}}}));
    assert_eq!(story.owned("helm"), json!({"f:data": {"f:b": {}}}));
    // Removed fields are owned by nobody.
    let mut object = story.object.clone().unwrap();
    object.remove(&["data", "b"]);
    story.update("editor", object.into_value());
    assert_eq!(story.owned("helm"), Value::Null);
}

#[test]
fn items_of_lists_are_owned_one_by_one() {
    let mut story = Story::new();
    story.apply(
        "helm",
        deployment(template(
            json!([{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]),
        )),
    );
    story.apply(
        "mesh",
        deployment(template(json!([{"name": "sidecar", "image": "s"}]))),
    );
    let object = story.apply(
        "helm",
        deployment(template(
            json!([{"name": "b", "image": "y"}, {"name": "c", "image": "z"}]),
        )),
    );
    let containers = &object["spec"]["template"]["spec"]["containers"];
    let names: Vec<&str> = containers
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["b", "sidecar", "c"]);
}

#[test]
fn atomic_lists_are_owned_as_a_whole() {
    let mut story = Story::new();
    story.apply(
        "one",
        deployment(template(json!([{"name": "a", "args": ["1", "2"]}]))),
    );
    let status = story.try_apply(
        "two",
        &deployment(template(json!([{"name": "a", "args": ["1"]}]))),
        false,
    );
    assert_eq!(
        status.unwrap_err().message,
        "Apply failed with 1 conflict: conflict with \"one\": .spec.template.spec.containers[name=\"a\"].args"
    );
}

#[test]
fn sets_are_owned_value_by_value() {
    let finalizers = |list: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "finalizers": list}});
    let mut story = Story::new();
    story.apply("one", finalizers(json!(["a/x"])));
    story.apply("two", finalizers(json!(["b/x", "a/x"])));
    assert_eq!(
        story.owned("one"),
        json!({"f:metadata": {"f:finalizers": {"v:\"a/x\"": {}}}})
    );
    let object = story.apply("two", finalizers(json!([])));
    assert_eq!(object["metadata"]["finalizers"], json!(["a/x"]));
}

#[test]
fn objects_of_unknown_kinds_merge_by_their_structure() {
    let widget = |spec: Value| json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec});
    let mut story = Story::new();
    story.apply("one", widget(json!({"a": {"b": 1}, "list": [{"name": "x"}]})));
    assert_eq!(
        story.owned("one"),
        json!({"f:spec": {".": {}, "f:a": {".": {}, "f:b": {}}, "f:list": {}}})
    );
    let object = story.apply("two", widget(json!({"a": {"c": 2}})));
    assert_eq!(object["spec"]["a"], json!({"b": 1, "c": 2}));
    assert!(
        story
            .try_apply("two", &widget(json!({"list": []})), false)
            .unwrap_err()
            .is_conflict()
    );
}

#[test]
fn applying_the_same_again_changes_nothing() {
    let mut story = Story::new();
    let first = story.apply("helm", config_map(json!({"a": "1"})));
    assert_eq!(story.apply("helm", config_map(json!({"a": "1"}))), first);
}

#[test]
fn the_status_is_owned_through_its_subresource() {
    let mut story = Story::new();
    story.update("kubectl", deployment(json!({"replicas": 1})));
    let mut object = story.object.clone().unwrap();
    object.set(&["status", "replicas"], 1);
    let mut writer = story.writer("controller", "apps/v1");
    writer.subresource = "status";
    track(story.object.as_ref(), &mut object, writer, &schema("Deployment"));
    story.object = Some(object.clone());
    assert_eq!(story.owned("controller"), json!({"f:status": {"f:replicas": {}}}));
    assert_eq!(
        object.list(&["metadata", "managedFields"])[1]["subresource"],
        "status"
    );
}

#[test]
fn a_client_can_reset_and_change_the_managers() {
    let mut story = Story::new();
    story.apply("helm", config_map(json!({"a": "1"})));
    let wire = story.object.as_ref().unwrap().wire_value();
    let mut object = Object::from_value(wire).unwrap();
    let mut entries = object.list(&["metadata", "managedFields"]).to_vec();
    entries[0]["manager"] = "tug".into();
    object.set(&["metadata", "managedFields"], entries);
    story.update("editor", object.clone().into_value());
    assert_eq!(story.owned("tug"), json!({"f:data": {"f:a": {}}}));
    object.set(&["metadata", "managedFields"], json!([{}]));
    let object = story.update("editor", object.into_value());
    assert_eq!(object["metadata"].get("managedFields"), None);
    // A client that does not know the field leaves it out and loses nothing.
    let mut story = Story::new();
    story.apply("helm", config_map(json!({"a": "1"})));
    story.update("old-client", config_map(json!({"a": "1", "b": "1"})));
    assert_eq!(story.owned("helm"), json!({"f:data": {"f:a": {}}}));
}

#[test]
fn old_managers_are_taken_together() {
    let mut story = Story::new();
    story.update("m", config_map(json!({})));
    for index in 0..20 {
        let mut object = story.object.clone().unwrap();
        object.set(&["data", &format!("key{index}")], "x");
        story.update(&format!("m{index}"), object.into_value());
    }
    let object = story.object.unwrap();
    let entries = object.list(&["metadata", "managedFields"]);
    assert_eq!(entries.len(), 10);
    assert!(entries.iter().any(|entry| entry["manager"] == "ancient-changes"));
}

#[test]
fn err_configurations_without_form_are_refused() {
    let mut story = Story::new();
    let mut with_managers = config_map(json!({}));
    with_managers["metadata"]["managedFields"] = json!([]);
    let status = story.try_apply("helm", &with_managers, false).unwrap_err();
    assert_eq!(status.message, "metadata.managedFields must be nil");
    let twice = deployment(template(json!([{"name": "a"}, {"name": "a"}])));
    let status = story.try_apply("helm", &twice, false).unwrap_err();
    assert_eq!(
        status.message,
        "failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.template.spec.containers: \
         duplicate entries for key [name=\"a\"]"
    );
    let nameless = deployment(template(json!([{"image": "a"}])));
    assert_eq!(story.try_apply("helm", &nameless, false).unwrap_err().code, 400);
}

#[test]
fn applying_twice_changes_nothing_where_nobody_owns_the_key_of_an_item() {
    let mut story = Story::new();
    let owned = json!({"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}}}}});
    let live = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "a", "managedFields": [{
            "manager": "m", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": owned,
        }]},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    story.object = Some(Object::from_value(live).unwrap());
    let wish = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "a", "image": "j"}]},
    });
    let once = story.apply("other", wish.clone());
    assert_eq!(once["spec"]["containers"].as_array().unwrap().len(), 2);
    assert_eq!(story.apply("other", wish), once);
}

#[test]
fn err_long_lists_are_looked_through_in_time() {
    let many: Vec<String> = (0..20_000)
        .map(|number| format!("example.com/{number}"))
        .collect();
    let wish =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "finalizers": many}});
    let start = std::time::Instant::now();
    let mut story = Story::new();
    story.apply("one", wish.clone());
    story.apply("one", wish);
    assert!(
        start.elapsed() < std::time::Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}
