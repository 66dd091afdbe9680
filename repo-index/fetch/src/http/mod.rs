//! Requests over HTTP: whom to trust, whom to tell credentials, when to try again.

mod client;
mod download;
mod error;
mod options;

pub use client::HttpClient;
pub(crate) use client::{Answer, Request, same_origin};
pub use error::HttpError;
pub use options::{Credentials, HttpOptions, Proxies, RetryPolicy, TlsOptions};
