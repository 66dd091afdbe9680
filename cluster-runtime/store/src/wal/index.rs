//! Where the entries of the log are.

use std::collections::VecDeque;

use crate::wal::record::Position;

/// Where an entry's payload is on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) position: Position,
    /// Number of the segment.
    pub(crate) segment: u64,
    /// Byte in the segment.
    pub(crate) offset: u64,
    pub(crate) length: usize,
    pub(crate) crc: u32,
}

/// The entries that the log holds: an unbroken run of indexes after what was purged.
#[derive(Debug, Default)]
pub(crate) struct Index {
    slots: VecDeque<Slot>,
    purged: Option<Position>,
}

impl Index {
    /// Takes an entry that comes next; `false` if there would be a hole.
    ///
    /// The first one may have any index: while a log is read from its oldest segment, the record of how far it is
    /// purged comes later. [`Self::has_gap`] tells in the end.
    pub(crate) fn push(&mut self, slot: Slot) -> bool {
        let last = self.slots.back();
        let fits = last.is_none_or(|last| slot.position.index == last.position.index + 1);
        if fits {
            self.slots.push_back(slot);
        }
        fits
    }

    /// Whether entries are missing between what was purged and what is there.
    pub(crate) fn has_gap(&self) -> bool {
        let next = self.purged.map_or(0, |purged| purged.index + 1);
        self.slots.front().is_some_and(|slot| slot.position.index != next)
    }

    pub(crate) fn truncate(&mut self, since_index: u64) {
        while self
            .slots
            .back()
            .is_some_and(|slot| slot.position.index >= since_index)
        {
            self.slots.pop_back();
        }
    }

    pub(crate) fn purge(&mut self, upto: Position) {
        while self
            .slots
            .front()
            .is_some_and(|slot| slot.position.index <= upto.index)
        {
            self.slots.pop_front();
        }
        self.purged = self.purged.max(Some(upto));
    }

    /// The newest entry, also when it was purged.
    pub(crate) fn last(&self) -> Option<Position> {
        self.slots.back().map(|slot| slot.position).or(self.purged)
    }

    pub(crate) fn purged(&self) -> Option<Position> {
        self.purged
    }

    /// The oldest segment that still holds an entry.
    pub(crate) fn first_segment(&self) -> Option<u64> {
        // Segments are filled in order, but entries may have been voided and written anew.
        self.slots.front().map(|slot| slot.segment)
    }

    /// The entries of the indexes from `start` to before `end` that are there.
    pub(crate) fn range(&self, start: u64, end: u64) -> Vec<Slot> {
        let first = self.slots.front().map_or(0, |slot| slot.position.index);
        let skipped = usize::try_from(start.saturating_sub(first)).unwrap_or(usize::MAX);
        let slots = self.slots.iter().skip(skipped);
        slots
            .take_while(|slot| slot.position.index < end)
            .copied()
            .collect()
    }
}
