//! Requests to `/v2/`, by the distribution specification 1.1.

use std::sync::Arc;
use std::time::SystemTime;

use ::http::header::{CONTENT_RANGE, CONTENT_TYPE, RANGE};
use ::http::{HeaderName, Method, StatusCode};
use axum::body::Body;
use serde_json::json;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::manifest::{IMAGE_INDEX, Manifest};
use super::paging;
use super::store::Referrers;
use super::uploads::Upload;
use crate::answer::{Answer, Refusal, empty, header, json_answer, located};
use crate::auth::rights::Right;
use crate::bridge;
use crate::content;
use crate::digest::{Algorithm, Digest};
use crate::name::RepositoryName;
use crate::request::Request;
use crate::route::{Reference, RegistryRoute};
use crate::server::Server;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// `/v2/`: this is a registry.
pub(crate) fn base() -> Answer {
    let mut answer = json_answer(StatusCode::OK, "{}");
    header(&mut answer, API_VERSION, "registry/2.0");
    answer
}

/// `/v2/_catalog`: the repositories that one may read.
pub(crate) async fn catalog(server: &Arc<Server>, request: &Request) -> Result<Answer, Refusal> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(Refusal::method("GET"));
    }
    let names = bridge::repositories(server).await?;
    let may_read = |name: &String| server.auth.may(&request.user, name, Right::Read);
    let mut names: Vec<String> = names.into_iter().filter(may_read).collect();
    paging::sort(&mut names);
    let (page, next) = paging::asked(&names, request)?;
    let mut answer = json_answer(StatusCode::OK, json!({"repositories": page}).to_string());
    if let Some(next) = next {
        paging::link(&mut answer, "/v2/_catalog", request, "n", next);
    }
    Ok(answer)
}

/// Answers a request to a repository.
pub(crate) async fn answer(
    server: &Arc<Server>,
    name: &RepositoryName,
    route: RegistryRoute,
    request: Request,
) -> Result<Answer, Refusal> {
    match (route, request.method.as_str()) {
        (RegistryRoute::Tags, "GET" | "HEAD") => tags(server, name, &request).await,
        (RegistryRoute::Tags, _) => Err(Refusal::method("GET")),
        (RegistryRoute::Manifest(reference), "GET" | "HEAD") => {
            get_manifest(server, name, &reference, &request).await
        }
        (RegistryRoute::Manifest(reference), "PUT") => put_manifest(server, name, reference, request).await,
        (RegistryRoute::Manifest(reference), "DELETE") => delete_manifest(server, name, reference).await,
        (RegistryRoute::Manifest(_), _) => Err(Refusal::method("GET, HEAD, PUT, DELETE")),
        (RegistryRoute::Blob(digest), "GET" | "HEAD") => get_blob(server, name, &digest, &request).await,
        (RegistryRoute::Blob(digest), "DELETE") => delete_blob(server, name, digest).await,
        (RegistryRoute::Blob(_), _) => Err(Refusal::method("GET, HEAD, DELETE")),
        (RegistryRoute::Uploads, "POST") => start_upload(server, name, request).await,
        (RegistryRoute::Uploads, _) => Err(Refusal::method("POST")),
        (RegistryRoute::Upload(id), method) => match method {
            "GET" | "HEAD" => Ok(status(
                name,
                &*server.uploads.get(name, id).await?,
                StatusCode::NO_CONTENT,
            )),
            "PATCH" => continue_upload(server, name, id, request).await,
            "PUT" => finish_upload(server, name, id, request).await,
            "DELETE" => {
                let mut upload = server.uploads.get(name, id).await?;
                server.uploads.forget(&mut upload).await;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            _ => Err(Refusal::method("GET, HEAD, PATCH, PUT, DELETE")),
        },
        (RegistryRoute::Referrers(digest), "GET" | "HEAD") => referrers(server, name, digest, &request).await,
        (RegistryRoute::Referrers(_), _) => Err(Refusal::method("GET")),
    }
}

async fn tags(server: &Arc<Server>, name: &RepositoryName, request: &Request) -> Result<Answer, Refusal> {
    let Some(mut tags) = bridge::tags(server, name).await? else {
        return Err(name_unknown(name));
    };
    paging::sort(&mut tags);
    let (page, next) = paging::asked(&tags, request)?;
    let body = json!({"name": name.as_str(), "tags": page}).to_string();
    let mut answer = json_answer(StatusCode::OK, body);
    if let Some(next) = next {
        let path = format!("/v2/{name}/tags/list");
        paging::link(&mut answer, &path, request, "n", next);
    }
    Ok(answer)
}

async fn get_manifest(
    server: &Arc<Server>,
    name: &RepositoryName,
    reference: &Reference,
    request: &Request,
) -> Result<Answer, Refusal> {
    let Some(stored) = bridge::manifest(server, name, reference.clone()).await? else {
        return Err(manifest_unknown(server, name).await);
    };
    let path = server.registry.layout().blob(&stored.digest);
    let digest = stored.digest.to_string();
    let sent = content::file(
        &path,
        &stored.media_type,
        Some(&digest),
        &request.method,
        &request.headers,
    );
    let Some(mut answer) = sent.await? else {
        return Err(manifest_unknown(server, name).await);
    };
    header(&mut answer, CONTENT_DIGEST, &digest);
    Ok(answer)
}

async fn put_manifest(
    server: &Arc<Server>,
    name: &RepositoryName,
    reference: Reference,
    mut request: Request,
) -> Result<Answer, Refusal> {
    let limit = server.options.limits.manifest_bytes_max;
    let bytes = request.read_body("the manifest", limit).await?;
    let invalid = |message: String| Refusal::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message);
    let manifest =
        Manifest::read(&bytes, request.header(CONTENT_TYPE)).map_err(|error| invalid(error.to_string()))?;
    let digest = match &reference {
        Reference::Digest(wanted) => {
            let digest = wanted.same_of(&bytes);
            if digest != *wanted {
                return Err(Refusal::new(
                    StatusCode::BAD_REQUEST,
                    "DIGEST_INVALID",
                    format!("the manifest has the digest {digest}"),
                ));
            }
            digest
        }
        Reference::Tag(_) => Digest::sha256(&bytes),
    };
    let subject = manifest.subject.clone();
    let work = {
        let (server, name, digest) = (Arc::clone(server), name.clone(), digest.clone());
        move || -> Result<(), Refusal> {
            let registry = &server.registry;
            if let Some(missing) = registry.put_manifest(&name, &digest, &manifest, &bytes)? {
                return Err(Refusal::new(
                    StatusCode::BAD_REQUEST,
                    "MANIFEST_BLOB_UNKNOWN",
                    format!("the repository has no blob {missing}"),
                ));
            }
            let Reference::Tag(tag) = &reference else {
                return Ok(());
            };
            if !registry.put_tag(&name, tag, &digest, server.options.immutable_tags)? {
                return Err(Refusal::conflict(format!(
                    "the tag `{tag}` exists, and tags are not moved here"
                )));
            }
            if server.options.garbage.untagged {
                // It may have been the only tag of another manifest.
                server.garbage.notify_one();
            }
            bridge::list_chart(&server, &name, tag, &manifest)
        }
    };
    spawn_blocking(work).await??;
    let mut answer = located(StatusCode::CREATED, &format!("/v2/{name}/manifests/{digest}"));
    header(&mut answer, CONTENT_DIGEST, &digest.to_string());
    if let Some(subject) = subject {
        header(&mut answer, SUBJECT, &subject.to_string());
    }
    Ok(answer)
}

async fn delete_manifest(
    server: &Arc<Server>,
    name: &RepositoryName,
    reference: Reference,
) -> Result<Answer, Refusal> {
    // A chart that came another way is made one of the registry's before it is removed from it.
    let Some(stored) = bridge::manifest(server, name, reference.clone()).await? else {
        return Err(manifest_unknown(server, name).await);
    };
    let work = {
        let (server, name) = (Arc::clone(server), name.clone());
        move || -> Result<(), Refusal> {
            let manifest = server.registry.read_manifest(&name, &stored.digest)?;
            let tags = match reference {
                Reference::Tag(tag) => {
                    server.registry.delete_tag(&name, &tag)?;
                    vec![tag]
                }
                Reference::Digest(digest) => server
                    .registry
                    .delete_manifest(&name, &digest)?
                    .unwrap_or_default(),
            };
            if let Some(manifest) = manifest {
                bridge::unlist_chart(&server, &name, &tags, &manifest)?;
            }
            Ok(())
        }
    };
    spawn_blocking(work).await??;
    server.garbage.notify_one();
    Ok(empty(StatusCode::ACCEPTED))
}

async fn get_blob(
    server: &Arc<Server>,
    name: &RepositoryName,
    digest: &Digest,
    request: &Request,
) -> Result<Answer, Refusal> {
    let registry = &server.registry;
    if !registry.has_blob(name, digest) {
        return Err(blob_unknown(digest));
    }
    if request.method == Method::HEAD {
        registry.touch(
            name,
            digest,
            SystemTime::from(request.now),
            server.options.garbage.grace,
        );
    }
    let path = registry.layout().blob(digest);
    let text = digest.to_string();
    let kind = "application/octet-stream";
    let sent = content::file(&path, kind, Some(&text), &request.method, &request.headers);
    let mut answer = sent.await?.ok_or_else(|| blob_unknown(digest))?;
    header(&mut answer, CONTENT_DIGEST, &text);
    Ok(answer)
}

async fn delete_blob(server: &Arc<Server>, name: &RepositoryName, digest: Digest) -> Result<Answer, Refusal> {
    let work = {
        let (server, name, digest) = (Arc::clone(server), name.clone(), digest.clone());
        move || server.registry.delete_blob(&name, &digest)
    };
    if !spawn_blocking(work).await?? {
        return Err(blob_unknown(&digest));
    }
    server.garbage.notify_one();
    Ok(empty(StatusCode::ACCEPTED))
}

async fn start_upload(
    server: &Arc<Server>,
    name: &RepositoryName,
    mut request: Request,
) -> Result<Answer, Refusal> {
    if let Some(digest) = request.parameter("mount") {
        let digest: Digest = digest.parse()?;
        if let Some(from) = request.parameter("from")
            && let Ok(from) = from.parse::<RepositoryName>()
            && server.auth.may(&request.user, from.as_str(), Right::Read)
        {
            let work = {
                let (server, name, digest) = (Arc::clone(server), name.clone(), digest.clone());
                move || server.registry.mount(&from, &name, &digest)
            };
            if spawn_blocking(work).await?? {
                return Ok(created(name, &digest));
            }
        }
        // What cannot be mounted is uploaded.
    }
    let digest = request
        .parameter("digest")
        .map(str::parse::<Digest>)
        .transpose()?;
    request.check_length("the blob", server.options.limits.blob_bytes_max)?;
    let algorithm = match (&digest, request.parameter("digest-algorithm")) {
        (Some(digest), _) => digest.algorithm(),
        (None, Some("sha512")) => Algorithm::Sha512,
        (None, _) => Algorithm::Sha256,
    };
    let mut upload = server.uploads.start(name, algorithm).await?;
    match digest {
        None => Ok(status(name, &upload, StatusCode::ACCEPTED)),
        Some(digest) => complete(server, name, &mut upload, &digest, request.take_body()).await,
    }
}

async fn continue_upload(
    server: &Arc<Server>,
    name: &RepositoryName,
    id: Uuid,
    mut request: Request,
) -> Result<Answer, Refusal> {
    let mut upload = server.uploads.get(name, id).await?;
    check_position(name, &upload, &request)?;
    request.check_length("the blob", server.options.limits.blob_bytes_max)?;
    server.uploads.append(&mut upload, request.take_body()).await?;
    Ok(status(name, &upload, StatusCode::ACCEPTED))
}

async fn finish_upload(
    server: &Arc<Server>,
    name: &RepositoryName,
    id: Uuid,
    mut request: Request,
) -> Result<Answer, Refusal> {
    let digest = request.parameter("digest").ok_or_else(|| {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "DIGEST_INVALID",
            "the digest is missing in the address",
        )
    })?;
    let digest: Digest = digest.parse()?;
    let mut upload = server.uploads.get(name, id).await?;
    check_position(name, &upload, &request)?;
    request.check_length("the blob", server.options.limits.blob_bytes_max)?;
    complete(server, name, &mut upload, &digest, request.take_body()).await
}

/// Pieces come in order: one that begins elsewhere is refused, with where to go on.
fn check_position(name: &RepositoryName, upload: &Upload, request: &Request) -> Result<(), Refusal> {
    let Some(range) = request.header(CONTENT_RANGE) else {
        return Ok(());
    };
    let numbers = range
        .trim_start_matches("bytes ")
        .split('/')
        .next()
        .unwrap_or_default();
    let numbers = numbers.split_once('-').and_then(|(first, last)| {
        Some((
            first.trim().parse::<u64>().ok()?,
            last.trim().parse::<u64>().ok()?,
        ))
    });
    let length = request.header(::http::header::CONTENT_LENGTH);
    let length = length.and_then(|text| text.parse::<u64>().ok());
    let fits = numbers.is_some_and(|(first, last)| {
        let count = last.checked_sub(first).and_then(|count| count.checked_add(1));
        first == upload.size() && count.is_some() && length.is_none_or(|length| Some(length) == count)
    });
    if fits {
        return Ok(());
    }
    let refusal = Refusal::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "BLOB_UPLOAD_INVALID",
        format!(
            "the upload has {} bytes; the next piece begins there",
            upload.size()
        ),
    );
    Err(refusal
        .with(RANGE, received(upload))
        .with(::http::header::LOCATION, location(name, upload))
        .with(UPLOAD_ID, upload.id.to_string()))
}

async fn complete(
    server: &Arc<Server>,
    name: &RepositoryName,
    upload: &mut Upload,
    digest: &Digest,
    body: Body,
) -> Result<Answer, Refusal> {
    server.uploads.append(upload, body).await?;
    let file = server.uploads.finish(upload, digest).await?;
    let work = {
        let (server, name, digest) = (Arc::clone(server), name.clone(), digest.clone());
        move || server.registry.adopt_blob(&name, &digest, &file)
    };
    spawn_blocking(work).await??;
    Ok(created(name, digest))
}

fn created(name: &RepositoryName, digest: &Digest) -> Answer {
    let mut answer = located(StatusCode::CREATED, &format!("/v2/{name}/blobs/{digest}"));
    header(&mut answer, CONTENT_DIGEST, &digest.to_string());
    answer
}

fn location(name: &RepositoryName, upload: &Upload) -> String {
    format!("/v2/{name}/blobs/uploads/{}", upload.id)
}

/// Which bytes have come; Docker's registry says `0-0` for none as well as for one.
fn received(upload: &Upload) -> String {
    format!("0-{}", upload.size().saturating_sub(1))
}

fn status(name: &RepositoryName, upload: &Upload, status: StatusCode) -> Answer {
    let mut answer = located(status, &location(name, upload));
    header(&mut answer, RANGE, &received(upload));
    header(&mut answer, UPLOAD_ID, &upload.id.to_string());
    answer
}

async fn referrers(
    server: &Arc<Server>,
    name: &RepositoryName,
    subject: Digest,
    request: &Request,
) -> Result<Answer, Refusal> {
    let wanted = Referrers {
        artifact_type: request.parameter("artifactType").map(str::to_owned),
        after: request.parameter("last").map(str::parse).transpose()?,
        count_max: server.options.limits.referrers_page_max,
    };
    let is_filtered = wanted.artifact_type.is_some();
    let path = format!("/v2/{name}/referrers/{subject}");
    let work = {
        let (server, name) = (Arc::clone(server), name.clone());
        move || server.registry.referrers(&name, &subject, &wanted)
    };
    let (manifests, next) = spawn_blocking(work).await??;
    let body = json!({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": manifests});
    let mut answer = json_answer(StatusCode::OK, body.to_string());
    header(&mut answer, CONTENT_TYPE, IMAGE_INDEX);
    if is_filtered {
        header(&mut answer, FILTERS_APPLIED, "artifactType");
    }
    if let Some(next) = next {
        paging::link(&mut answer, &path, request, "artifactType", &next.to_string());
    }
    Ok(answer)
}

fn name_unknown(name: &RepositoryName) -> Refusal {
    let message = format!("there is no repository `{name}`");
    Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message)
}

async fn manifest_unknown(server: &Arc<Server>, name: &RepositoryName) -> Refusal {
    if !server.registry.has_repository(name) && !matches!(bridge::tags(server, name).await, Ok(Some(_))) {
        return name_unknown(name);
    }
    Refusal::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "no such manifest")
}

fn blob_unknown(digest: &Digest) -> Refusal {
    let message = format!("the repository has no blob {digest}");
    Refusal::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", message)
}
