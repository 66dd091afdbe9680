//! The query string of a request as options.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use cluster_client::{DeleteOptions, FieldValidation, LogRequest, Propagation, WriteOptions};
use cluster_objects::Status;
use serde_json::Value;

use crate::engine::{ListQuery, VersionMatch, WatchQuery};

/// The parameters of a query string; of a repeated one every value is kept.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    values: HashMap<String, Vec<String>>,
}

impl Parameters {
    /// Reads a query string.
    pub(crate) fn parse(query: &str) -> Self {
        let mut values: HashMap<String, Vec<String>> = HashMap::new();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            values
                .entry(key.into_owned())
                .or_default()
                .push(value.into_owned());
        }
        Self { values }
    }

    /// The first value of a parameter, empty where absent.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.all(name).first().map_or("", String::as_str)
    }

    /// All values of a parameter.
    pub(crate) fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// A yes or no as Go's query conversion reads it: present and empty means yes.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        match self.all(name).first().map(String::as_str) {
            None => None,
            Some("0" | "false" | "False" | "FALSE" | "f" | "F") => Some(false),
            Some(_) => Some(true),
        }
    }

    /// A number; 400 when the text is none.
    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Status> {
        match self.text(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Status::bad_request(format!(
                    "invalid value for the parameter {name}: {text:?} is no number"
                ))
            }),
        }
    }

    /// Whether the list is a watch.
    pub(crate) fn is_watch(&self) -> bool {
        self.flag("watch") == Some(true)
    }

    /// The options of a list.
    pub(crate) fn list(&self) -> Result<ListQuery, Status> {
        Ok(ListQuery {
            label_selector: self.text("labelSelector").to_owned(),
            field_selector: self.text("fieldSelector").to_owned(),
            limit: self.number::<i64>("limit")?.unwrap_or(0).max(0) as usize,
            continue_token: self.text("continue").to_owned(),
            resource_version: self.text("resourceVersion").to_owned(),
            version_match: self.version_match()?,
        })
    }

    /// The options of a watch.
    pub(crate) fn watch(&self) -> Result<WatchQuery, Status> {
        let seconds = self
            .number::<i64>("timeoutSeconds")?
            .filter(|seconds| *seconds > 0);
        Ok(WatchQuery {
            label_selector: self.text("labelSelector").to_owned(),
            field_selector: self.text("fieldSelector").to_owned(),
            resource_version: self.text("resourceVersion").to_owned(),
            version_match: self.version_match()?,
            send_initial_events: self.flag("sendInitialEvents"),
            bookmarks: self.flag("allowWatchBookmarks") == Some(true),
            timeout: seconds.map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
        })
    }

    fn version_match(&self) -> Result<Option<VersionMatch>, Status> {
        match self.text("resourceVersionMatch") {
            "" => Ok(None),
            "Exact" => Ok(Some(VersionMatch::Exact)),
            "NotOlderThan" => Ok(Some(VersionMatch::NotOlderThan)),
            other => Err(Status::bad_request(format!(
                "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\""
            ))),
        }
    }

    /// The options of a write.
    pub(crate) fn write(&self) -> Result<WriteOptions, Status> {
        let field_validation = match self.text("fieldValidation") {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                return Err(Status::bad_request(format!(
                    "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
                )));
            }
        };
        let field_manager = self.text("fieldManager");
        if field_manager.len() > 128 {
            return Err(Status::bad_request(
                "fieldManager: Too long: may not be more than 128 bytes",
            ));
        }
        Ok(WriteOptions {
            dry_run: dry_run(self.all("dryRun").iter().map(String::as_str))?,
            field_manager: field_manager.to_owned(),
            force: self.flag("force") == Some(true),
            field_validation,
        })
    }

    /// The options of a deletion: the query string, or the `DeleteOptions` of the body where there is one.
    pub(crate) fn delete(&self, body: Option<&Value>) -> Result<DeleteOptions, Status> {
        let Some(body) = body else {
            return Ok(DeleteOptions {
                dry_run: dry_run(self.all("dryRun").iter().map(String::as_str))?,
                grace_period_seconds: self.number("gracePeriodSeconds")?,
                propagation: propagation(self.text("propagationPolicy"), self.flag("orphanDependents"))?,
                uid: None,
                resource_version: None,
            });
        };
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
        let wishes = body["dryRun"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(DeleteOptions {
            dry_run: dry_run(wishes.iter().filter_map(Value::as_str))?,
            grace_period_seconds: body["gracePeriodSeconds"].as_i64(),
            propagation: propagation(
                text("/propagationPolicy").unwrap_or_default(),
                body["orphanDependents"].as_bool(),
            )?,
            uid: text("/preconditions/uid").map(str::to_owned),
            resource_version: text("/preconditions/resourceVersion").map(str::to_owned),
        })
    }

    /// Which lines of a log.
    pub(crate) fn log(&self) -> Result<LogRequest, Status> {
        Ok(LogRequest {
            follow: self.flag("follow") == Some(true),
            previous: self.flag("previous") == Some(true),
            timestamps: self.flag("timestamps") == Some(true),
            tail_lines: self.number("tailLines")?,
            since_seconds: self.number("sinceSeconds")?,
            since_time: Some(self.text("sinceTime").to_owned()).filter(|time| !time.is_empty()),
            limit_bytes: self.number("limitBytes")?,
        })
    }
}

fn dry_run<'a>(wishes: impl Iterator<Item = &'a str>) -> Result<bool, Status> {
    let mut asked = false;
    for wish in wishes {
        match wish {
            "All" => asked = true,
            "" => {}
            other => {
                return Err(Status::bad_request(format!(
                    "dryRun: Unsupported value: {other:?}: supported values: \"All\""
                )));
            }
        }
    }
    Ok(asked)
}

fn propagation(policy: &str, orphan: Option<bool>) -> Result<Propagation, Status> {
    match (policy, orphan) {
        ("Orphan", _) | ("", Some(true)) => Ok(Propagation::Orphan),
        ("Foreground", _) => Ok(Propagation::Foreground),
        ("Background" | "", _) => Ok(Propagation::Background),
        (other, _) => Err(Status::bad_request(format!(
            "propagationPolicy: Unsupported value: {other:?}: supported values: \"Background\", \"Foreground\", \"Orphan\""
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_query_string_becomes_options() {
        let query = Parameters::parse(
            "labelSelector=app%3Dweb%2Ctier+in+%28a%29&limit=500&watch=&timeoutSeconds=7&dryRun=All&force=true",
        );
        assert!(query.is_watch());
        assert_eq!(query.list().unwrap().label_selector, "app=web,tier in (a)");
        assert_eq!(query.list().unwrap().limit, 500);
        assert_eq!(query.watch().unwrap().timeout, Some(Duration::from_secs(7)));
        let write = query.write().unwrap();
        assert!(write.dry_run && write.force);
    }

    #[test]
    fn the_body_of_a_deletion_goes_before_its_query() {
        let query = Parameters::parse("gracePeriodSeconds=3&propagationPolicy=Foreground");
        assert_eq!(query.delete(None).unwrap().grace_period_seconds, Some(3));
        let body = json!({"propagationPolicy": "Orphan", "preconditions": {"uid": "u"}});
        let options = query.delete(Some(&body)).unwrap();
        assert_eq!(
            (options.propagation, options.uid.as_deref()),
            (Propagation::Orphan, Some("u"))
        );
        assert_eq!(options.grace_period_seconds, None);
    }

    #[test]
    fn err_unknown_choices_are_named() {
        for query in ["limit=many", "resourceVersionMatch=Newest"] {
            assert_eq!(Parameters::parse(query).list().unwrap_err().code, 400, "{query}");
        }
        for query in ["dryRun=Some", "fieldValidation=Maybe"] {
            assert_eq!(Parameters::parse(query).write().unwrap_err().code, 400, "{query}");
        }
        assert!(
            Parameters::parse("propagationPolicy=Sideways")
                .delete(None)
                .is_err()
        );
    }
}
