//! ChartMuseum's API, the index, and the archives.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use chart_model::Chart;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::task::spawn_blocking;

use super::multipart;
use super::store::{AddError, Candidate, IfPresent, Source, TenantCharts};
use super::version::ChartVersion;
use crate::answer::{Answer, Refusal, header, json_answer};
use crate::auth::rights::Right;
use crate::bridge;
use crate::conditional::accepts_gzip;
use crate::content;
use crate::durable::Draft;
use crate::name::{FileName, Tenant};
use crate::request::Request;
use crate::route::ApiRoute;
use crate::server::Server;

const YAML: &str = "application/x-yaml; charset=utf-8";

/// `index.yaml`, from memory.
pub(crate) async fn index(server: &Server, tenant: &Tenant, request: &Request) -> Result<Answer, Refusal> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(Refusal::method("GET, HEAD"));
    }
    // A tenant without charts has an empty index, so that it can be added before the first chart comes.
    let page = match server.charts.tenant(tenant) {
        Some(charts) => match charts.ready_page() {
            Some(page) => page,
            None => {
                let now = request.now;
                spawn_blocking(move || charts.page(now)).await?
            }
        },
        None => TenantCharts::default().page(Timestamp::UNIX_EPOCH),
    };
    let is_gzip = accepts_gzip(&request.headers);
    let (body, etag) = if is_gzip {
        (&page.gzip, &page.gzip_etag)
    } else {
        (&page.plain, &page.plain_etag)
    };
    let mut answer = content::bytes(body, YAML, etag, &request.method, &request.headers);
    if is_gzip {
        header(&mut answer, CONTENT_ENCODING, "gzip");
    }
    header(&mut answer, VARY, "Accept-Encoding");
    header(&mut answer, CACHE_CONTROL, "no-cache");
    Ok(answer)
}

/// An archive or its provenance.
pub(crate) async fn file(
    server: &Server,
    tenant: &Tenant,
    file: &FileName,
    request: &Request,
) -> Result<Answer, Refusal> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(Refusal::method("GET, HEAD"));
    }
    let unknown = || Refusal::not_found(format!("there is no {file}"));
    let charts = server.charts.tenant(tenant);
    let version = charts.and_then(|charts| charts.look(|listing| listing.file(file.archive()).cloned()));
    let repository = version.as_ref().map(|version| tenant.join(&version.name));
    let repository = repository.unwrap_or_else(|| tenant.to_string());
    server.auth.require(&request.user, &repository, Right::Read)?;
    let version = version.ok_or_else(unknown)?;
    let (kind, etag) = if file.is_provenance() {
        ("application/pgp-signature", None)
    } else {
        ("application/gzip", Some(version.digest.as_str()))
    };
    let path = server.charts.layout().archive(tenant, file);
    let answer = content::file(&path, kind, etag, &request.method, &request.headers).await?;
    answer.ok_or_else(unknown)
}

/// Answers a request to `/api/`.
pub(crate) async fn answer(
    server: &Arc<Server>,
    tenant: &Tenant,
    route: ApiRoute,
    request: Request,
) -> Result<Answer, Refusal> {
    match (route, request.method.as_str()) {
        (ApiRoute::Charts, "GET" | "HEAD") => list(server, tenant, &request),
        (ApiRoute::Charts, "POST" | "PUT") => upload(server, tenant, request).await,
        (ApiRoute::Provenance, "POST" | "PUT") => upload_provenance(server, tenant, request).await,
        (ApiRoute::Chart(name), "GET" | "HEAD") => versions(server, tenant, &name),
        (ApiRoute::Version(name, version), "GET" | "HEAD") => {
            let found = find(server, tenant, &name, &version)?;
            Ok(json_answer(StatusCode::OK, found.json.clone()))
        }
        (ApiRoute::Version(name, version), "DELETE") => delete(server, tenant, name, version).await,
        (ApiRoute::Templates(name, version), "GET") => {
            let chart = unpacked(server, tenant, &name, &version).await?;
            let files = chart.templates.iter().map(|file| {
                use base64::Engine as _;
                let data = base64::engine::general_purpose::STANDARD.encode(&file.data);
                json!({"name": file.name, "data": data})
            });
            let body = json!({"templates": files.collect::<Vec<_>>()});
            Ok(json_answer(StatusCode::OK, body.to_string()))
        }
        (ApiRoute::Values(name, version), "GET") => {
            let chart = unpacked(server, tenant, &name, &version).await?;
            let values = chart
                .raw_file("values.yaml")
                .map(|file| Bytes::copy_from_slice(&file.data));
            let mut answer = json_answer(StatusCode::OK, values.unwrap_or_default());
            header(&mut answer, CONTENT_TYPE, YAML);
            Ok(answer)
        }
        (ApiRoute::Charts, _) => Err(Refusal::method("GET, HEAD, POST")),
        (ApiRoute::Provenance, _) => Err(Refusal::method("POST")),
        (ApiRoute::Version(..), _) => Err(Refusal::method("GET, HEAD, DELETE")),
        _ => Err(Refusal::method("GET")),
    }
}

/// All versions of all charts, by chart.
fn list(server: &Server, tenant: &Tenant, request: &Request) -> Result<Answer, Refusal> {
    let offset = request.count("offset")?.unwrap_or(0);
    let limit = request.count("limit")?.unwrap_or(usize::MAX);
    let mut body = String::from("{");
    if let Some(charts) = server.charts.tenant(tenant) {
        charts.look(|listing| {
            for name in listing.names().skip(offset).take(limit) {
                if body.len() > 1 {
                    body.push(',');
                }
                body.push_str(&Value::from(name).to_string());
                body.push(':');
                push_list(&mut body, listing.versions(name));
            }
        });
    }
    body.push('}');
    Ok(json_answer(StatusCode::OK, body))
}

fn push_list<'v>(body: &mut String, versions: impl Iterator<Item = &'v Arc<ChartVersion>>) {
    body.push('[');
    for (place, version) in versions.enumerate() {
        if place > 0 {
            body.push(',');
        }
        body.push_str(&version.json);
    }
    body.push(']');
}

fn versions(server: &Server, tenant: &Tenant, name: &str) -> Result<Answer, Refusal> {
    let mut body = String::new();
    if let Some(charts) = server.charts.tenant(tenant) {
        charts.look(|listing| push_list(&mut body, listing.versions(name)));
    }
    if body.len() <= 2 {
        return Err(Refusal::not_found("chart not found"));
    }
    Ok(json_answer(StatusCode::OK, body))
}

/// A version, or with `latest` the highest.
pub(crate) fn find(
    server: &Server,
    tenant: &Tenant,
    name: &str,
    version: &str,
) -> Result<Arc<ChartVersion>, Refusal> {
    let charts = server.charts.tenant(tenant);
    let found = charts.and_then(|charts| {
        charts.look(|listing| {
            let exact = listing.version(name, version);
            let latest = || listing.versions(name).next().filter(|_| version == "latest");
            exact.or_else(latest).cloned()
        })
    });
    found.ok_or_else(|| Refusal::not_found("no chart version found"))
}

/// Unpacks a chart, not many at the same time.
pub(crate) async fn unpacked(
    server: &Arc<Server>,
    tenant: &Tenant,
    name: &str,
    version: &str,
) -> Result<Chart, Refusal> {
    let found = find(server, tenant, name, version)?;
    let _place = server.unpacking_place().await?;
    let path = server.charts.layout().tenant(tenant).join(&found.file);
    let limit = server.charts.chart_bytes_max();
    let work = move || -> Result<Chart, Refusal> {
        let bytes = content::read_small(&path, limit)?;
        let bytes = bytes.ok_or_else(|| Refusal::not_found("no chart version found"))?;
        Chart::from_archive(&bytes).map_err(|error| Refusal::not_found(error.to_string()))
    };
    spawn_blocking(work).await?
}

/// What an upload holds.
struct Uploaded {
    chart: Option<Bytes>,
    provenance: Option<Bytes>,
}

async fn read_upload(
    server: &Server,
    request: &mut Request,
    plain_is_chart: bool,
) -> Result<Uploaded, Refusal> {
    let limit = server.options.limits.chart_bytes_max;
    let boundary = request.header(CONTENT_TYPE).and_then(multipart::boundary);
    let body = request.read_body("the chart", limit).await?;
    let Some(boundary) = boundary else {
        let (chart, provenance) = if plain_is_chart {
            (Some(body), None)
        } else {
            (None, Some(body))
        };
        return Ok(Uploaded { chart, provenance });
    };
    let parts =
        multipart::parts(&body, &boundary).map_err(|error| Refusal::bad_request(error.to_string()))?;
    let mut uploaded = Uploaded {
        chart: None,
        provenance: None,
    };
    for part in parts {
        match part.name.as_str() {
            "chart" => uploaded.chart = Some(part.data),
            "prov" => uploaded.provenance = Some(part.data),
            _ => {}
        }
    }
    Ok(uploaded)
}

async fn upload(server: &Arc<Server>, tenant: &Tenant, mut request: Request) -> Result<Answer, Refusal> {
    check_tenant(tenant)?;
    // Who may write nothing at all here need not send anything first.
    if !server.auth.may_enter(&request.user, tenant.as_str()) {
        return Err(server.auth.refusal(&request.user, "no right to write here"));
    }
    let memory = server.upload_place().await?;
    let uploaded = read_upload(server, &mut request, true).await?;
    let place = server.unpacking_place().await?;
    let if_present = if request.flag("force") {
        IfPresent::Replace
    } else {
        IfPresent::Refuse
    };
    let (server, tenant) = (Arc::clone(server), tenant.clone());
    let work = move || -> Result<Answer, Refusal> {
        let _places = (memory, place);
        let Some(chart) = uploaded.chart else {
            let provenance = uploaded.provenance.ok_or_else(|| {
                Refusal::bad_request("no package or provenance file found in form fields chart and prov")
            })?;
            return save_provenance(&server, &tenant, &request, &provenance, if_present);
        };
        save(
            &server,
            &tenant,
            &request,
            &chart,
            uploaded.provenance.as_ref(),
            if_present,
        )
    };
    spawn_blocking(work).await?
}

fn save(
    server: &Arc<Server>,
    tenant: &Tenant,
    request: &Request,
    chart: &Bytes,
    provenance: Option<&Bytes>,
    if_present: IfPresent,
) -> Result<Answer, Refusal> {
    let candidate = Candidate::read(chart, SystemTime::from(request.now)).map_err(refused)?;
    let repository = tenant.join(&candidate.version.name);
    server.auth.require(&request.user, &repository, Right::Write)?;
    let name = candidate.version.name.clone();
    let version = candidate.version.version_text().to_owned();
    let charts = server.charts.tenant(tenant);
    let old = charts.and_then(|charts| charts.look(|listing| listing.version(&name, &version).cloned()));
    if old.is_some() && if_present == IfPresent::Replace {
        server.auth.require(&request.user, &repository, Right::Delete)?;
    }
    let (file, digest) = (candidate.file.clone(), candidate.version.digest.clone());
    // What comes second finds out without writing anything.
    if old.is_some() && if_present == IfPresent::Refuse {
        return Err(refused(AddError::Exists(file)));
    }
    let draft = Draft::of(&server.charts.layout().drafts(), chart)?;
    server
        .charts
        .add(tenant, candidate, &Source::Draft(draft), if_present)
        .map_err(refused)?;
    if let Some(old) = old.filter(|old| old.digest != digest) {
        bridge::untag_chart(server, tenant, &old)?;
    }
    if let Some(provenance) = provenance {
        // The archive is new, and so what stands there belongs to an older one.
        server
            .charts
            .add_provenance(tenant, &file, provenance, IfPresent::Replace)
            .map_err(refused)?;
    }
    Ok(saved())
}

async fn upload_provenance(
    server: &Arc<Server>,
    tenant: &Tenant,
    mut request: Request,
) -> Result<Answer, Refusal> {
    check_tenant(tenant)?;
    if !server.auth.may_enter(&request.user, tenant.as_str()) {
        return Err(server.auth.refusal(&request.user, "no right to write here"));
    }
    let _memory = server.upload_place().await?;
    let uploaded = read_upload(server, &mut request, false).await?;
    let provenance = uploaded
        .provenance
        .ok_or_else(|| Refusal::bad_request("no provenance file found in form field prov"))?;
    let if_present = if request.flag("force") {
        IfPresent::Replace
    } else {
        IfPresent::Refuse
    };
    let (server, tenant) = (Arc::clone(server), tenant.clone());
    spawn_blocking(move || save_provenance(&server, &tenant, &request, &provenance, if_present)).await?
}

fn save_provenance(
    server: &Server,
    tenant: &Tenant,
    request: &Request,
    provenance: &Bytes,
    if_present: IfPresent,
) -> Result<Answer, Refusal> {
    let file =
        signed_file(provenance).ok_or_else(|| Refusal::bad_request("the provenance names no archive"))?;
    let file: FileName = file.parse()?;
    let charts = server.charts.tenant(tenant);
    let version = charts.and_then(|charts| charts.look(|listing| listing.file(file.as_str()).cloned()));
    let repository = version.map_or_else(|| tenant.to_string(), |version| tenant.join(&version.name));
    server.auth.require(&request.user, &repository, Right::Write)?;
    server
        .charts
        .add_provenance(tenant, &file, provenance, if_present)
        .map_err(refused)?;
    Ok(saved())
}

/// The archive that provenance is of: `files:` has one line `  NAME-VERSION.tgz: sha256:...`.
fn signed_file(provenance: &[u8]) -> Option<String> {
    let text = str::from_utf8(provenance).ok()?;
    if !text
        .trim_start()
        .starts_with("-----BEGIN PGP SIGNED MESSAGE-----")
    {
        return None;
    }
    let mut lines = text
        .lines()
        .skip_while(|line| line.trim_end() != "files:")
        .skip(1);
    let (file, digest) = lines.next()?.trim().split_once(": ")?;
    digest
        .starts_with("sha256:")
        .then(|| file.trim_matches('"').to_owned())
}

async fn delete(
    server: &Arc<Server>,
    tenant: &Tenant,
    name: String,
    version: String,
) -> Result<Answer, Refusal> {
    let (server, tenant) = (Arc::clone(server), tenant.clone());
    let work = move || -> Result<Answer, Refusal> {
        let Some(removed) = server.charts.delete(&tenant, &name, &version)? else {
            return Err(Refusal::not_found("no chart version found"));
        };
        bridge::untag_chart(&server, &tenant, &removed)?;
        Ok(json_answer(StatusCode::OK, "{\"deleted\":true}"))
    };
    spawn_blocking(work).await?
}

/// A chart under a name that other addresses begin with could not be asked for.
fn check_tenant(tenant: &Tenant) -> Result<(), Refusal> {
    match tenant.parts().next() {
        Some(part @ ("api" | "v2")) => Err(Refusal::bad_request(format!("`{part}` cannot be a tenant"))),
        _ => Ok(()),
    }
}

fn saved() -> Answer {
    json_answer(StatusCode::CREATED, "{\"saved\":true}")
}

fn refused(error: AddError) -> Refusal {
    match error {
        AddError::NoChart(why) => Refusal::bad_request(why),
        AddError::Name(error) => error.into(),
        AddError::Exists(_) => Refusal::conflict(error.to_string()),
        AddError::NoArchive(_) => Refusal::not_found(error.to_string()),
        AddError::Io(error) => error.into(),
    }
}

/// `/info`
pub(crate) fn info() -> Answer {
    let mut body = Map::new();
    body.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
    json_answer(StatusCode::OK, Value::Object(body).to_string())
}
