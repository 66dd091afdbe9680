//! What is asked of lists and watches.

use std::time::Duration;

use cluster_objects::{Status, StatusCause};

/// How `resourceVersion` of a list or watch is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionMatch {
    /// The objects at that very revision.
    Exact,
    /// The objects at that revision or a later one.
    NotOlderThan,
}

/// Which objects a list shows, and as of when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Label selector, `app=web,tier in (a,b)`; empty selects all.
    pub label_selector: String,
    /// Field selector, `spec.nodeName=n1`; empty selects all.
    pub field_selector: String,
    /// Most objects in one answer; 0 is no limit.
    pub limit: usize,
    /// Where the answer before this one stopped.
    pub continue_token: String,
    /// The revision asked for; empty and `0` mean now.
    pub resource_version: String,
    /// How the revision is meant.
    pub version_match: Option<VersionMatch>,
}

/// Which changes a watch reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchQuery {
    /// Label selector; empty selects all.
    pub label_selector: String,
    /// Field selector; empty selects all.
    pub field_selector: String,
    /// Report changes after this revision; empty and `0` start with the present objects as additions.
    pub resource_version: String,
    /// How the revision is meant; only with [`WatchQuery::send_initial_events`].
    pub version_match: Option<VersionMatch>,
    /// Begin with the present objects as additions and an annotated bookmark after them.
    pub send_initial_events: Option<bool>,
    /// Report the reached revision now and then.
    pub bookmarks: bool,
    /// End the watch after so long; `None` is half an hour and more.
    pub timeout: Option<Duration>,
}

impl ListQuery {
    /// Refuses combinations that have no meaning, in the words of
    /// `k8s.io/apimachinery/pkg/apis/meta/internalversion/validation`.
    pub fn check(&self) -> Result<(), Status> {
        let Some(version_match) = self.version_match else {
            return Ok(());
        };
        if self.resource_version.is_empty() {
            return Err(forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        if !self.continue_token.is_empty() {
            return Err(forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        if version_match == VersionMatch::Exact && self.resource_version == "0" {
            return Err(forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
        Ok(())
    }
}

impl WatchQuery {
    /// Refuses combinations that have no meaning, worded as [`ListQuery::check`] does.
    pub fn check(&self) -> Result<(), Status> {
        match (self.send_initial_events, self.version_match) {
            (None, None) | (Some(_), Some(VersionMatch::NotOlderThan)) => {}
            (None, Some(_)) => {
                return Err(forbidden(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                ));
            }
            (Some(_), None) => {
                return Err(forbidden(
                    "resourceVersionMatch",
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                ));
            }
            (Some(_), Some(VersionMatch::Exact)) => {
                let cause = StatusCause {
                    reason: "FieldValueNotSupported".to_owned(),
                    message: "Unsupported value: \"Exact\": supported values: \"NotOlderThan\"".to_owned(),
                    field: "resourceVersionMatch".to_owned(),
                };
                return Err(invalid(cause));
            }
        }
        if self.send_initial_events == Some(true) && !self.bookmarks {
            return Err(forbidden(
                "allowWatchBookmarks",
                "sendInitialEvents requires setting allowWatchBookmarks to true",
            ));
        }
        Ok(())
    }
}

fn forbidden(field: &str, why: &str) -> Status {
    invalid(StatusCause {
        reason: "FieldValueForbidden".to_owned(),
        message: format!("Forbidden: {why}"),
        field: field.to_owned(),
    })
}

fn invalid(cause: StatusCause) -> Status {
    Status::invalid("meta.k8s.io", "ListOptions", "", vec![cause])
}
