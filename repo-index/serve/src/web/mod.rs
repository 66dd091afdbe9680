//! Pages for people: charts, versions, README, values, how to install. No script runs in them.

mod markdown;
mod pages;

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{Method, StatusCode};
use serde_json::{Value, json};

pub(crate) use self::pages::Pages;
use crate::answer::{Answer, Refusal, header, whole};
use crate::auth::User;
use crate::auth::rights::Right;
use crate::bridge;
use crate::charts::api::{find, unpacked};
use crate::charts::{ChartVersion, Listing};
use crate::content;
use crate::name::{RepositoryName, Tenant};
use crate::registry::paging;
use crate::request::Request;
use crate::server::Server;

const STYLE: &str = include_str!("style.css");
/// What strangers wrote stands on these pages: nothing of it may run, and nothing may be sent anywhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' https: data:; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";
/// Charts on one page.
const ROWS_MAX: usize = 500;
/// Longer texts are shown by their beginning.
const SHOWN_BYTES_MAX: usize = 512 * 1024;

/// The charts of a tenant, and the tenants below it.
pub(crate) fn home(server: &Server, tenant: &Tenant, request: &Request) -> Result<Answer, Refusal> {
    check_method(request)?;
    let (auth, user) = (&server.auth, &request.user);
    if !auth.may_enter(user, tenant.as_str()) {
        return Err(auth.refusal(user, "no right to see this"));
    }
    let words = request.parameter("q").unwrap_or_default().to_lowercase();
    let may_read = |name: &str| auth.may(user, &tenant.join(name), Right::Read);
    let rows = |listing: &Listing| -> Vec<Value> {
        let names = listing.names().filter(|name| may_read(name));
        let rows = names.filter_map(|name| row(listing, name, &words));
        rows.take(ROWS_MAX + 1).collect()
    };
    let charts = server.charts.tenant(tenant);
    let exists = charts.is_some();
    let mut charts = charts.map(|charts| charts.look(rows)).unwrap_or_default();
    let more = charts.len() > ROWS_MAX;
    charts.truncate(ROWS_MAX);
    let tenants = below(server, tenant, user);
    if !exists && tenants.is_empty() {
        return Err(Refusal::not_found("there is nothing at this address"));
    }
    let context = json!({
        "tenant": tenant.as_str(),
        "path": path(tenant),
        "crumbs": crumbs(tenant),
        "charts": charts,
        "more": more,
        "tenants": tenants,
        "query": request.parameter("q").unwrap_or_default(),
        "url": url(request, tenant),
        "api": format!("{}/api{}charts", request.base, path(tenant)),
        "name": tenant.parts().last().unwrap_or("my-charts"),
        "registry": registry_host(request),
        "plain_http": is_plain(request),
    });
    server.pages.page("home.html", StatusCode::OK, &context)
}

/// One chart by its highest version, unless it has none of the words that are looked for.
fn row(listing: &Listing, name: &str, words: &str) -> Option<Value> {
    let versions = listing.versions(name);
    let mut count = 0;
    let mut shown: Option<&Arc<ChartVersion>> = None;
    for version in versions {
        count += 1;
        // The highest one that is no pre-release, if there is any.
        let better = shown.is_none_or(|shown| {
            !shown.version.prerelease.is_empty() && version.version.prerelease.is_empty()
        });
        if better {
            shown = Some(version);
        }
    }
    let fields = shown?.fields();
    let text = format!("{name} {} {}", fields["description"], fields["keywords"]).to_lowercase();
    let is_wanted = words.split_whitespace().all(|word| text.contains(word));
    is_wanted.then(|| json!({"name": name, "fields": fields, "versions": count}))
}

/// The tenants directly below one that somebody may enter.
fn below(server: &Server, tenant: &Tenant, user: &User) -> Vec<String> {
    let depth = tenant.parts().count();
    let mut names: Vec<String> = server
        .charts
        .tenants()
        .iter()
        .filter(|other| other.parts().count() > depth && tenant.parts().eq(other.parts().take(depth)))
        .filter(|other| server.auth.may_enter(user, other.as_str()))
        .filter_map(|other| other.parts().nth(depth).map(str::to_owned))
        .collect();
    names.dedup();
    names
}

/// One version of a chart.
pub(crate) async fn chart(
    server: &Arc<Server>,
    tenant: &Tenant,
    name: &str,
    version: Option<&str>,
    request: &Request,
) -> Result<Answer, Refusal> {
    check_method(request)?;
    let shown = match version {
        Some(version) => find(server, tenant, name, version)?,
        None => {
            let stable = server.charts.tenant(tenant).and_then(|charts| {
                charts.look(|listing| {
                    let mut versions = listing.versions(name);
                    versions
                        .find(|version| version.version.prerelease.is_empty())
                        .cloned()
                })
            });
            stable.map_or_else(|| find(server, tenant, name, "latest"), Ok)?
        }
    };
    let unpacked = unpacked(server, tenant, name, shown.version_text()).await?;
    let readme = unpacked.readme().map(|file| {
        let text = file.text();
        markdown::html(&text[..floor(&text, SHOWN_BYTES_MAX)])
    });
    let values = unpacked.raw_file("values.yaml").map(|file| {
        let text = file.text();
        text[..floor(&text, SHOWN_BYTES_MAX)].to_owned()
    });
    let dependencies = unpacked.metadata.dependencies.iter();
    let dependencies =
        dependencies.map(|it| json!({"name": it.name, "version": it.version, "repository": it.repository}));
    let versions = server.charts.tenant(tenant).map(|charts| {
        charts.look(|listing| {
            let versions = listing.versions(name).take(ROWS_MAX);
            let row = |version: &Arc<ChartVersion>| {
                let fields = version.fields();
                json!({
                    "version": version.version_text(),
                    "app": fields["appVersion"],
                    "created": fields["created"],
                    "file": version.file,
                })
            };
            versions.map(row).collect::<Vec<Value>>()
        })
    });
    let provenance = server
        .charts
        .layout()
        .tenant(tenant)
        .join(format!("{}.prov", shown.file));
    let repository = tenant.join(name);
    let context = json!({
        "tenant": tenant.as_str(),
        "path": path(tenant),
        "crumbs": crumbs(tenant),
        "name": name,
        "version": shown.version_text(),
        "fields": shown.fields(),
        "file": shown.file,
        "digest": shown.digest,
        "readme": readme,
        "values": values,
        "dependencies": dependencies.collect::<Vec<_>>(),
        "versions": versions.unwrap_or_default(),
        "provenance": provenance.exists(),
        "url": url(request, tenant),
        "alias": tenant.parts().last().unwrap_or("my-charts"),
        "oci": repository.parse::<RepositoryName>().is_ok().then(|| format!("{}/{repository}", registry_host(request))),
        "plain_http": is_plain(request),
    });
    server.pages.page("chart.html", StatusCode::OK, &context)
}

/// All repositories of the registry that somebody may read.
pub(crate) async fn images(server: &Arc<Server>, request: &Request) -> Result<Answer, Refusal> {
    check_method(request)?;
    if !server.auth.may_enter(&request.user, "") {
        return Err(server.auth.refusal(&request.user, "no right to see this"));
    }
    let mut names = bridge::repositories(server).await?;
    names.retain(|name| server.auth.may(&request.user, name, Right::Read));
    paging::sort(&mut names);
    let context = json!({
        "repositories": names,
        "registry": registry_host(request),
        "plain_http": is_plain(request),
    });
    server.pages.page("images.html", StatusCode::OK, &context)
}

/// The tags of one repository.
pub(crate) async fn image(
    server: &Arc<Server>,
    name: &RepositoryName,
    request: &Request,
) -> Result<Answer, Refusal> {
    check_method(request)?;
    let tags = bridge::tags(server, name).await?;
    let mut tags = tags.ok_or_else(|| Refusal::not_found(format!("there is no repository `{name}`")))?;
    paging::sort(&mut tags);
    let registry = &server.registry;
    let rows = tags.iter().take(ROWS_MAX).map(|tag| -> Result<Value, Refusal> {
        let digest = registry.tag(name, &tag.parse()?)?;
        Ok(json!({"tag": tag, "digest": digest.map(|digest| digest.to_string())}))
    });
    let context = json!({
        "name": name.as_str(),
        "tags": rows.collect::<Result<Vec<_>, _>>()?,
        "registry": registry_host(request),
    });
    server.pages.page("image.html", StatusCode::OK, &context)
}

/// A refusal as a page.
pub(crate) fn refusal(server: &Server, refusal: Refusal) -> Answer {
    let context = json!({"status": refusal.status.as_u16(), "message": refusal.message});
    match server.pages.page("refusal.html", refusal.status, &context) {
        Ok(mut answer) => {
            for (name, value) in refusal.headers {
                header(&mut answer, name, &value);
            }
            answer
        }
        Err(_) => refusal.into_text_answer(),
    }
}

/// The looks of all pages.
pub(crate) fn style(request: &Request) -> Answer {
    let etag = concat!("\"", env!("CARGO_PKG_VERSION"), "\"");
    let body = bytes::Bytes::from_static(STYLE.as_bytes());
    let mut answer = content::bytes(
        &body,
        "text/css; charset=utf-8",
        etag,
        &request.method,
        &request.headers,
    );
    header(&mut answer, CACHE_CONTROL, "no-cache");
    answer
}

/// An answer with a page.
fn page_answer(status: StatusCode, page: String) -> Answer {
    let mut answer = whole(status, "text/html; charset=utf-8", page);
    header(&mut answer, CONTENT_SECURITY_POLICY, POLICY);
    header(&mut answer, X_CONTENT_TYPE_OPTIONS, "nosniff");
    header(&mut answer, REFERRER_POLICY, "no-referrer");
    answer
}

fn check_method(request: &Request) -> Result<(), Refusal> {
    match request.method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Refusal::method("GET, HEAD")),
    }
}

/// `/`, or `/TENANT/`.
fn path(tenant: &Tenant) -> String {
    tenant
        .parts()
        .fold(String::from("/"), |path, part| path + part + "/")
}

fn crumbs(tenant: &Tenant) -> Vec<Value> {
    let mut path = String::from("/");
    let crumb = |part: &str| {
        path.push_str(part);
        path.push('/');
        json!({"name": part, "path": path})
    };
    tenant.parts().map(crumb).collect()
}

/// What `helm repo add` takes.
fn url(request: &Request, tenant: &Tenant) -> String {
    format!("{}{}", request.base, path(tenant))
        .trim_end_matches('/')
        .to_owned()
}

/// Whether clients of the registry must be told that there is no TLS.
fn is_plain(request: &Request) -> bool {
    request.base.starts_with("http://")
}

fn registry_host(request: &Request) -> &str {
    request
        .base
        .split_once("://")
        .map_or(request.base.as_str(), |(_, host)| host)
}

/// The last place not behind a limit where a text can be cut.
fn floor(text: &str, limit: usize) -> usize {
    (0..=limit.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}
