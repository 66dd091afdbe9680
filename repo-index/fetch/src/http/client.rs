//! The client: sends requests, follows where answers lead, sends again where that may help.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::{Certificate, Identity, NoProxy, Proxy, Url, redirect};

use super::error::{HttpError, is_temporary, without_password};
use super::options::{Credentials, HttpOptions};

/// The most addresses that answers may lead to.
const REDIRECTS_MAX: usize = 10;
/// The most characters of a server's own words in an error.
const MESSAGE_CHARS_MAX: usize = 300;

/// Sends requests to servers of charts.
#[derive(Debug, Clone)]
pub struct HttpClient {
    pub(super) options: HttpOptions,
    /// For the servers that the user named.
    named: reqwest::Client,
    /// For hosts that answers and indexes lead to: they do not see our certificate.
    stranger: reqwest::Client,
}

/// Something to ask of a server.
#[derive(Debug, Clone)]
pub(crate) struct Request<'r> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Told to the host of the address alone.
    pub(crate) credentials: Option<&'r Credentials>,
    /// Sending it twice does no harm.
    pub(crate) repeatable: bool,
}

impl<'r> Request<'r> {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self {
            repeatable: method == Method::GET || method == Method::HEAD,
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            credentials: None,
        }
    }

    pub(crate) fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    #[must_use]
    pub(crate) fn with_credentials(mut self, credentials: Option<&'r Credentials>) -> Self {
        self.credentials = credentials;
        self
    }

    #[must_use]
    pub(crate) fn with_header(mut self, name: http::HeaderName, value: &str) -> Self {
        // A value with control characters is none that a server would know.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
        self
    }

    #[must_use]
    pub(crate) fn with_body(mut self, content_type: &str, body: Bytes) -> Self {
        self.body = body;
        self.with_header(header::CONTENT_TYPE, content_type)
    }
}

/// An answer with its whole body.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The address that gave it in the end.
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The answer if it is a yes.
    pub(crate) fn success(self) -> Result<Self, HttpError> {
        if self.status.is_success() {
            return Ok(self);
        }
        Err(HttpError::Status {
            url: without_password(&self.url),
            status: self.status,
            message: message_of(&self.headers, &self.body),
        })
    }
}

/// What a server says in words, when it says so in text or in the JSON of a registry.
fn message_of(headers: &HeaderMap, body: &[u8]) -> String {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default();
    let text = if kind.contains("json") {
        let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let error = &value["errors"][0];
        let words = [
            &error["message"],
            &error["code"],
            &value["error"],
            &value["message"],
        ];
        words
            .iter()
            .find_map(|word| word.as_str())
            .unwrap_or_default()
            .to_owned()
    } else if kind.starts_with("text/plain") {
        String::from_utf8_lossy(body).trim().to_owned()
    } else {
        String::new()
    };
    text.chars()
        .filter(|c| !c.is_control())
        .take(MESSAGE_CHARS_MAX)
        .collect()
}

impl HttpClient {
    /// Makes a client. Reads the files of certificates and keys; nothing is sent.
    pub fn new(options: HttpOptions) -> Result<Self, HttpError> {
        let named = build(&options, true)?;
        let stranger = if options.tls.cert_file.is_some() {
            build(&options, false)?
        } else {
            named.clone()
        };
        Ok(Self {
            options,
            named,
            stranger,
        })
    }

    /// Asks until an answer comes that is not "later", and reads it. An answer that says no is an answer.
    pub(crate) async fn send(&self, request: Request<'_>) -> Result<Answer, HttpError> {
        let mut sent = 0;
        loop {
            sent += 1;
            let outcome = self.send_once(&request).await;
            let last = sent >= self.options.retry.attempts_max || !request.repeatable;
            let wished = match &outcome {
                Ok(answer) if is_temporary(answer.status) && !last => retry_after(&answer.headers),
                Err(error) if error.is_temporary() && !last => None,
                _ => return outcome,
            };
            tracing::debug!(url = %without_password(&request.url), sent, "trying again");
            tokio::time::sleep(self.options.retry.wait(sent, wished)).await;
        }
    }

    async fn send_once(&self, request: &Request<'_>) -> Result<Answer, HttpError> {
        let response = self.open(request).await?;
        let (url, status, headers) = (
            response.url().clone(),
            response.status(),
            response.headers().clone(),
        );
        let body = self.read(response).await?;
        Ok(Answer {
            url,
            status,
            headers,
            body,
        })
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Bytes, HttpError> {
        let url = response.url().clone();
        let limit = self.options.answer_bytes_max;
        let mut body = BytesMut::new();
        loop {
            let chunk = response.chunk().await;
            let Some(chunk) = chunk.map_err(|error| HttpError::unreachable(&url, error))? else {
                return Ok(body.freeze());
            };
            if body.len() as u64 + chunk.len() as u64 > limit {
                return Err(HttpError::TooLarge {
                    url: without_password(&url),
                    limit,
                });
            }
            body.extend_from_slice(&chunk);
        }
    }

    /// Sends a request and follows where the answers lead; the body of the last one is still to come.
    ///
    /// Credentials go to the host of the request alone, and so do headers that are secrets of it.
    pub(super) async fn open(&self, request: &Request<'_>) -> Result<reqwest::Response, HttpError> {
        let mut url = request.url.clone();
        let mut method = request.method.clone();
        let mut body = request.body.clone();
        for _ in 0..=REDIRECTS_MAX {
            if !matches!(url.scheme(), "http" | "https") {
                return Err(HttpError::Url {
                    url: without_password(&url),
                });
            }
            let trusted = same_origin(&url, &request.url) || self.options.pass_credentials;
            let client = if trusted { &self.named } else { &self.stranger };
            let mut headers = request.headers.clone();
            let credentials = request.credentials.filter(|_| trusted);
            if let Some(value) = credentials.and_then(Credentials::header) {
                headers.insert(header::AUTHORIZATION, value);
            }
            tracing::debug!(%method, url = %without_password(&url), "request");
            let response = client
                .request(method.clone(), url.clone())
                .headers(headers)
                .body(body.clone())
                .send()
                .await
                .map_err(|error| HttpError::unreachable(&url, error))?;
            let status = response.status();
            let location = response
                .headers()
                .get(header::LOCATION)
                .and_then(|to| to.to_str().ok());
            let Some(location) = location.filter(|_| leads_on(status, &method)) else {
                return Ok(response);
            };
            url = url.join(location).map_err(|_| HttpError::Url {
                url: location.to_owned(),
            })?;
            if status == StatusCode::SEE_OTHER && method != Method::HEAD {
                method = Method::GET;
                body = Bytes::new();
            }
        }
        Err(HttpError::Redirects {
            url: without_password(&request.url),
            limit: REDIRECTS_MAX,
        })
    }
}

/// Tells whether both addresses are of one server.
pub(crate) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

fn leads_on(status: StatusCode, method: &Method) -> bool {
    match status.as_u16() {
        301..=303 => matches!(*method, Method::GET | Method::HEAD),
        307 | 308 => true,
        _ => false,
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    // The other form is a date, which needs a clock; the usual wait does as well.
    Some(Duration::from_secs(seconds.trim().parse().ok()?))
}

fn build(options: &HttpOptions, with_identity: bool) -> Result<reqwest::Client, HttpError> {
    let reason = |error: reqwest::Error| HttpError::Client {
        reason: error.to_string(),
    };
    let mut builder = reqwest::Client::builder()
        .user_agent(&options.user_agent)
        .redirect(redirect::Policy::none())
        .connect_timeout(options.idle_max)
        .read_timeout(options.idle_max)
        .tls_danger_accept_invalid_certs(options.tls.insecure)
        .no_proxy();
    if let Some(path) = &options.tls.ca_file {
        let certificates =
            Certificate::from_pem_bundle(&read(path)?).map_err(|error| bad_file(path, &error))?;
        if certificates.is_empty() {
            return Err(HttpError::TlsFile {
                path: path.clone(),
                reason: "there is no certificate in it".to_owned(),
            });
        }
        builder = builder.tls_certs_only(certificates);
    }
    if let (Some(certificate), true) = (&options.tls.cert_file, with_identity) {
        let mut pem = read(certificate)?;
        // Both may stand in one file.
        if let Some(key) = &options.tls.key_file {
            pem.push(b'\n');
            pem.extend(read(key)?);
        }
        builder = builder.identity(Identity::from_pem(&pem).map_err(|error| bad_file(certificate, &error))?);
    }
    let proxies = &options.proxies;
    let direct = proxies.none.as_deref().and_then(NoProxy::from_string);
    let made = [
        proxies.http.as_ref().map(Proxy::http),
        proxies.https.as_ref().map(Proxy::https),
        proxies.all.as_ref().map(Proxy::all),
    ];
    for proxy in made.into_iter().flatten() {
        builder = builder.proxy(proxy.map_err(reason)?.no_proxy(direct.clone()));
    }
    builder.build().map_err(reason)
}

fn read(path: &Path) -> Result<Vec<u8>, HttpError> {
    fs::read(path).map_err(|error| HttpError::TlsFile {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn bad_file(path: &Path, error: &reqwest::Error) -> HttpError {
    HttpError::TlsFile {
        path: path.to_owned(),
        reason: std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string),
    }
}
