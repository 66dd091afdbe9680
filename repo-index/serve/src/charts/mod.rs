//! Charts as classic repositories have them: archives in folders, and an index.

pub(crate) mod api;
mod cache;
mod listing;
pub(crate) mod multipart;
mod scan;
pub(crate) mod store;
mod version;

pub(crate) use listing::Listing;
pub(crate) use version::ChartVersion;
