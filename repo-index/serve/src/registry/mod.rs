//! A registry by the distribution specification: blobs, manifests, tags and referrers.
//!
//! Start with [`http::answer`].

pub(crate) mod collect;
pub(crate) mod http;
pub(crate) mod manifest;
pub(crate) mod paging;
pub(crate) mod store;
pub(crate) mod uploads;
