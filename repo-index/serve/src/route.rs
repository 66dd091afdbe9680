//! Which request an address stands for, decided without IO.

use std::str::FromStr;

use http::{Method, StatusCode};
use uuid::Uuid;

use crate::answer::Refusal;
use crate::auth::rights::Right;
use crate::digest::Digest;
use crate::name::{FileName, RepositoryName, Tag, Tenant};
use crate::options::Depth;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `TENANT/index.yaml`
    Index(Tenant),
    /// `TENANT/charts/FILE`
    ChartFile(Tenant, FileName),
    /// `api/TENANT/charts...`
    Api(Tenant, ApiRoute),
    /// `v2/`
    RegistryBase,
    /// `v2/_catalog`
    Catalog,
    /// `v2/NAME/...`
    Registry(RepositoryName, RegistryRoute),
    /// `token`
    Token,
    /// `TENANT`
    Home(Tenant),
    /// `TENANT/-/CHART[/VERSION]`
    ChartPage(Tenant, String, Option<String>),
    /// `_/images[/NAME]`
    Images(Option<RepositoryName>),
    /// `_/style.css`
    Style,
    /// `health`, `healthz`
    Health,
    /// `readyz`
    Ready,
    /// `metrics`
    Metrics,
    /// `info`
    Info,
}

/// ChartMuseum's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ApiRoute {
    Charts,
    Chart(String),
    Version(String, String),
    Templates(String, String),
    Values(String, String),
    Provenance,
}

/// What a repository of a registry has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RegistryRoute {
    Tags,
    Manifest(Reference),
    Blob(Digest),
    Uploads,
    Upload(Uuid),
    Referrers(Digest),
}

/// How a manifest is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reference {
    Tag(Tag),
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        if text.contains(':') {
            return Ok(Self::Digest(text.parse()?));
        }
        Ok(Self::Tag(text.parse()?))
    }
}

/// Finds the route of a path.
pub(crate) fn route(path: &str, depth: Depth) -> Result<Route, Refusal> {
    let path = percent_encoding::percent_decode_str(path)
        .decode_utf8()
        .map_err(|_| Refusal::bad_request("the address is no UTF-8"))?;
    let path = path.strip_prefix('/').unwrap_or(&path);
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["health" | "healthz" | "livez"] => Ok(Route::Health),
        ["readyz"] => Ok(Route::Ready),
        ["metrics"] => Ok(Route::Metrics),
        ["info"] => Ok(Route::Info),
        ["token"] => Ok(Route::Token),
        ["_", "style.css"] => Ok(Route::Style),
        ["_", "images"] | ["_", "images", ""] => Ok(Route::Images(None)),
        ["_", "images", name @ ..] => Ok(Route::Images(Some(name.join("/").parse()?))),
        ["v2"] | ["v2", ""] => Ok(Route::RegistryBase),
        ["v2", "_catalog"] => Ok(Route::Catalog),
        ["v2", rest @ ..] => registry(rest),
        ["api", rest @ ..] => api(rest, depth),
        _ => classic(&parts, depth),
    }
}

fn registry(parts: &[&str]) -> Result<Route, Refusal> {
    let of = |name: &[&str], route| Ok(Route::Registry(name.join("/").parse()?, route));
    match parts {
        [name @ .., "tags", "list"] => of(name, RegistryRoute::Tags),
        [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
            of(name, RegistryRoute::Uploads)
        }
        [name @ .., "blobs", "uploads", id] => {
            let unknown = |_| Refusal::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "no such upload");
            of(name, RegistryRoute::Upload(Uuid::parse_str(id).map_err(unknown)?))
        }
        [name @ .., "blobs", digest] => of(name, RegistryRoute::Blob(digest.parse()?)),
        [name @ .., "manifests", reference] => of(name, RegistryRoute::Manifest(reference.parse()?)),
        [name @ .., "referrers", digest] => of(name, RegistryRoute::Referrers(digest.parse()?)),
        _ => Err(Refusal::not_found("there is nothing at this address")),
    }
}

fn api(parts: &[&str], depth: Depth) -> Result<Route, Refusal> {
    let parts = match parts {
        [most @ .., ""] => most,
        all => all,
    };
    let is_split = |place: &usize| {
        let after = parts.len() - place - 1;
        let fits = match parts.get(*place) {
            Some(&"charts") => after <= 3,
            Some(&"prov") => after == 0,
            _ => false,
        };
        fits && match depth {
            Depth::Dynamic => true,
            Depth::Fixed(depth) => *place == depth,
        }
    };
    let nothing = || Refusal::not_found("there is nothing at this address");
    let place = (0..parts.len()).rev().find(is_split).ok_or_else(nothing)?;
    let (tenant, rest) = parts.split_at(place);
    let tenant = tenant.join("/").parse()?;
    let text = |text: &&str| (*text).to_owned();
    let route = match rest {
        ["prov"] => ApiRoute::Provenance,
        ["charts"] => ApiRoute::Charts,
        ["charts", name] => ApiRoute::Chart(text(name)),
        ["charts", name, version] => ApiRoute::Version(text(name), text(version)),
        ["charts", name, version, "templates"] => ApiRoute::Templates(text(name), text(version)),
        ["charts", name, version, "values"] => ApiRoute::Values(text(name), text(version)),
        _ => return Err(nothing()),
    };
    Ok(Route::Api(tenant, route))
}

fn classic(parts: &[&str], depth: Depth) -> Result<Route, Refusal> {
    let fits = |tenant: &Tenant| match depth {
        Depth::Dynamic => true,
        Depth::Fixed(depth) => tenant.parts().count() == depth,
    };
    let nothing = || Refusal::not_found("there is nothing at this address");
    let tenant = |parts: &[&str]| -> Result<Tenant, Refusal> {
        let tenant = parts.join("/").parse().map_err(|_| nothing())?;
        if fits(&tenant) { Ok(tenant) } else { Err(nothing()) }
    };
    match parts {
        [name @ .., "index.yaml"] => Ok(Route::Index(tenant(name)?)),
        [name @ .., "charts", file] if file.ends_with(".tgz") || file.ends_with(".prov") => {
            Ok(Route::ChartFile(tenant(name)?, file.parse()?))
        }
        [name @ .., "-", chart] => Ok(Route::ChartPage(tenant(name)?, (*chart).to_owned(), None)),
        [name @ .., "-", chart, version] => {
            let version = (!version.is_empty()).then(|| (*version).to_owned());
            Ok(Route::ChartPage(tenant(name)?, (*chart).to_owned(), version))
        }
        [name @ .., ""] | name => {
            // Above the tenants, a page leads to them.
            Ok(Route::Home(name.join("/").parse().map_err(|_| nothing())?))
        }
    }
}

impl Route {
    /// A word for logs and measurements; there are few.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Index(_) => "index",
            Self::ChartFile(..) => "chart_file",
            Self::Api(..) => "api",
            Self::RegistryBase => "registry",
            Self::Catalog => "catalog",
            Self::Registry(_, route) => match route {
                RegistryRoute::Tags => "tags",
                RegistryRoute::Manifest(_) => "manifest",
                RegistryRoute::Blob(_) => "blob",
                RegistryRoute::Uploads | RegistryRoute::Upload(_) => "upload",
                RegistryRoute::Referrers(_) => "referrers",
            },
            Self::Token => "token",
            Self::Home(_) | Self::ChartPage(..) | Self::Images(_) | Self::Style => "page",
            Self::Health | Self::Ready | Self::Metrics | Self::Info => "status",
        }
    }

    /// The repository that is asked for and the right that it takes. Routes without one decide by themselves.
    pub(crate) fn needs(&self, method: &Method) -> Option<(String, Right)> {
        let right = match *method {
            Method::GET | Method::HEAD => Right::Read,
            Method::DELETE => Right::Delete,
            _ => Right::Write,
        };
        match self {
            Self::Index(tenant) => Some((tenant.to_string(), Right::Read)),
            Self::Api(tenant, route) => {
                let repository = match route {
                    // Which chart comes is known when it has come; the tenant alone would refuse too much.
                    ApiRoute::Charts | ApiRoute::Provenance if right == Right::Write => return None,
                    ApiRoute::Charts | ApiRoute::Provenance => tenant.to_string(),
                    ApiRoute::Chart(name)
                    | ApiRoute::Version(name, _)
                    | ApiRoute::Templates(name, _)
                    | ApiRoute::Values(name, _) => tenant.join(name),
                };
                Some((repository, right))
            }
            Self::ChartPage(tenant, chart, _) => Some((tenant.join(chart), right)),
            Self::Registry(name, _) | Self::Images(Some(name)) => Some((name.to_string(), right)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, depth: Depth, expected: &Result<Route, u16>) {
        let found = route(path, depth).map_err(|refusal| refusal.status.as_u16());
        assert_eq!(found, *expected, "{path}");
    }

    fn tenant(text: &str) -> Tenant {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_of_charts_are_found() {
        use ApiRoute::{Chart, Charts, Version};
        let all = Depth::Dynamic;
        check("/index.yaml", all, &Ok(Route::Index(tenant(""))));
        check("/a/b/index.yaml", all, &Ok(Route::Index(tenant("a/b"))));
        check("/a/index.yaml", Depth::Fixed(0), &Err(404));
        check("/index.yaml", Depth::Fixed(1), &Err(404));
        let file = |name: &str| name.parse().unwrap();
        check(
            "/charts/a-1.0.0%2Bb.tgz",
            all,
            &Ok(Route::ChartFile(tenant(""), file("a-1.0.0+b.tgz"))),
        );
        check(
            "/charts/charts/a-1.tgz.prov",
            all,
            &Ok(Route::ChartFile(tenant("charts"), file("a-1.tgz.prov"))),
        );
        check("/api/charts", all, &Ok(Route::Api(tenant(""), Charts)));
        check(
            "/api/team/x/charts/web",
            all,
            &Ok(Route::Api(tenant("team/x"), Chart("web".into()))),
        );
        check(
            "/api/charts/charts/1.0.0",
            Depth::Fixed(0),
            &Ok(Route::Api(tenant(""), Version("charts".into(), "1.0.0".into()))),
        );
        check("/api/a/b/charts", Depth::Fixed(1), &Err(404));
        check("/", all, &Ok(Route::Home(tenant(""))));
        check("/team/", all, &Ok(Route::Home(tenant("team"))));
        check(
            "/team/-/web/1.0.0",
            all,
            &Ok(Route::ChartPage(
                tenant("team"),
                "web".into(),
                Some("1.0.0".into()),
            )),
        );
    }

    #[test]
    fn addresses_of_a_registry_are_found() {
        let digest = Digest::sha256(b"");
        let of = |name: &str, route| Ok(Route::Registry(name.parse().unwrap(), route));
        let all = Depth::Dynamic;
        check("/v2/", all, &Ok(Route::RegistryBase));
        check("/v2/a/b/tags/list", all, &of("a/b", RegistryRoute::Tags));
        check("/v2/tags/tags/list", all, &of("tags", RegistryRoute::Tags));
        check("/v2/a/blobs/uploads/", all, &of("a", RegistryRoute::Uploads));
        check(
            &format!("/v2/a/blobs/{digest}"),
            all,
            &of("a", RegistryRoute::Blob(digest.clone())),
        );
        check(
            "/v2/a/manifests/latest",
            all,
            &of(
                "a",
                RegistryRoute::Manifest(Reference::Tag("latest".parse().unwrap())),
            ),
        );
        check(
            &format!("/v2/a/referrers/{digest}"),
            all,
            &of("a", RegistryRoute::Referrers(digest.clone())),
        );
    }

    #[test]
    fn err_paths_that_lead_elsewhere_are_refused() {
        for (path, status) in [
            ("/../etc/passwd", 404),
            ("/%2e%2e/%2e%2e/index.yaml", 404),
            ("/charts/..%2f..%2fetc%2fpasswd.tgz", 404),
            ("/charts/%2e%2e.tgz", 400),
            ("/.tug/index.yaml", 404),
            ("/api/../charts", 400),
            ("/v2/../manifests/latest", 400),
            ("/v2/a/manifests/..", 400),
            ("/v2/a/manifests/sha256:..", 400),
            ("/v2/a/blobs/sha256:%2e%2e%2f", 404),
            ("/v2/A/tags/list", 400),
            ("/v2/a/blobs/uploads/..", 404),
            ("/%ff", 400),
            ("/a%00b", 404),
        ] {
            check(path, Depth::Dynamic, &Err(status));
        }
    }
}
