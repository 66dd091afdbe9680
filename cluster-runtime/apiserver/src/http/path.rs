//! What a path of the API names.

use percent_encoding::percent_decode_str;

/// A path below `/api/VERSION` or `/apis/GROUP/VERSION`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    /// API group, empty for the core group.
    pub(crate) group: String,
    /// Version, as `v1`.
    pub(crate) version: String,
    /// Namespace that the path names.
    pub(crate) namespace: Option<String>,
    /// Plural resource name.
    pub(crate) resource: String,
    /// Name of the object.
    pub(crate) name: Option<String>,
    /// Subresource of the object.
    pub(crate) subresource: Option<String>,
    /// Whether the path is of the old form `/api/v1/watch/...`.
    pub(crate) watch: bool,
}

/// What a request path is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ApiPath {
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/GROUP`
    Group(String),
    /// `/api/VERSION` or `/apis/GROUP/VERSION`
    Resources {
        /// API group, empty for the core group.
        group: String,
        /// Version, as `v1`.
        version: String,
    },
    /// Anything below a group and version.
    Resource(ResourcePath),
    /// Any other path.
    Other,
}

impl ApiPath {
    /// Reads the path of a request. Segments are percent-decoded; what is no path of the API is [`ApiPath::Other`].
    pub(crate) fn parse(path: &str) -> Self {
        let segments: Option<Vec<String>> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| {
                let decoded = percent_decode_str(segment).decode_utf8().ok()?;
                Some(decoded.into_owned())
            })
            .collect();
        let Some(segments) = segments else {
            return Self::Other;
        };
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (group, version, rest) = match segments.as_slice() {
            ["api"] => return Self::CoreVersions,
            ["apis"] => return Self::Groups,
            ["apis", group] => return Self::Group((*group).to_owned()),
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Self::Other,
        };
        let (group, version) = (group.to_owned(), version.to_owned());
        if rest.is_empty() {
            return Self::Resources { group, version };
        }
        let (watch, rest) = match rest {
            ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
            rest => (false, rest),
        };
        let Some(mut found) = split(rest) else {
            return Self::Other;
        };
        found.group = group;
        found.version = version;
        found.watch = watch;
        Self::Resource(found)
    }
}

/// Reads what stands after the version.
fn split(segments: &[&str]) -> Option<ResourcePath> {
    let own = |text: &str| Some(text.to_owned());
    let mut path = ResourcePath::default();
    let rest: &[&str] = match segments {
        // A namespace itself, and what belongs to it.
        ["namespaces", name] => {
            path.resource = "namespaces".to_owned();
            path.name = own(name);
            return Some(path);
        }
        ["namespaces", name, subresource @ ("status" | "finalize")] => {
            path.resource = "namespaces".to_owned();
            path.name = own(name);
            path.subresource = own(subresource);
            return Some(path);
        }
        ["namespaces", namespace, rest @ ..] => {
            path.namespace = own(namespace);
            rest
        }
        rest => rest,
    };
    match rest {
        [resource] => path.resource = (*resource).to_owned(),
        [resource, name] => {
            path.resource = (*resource).to_owned();
            path.name = own(name);
        }
        [resource, name, subresource @ ..] => {
            path.resource = (*resource).to_owned();
            path.name = own(name);
            path.subresource = Some(subresource.join("/"));
        }
        [] => {
            path.resource = "namespaces".to_owned();
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a path's parts as `group version namespace resource name subresource`, `-` for none.
    fn parts(path: &str) -> String {
        match ApiPath::parse(path) {
            ApiPath::Resource(path) => {
                let or_dash = |part: Option<String>| part.unwrap_or_else(|| "-".to_owned());
                let watch = if path.watch { " watch" } else { "" };
                format!(
                    "{:?} {} {} {} {} {}{watch}",
                    path.group,
                    path.version,
                    or_dash(path.namespace),
                    path.resource,
                    or_dash(path.name),
                    or_dash(path.subresource)
                )
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn paths_name_resources() {
        for (path, expected) in [
            ("/api", "CoreVersions"),
            ("/apis/", "Groups"),
            ("/apis/apps", r#"Group("apps")"#),
            ("/api/v1", r#"Resources { group: "", version: "v1" }"#),
            ("/apis/apps/v1", r#"Resources { group: "apps", version: "v1" }"#),
            ("/api/v1/pods", r#""" v1 - pods - -"#),
            ("/api/v1/nodes/n1", r#""" v1 - nodes n1 -"#),
            ("/api/v1/nodes/n1/status", r#""" v1 - nodes n1 status"#),
            ("/api/v1/namespaces", r#""" v1 - namespaces - -"#),
            ("/api/v1/namespaces/a", r#""" v1 - namespaces a -"#),
            (
                "/api/v1/namespaces/a/finalize",
                r#""" v1 - namespaces a finalize"#,
            ),
            ("/api/v1/namespaces/a/pods", r#""" v1 a pods - -"#),
            ("/api/v1/namespaces/a/pods/b/log", r#""" v1 a pods b log"#),
            (
                "/api/v1/namespaces/a/pods/b/proxy/x/y",
                r#""" v1 a pods b proxy/x/y"#,
            ),
            (
                "/apis/apps/v1/namespaces/a/deployments/b%2Fc",
                r#""apps" v1 a deployments b/c -"#,
            ),
            ("/api/v1/watch/namespaces/a/pods", r#""" v1 a pods - - watch"#),
            ("/version", "Other"),
            ("/api/v1/namespaces/%ff", "Other"),
        ] {
            assert_eq!(parts(path), expected, "{path}");
        }
    }
}
