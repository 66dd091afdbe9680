//! How much a template may ask for.

use crate::fault::Fault;
use crate::value::{Contents, Value};

/// Bounds on what templates may use, so that a hostile chart is refused instead of filling the machine.
///
/// The defaults leave charts plenty: the busiest template of the charts known takes a fifth of a million steps, and
/// the largest writes a few megabytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Steps of one execution; functions that walk large values count one step per element, and those that are slow
    /// on purpose, such as making keys, a great many.
    pub steps_max: u64,
    /// Steps of all executions of a set.
    pub steps_total_max: u64,
    /// Bytes of any one string, and of the output of one execution.
    pub text_bytes_max: usize,
    /// Bytes of all strings that one execution makes, one after the other.
    pub text_bytes_total_max: u64,
    /// Items of any one list.
    pub list_items_max: usize,
    /// How deep `include` may nest in one name, as in Helm, and how deep `tpl` may nest.
    pub include_depth_max: usize,
    /// How deep `template`, `include` and `tpl` may nest together, as in Go.
    pub template_depth_max: usize,
    /// How deep lists and maps may nest where they are walked as a whole.
    pub value_depth_max: usize,
    /// How deep blocks and parentheses of a text may nest.
    pub syntax_depth_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            steps_max: 2_000_000,
            steps_total_max: 200_000_000,
            text_bytes_max: 32 << 20,
            text_bytes_total_max: 256 << 20,
            list_items_max: 1_000_000,
            include_depth_max: 1000,
            template_depth_max: 100_000,
            value_depth_max: 500,
            syntax_depth_max: 200,
        }
    }
}

/// What one execution has used so far.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) limits: Limits,
    pub(crate) steps: u64,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Self {
        Budget {
            limits,
            steps: 0,
            bytes: 0,
        }
    }

    /// Counts steps.
    pub(crate) fn spend(&mut self, steps: u64) -> Result<(), Fault> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > self.limits.steps_max {
            return Err(Fault::limit(format!(
                "template takes more than {} steps",
                self.limits.steps_max
            )));
        }
        Ok(())
    }

    /// Counts the bytes of a string that is about to be made.
    pub(crate) fn text(&mut self, bytes: usize) -> Result<(), Fault> {
        if bytes > self.limits.text_bytes_max {
            let max = self.limits.text_bytes_max;
            return Err(Fault::limit(format!(
                "template makes a text of more than {max} bytes"
            )));
        }
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.bytes > self.limits.text_bytes_total_max {
            let max = self.limits.text_bytes_total_max;
            return Err(Fault::limit(format!(
                "template makes more than {max} bytes of text"
            )));
        }
        Ok(())
    }

    /// Counts the items of a list that is about to be made.
    pub(crate) fn items(&mut self, items: usize) -> Result<(), Fault> {
        if items > self.limits.list_items_max {
            let max = self.limits.list_items_max;
            return Err(Fault::limit(format!(
                "template makes a list of more than {max} items"
            )));
        }
        self.spend(items as u64)
    }

    /// Counts all that a value holds, as if written out in full, and tells how much that is.
    ///
    /// Functions that walk values recursively ask first: a value may contain itself, or the same list many times.
    pub(crate) fn walk(&mut self, value: &Value) -> Result<u64, Fault> {
        let before = self.steps;
        let depth = self.limits.value_depth_max;
        self.walk_at(value, depth)?;
        Ok(self.steps - before + 1)
    }

    fn walk_at(&mut self, value: &Value, depth: usize) -> Result<(), Fault> {
        if !matches!(value, Value::List(_) | Value::Map(_) | Value::Object(_)) {
            return Ok(());
        }
        let Some(depth) = depth.checked_sub(1) else {
            let max = self.limits.value_depth_max;
            return Err(Fault::limit(format!(
                "value nests deeper than {max}, or contains itself"
            )));
        };
        match value {
            Value::List(list) => {
                self.spend(list.len() as u64)?;
                list.items().iter().try_for_each(|item| self.walk_at(item, depth))
            }
            Value::Map(map) => {
                self.spend(map.len() as u64)?;
                map.entries()
                    .values()
                    .try_for_each(|item| self.walk_at(item, depth))
            }
            Value::Object(object) => match object.contents() {
                Some(Contents::Items(items)) => {
                    self.spend(items.len() as u64)?;
                    items.iter().try_for_each(|item| self.walk_at(item, depth))
                }
                Some(Contents::Entries(entries)) => {
                    self.spend(entries.len() as u64)?;
                    entries.iter().try_for_each(|(_, item)| self.walk_at(item, depth))
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
