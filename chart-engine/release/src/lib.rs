//! Releases: records, history and the actions on them.
