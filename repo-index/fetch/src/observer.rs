//! What happens while charts are fetched, for somebody who shows it.

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'e> {
    /// A download began or went on.
    Downloading {
        /// What: the last part of its address.
        name: &'e str,
        /// Bytes that are there.
        bytes: u64,
        /// Bytes there will be, if the server says.
        total: Option<u64>,
    },
    /// A download is complete.
    Downloaded {
        /// What: the last part of its address.
        name: &'e str,
    },
    /// Something odd that does not stop the work.
    Warning(String),
}

/// Somebody who shows what happens.
pub trait Observer: Send + Sync {
    /// Takes note.
    fn event(&self, event: Event<'_>);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _event: Event<'_>) {}
}
