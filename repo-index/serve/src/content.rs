//! Sending files and bytes, whole or in parts.

use std::io::{self, SeekFrom};
use std::path::Path;

use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::answer::{Answer, Refusal, empty, header};
use crate::conditional::{Content, Selection, select, write_date};

/// How much of a file is read at once.
const PIECE_BYTES: usize = 128 * 1024;

/// Answers with a file. `None` if there is none.
pub(crate) async fn file(
    path: &Path,
    content_type: &str,
    etag: Option<&str>,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Option<Answer>, Refusal> {
    let mut file = match File::open(path).await {
        Ok(file) => file,
        Err(error) if crate::durable::is_absent(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let about = file.metadata().await?;
    if !about.is_file() {
        return Ok(None);
    }
    let modified = about
        .modified()
        .ok()
        .and_then(|time| Timestamp::try_from(time).ok());
    let own_etag = || {
        let nanosecond = modified.map(Timestamp::as_nanosecond).unwrap_or_default();
        format!("\"{:x}-{nanosecond:x}\"", about.len())
    };
    let etag = etag.map_or_else(own_etag, |etag| format!("\"{etag}\""));
    let content = Content {
        length: about.len(),
        etag: &etag,
        modified,
    };
    let selection = select(method, headers, content);
    let mut answer = head(&selection, content, content_type);
    if let (Selection::Part { start, .. }, &Method::GET) = (&selection, method) {
        file.seek(SeekFrom::Start(*start)).await?;
    }
    if let Some(count) = count(&selection, content)
        && *method == Method::GET
    {
        let reader = ReaderStream::with_capacity(file.take(count), PIECE_BYTES);
        *answer.body_mut() = Body::from_stream(reader);
    }
    Ok(Some(answer))
}

/// Answers with bytes that are in memory.
pub(crate) fn bytes(
    body: &Bytes,
    content_type: &str,
    etag: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Answer {
    let content = Content {
        length: body.len() as u64,
        etag,
        modified: None,
    };
    let selection = select(method, headers, content);
    let mut answer = head(&selection, content, content_type);
    if *method == Method::GET {
        *answer.body_mut() = match selection {
            Selection::Whole => body.clone().into(),
            Selection::Part { start, count } => {
                let start = usize::try_from(start).unwrap_or(usize::MAX);
                let end = start.saturating_add(usize::try_from(count).unwrap_or(usize::MAX));
                body.slice(start..end.min(body.len())).into()
            }
            Selection::NotModified | Selection::Unsatisfiable => Body::empty(),
        };
    }
    answer
}

fn count(selection: &Selection, content: Content<'_>) -> Option<u64> {
    match selection {
        Selection::Whole => Some(content.length),
        Selection::Part { count, .. } => Some(*count),
        Selection::NotModified | Selection::Unsatisfiable => None,
    }
}

fn head(selection: &Selection, content: Content<'_>, content_type: &str) -> Answer {
    let length = content.length;
    let mut answer = empty(match selection {
        Selection::Whole => StatusCode::OK,
        Selection::Part { .. } => StatusCode::PARTIAL_CONTENT,
        Selection::NotModified => StatusCode::NOT_MODIFIED,
        Selection::Unsatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
    });
    header(&mut answer, ETAG, content.etag);
    header(&mut answer, ACCEPT_RANGES, "bytes");
    if let Some(modified) = content.modified {
        header(&mut answer, LAST_MODIFIED, &write_date(modified));
    }
    match selection {
        Selection::Part { start, count } => {
            let last = start + count - 1;
            header(
                &mut answer,
                CONTENT_RANGE,
                &format!("bytes {start}-{last}/{length}"),
            );
        }
        Selection::Unsatisfiable => header(&mut answer, CONTENT_RANGE, &format!("bytes */{length}")),
        Selection::Whole | Selection::NotModified => {}
    }
    if let Some(count) = count(selection, content) {
        header(&mut answer, CONTENT_TYPE, content_type);
        header(&mut answer, CONTENT_LENGTH, &count.to_string());
    }
    answer
}

/// Reads a file that is small.
pub(crate) fn read_small(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    use std::io::Read;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if crate::durable::is_absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(Some(bytes))
}
