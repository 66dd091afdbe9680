//! What happens while an action runs, for whoever shows it.

use cluster_objects::Object;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// Something is wrong that does not stop the action.
    Warning(String),
    /// A hook is being run.
    Hook {
        /// The event, as `pre-install`.
        event: &'a str,
        /// `Kind/name` of the hook.
        hook: String,
    },
    /// An object was applied.
    Applied {
        /// The object as the cluster has it now.
        object: &'a Object,
        /// How many are done.
        done: usize,
        /// How many there are.
        total: usize,
    },
    /// An object was deleted.
    Deleted {
        /// `Kind/name`.
        label: String,
    },
    /// What is still waited for changed.
    Waiting {
        /// Each object that is not ready, as `Kind/name`, and why.
        pending: &'a [(String, String)],
        /// How many objects are waited for altogether.
        total: usize,
    },
    /// Logs of a hook, as its policy asks.
    Log {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
        /// Its log.
        text: &'a str,
    },
}

/// Who is told.
pub trait Observer: Send + Sync {
    /// Called for each event, in order; must return quickly.
    fn event(&self, event: Event<'_>);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _event: Event<'_>) {}
}
