//! Documents outside the resources: version, health, discovery, OpenAPI.

use cluster_objects::{Status, StatusReason, openapi};
use serde_json::Value;

use super::negotiate::{View, negotiate};
use super::path::ApiPath;
use crate::authorize::Action;
use crate::discovery;
use crate::engine::{Engine, no_such_resource};
use crate::user::User;

/// A document.
#[derive(Debug)]
pub(crate) enum Document {
    /// JSON, or YAML when asked.
    Value(Value),
    /// JSON in the aggregated form of discovery.
    Aggregated(Value),
    /// Text with its status code.
    Text(u16, String),
}

/// The document at a path; `Ok(None)` when the path is one of resources.
pub(crate) fn document(
    engine: &Engine,
    user: &User,
    path: &str,
    accept: &str,
    verbose: bool,
) -> Result<Option<Document>, Status> {
    let parsed = ApiPath::parse(path);
    if matches!(parsed, ApiPath::Resource(_)) {
        return Ok(None);
    }
    engine.authorize(user, &Action::Path { verb: "get", path })?;
    let registry = engine.registry();
    let wants_aggregated = || {
        let agreed = negotiate(accept, &[View::Object, View::AggregatedDiscovery])?;
        Ok::<_, Status>(agreed.view == View::AggregatedDiscovery)
    };
    let found = match &parsed {
        ApiPath::CoreVersions if wants_aggregated()? => {
            Some(Document::Aggregated(discovery::aggregated(&registry, true)))
        }
        ApiPath::CoreVersions => Some(Document::Value(discovery::core_versions(&registry))),
        ApiPath::Groups if wants_aggregated()? => {
            Some(Document::Aggregated(discovery::aggregated(&registry, false)))
        }
        ApiPath::Groups => Some(Document::Value(discovery::groups(&registry))),
        ApiPath::Group(group) => discovery::group(&registry, group).map(Document::Value),
        ApiPath::Resources { group, version } => {
            discovery::resources(&registry, group, version).map(Document::Value)
        }
        ApiPath::Resource(_) => None,
        ApiPath::Other => match path.trim_end_matches('/') {
            "/version" => Some(Document::Value(discovery::version())),
            "/openapi/v2" => {
                let json = ["application/json", "application/*", "*/*"];
                let asked = accept
                    .split(',')
                    .map(|one| one.split(';').next().unwrap_or_default().trim());
                // Older clients ask for protobuf alone; they go on without when told that there is none.
                if !accept.is_empty() && !asked.clone().any(|one| json.contains(&one)) {
                    return Err(Status::new(
                        406,
                        StatusReason::NotAcceptable,
                        "only application/json is served",
                    ));
                }
                Some(Document::Value(openapi::document_v2(&registry)))
            }
            "/openapi/v3" => Some(Document::Value(openapi::index(&registry))),
            path => health(engine, path, verbose).or_else(|| {
                let (group, version) = openapi_path(path)?;
                openapi::document(&registry, group, version).map(Document::Value)
            }),
        },
    };
    found.map(Some).ok_or_else(no_such_resource)
}

/// Group and version of `/openapi/v3/api/v1` and `/openapi/v3/apis/apps/v1`.
fn openapi_path(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/openapi/v3/")?;
    match rest.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => Some(("", version)),
        ["apis", group, version] => Some((group, version)),
        _ => None,
    }
}

/// `/healthz`, `/livez` and `/readyz`, and their single checks below them.
fn health(engine: &Engine, path: &str, verbose: bool) -> Option<Document> {
    let (name, check) = match path.strip_prefix('/')?.split_once('/') {
        Some((name, check)) => (name, Some(check)),
        None => (path.strip_prefix('/')?, None),
    };
    let store = engine.store_fault();
    let bootstrap = (!engine.is_ready()).then(|| "the first namespaces are not made yet".to_owned());
    let checks: Vec<(&str, Option<String>)> = match name {
        "livez" => vec![("ping", None)],
        "healthz" => vec![("ping", None), ("store", store)],
        "readyz" => vec![("ping", None), ("store", store), ("bootstrap", bootstrap)],
        _ => return None,
    };
    let chosen: Vec<_> = checks
        .into_iter()
        .filter(|(one, _)| check.is_none_or(|check| check == *one))
        .collect();
    if chosen.is_empty() {
        return None;
    }
    let failed = chosen.iter().any(|(_, fault)| fault.is_some());
    if !failed && !verbose {
        return Some(Document::Text(200, "ok".to_owned()));
    }
    let mut text = String::new();
    for (one, fault) in &chosen {
        match fault {
            None => text.push_str(&format!("[+]{one} ok\n")),
            Some(fault) => text.push_str(&format!("[-]{one} failed: {fault}\n")),
        }
    }
    text.push_str(&format!(
        "{name} check {}\n",
        if failed { "failed" } else { "passed" }
    ));
    Some(Document::Text(if failed { 500 } else { 200 }, text))
}
