//! How much a store keeps, and how big a transaction may be.

/// Bounds of a store; they hold for one process, members of a group may differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of live objects; beyond it only transactions that do not grow the store go through.
    pub live_bytes_max: usize,
    /// Events that are kept to be watched and to show older revisions.
    pub history_events_max: usize,
    /// Bytes of superseded objects that are always allowed, however small the store is.
    pub history_bytes_min: usize,
    /// Bytes of superseded objects that are never exceeded. Between the two bounds, the history may be half as
    /// big as what is live, so that a small cluster stays small.
    pub history_bytes_max: usize,
    /// Keys in one transaction.
    pub transaction_writes_max: usize,
    /// Bytes of one transaction.
    pub transaction_bytes_max: usize,
    /// Bytes of one transaction that goes through the log as one entry; a bigger one is staged in parts of that size
    /// and done by a commit marker.
    pub entry_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            live_bytes_max: 8 << 30,
            history_events_max: 200_000,
            history_bytes_min: 16 << 20,
            history_bytes_max: 256 << 20,
            transaction_writes_max: 50_000,
            transaction_bytes_max: 256 << 20,
            entry_bytes_max: 16 << 20,
        }
    }
}

impl Limits {
    /// Bytes of history that go with so many live bytes.
    pub(crate) fn history_bytes(&self, live_bytes: usize) -> usize {
        (live_bytes / 2)
            .max(self.history_bytes_min)
            .min(self.history_bytes_max)
    }
}
