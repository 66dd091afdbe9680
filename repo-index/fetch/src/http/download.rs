//! Downloads that go on where they broke off.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use repo_index::Digest;

use super::client::{HttpClient, Request, same_origin};
use super::error::{HttpError, without_password};
use crate::observer::{Event, Observer};

impl HttpClient {
    /// Downloads into memory by way of a file in `folder`, which is kept while the download is not complete.
    ///
    /// A download that broke off, in this process or an earlier one, goes on where it stopped if the server has the same
    /// thing still, which its `ETag` or `Last-Modified` says.
    pub(crate) async fn download(
        &self,
        request: Request<'_>,
        folder: &Path,
        observer: &dyn Observer,
    ) -> Result<Bytes, HttpError> {
        let name = request
            .url
            .path_segments()
            .and_then(|mut parts| parts.next_back());
        let name = name.unwrap_or_default().to_owned();
        let mut partial = Partial::open(folder, request.url.as_str())?;
        let mut sent = 0;
        loop {
            sent += 1;
            let before = partial.length;
            let error = match self
                .continue_download(&request, &mut partial, &name, observer)
                .await
            {
                Ok(()) => break,
                Err(error) => error,
            };
            // What moves on is not counted as trying in vain.
            if partial.length > before {
                sent = 1;
            }
            if !error.is_temporary() || sent >= self.options.retry.attempts_max {
                return Err(error);
            }
            tracing::debug!(%error, "trying again");
            tokio::time::sleep(self.options.retry.wait(sent, None)).await;
        }
        observer.event(Event::Downloaded { name: &name });
        partial.finish()
    }

    async fn continue_download(
        &self,
        request: &Request<'_>,
        partial: &mut Partial,
        name: &str,
        observer: &dyn Observer,
    ) -> Result<(), HttpError> {
        let mut request = request.clone();
        if let Some(validator) = partial.validator.as_deref().filter(|_| partial.length > 0) {
            request = request
                .with_header(header::RANGE, &format!("bytes={}-", partial.length))
                .with_header(header::IF_RANGE, validator);
        }
        let mut response = self.open(&request).await?;
        let url = response.url().clone();
        let status = response.status();
        if status == StatusCode::RANGE_NOT_SATISFIABLE && partial.length > 0 {
            partial.restart()?;
            return Box::pin(self.continue_download(
                &request_without_range(request),
                partial,
                name,
                observer,
            ))
            .await;
        }
        if !status.is_success() {
            return Err(HttpError::Status {
                url: without_password(&url),
                status,
                message: String::new(),
            });
        }
        let continues =
            status == StatusCode::PARTIAL_CONTENT && first_byte(response.headers()) == Some(partial.length);
        if !continues {
            partial.restart()?;
            if status == StatusCode::PARTIAL_CONTENT {
                return Err(HttpError::Unreachable {
                    url: without_password(&url),
                    reason: "another part came than the one that was asked for".to_owned(),
                    temporary: true,
                });
            }
        }
        // Another host may forget what it promised by the next time.
        let keep = same_origin(&url, &request.url);
        partial.remember(validator(response.headers()).filter(|_| keep))?;
        let total = response.content_length().map(|rest| rest + partial.length);
        let limit = self.options.answer_bytes_max;
        let too_large = || HttpError::TooLarge {
            url: without_password(&url),
            limit,
        };
        if total.is_some_and(|total| total > limit) {
            return Err(too_large());
        }
        loop {
            observer.event(Event::Downloading {
                name,
                bytes: partial.length,
                total,
            });
            let chunk = response.chunk().await;
            let Some(chunk) = chunk.map_err(|error| HttpError::unreachable(&url, error))? else {
                return Ok(());
            };
            if partial.length + chunk.len() as u64 > limit {
                partial.restart()?;
                return Err(too_large());
            }
            partial.append(&chunk)?;
        }
    }
}

fn request_without_range(mut request: Request<'_>) -> Request<'_> {
    request.headers.remove(header::RANGE);
    request.headers.remove(header::IF_RANGE);
    request
}

/// What tells that a later answer is of the same thing: a strong `ETag`, else the time of the last change.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let tag = text(header::ETAG).filter(|tag| !tag.starts_with("W/"));
    tag.or(text(header::LAST_MODIFIED)).map(str::to_owned)
}

fn first_byte(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// What is there of a download.
struct Partial {
    path: PathBuf,
    file: File,
    length: u64,
    validator: Option<String>,
    /// Somebody else downloads the same: this one is ours alone and is not continued.
    own: Option<tempfile::TempPath>,
}

impl Partial {
    fn open(folder: &Path, url: &str) -> Result<Self, HttpError> {
        let path = folder.join(format!("{}.part", Digest::of(url.as_bytes()).hex()));
        let failed = |source| HttpError::Write {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        if file.try_lock().is_err() {
            let own = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
            let (file, own) = own.into_parts();
            return Ok(Self {
                path: own.to_path_buf(),
                file,
                length: 0,
                validator: None,
                own: Some(own),
            });
        }
        let length = file.metadata().map_err(failed)?.len();
        let validator = fs::read_to_string(note(&path)).ok();
        let mut partial = Self {
            path: path.clone(),
            file,
            length,
            validator,
            own: None,
        };
        if partial.validator.is_none() {
            partial.restart()?;
        }
        partial.file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(partial)
    }

    fn failed(&self) -> impl FnOnce(io::Error) -> HttpError + use<> {
        let path = self.path.clone();
        move |source| HttpError::Write { path, source }
    }

    fn restart(&mut self) -> Result<(), HttpError> {
        let cut = self.file.set_len(0).and_then(|()| self.file.rewind());
        cut.map_err(self.failed())?;
        self.length = 0;
        self.validator = None;
        Ok(())
    }

    /// Keeps what tells the thing apart from others, for a later process.
    fn remember(&mut self, validator: Option<String>) -> Result<(), HttpError> {
        if self.own.is_none() {
            match &validator {
                Some(text) => fs::write(note(&self.path), text).map_err(self.failed())?,
                // It may not be there.
                None => drop(fs::remove_file(note(&self.path))),
            }
        }
        self.validator = validator;
        Ok(())
    }

    fn append(&mut self, chunk: &[u8]) -> Result<(), HttpError> {
        self.file.write_all(chunk).map_err(self.failed())?;
        self.length += chunk.len() as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<Bytes, HttpError> {
        let mut bytes = Vec::new();
        let read = self
            .file
            .rewind()
            .and_then(|()| self.file.read_to_end(&mut bytes));
        read.map_err(self.failed())?;
        if self.own.is_none() {
            // Both are of no use any more; a failure leaves rubbish, not damage, as the note goes first.
            let _ = fs::remove_file(note(&self.path));
            let _ = fs::remove_file(&self.path);
        }
        Ok(bytes.into())
    }
}

fn note(path: &Path) -> PathBuf {
    path.with_extension("validator")
}
