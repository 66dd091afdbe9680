//! Whether a history of one register is linearizable: the search of Wing and Gong with the memory of Lowe, which does at once
//! what changes nothing, and writes nothing over that somebody has yet to see.
//!
//! Each value is written once and nothing is deleted, so whoever saw a value saw one certain write. A write whose outcome is unknown and
//! that nobody saw may be left out: nothing depends on it, but that it may be why a value was not there any more that somebody
//! expected. One that was seen was done before whoever saw it returned. So every other operation was done, within a known time.

use std::collections::HashSet;

/// A value; nothing where there is no object.
pub type Value = Option<u64>;

/// What one client did, and saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// When it was begun, by a clock that all clients share.
    pub begun: u64,
    /// When its outcome was there. Nothing where the outcome is not known.
    pub ended: Option<u64>,
    /// What was done.
    pub what: What,
}

/// What was done, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Read.
    Read(Value),
    /// Written over whatever was there.
    Write(Value),
    /// Written over a certain value.
    Swap {
        /// What was there.
        from: Value,
        /// What is there now.
        to: Value,
    },
    /// Not written, as another value was there.
    Refused {
        /// What was expected.
        from: Value,
        /// What was there instead.
        found: Value,
    },
    /// Not written, as something else was there than this, and it was not told what.
    Differed(Value),
}

impl What {
    /// The value after it, if it is possible at a value.
    fn at(self, value: Value) -> Option<Value> {
        match self {
            Self::Read(seen) => (seen == value).then_some(value),
            Self::Write(to) => Some(to),
            Self::Swap { from, to } => (from == value).then_some(to),
            Self::Refused { from, found } => (found == value && found != from).then_some(value),
            Self::Differed(from) => (from != value).then_some(value),
        }
    }

    fn written(self) -> Value {
        match self {
            Self::Write(to) | Self::Swap { to, .. } => to,
            Self::Read(_) | Self::Refused { .. } | Self::Differed(_) => None,
        }
    }

    fn writes(self) -> bool {
        self.written().is_some()
    }

    /// Whether it was a certain value that was there, and this one.
    fn sees(self, value: Value) -> bool {
        match self {
            Self::Read(seen) | Self::Swap { from: seen, .. } | Self::Refused { found: seen, .. } => {
                seen == value
            }
            Self::Write(_) | Self::Differed(_) => false,
        }
    }

    fn seen(self) -> Value {
        match self {
            Self::Read(seen) => seen,
            Self::Swap { from, .. } => from,
            Self::Refused { found, .. } => found,
            Self::Write(_) | Self::Differed(_) => None,
        }
    }
}

/// Checks a history of one register that begins empty.
///
/// # Errors
/// The end of the longest part of it that has an order, and what could not come next.
pub fn check(history: &[Operation]) -> Result<(), Vec<Operation>> {
    let mut operations = settle(history);
    operations.sort_by_key(|operation| operation.begun);
    let mut search = Search {
        done: vec![false; operations.len()],
        operations,
        value: None,
        seen: HashSet::new(),
    };
    let mut order: Vec<Step> = Vec::new();
    let mut longest: Vec<usize> = Vec::new();
    let mut first = 0;
    loop {
        let Some(limit) = search.limit() else {
            return Ok(());
        };
        if let Some(step) = search.next(limit, first) {
            order.push(step);
            search.take(step);
            first = 0;
            if order.len() > longest.len() {
                longest = order.iter().map(|step| step.place).collect();
            }
            continue;
        }
        // Back to the last choice; what was done at once was none.
        loop {
            let Some(step) = order.pop() else {
                return Err(search.fault(&longest));
            };
            search.take_back(step);
            if step.is_choice {
                first = step.place + 1;
                break;
            }
        }
    }
}

/// An operation that was put next, and the value before it.
#[derive(Clone, Copy)]
struct Step {
    place: usize,
    before: Value,
    is_choice: bool,
}

/// A search for an order, at one point of it.
struct Search {
    /// By when they were begun.
    operations: Vec<Operation>,
    done: Vec<bool>,
    value: Value,
    /// Where the search has been: what was done, and the value.
    seen: HashSet<(Vec<bool>, Value)>,
}

impl Search {
    fn left(&self) -> impl Iterator<Item = (usize, &Operation)> {
        let left = self.operations.iter().enumerate();
        left.filter(|(place, _)| !self.done[*place])
    }

    /// What begins after something undone ended cannot come before it; nothing where all is done that has to be.
    fn limit(&self) -> Option<u64> {
        self.left().filter_map(|(_, operation)| operation.ended).min()
    }

    /// What may come next, of choices those that were not tried yet.
    fn next(&mut self, limit: u64, first: usize) -> Option<Step> {
        let (value, before) = (self.value, self.value);
        let open = || self.left().take_while(|(_, operation)| operation.begun <= limit);
        let fits = |operation: &Operation| operation.what.at(value).is_some();
        // What changes nothing may as well be done at once: where it fits later, it fits here.
        let at_once = open().find(|(_, operation)| !operation.what.writes() && fits(operation));
        if let Some((place, _)) = at_once {
            let is_choice = false;
            return Some(Step {
                place,
                before,
                is_choice,
            });
        }
        // A value that is written over never comes back: whoever needs it comes first.
        let needs = |operation: &Operation| operation.ended.is_some() && operation.what.sees(value);
        let waiting = self.left().filter(|(_, operation)| needs(operation)).count();
        // One that nobody saw is done where it explains something, or not at all.
        let is_needed = open().any(|(_, operation)| operation.what == What::Differed(value));
        let choices: Vec<(usize, Value)> = open()
            .filter(|(place, operation)| *place >= first && operation.what.writes())
            .filter(|(_, operation)| waiting == usize::from(needs(operation)))
            .filter(|(_, operation)| is_needed || operation.ended.is_some())
            .filter_map(|(place, operation)| Some((place, operation.what.at(value)?)))
            .collect();
        choices.into_iter().find_map(|(place, after)| {
            let mut with = self.done.clone();
            with[place] = true;
            let is_choice = true;
            let step = Step {
                place,
                before,
                is_choice,
            };
            self.seen.insert((with, after)).then_some(step)
        })
    }

    fn take(&mut self, step: Step) {
        self.done[step.place] = true;
        let after = self.operations[step.place].what.at(self.value);
        self.value = after.expect("only what fits comes next");
    }

    fn take_back(&mut self, step: Step) {
        self.done[step.place] = false;
        self.value = step.before;
    }

    /// The end of an order, and what is left after it.
    fn fault(&self, order: &[usize]) -> Vec<Operation> {
        let tail = order.iter().skip(order.len().saturating_sub(8));
        let rest = (0..self.operations.len()).filter(|place| !order.contains(place));
        let rest: Vec<usize> = rest.take(8).collect();
        tail.chain(&rest)
            .map(|place| self.operations[*place].clone())
            .collect()
    }
}

/// Leaves out what nobody can have seen, and says when the rest of what is unknown was done at the latest.
fn settle(history: &[Operation]) -> Vec<Operation> {
    let mut operations = history.to_vec();
    loop {
        let before = operations.clone();
        operations.retain_mut(|operation| {
            if operation.ended.is_some() {
                return true;
            }
            let value = operation.what.written();
            let witnesses = before
                .iter()
                .filter(|other| value.is_some() && other.what.seen() == value);
            // A witness that is unknown itself was done before its own, which the next round finds.
            let mut ends = witnesses.map(|witness| witness.ended).peekable();
            if ends.peek().is_none() {
                let begun = operation.begun;
                return before.iter().any(|other| {
                    matches!(other.what, What::Differed(_)) && other.ended.is_some_and(|ended| ended >= begun)
                });
            }
            operation.ended = ends.flatten().min();
            true
        });
        if operations == before {
            return operations;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(begun: u64, ended: impl Into<Option<u64>>, what: What) -> Operation {
        Operation {
            begun,
            ended: ended.into(),
            what,
        }
    }

    fn read(value: u64) -> What {
        What::Read(Some(value).filter(|value| *value > 0))
    }

    fn write(value: u64) -> What {
        What::Write(Some(value))
    }

    fn swap(from: u64, to: u64) -> What {
        What::Swap {
            from: Some(from).filter(|value| *value > 0),
            to: Some(to),
        }
    }

    fn refused(from: u64, found: u64) -> What {
        What::Refused {
            from: Some(from),
            found: Some(found),
        }
    }

    #[test]
    fn histories_that_have_an_order() {
        let cases = [
            vec![],
            vec![
                operation(0, 1, read(0)),
                operation(2, 3, write(1)),
                operation(4, 5, read(1)),
            ],
            // At the same time, either order.
            vec![
                operation(0, 9, write(1)),
                operation(1, 8, read(0)),
                operation(2, 7, read(1)),
            ],
            vec![
                operation(0, 9, write(1)),
                operation(0, 9, write(2)),
                operation(10, 11, read(1)),
            ],
            vec![
                operation(0, 1, swap(0, 1)),
                operation(2, 9, swap(1, 2)),
                operation(3, 9, refused(1, 2)),
            ],
            vec![
                operation(0, 1, write(1)),
                operation(2, 9, write(2)),
                operation(3, 9, What::Differed(Some(1))),
            ],
            // Seen by nobody, and yet why another value was not there.
            vec![
                operation(0, 1, write(1)),
                operation(2, None, write(2)),
                operation(3, 9, What::Differed(Some(1))),
                operation(10, 11, write(3)),
                operation(12, 13, read(3)),
            ],
            vec![
                operation(0, 1, write(1)),
                operation(2, None, swap(1, 2)),
                operation(3, 4, read(1)),
                operation(5, 9, What::Differed(Some(1))),
            ],
            // Unknown: done late, done at once, or never.
            vec![
                operation(0, None, write(1)),
                operation(5, 6, read(0)),
                operation(7, 8, read(1)),
            ],
            vec![
                operation(0, None, write(1)),
                operation(5, 6, read(0)),
                operation(7, 8, read(0)),
            ],
            vec![
                operation(0, None, swap(0, 1)),
                operation(3, None, swap(1, 2)),
                operation(7, 8, read(2)),
            ],
        ];
        for (number, case) in cases.iter().enumerate() {
            assert_eq!(check(case), Ok(()), "case {number}");
        }
    }

    #[test]
    fn err_histories_that_have_none() {
        let cases = [
            // A read of the past.
            vec![
                operation(0, 1, write(1)),
                operation(2, 3, write(2)),
                operation(4, 5, read(1)),
            ],
            vec![operation(0, 1, write(1)), operation(2, 3, read(0))],
            // One reader sees what the next does not.
            vec![
                operation(0, 9, write(1)),
                operation(1, 2, read(1)),
                operation(3, 4, read(0)),
            ],
            // A lost update: both replaced the same value.
            vec![
                operation(0, 1, write(1)),
                operation(2, 9, swap(1, 2)),
                operation(2, 9, swap(1, 3)),
            ],
            // Refused though the value was there.
            vec![operation(0, 1, write(1)), operation(2, 3, refused(1, 1))],
            vec![
                operation(0, 1, write(1)),
                operation(2, 3, What::Differed(Some(1))),
            ],
            vec![
                operation(0, 1, write(1)),
                operation(2, None, write(2)),
                operation(3, 4, What::Differed(Some(1))),
                operation(5, 6, read(1)),
            ],
            // What was never written, as what was refused.
            vec![operation(0, 1, read(7))],
            // Unknown, seen, and gone again.
            vec![
                operation(0, None, write(1)),
                operation(5, 6, read(1)),
                operation(7, 8, read(0)),
            ],
            // Seen before it was begun.
            vec![operation(4, None, write(1)), operation(1, 2, read(1))],
        ];
        for (number, case) in cases.iter().enumerate() {
            assert!(check(case).is_err(), "case {number}");
        }
    }

    #[test]
    fn a_long_history_is_checked_soon() {
        let mut history = Vec::new();
        for step in 0..1000 {
            // Writes that overlap the next two, each read once.
            history.push(operation(step * 10, step * 10 + 25, write(step + 1)));
            history.push(operation(step * 10 + 21, step * 10 + 24, read(step + 1)));
        }
        assert_eq!(check(&history), Ok(()));
        let last = history.len() - 1;
        history[last].what = read(1);
        assert!(check(&history).is_err());
    }

    #[test]
    fn a_history_with_many_open_ends_is_checked_soon() {
        let mut history = Vec::new();
        let mut value = 0;
        for step in 0..200 {
            let at = step * 100;
            // Sixteen writes at once, of which one is read, some are seen by nobody, and a swap that came too late.
            for client in 0..16 {
                let ended = (client % 3 > 0).then_some(at + 50 + client);
                history.push(operation(at + client, ended, write(value + client + 1)));
            }
            history.push(operation(at + 70, at + 80, read(value + 8)));
            let late = What::Differed(Some(value + 2));
            history.push(operation(at + 70, at + 90, late));
            value += 16;
        }
        assert_eq!(check(&history), Ok(()));
        history.push(operation(30_000, 30_001, read(3)));
        assert!(check(&history).is_err());
    }
}
