//! The paths of a document: what can be asked of each resource.

use serde_json::{Map, Value, json};

use crate::registry::{KindRow, Subresource};

use super::schemas::{Schemas, kind_of};

/// The path that lists the resources of a group and version.
pub(super) fn resources(group: &str, version: &str, schemas: &mut Schemas) -> Value {
    let answer = schemas.meta("APIResourceList");
    json!({"get": {
        "tags": [tag(group, version)],
        "description": "get available resources",
        "operationId": format!("get{}APIResources", camel(group, version)),
        "responses": responses(&answer),
    }})
}

/// Adds the paths of a kind.
pub(super) fn add_row(row: &KindRow, root: &str, schemas: &mut Schemas, paths: &mut Map<String, Value>) {
    let plural = &row.plural;
    let namespaced = row.namespaced;
    let collection = match namespaced {
        true => format!("/{root}/namespaces/{{namespace}}/{plural}"),
        false => format!("/{root}/{plural}"),
    };
    let has = |verb: &str| row.verbs.contains(&verb);
    let object = schemas.of_kind(row);
    let kind = kind_of(row);
    let operation = |action: &str, verb: &str, parameters: Vec<Value>| Operation {
        row,
        kind: kind.clone(),
        action: action.to_owned(),
        verb: verb.to_owned(),
        subresource: String::new(),
        parameters,
    };

    let mut on_collection = Map::new();
    if has("list") {
        let list = schemas.list_of_kind(row);
        let operation = operation("list", "list", list_parameters());
        on_collection.insert("get".to_owned(), operation.value(&list, None));
        if namespaced {
            let everywhere = Operation {
                verb: "listAll".to_owned(),
                ..operation
            };
            let path = json!({"get": everywhere.value(&list, None), "parameters": [pretty()]});
            paths.insert(format!("/{root}/{plural}"), path);
        }
    }
    if has("create") {
        let operation = operation("post", "create", write_parameters(false));
        on_collection.insert("post".to_owned(), operation.value(&object, Some(body(&object))));
    }
    if has("deletecollection") {
        let (status, options) = (schemas.meta("Status"), schemas.meta("DeleteOptions"));
        let operation = operation("deletecollection", "deletecollection", list_parameters());
        on_collection.insert(
            "delete".to_owned(),
            operation.value(&status, Some(body(&options))),
        );
    }
    on_collection.insert("parameters".to_owned(), path_parameters(namespaced, false));
    paths.insert(collection.clone(), on_collection.into());

    let mut on_object = Map::new();
    if has("get") {
        on_object.insert(
            "get".to_owned(),
            operation("get", "read", Vec::new()).value(&object, None),
        );
    }
    if has("update") {
        let operation = operation("put", "replace", write_parameters(false));
        on_object.insert("put".to_owned(), operation.value(&object, Some(body(&object))));
    }
    if has("patch") {
        let patch = patch_body(schemas, row.schema.is_built_in());
        let operation = operation("patch", "patch", write_parameters(true));
        on_object.insert("patch".to_owned(), operation.value(&object, Some(patch)));
    }
    if has("delete") {
        let (status, options) = (schemas.meta("Status"), schemas.meta("DeleteOptions"));
        let operation = operation("delete", "delete", delete_parameters());
        on_object.insert(
            "delete".to_owned(),
            operation.value(&status, Some(body(&options))),
        );
    }
    if on_object.is_empty() {
        return;
    }
    on_object.insert("parameters".to_owned(), path_parameters(namespaced, true));
    let item = format!("{collection}/{{name}}");
    for subresource in &row.subresources {
        let path = add_subresource(row, subresource, schemas, namespaced);
        paths.insert(format!("{item}/{}", subresource.name), path);
    }
    paths.insert(item, on_object.into());
}

fn add_subresource(
    row: &KindRow,
    subresource: &Subresource,
    schemas: &mut Schemas,
    namespaced: bool,
) -> Value {
    let own = subresource.kind == row.kind && subresource.group == row.group;
    let object = match own {
        true => schemas.of_kind(row),
        false => {
            let group = if subresource.group.is_empty() {
                "core"
            } else {
                subresource.group.as_ref()
            };
            let group = group.split('.').next().unwrap_or_default();
            schemas.named(&format!("{group}.{}.{}", subresource.version, subresource.kind))
        }
    };
    let kind = json!({"group": subresource.group, "version": subresource.version, "kind": subresource.kind});
    let connects = matches!(
        subresource.name.as_ref(),
        "exec" | "attach" | "portforward" | "proxy" | "log"
    );
    let answer = if connects {
        json!({"type": "string"})
    } else {
        object.clone()
    };
    let mut path = Map::new();
    for verb in subresource.verbs {
        let (method, action, name) = match *verb {
            "get" => ("get", "get", "read"),
            "create" => ("post", "post", "create"),
            "update" => ("put", "put", "replace"),
            "patch" => ("patch", "patch", "patch"),
            "delete" => ("delete", "delete", "delete"),
            _ => continue,
        };
        let action = if connects && subresource.name != "log" {
            "connect"
        } else {
            action
        };
        let operation = Operation {
            row,
            kind: kind.clone(),
            action: action.to_owned(),
            verb: name.to_owned(),
            subresource: subresource.name.clone().into_owned(),
            parameters: match method {
                "get" | "delete" => Vec::new(),
                method => write_parameters(method == "patch"),
            },
        };
        let body = match method {
            _ if connects => None,
            "patch" => Some(patch_body(schemas, row.schema.is_built_in())),
            "post" | "put" => Some(body(&object)),
            _ => None,
        };
        path.insert(method.to_owned(), operation.value(&answer, body));
    }
    path.insert("parameters".to_owned(), path_parameters(namespaced, true));
    path.into()
}

/// One operation on a path.
struct Operation<'a> {
    row: &'a KindRow,
    kind: Value,
    action: String,
    verb: String,
    subresource: String,
    parameters: Vec<Value>,
}

impl Operation<'_> {
    fn value(&self, answer: &Value, body: Option<Value>) -> Value {
        let row = self.row;
        let scope = if row.namespaced && self.verb != "listAll" {
            "Namespaced"
        } else {
            ""
        };
        let (verb, suffix) = match self.verb.as_str() {
            "listAll" => ("list", "ForAllNamespaces"),
            verb => (verb, ""),
        };
        let group = camel(&row.group, &row.version);
        let below = capital(&self.subresource);
        let id = format!("{verb}{group}{scope}{}{below}{suffix}", row.kind);
        let mut operation = json!({
            "tags": [tag(&row.group, &row.version)],
            "description": format!("{verb} {} of {}", if below.is_empty() { "objects" } else { &below }, row.kind),
            "operationId": id,
            "parameters": self.parameters,
            "responses": responses(answer),
            "x-kubernetes-action": self.action,
            "x-kubernetes-group-version-kind": self.kind,
        });
        if let Some(body) = body {
            operation["requestBody"] = body;
        }
        operation
    }
}

/// `apps_v1`.
fn tag(group: &str, version: &str) -> String {
    let group = group.strip_suffix(".k8s.io").unwrap_or(group);
    let group = if group.is_empty() { "core" } else { group };
    format!("{}_{version}", group.replace('.', "_"))
}

/// `AppsV1`.
fn camel(group: &str, version: &str) -> String {
    let group = group.strip_suffix(".k8s.io").unwrap_or(group);
    let group = if group.is_empty() { "core" } else { group };
    let parts: String = group.split('.').map(capital).collect();
    format!("{parts}{}", capital(version))
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn responses(answer: &Value) -> Value {
    json!({
        "200": {"description": "OK", "content": {"application/json": {"schema": answer}}},
        "401": {"description": "Unauthorized"},
    })
}

fn body(object: &Value) -> Value {
    json!({"content": {"*/*": {"schema": object}}, "required": true})
}

fn patch_body(schemas: &mut Schemas, strategic: bool) -> Value {
    let patch = schemas.meta("Patch");
    let mut types = vec![
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/apply-patch+yaml",
    ];
    if strategic {
        types.push("application/strategic-merge-patch+json");
    }
    let content: Map<String, Value> = types
        .into_iter()
        .map(|name| (name.to_owned(), json!({"schema": patch})))
        .collect();
    json!({"content": content, "required": true})
}

fn query(name: &str, kind: &str, description: &str) -> Value {
    json!({
        "name": name, "in": "query", "description": description,
        "schema": {"type": kind, "uniqueItems": true},
    })
}

fn pretty() -> Value {
    query(
        "pretty",
        "string",
        "If 'true', then the output is pretty printed.",
    )
}

fn path_parameters(namespaced: bool, named: bool) -> Value {
    let path = |name: &str, description: &str| {
        json!({
            "name": name, "in": "path", "required": true, "description": description,
            "schema": {"type": "string", "uniqueItems": true},
        })
    };
    let mut parameters = Vec::new();
    if named {
        parameters.push(path("name", "name of the object"));
    }
    if namespaced {
        parameters.push(path(
            "namespace",
            "object name and auth scope, such as for teams and projects",
        ));
    }
    parameters.push(pretty());
    parameters.into()
}

fn write_parameters(patch: bool) -> Vec<Value> {
    let mut parameters = vec![
        query(
            "dryRun",
            "string",
            "With `All` everything is checked and nothing is stored.",
        ),
        query(
            "fieldManager",
            "string",
            "Who makes the change; required for server-side apply.",
        ),
        query(
            "fieldValidation",
            "string",
            "How unknown and duplicate fields are met: `Ignore`, `Warn` (the default) or `Strict`.",
        ),
    ];
    if patch {
        let force = "Server-side apply takes fields over from other managers.";
        parameters.push(query("force", "boolean", force));
    }
    parameters
}

fn delete_parameters() -> Vec<Value> {
    vec![
        query(
            "dryRun",
            "string",
            "With `All` everything is checked and nothing is deleted.",
        ),
        query(
            "gracePeriodSeconds",
            "integer",
            "Seconds that the object has to end; 0 deletes at once.",
        ),
        query(
            "propagationPolicy",
            "string",
            "What becomes of dependents: `Orphan`, `Background` or `Foreground`.",
        ),
    ]
}

fn list_parameters() -> Vec<Value> {
    vec![
        query(
            "allowWatchBookmarks",
            "boolean",
            "Watches may report revisions at which nothing changed.",
        ),
        query("continue", "string", "Where the answer before this one stopped."),
        query("fieldSelector", "string", "Only objects with these fields."),
        query("labelSelector", "string", "Only objects with these labels."),
        query("limit", "integer", "Most objects in one answer."),
        query("resourceVersion", "string", "The revision that is shown."),
        query(
            "resourceVersionMatch",
            "string",
            "How the revision is meant: `Exact` or `NotOlderThan`.",
        ),
        query(
            "sendInitialEvents",
            "boolean",
            "A watch starts with the present objects.",
        ),
        query("timeoutSeconds", "integer", "How long the call may take."),
        query("watch", "boolean", "Report changes instead of a list."),
    ]
}
