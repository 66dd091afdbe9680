//! When maps were made and which were changed since: what was computed from them holds until then.
//!
//! Values stay on one thread, and so does this.

use std::cell::Cell;

/// The thread's clock, which ticks whenever a map is made.
struct Clock {
    now: Cell<u64>,
    /// When the oldest was made of those maps that changed since somebody asked.
    oldest_changed: Cell<u64>,
    /// Who asked last.
    asked: Cell<u64>,
    /// How often something was seen that may be another the next time.
    fleeting: Cell<u64>,
}

thread_local! {
    static CLOCK: Clock = const {
        Clock {
            now: Cell::new(1),
            oldest_changed: Cell::new(u64::MAX),
            asked: Cell::new(0),
            fleeting: Cell::new(0),
        }
    };
}

/// A moment that no other is equal to.
pub(crate) fn tick() -> u64 {
    CLOCK.with(|clock| {
        let now = clock.now.get() + 1;
        clock.now.set(now);
        now
    })
}

/// Notes the change of something made at a moment.
pub(crate) fn changed(made: u64) {
    CLOCK.with(|clock| clock.oldest_changed.set(clock.oldest_changed.get().min(made)));
}

/// Notes that something was seen that may be another the next time: the time, chance, what a caller's function gave.
pub(crate) fn saw_fleeting() {
    CLOCK.with(|clock| clock.fleeting.set(clock.fleeting.get() + 1));
}

/// How often [`saw_fleeting`] was noted.
pub(crate) fn seen_fleeting() -> u64 {
    CLOCK.with(|clock| clock.fleeting.get())
}

/// When the oldest was made of those that changed since the same asker asked.
///
/// With several askers none is told of what another heard, so whoever was not the last must take everything for
/// changed: 0.
pub(crate) fn oldest_changed(asker: u64) -> u64 {
    CLOCK.with(|clock| {
        let oldest = clock.oldest_changed.replace(u64::MAX);
        if clock.asked.replace(asker) == asker {
            oldest
        } else {
            0
        }
    })
}
