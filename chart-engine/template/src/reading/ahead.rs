//! Texts that are read before it is known who wants them.

use std::sync::{Arc, Mutex};

use super::helper::Helper;
use super::{ALONE_BYTES_MAX, lock};
use crate::functions::Functions;
use crate::limits::Limits;

/// A thread that reads texts as they come, while their chart is still being unpacked.
///
/// It is of use for large charts: it begins when more texts have come than are soon read, and not at all where there is
/// one processor only. [`TemplateSet::read`](crate::TemplateSet::read) takes what it has read; with the value it ends.
#[derive(Debug)]
pub struct ReadAhead {
    limits: Limits,
    state: Mutex<Ahead>,
}

#[derive(Debug)]
enum Ahead {
    /// Bytes that have come so far, and were left for later.
    Waiting(usize),
    Begun(Helper),
    /// There is nobody to do it, or it was ended.
    Idle,
}

impl ReadAhead {
    /// Nothing has come yet; `limits` are those of the set that will want the texts.
    pub fn new(limits: Limits) -> Self {
        ReadAhead {
            limits,
            state: Mutex::new(Ahead::Waiting(0)),
        }
    }

    /// Begins at once, for who knows that many texts will come.
    pub fn begin(&self) {
        let mut state = lock(&self.state);
        if matches!(*state, Ahead::Waiting(_)) {
            *state = self.begun();
        }
    }

    fn begun(&self) -> Ahead {
        let numbers = Arc::clone(Functions::helm().numbers());
        Helper::begin(numbers, &self.limits).map_or(Ahead::Idle, Ahead::Begun)
    }

    /// Takes a text; its name need not be the one that it will have.
    pub fn offer(&self, name: &str, text: &str) {
        let mut state = lock(&self.state);
        match &mut *state {
            Ahead::Waiting(bytes) if *bytes + text.len() <= ALONE_BYTES_MAX => *bytes += text.len(),
            Ahead::Waiting(_) => {
                *state = self.begun();
                if let Ahead::Begun(helper) = &*state {
                    helper.put(name, text);
                }
            }
            Ahead::Begun(helper) => helper.put(name, text),
            Ahead::Idle => {}
        }
    }

    /// Who has begun; nobody comes after.
    pub(super) fn end(&self) -> Option<Helper> {
        match std::mem::replace(&mut *lock(&self.state), Ahead::Idle) {
            Ahead::Begun(helper) => Some(helper),
            Ahead::Waiting(_) | Ahead::Idle => None,
        }
    }
}
