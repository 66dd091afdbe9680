//! One request: found out what it wants and who asks, answered, counted and logged.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::body::Body;
use http::header::{ACCEPT, HOST, SERVER, USER_AGENT};
use http::{HeaderMap, Method, StatusCode, Uri};
use jiff::Timestamp;
use serde_json::json;

use crate::answer::{Answer, Refusal, header, json_answer, whole};
use crate::auth::rights::Right;
use crate::auth::{User, token};
use crate::charts::api;
use crate::registry;
use crate::request::Request;
use crate::route::{Route, route};
use crate::server::Server;
use crate::web;

/// Answers a request.
pub(crate) async fn handle(server: &Arc<Server>, peer: SocketAddr, request: http::Request<Body>) -> Answer {
    let begun = Instant::now();
    server.metrics.begin();
    let (parts, body) = request.into_parts();
    let method = method_word(&parts.method);
    let path = parts.uri.path().to_owned();
    let agent = parts.headers.get(USER_AGENT).cloned();
    let found = route(&path, server.options.depth);
    let label = found.as_ref().map_or("none", Route::label);
    let now = Timestamp::now();
    let mut who = None;
    let outcome = match found {
        Ok(route) => answer(server, route, now, parts, body, &mut who).await,
        Err(refusal) => Err((refusal, form_of(&path, &parts.headers))),
    };
    let mut answer = outcome.unwrap_or_else(|(refusal, form)| form.write(server, refusal));
    header(&mut answer, SERVER, "tug");
    if method == "HEAD" {
        // Such an answer has no body, also where it is a refusal.
        *answer.body_mut() = Body::empty();
    }
    let (status, took) = (answer.status().as_u16(), begun.elapsed());
    server.metrics.end(method, label, status, took);
    if server.options.access_log && label != "status" {
        tracing::info!(
            target: "repo_serve::access",
            peer = %peer,
            user = who.as_deref().unwrap_or("-"),
            method,
            path,
            status,
            microseconds = took.as_micros(),
            agent = agent.as_ref().and_then(|agent| agent.to_str().ok()).unwrap_or("-"),
        );
    }
    answer
}

/// In which form a refusal is written.
#[derive(Debug, Clone, Copy)]
enum Form {
    Registry,
    Api,
    Page,
    Text,
}

impl Form {
    fn write(self, server: &Server, refusal: Refusal) -> Answer {
        match self {
            Self::Registry => refusal.into_registry_answer(),
            Self::Api => refusal.into_api_answer(),
            Self::Page => web::refusal(server, refusal),
            Self::Text => refusal.into_text_answer(),
        }
    }
}

fn form_of(path: &str, headers: &HeaderMap) -> Form {
    let wants_page = headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accepted| accepted.contains("text/html"));
    let first = path.trim_start_matches('/').split('/').next();
    match first {
        Some("v2") => Form::Registry,
        Some("api" | "token") => Form::Api,
        _ if wants_page => Form::Page,
        _ => Form::Text,
    }
}

async fn answer(
    server: &Arc<Server>,
    route: Route,
    now: Timestamp,
    parts: http::request::Parts,
    body: Body,
    who: &mut Option<String>,
) -> Result<Answer, (Refusal, Form)> {
    let form = form_of(parts.uri.path(), &parts.headers);
    let base = base(server, &parts.uri, &parts.headers);
    let scope = scope(&route, &parts.method);
    let work = async {
        let user = match route {
            // Whether the server lives is asked by those who do not know passwords.
            Route::Health | Route::Ready | Route::Style => User::Anonymous,
            _ => server.auth.user(&parts.headers, now).await?,
        };
        *who = user.name().map(str::to_owned);
        if let Some((repository, right)) = route.needs(&parts.method) {
            server.auth.require(&user, &repository, right)?;
        }
        let query = parts.uri.query().unwrap_or_default();
        let request = Request {
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            method: parts.method,
            headers: parts.headers,
            base: base.clone(),
            body: Mutex::new(body),
            user,
            now,
        };
        dispatch(server, route, request).await
    };
    work.await
        .map_err(|refusal| (server.auth.challenge(refusal, &base, scope.as_deref()), form))
}

async fn dispatch(server: &Arc<Server>, route: Route, request: Request) -> Result<Answer, Refusal> {
    match route {
        Route::Index(tenant) => api::index(server, &tenant, &request).await,
        Route::ChartFile(tenant, file) => api::file(server, &tenant, &file, &request).await,
        Route::Api(tenant, route) => api::answer(server, &tenant, route, request).await,
        Route::RegistryBase => {
            // Clients look here for how to say who they are, so that it is asked also where others need not say.
            if matches!(request.user, User::Anonymous) {
                return Err(crate::auth::unauthorized("who are you?"));
            }
            Ok(registry::http::base())
        }
        Route::Catalog => registry::http::catalog(server, &request).await,
        Route::Registry(name, route) => registry::http::answer(server, &name, route, request).await,
        Route::Token => issue_token(server, &request),
        Route::Home(tenant) => web::home(server, &tenant, &request),
        Route::ChartPage(tenant, chart, version) => {
            web::chart(server, &tenant, &chart, version.as_deref(), &request).await
        }
        Route::Images(None) => web::images(server, &request).await,
        Route::Images(Some(name)) => web::image(server, &name, &request).await,
        Route::Style => Ok(web::style(&request)),
        Route::Health => Ok(json_answer(StatusCode::OK, "{\"healthy\":true}")),
        Route::Ready if server.is_ready() => Ok(whole(StatusCode::OK, "text/plain", "ready\n")),
        Route::Ready => Ok(whole(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "stopping\n")),
        Route::Metrics => {
            // Names of people and repositories do not occur, but what is counted is not for everybody.
            if !server.auth.may_enter(&request.user, "") {
                return Err(server
                    .auth
                    .refusal(&request.user, "no right to read the measurements"));
            }
            let text = server.metrics.text(server.gauges());
            Ok(whole(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                text,
            ))
        }
        Route::Info => Ok(api::info()),
    }
}

/// `/token`: a token for what is asked for, as far as the user has the right.
fn issue_token(server: &Server, request: &Request) -> Result<Answer, Refusal> {
    if request.method != Method::GET {
        return Err(Refusal::method("GET"));
    }
    let scopes = request.query.iter().filter(|(key, _)| key == "scope");
    let scopes: Vec<(String, Vec<Right>)> = scopes
        .flat_map(|(_, value)| value.split(' '))
        .filter_map(token::scope)
        .collect();
    let (token, seconds) = server.auth.issue(&request.user, &scopes, request.now);
    let body = json!({
        "token": token,
        "access_token": token,
        "expires_in": seconds,
        "issued_at": request.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    Ok(json_answer(StatusCode::OK, body.to_string()))
}

/// What a token must be for, if one is asked for; `None` where clients know passwords only.
fn scope(route: &Route, method: &Method) -> Option<String> {
    match route {
        Route::RegistryBase | Route::Catalog => Some(String::new()),
        Route::Registry(name, _) => {
            let actions = match *method {
                Method::GET | Method::HEAD => "pull",
                Method::DELETE => "delete",
                _ => "pull,push",
            };
            Some(format!("repository:{name}:{actions}"))
        }
        _ => None,
    }
}

/// The server's address as the client sees it.
fn base(server: &Server, uri: &Uri, headers: &HeaderMap) -> String {
    if let Some(url) = &server.options.external_url {
        return url.trim_end_matches('/').to_owned();
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = uri
        .authority()
        .map(http::uri::Authority::as_str)
        .or_else(|| text(HOST.as_str()));
    let host = host.filter(|host| {
        host.bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']' | b'_'))
    });
    let is_https = server.options.tls.is_some() || text("x-forwarded-proto") == Some("https");
    let scheme = if is_https { "https" } else { "http" };
    format!("{scheme}://{}", host.unwrap_or("localhost"))
}

/// Methods that are counted by their names.
fn method_word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "OTHER",
    }
}
