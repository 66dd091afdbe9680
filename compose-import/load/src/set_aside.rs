//! Faults behind faults: what is known to be wrong is set aside, and the rest is read again.
//!
//! A stage cannot do much with what the one before it has refused, so each ends the reading. That would tell one kind of
//! fault at a time; read again without the faulty entries, a project shows what else is wrong with it.

use std::collections::BTreeSet;

use crate::error::Fault;
use crate::node::{Data, Node, Sources};
use crate::position::Position;

/// How often a project is read to find what is wrong with it.
const READINGS_MAX: usize = 12;

/// The entries that a reading leaves out, since their faults are known.
#[derive(Debug, Default)]
pub(crate) struct SetAside {
    places: BTreeSet<Position>,
    /// What held an entry that was left out, and may lack it.
    holders: BTreeSet<Position>,
}

impl SetAside {
    /// Takes away what was set aside, also from lists.
    pub(crate) fn leave_out(&mut self, root: &mut Node, sources: &Sources) {
        if !self.places.is_empty() {
            self.search(root, sources);
        }
    }

    /// Whether something below a node was left out.
    fn search(&mut self, node: &mut Node, sources: &Sources) -> bool {
        let mut found = false;
        let mut keep = |key: &str, entry: &mut Node| {
            let position = sources.position(entry.at);
            if position.as_ref().is_some_and(|place| self.places.contains(place)) {
                // A service without an image would be one more fault.
                if key == "image" {
                    entry.data = Data::Text(key.to_owned());
                    return true;
                }
                found = true;
                return false;
            }
            if self.search(entry, sources) {
                found = true;
                self.holders.extend(position);
            }
            true
        };
        match &mut node.data {
            Data::Map(map) => map.retain(|key, entry| keep(key, entry)),
            Data::List(items) => items.retain_mut(|item| keep("", item)),
            _ => {}
        }
        found
    }

    /// Sets the faulty places aside, and gives what is news: all that a first reading found, later only what has a place
    /// of its own and cannot come of what was left out.
    fn learn(&mut self, faults: Vec<Fault>, is_first: bool) -> Vec<Fault> {
        let mut news = Vec::new();
        let mut places = BTreeSet::new();
        for fault in faults {
            let is_news = match &fault.position {
                Some(position) => !self.places.contains(position) && !self.holders.contains(position),
                None => false,
            };
            if is_first || is_news {
                places.extend(fault.position.iter().chain(&fault.also_at).cloned());
                news.push(fault);
            }
        }
        self.places.append(&mut places);
        news
    }
}

/// Runs a reading, and where it fails, again and again without what is known to be wrong.
///
/// # Errors
///
/// The faults of all readings, those of the first one first.
pub(crate) fn read_through<T>(
    mut reading: impl FnMut(&mut SetAside) -> Result<T, Vec<Fault>>,
) -> Result<T, Vec<Fault>> {
    let mut aside = SetAside::default();
    let mut faults = match reading(&mut aside) {
        Ok(done) => return Ok(done),
        Err(found) => aside.learn(found, true),
    };
    for _ in 1..READINGS_MAX {
        let Err(found) = reading(&mut aside) else { break };
        let news = aside.learn(found, false);
        if news.is_empty() {
            break;
        }
        faults.extend(news);
    }
    Err(faults)
}
