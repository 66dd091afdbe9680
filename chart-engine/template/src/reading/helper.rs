//! Another thread that reads texts, and how the two share them.

use std::collections::hash_map::{Entry, HashMap};
use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{Numbers, lock, read};
use crate::elsewhere;
use crate::error::TemplateError;
use crate::limits::Limits;
use crate::syntax::{Tables, Tree};

/// Another thread that reads texts; it ends with the value.
#[derive(Debug)]
pub(super) struct Helper(Arc<Desk>);

impl Drop for Helper {
    fn drop(&mut self) {
        let mut pile = lock(&self.0.pile);
        pile.is_closed = true;
        pile.texts.clear();
        self.0.tell(&mut pile);
    }
}

#[derive(Debug)]
struct Desk {
    numbers: Arc<Numbers>,
    depth_max: usize,
    hasher: foldhash::fast::RandomState,
    pile: Mutex<Pile>,
    changed: Condvar,
}

/// The hash of a text, which is made once: texts are long.
pub(super) type Key = u64;

#[derive(Debug, Default)]
struct Pile {
    texts: HashMap<Key, Progress, foldhash::fast::RandomState>,
    /// Those that wait, first come first served; some of them are taken or unwanted by now.
    queue: VecDeque<Key>,
    /// Whether anybody waits for a change: else nobody need be told, which takes a call of the system for each text.
    is_awaited: bool,
    is_closed: bool,
}

#[derive(Debug)]
enum Progress {
    /// With the name that it came under.
    Waiting(String, Arc<str>),
    BeingRead,
    Read(Result<Tree, TemplateError>),
}

impl Helper {
    /// Starts the other thread, if there can be one.
    pub(super) fn begin(numbers: Arc<Numbers>, limits: &Limits) -> Option<Self> {
        let desk = Arc::new(Desk {
            numbers,
            depth_max: limits.syntax_depth_max,
            hasher: foldhash::fast::RandomState::default(),
            pile: Mutex::default(),
            changed: Condvar::new(),
        });
        let shared = Arc::clone(&desk);
        elsewhere::start(move || shared.work())?;
        Some(Helper(desk))
    }

    /// Whether it knows functions by the same numbers.
    pub(super) fn knows(&self, numbers: &Numbers) -> bool {
        *self.0.numbers == *numbers
    }

    pub(super) fn key(&self, text: &str) -> Key {
        self.0.hasher.hash_one(text)
    }

    pub(super) fn put(&self, name: &str, text: &str) {
        let key = self.key(text);
        let mut pile = lock(&self.0.pile);
        if let Entry::Vacant(place) = pile.texts.entry(key) {
            place.insert(Progress::Waiting(name.to_owned(), text.into()));
            pile.queue.push_back(key);
            self.0.tell(&mut pile);
        }
    }

    /// Leaves out what nobody wants.
    pub(super) fn keep_only(&self, wanted: &[(usize, Key)]) {
        let wanted: HashSet<Key> = wanted.iter().map(|(_, key)| *key).collect();
        lock(&self.0.pile).texts.retain(|key, _| wanted.contains(key));
    }

    /// Who reads a text; if it was read, it is given away.
    pub(super) fn take(&self, key: Key) -> Taken {
        let mut pile = lock(&self.0.pile);
        match pile.texts.remove(&key) {
            Some(Progress::Read(tree)) => Taken::Read(tree),
            Some(Progress::BeingRead) => {
                pile.texts.insert(key, Progress::BeingRead);
                Taken::ByOther
            }
            Some(Progress::Waiting(..)) | None => Taken::ByCaller,
        }
    }

    /// What became of a text that the other thread reads.
    pub(super) fn wait_for(&self, key: Key) -> Option<Result<Tree, TemplateError>> {
        let mut pile = lock(&self.0.pile);
        while matches!(pile.texts.get(&key), Some(Progress::BeingRead)) {
            pile = self.0.wait(pile);
        }
        drop(pile);
        match self.take(key) {
            Taken::Read(tree) => Some(tree),
            Taken::ByCaller | Taken::ByOther => None,
        }
    }
}

/// Who reads a text.
pub(super) enum Taken {
    ByCaller,
    ByOther,
    Read(Result<Tree, TemplateError>),
}

impl Desk {
    /// Reads what comes until nothing will.
    fn work(&self) {
        let mut tables = Tables::default();
        let mut pile = lock(&self.pile);
        while !pile.is_closed {
            let Some((key, name, text)) = pile.next() else {
                pile = self.wait(pile);
                continue;
            };
            drop(pile);
            let read = || read(&name, &text, &self.numbers, self.depth_max, &mut tables);
            let tree = catch_unwind(AssertUnwindSafe(read));
            pile = lock(&self.pile);
            // Who wants it comes by the same panic.
            match tree {
                Ok(tree) => pile.texts.insert(key, Progress::Read(tree)),
                Err(_) => pile.texts.remove(&key),
            };
            self.tell(&mut pile);
        }
    }

    /// Waits until something has changed.
    fn wait<'p>(&self, mut pile: MutexGuard<'p, Pile>) -> MutexGuard<'p, Pile> {
        pile.is_awaited = true;
        self.changed.wait(pile).unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who wait that something has changed.
    fn tell(&self, pile: &mut Pile) {
        if std::mem::take(&mut pile.is_awaited) {
            self.changed.notify_all();
        }
    }
}

impl Pile {
    /// A text that waits, with its name.
    fn next(&mut self) -> Option<(Key, String, Arc<str>)> {
        loop {
            let key = self.queue.pop_front()?;
            let Some(progress) = self.texts.get_mut(&key) else {
                continue;
            };
            match std::mem::replace(progress, Progress::BeingRead) {
                Progress::Waiting(name, text) => return Some((key, name, text)),
                other => *progress = other,
            }
        }
    }
}
