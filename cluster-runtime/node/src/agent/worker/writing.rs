//! How a worker writes the status of its pod: only what is new, and one write at a time.

use super::*;

impl Worker {
    pub(super) fn write(&mut self) {
        let due = self.write_again.is_none_or(|at| at <= self.seen.now);
        let removed = matches!(self.seen.removal, Removal::Running | Removal::Done);
        let held = self.seen.held_until.is_some();
        if self.writing || self.object_gone || self.adopting || held || removed || !due {
            return;
        }
        let (shared, backoff) = (&self.shared, &self.shared.config.restart_backoff);
        let status = status_of(&self.pod, &self.seen, backoff, &shared.machine.host_ip());
        let stored = self.pod.object.at(&["status"]);
        // What was written may be kept in other words; the same words would be answered in the same way.
        let is_known = self
            .written
            .as_ref()
            .is_some_and(|(wanted, kept)| *wanted == status && stored == Some(kept));
        if is_known || stored.map(essence).as_ref() == Some(&essence(&status)) {
            self.write_again = None;
            return;
        }
        self.wanted = Some(status.clone());
        self.writing = true;
        let (shared, pod) = (self.shared.clone(), self.pod.clone());
        self.tasks
            .spawn(async move { News::Written(tasks::write_status(&shared, &pod, status).await) });
    }

    pub(super) fn hear_written(&mut self, written: Result<Option<Arc<Object>>, Status>) {
        self.writing = false;
        match written {
            Ok(Some(object)) => {
                self.write_failures = 0;
                self.write_again = None;
                // After a conflict nothing was written, and nothing is wanted.
                self.written = self.wanted.take().zip(object.at(&["status"]).cloned());
                if is_newer(&object, &self.pod.object) {
                    self.take_object(object);
                }
            }
            // Its end comes through the watch.
            Ok(None) => self.write_again = Some(self.later(3)),
            Err(status) if status.is_conflict() => {
                // Somebody else changed the pod; the change comes through the watch, or has come.
                self.wanted = None;
                let shared = self.shared.clone();
                let pod = self.pod.clone();
                self.writing = true;
                self.tasks
                    .spawn(async move { News::Written(tasks::read_object(&shared, &pod).await) });
            }
            Err(status) => {
                tracing::warn!(pod = %self.pod.long_name(), %status, "cannot write the status");
                self.write_failures += 1;
                self.write_again = Some(self.later(self.write_failures));
            }
        }
    }
}

/// A status without the fields that say nothing, which the API keeps or drops as it likes.
fn essence(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().map(|(key, value)| (key.clone(), essence(value)));
            kept.filter(|(_, value)| !says_nothing(value)).collect()
        }
        Value::Array(items) => items.iter().map(essence).collect(),
        other => other.clone(),
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(yes) => !yes,
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
    }
}
