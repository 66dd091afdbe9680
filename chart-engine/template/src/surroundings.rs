//! What templates may know of the world: the time, the time zone, chance.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::fault::Fault;
use crate::functions::Kept;
use crate::limits::{Budget, Limits};
use crate::value::{Value, changes};

/// Clock, time zone and random bytes, given by the caller so that a rendering can be repeated.
pub trait Surroundings: fmt::Debug {
    /// The present.
    fn now(&self) -> Timestamp;

    /// The zone that `date` writes times in.
    fn time_zone(&self) -> TimeZone;

    /// A zone of the database of time zones, by its name.
    fn zone(&self, name: &str) -> Option<TimeZone> {
        TimeZone::get(name).ok()
    }

    /// Fills a buffer with random bytes, good enough for keys and passwords.
    ///
    /// # Errors
    /// When the source has none.
    fn random(&mut self, buffer: &mut [u8]) -> Result<(), Fault>;
}

/// The machine's own clock, zone and randomness.
#[derive(Debug, Default)]
pub struct System;

impl Surroundings for System {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn time_zone(&self) -> TimeZone {
        TimeZone::system()
    }

    fn random(&mut self, buffer: &mut [u8]) -> Result<(), Fault> {
        getrandom::fill(buffer).map_err(|err| Fault::new(format!("no random bytes: {err}")))
    }
}

/// A fixed time in UTC, and chance from a seed: the same rendering every time.
#[derive(Debug)]
pub struct Fixed {
    now: Timestamp,
    state: u64,
}

impl Fixed {
    /// Surroundings at a time, with a seed for the random functions.
    ///
    /// Keys made from a seed protect nothing: this is for tests and for comparing renderings.
    pub fn new(now: Timestamp, seed: u64) -> Self {
        Fixed { now, state: seed }
    }
}

impl Surroundings for Fixed {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn time_zone(&self) -> TimeZone {
        TimeZone::UTC
    }

    fn random(&mut self, buffer: &mut [u8]) -> Result<(), Fault> {
        // SplitMix64: short, and good enough where nothing depends on it.
        for chunk in buffer.chunks_mut(8) {
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// What a function has at hand besides its arguments.
#[derive(Debug)]
pub struct Scope {
    pub(crate) budget: Budget,
    pub(crate) surroundings: Rc<RefCell<dyn Surroundings>>,
    pub(crate) kept: Kept,
}

impl Scope {
    pub(crate) fn new(limits: Limits, surroundings: Rc<RefCell<dyn Surroundings>>, kept: Kept) -> Self {
        Scope {
            budget: Budget::new(limits),
            surroundings,
            kept,
        }
    }

    /// A time zone by its name.
    pub fn zone(&self, name: &str) -> Option<TimeZone> {
        self.surroundings.borrow().zone(name)
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        changes::saw_fleeting();
        self.surroundings.borrow().now()
    }

    /// The local time zone.
    pub fn time_zone(&self) -> TimeZone {
        self.surroundings.borrow().time_zone()
    }

    /// Random bytes.
    ///
    /// # Errors
    /// When the source has none.
    pub fn random(&mut self, buffer: &mut [u8]) -> Result<(), Fault> {
        changes::saw_fleeting();
        self.surroundings.borrow_mut().random(buffer)
    }

    /// Counts steps of work that a function is about to do.
    ///
    /// # Errors
    /// When the template has used its steps up.
    pub fn spend(&mut self, steps: u64) -> Result<(), Fault> {
        self.budget.spend(steps)
    }

    /// Counts the bytes of a string that a function is about to make.
    ///
    /// # Errors
    /// When the string, or all strings together, would be too large.
    pub fn text(&mut self, bytes: usize) -> Result<(), Fault> {
        self.budget.text(bytes)
    }

    /// Counts the items of a list that a function is about to make.
    ///
    /// # Errors
    /// When the list would be too long.
    pub fn items(&mut self, items: usize) -> Result<(), Fault> {
        self.budget.items(items)
    }

    /// Counts all that a value holds, before a function walks it.
    ///
    /// # Errors
    /// When it is too large, nests too deep, or contains itself.
    pub fn walk(&mut self, value: &Value) -> Result<(), Fault> {
        self.budget.walk(value).map(drop)
    }
}
