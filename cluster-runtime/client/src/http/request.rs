//! The requests of the generic paths as values; others send them.
//!
//! Paths and parameters: <https://kubernetes.io/docs/reference/using-api/api-concepts/>.

use cluster_objects::{GroupVersionResource, Object};
use http::{Method, Request, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use crate::{
    Collection, DeleteOptions, FieldValidation, ListOptions, Patch, Propagation, Target, WatchOptions,
    WriteOptions,
};

/// What may stand in one segment of a path as it is; names of roles have colons.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':');
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const JSON: &str = "application/json";
const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// A request without the server's address.
pub(super) type ApiRequest = Request<Vec<u8>>;

/// `GET` of one object or subresource.
pub(super) fn get(target: &Target) -> ApiRequest {
    build(Method::GET, &target_path(target), JSON, None)
}

/// `GET` of a collection.
pub(super) fn list(collection: &Collection, options: &ListOptions) -> ApiRequest {
    let mut path = Path::new(collection_path(collection));
    path.selectors(&options.label_selector, &options.field_selector);
    if options.limit > 0 {
        path.query("limit", &options.limit.to_string());
    }
    path.query_unless_empty("continue", &options.continue_token);
    let accept = if options.metadata_only {
        METADATA_LIST
    } else {
        JSON
    };
    build(Method::GET, &path.0, accept, None)
}

/// A watch of a collection.
pub(super) fn watch(collection: &Collection, options: &WatchOptions) -> ApiRequest {
    let mut path = Path::new(collection_path(collection));
    path.query("watch", "true");
    path.query("allowWatchBookmarks", "true");
    path.selectors(&options.label_selector, &options.field_selector);
    path.query_unless_empty("resourceVersion", &options.resource_version);
    let mut request = build(Method::GET, &path.0, JSON, None);
    // Servers compress event by event, which stream decoders do not read.
    let identity = header::HeaderValue::from_static("identity");
    request.headers_mut().insert(header::ACCEPT_ENCODING, identity);
    request
}

/// `POST` of an object to its collection.
pub(super) fn create(collection: &Collection, object: Object, options: &WriteOptions) -> ApiRequest {
    let path = write_path(collection_path(collection), options);
    build(Method::POST, &path, JSON, Some((JSON, object.into_value())))
}

/// `POST` to a subresource.
pub(super) fn post(target: &Target, body: Object, options: &WriteOptions) -> ApiRequest {
    let path = write_path(target_path(target), options);
    build(Method::POST, &path, JSON, Some((JSON, body.into_value())))
}

/// `PUT` of an object or subresource.
pub(super) fn update(target: &Target, object: Object, options: &WriteOptions) -> ApiRequest {
    let path = write_path(target_path(target), options);
    build(Method::PUT, &path, JSON, Some((JSON, object.into_value())))
}

/// `PATCH` of an object or subresource.
pub(super) fn patch(target: &Target, patch: Patch, options: &WriteOptions) -> ApiRequest {
    let mut path = Path::new(write_path(target_path(target), options));
    let (content_type, body) = match patch {
        Patch::Json(body) => ("application/json-patch+json", body),
        Patch::Merge(body) => ("application/merge-patch+json", body),
        Patch::Strategic(body) => ("application/strategic-merge-patch+json", body),
        Patch::Apply(body) => {
            if options.force {
                path.query("force", "true");
            }
            // JSON is YAML; servers before 1.33 know only this name of it.
            ("application/apply-patch+yaml", body)
        }
    };
    build(Method::PATCH, &path.0, JSON, Some((content_type, body)))
}

/// `DELETE` of an object.
pub(super) fn delete(target: &Target, options: &DeleteOptions) -> ApiRequest {
    let policy = match options.propagation {
        Propagation::Background => "Background",
        Propagation::Foreground => "Foreground",
        Propagation::Orphan => "Orphan",
    };
    let mut body = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy });
    if options.dry_run {
        body["dryRun"] = json!(["All"]);
    }
    if let Some(seconds) = options.grace_period_seconds {
        body["gracePeriodSeconds"] = seconds.into();
    }
    let mut preconditions = Map::new();
    if let Some(uid) = &options.uid {
        preconditions.insert("uid".into(), uid.as_str().into());
    }
    if let Some(version) = &options.resource_version {
        preconditions.insert("resourceVersion".into(), version.as_str().into());
    }
    if !preconditions.is_empty() {
        body["preconditions"] = preconditions.into();
    }
    build(Method::DELETE, &target_path(target), JSON, Some((JSON, body)))
}

/// `GET` of any path.
pub(super) fn raw(path: &str, accept: &'static str) -> ApiRequest {
    build(Method::GET, path, accept, None)
}

fn build(
    method: Method,
    path: &str,
    accept: &'static str,
    body: Option<(&'static str, Value)>,
) -> ApiRequest {
    let mut request = Request::new(Vec::new());
    *request.method_mut() = method;
    // Paths that callers give whole may hold anything; such a request is answered 404 and not sent elsewhere.
    *request.uri_mut() = path.parse().unwrap_or_else(|_| http::Uri::from_static("/"));
    let accept = header::HeaderValue::from_static(accept);
    request.headers_mut().insert(header::ACCEPT, accept);
    if let Some((content_type, body)) = body {
        let content_type = header::HeaderValue::from_static(content_type);
        request.headers_mut().insert(header::CONTENT_TYPE, content_type);
        *request.body_mut() = body.to_string().into_bytes();
    }
    request
}

fn write_path(path: String, options: &WriteOptions) -> String {
    let mut path = Path::new(path);
    if options.dry_run {
        path.query("dryRun", "All");
    }
    path.query_unless_empty("fieldManager", &options.field_manager);
    let validation = match options.field_validation {
        FieldValidation::Ignore => "Ignore",
        FieldValidation::Warn => "Warn",
        FieldValidation::Strict => "Strict",
    };
    path.query("fieldValidation", validation);
    path.0
}

fn collection_path(collection: &Collection) -> String {
    resource_path(&collection.resource, collection.namespace.as_deref())
}

fn target_path(target: &Target) -> String {
    let mut path = resource_path(&target.resource, target.namespace.as_deref());
    push_segment(&mut path, &target.name);
    if let Some(subresource) = target.subresource {
        push_segment(&mut path, subresource);
    }
    path
}

fn resource_path(resource: &GroupVersionResource, namespace: Option<&str>) -> String {
    let mut path = String::new();
    if resource.group.is_empty() {
        path.push_str("/api");
    } else {
        path.push_str("/apis");
        push_segment(&mut path, &resource.group);
    }
    push_segment(&mut path, &resource.version);
    if let Some(namespace) = namespace {
        path.push_str("/namespaces");
        push_segment(&mut path, namespace);
    }
    push_segment(&mut path, &resource.resource);
    path
}

fn push_segment(path: &mut String, segment: &str) {
    path.push('/');
    path.extend(utf8_percent_encode(segment, SEGMENT));
}

struct Path(String);

impl Path {
    fn new(path: String) -> Self {
        Self(path)
    }

    fn query(&mut self, key: &str, value: &str) {
        let separator = if self.0.contains('?') { '&' } else { '?' };
        self.0.push(separator);
        self.0.push_str(key);
        self.0.push('=');
        self.0.extend(utf8_percent_encode(value, QUERY));
    }

    fn query_unless_empty(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.query(key, value);
        }
    }

    fn selectors(&mut self, labels: &str, fields: &str) {
        self.query_unless_empty("labelSelector", labels);
        self.query_unless_empty("fieldSelector", fields);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(request: &ApiRequest, method: &str, path: &str, content_type: Option<&str>) {
        assert_eq!(request.method(), method);
        assert_eq!(request.uri().to_string(), path);
        let found = request.headers().get(header::CONTENT_TYPE);
        assert_eq!(found.map(|value| value.to_str().unwrap()), content_type);
    }

    #[test]
    fn requests_go_to_the_generic_paths() {
        let deployments = Collection::namespaced("apps/v1", "deployments", "shop");
        let web = deployments.target("web");
        let role = Target::cluster_wide("rbac.authorization.k8s.io/v1", "clusterroles", "system:a b");
        let write = WriteOptions {
            dry_run: true,
            field_manager: "helm".into(),
            force: true,
            field_validation: FieldValidation::Strict,
        };
        let web_path = "/apis/apps/v1/namespaces/shop/deployments/web";
        let write_query = "?dryRun=All&fieldManager=helm&fieldValidation=Strict";
        check(&get(&web), "GET", web_path, None);
        check(
            &get(&role),
            "GET",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:a%20b",
            None,
        );
        check(
            &get(&Target::namespaced("v1", "pods", "shop", "p").subresource("status")),
            "GET",
            "/api/v1/namespaces/shop/pods/p/status",
            None,
        );
        let options = ListOptions {
            label_selector: "a=b,c in (d)".into(),
            limit: 5,
            ..ListOptions::default()
        };
        check(
            &list(&deployments, &options),
            "GET",
            "/apis/apps/v1/namespaces/shop/deployments?labelSelector=a%3Db%2Cc%20in%20%28d%29&limit=5",
            None,
        );
        check(
            &patch(&web, Patch::Apply(json!({})), &write),
            "PATCH",
            &format!("{web_path}{write_query}&force=true"),
            Some("application/apply-patch+yaml"),
        );
        check(
            &patch(&web, Patch::Merge(json!({})), &write),
            "PATCH",
            &format!("{web_path}{write_query}"),
            Some("application/merge-patch+json"),
        );
    }

    #[test]
    fn a_deletion_carries_its_options() {
        let options = DeleteOptions {
            propagation: Propagation::Foreground,
            uid: Some("u1".into()),
            dry_run: true,
            ..DeleteOptions::default()
        };
        let request = delete(&Target::namespaced("v1", "pods", "shop", "p"), &options);
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        let expected = json!({
            "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground",
            "dryRun": ["All"], "preconditions": {"uid": "u1"},
        });
        assert_eq!(body, expected);
    }
}
