//! One table: the objects of a resource, how they were before, and the events in between.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use cluster_objects::Object;
use imbl::OrdMap;
use tokio::sync::watch;

use crate::stored::Stored;
use crate::{Event, Key, ListAnswer, Revision, StoreError};

/// Place of an object in its table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

/// The objects of one resource.
///
/// Old versions are not kept on their own: each event holds the object before it, and the state at a revision is
/// the state now, with what changed since read from the first event after that revision.
#[derive(Debug)]
pub(crate) struct Table {
    objects: OrdMap<Place, Stored>,
    /// Every retained event by place and revision, to find how an object was.
    history: OrdMap<(Place, Revision), Arc<Event>>,
    /// The same events in the order of their commits, to be watched.
    ring: VecDeque<Arc<Event>>,
    /// How many events were ever pushed out of the ring: the sequence number of its first one.
    first_sequence: u64,
    /// Revision of the newest event that is no longer kept; states before it cannot be shown.
    compacted: Revision,
    /// Revision of the newest change.
    newest: Revision,
    /// Tells watchers that the ring grew.
    wake: Arc<watch::Sender<()>>,
}

/// An object at a revision.
#[derive(Debug)]
pub(crate) enum Version<'a> {
    /// As it is now.
    Current(&'a Stored),
    /// As it was before it changed.
    Past(&'a Arc<Object>),
}

/// A table at one moment, to be read without holding a lock.
#[derive(Clone, Debug)]
pub(crate) struct TableView {
    objects: OrdMap<Place, Stored>,
    history: OrdMap<(Place, Revision), Arc<Event>>,
    newest: Revision,
}

impl Table {
    /// Makes an empty table of which nothing before `compacted` is known.
    pub(crate) fn new(compacted: Revision) -> Self {
        Self {
            objects: OrdMap::new(),
            history: OrdMap::new(),
            ring: VecDeque::new(),
            first_sequence: 0,
            compacted,
            newest: Revision(0),
            wake: Arc::new(watch::Sender::new(())),
        }
    }

    pub(crate) fn get(&self, place: &Place) -> Option<&Stored> {
        self.objects.get(place)
    }

    pub(crate) fn compacted(&self) -> Revision {
        self.compacted
    }

    pub(crate) fn wake(&self) -> &Arc<watch::Sender<()>> {
        &self.wake
    }

    /// Takes the place of a table whose watchers have to start anew.
    pub(crate) fn succeed(&mut self, before: Self) {
        self.first_sequence = before.first_sequence + before.ring.len() as u64 + 1;
        self.wake = before.wake;
    }

    /// Stores or removes (`None`) an object and gives what was there.
    pub(crate) fn replace(&mut self, place: Place, stored: Option<Stored>) -> Option<Stored> {
        match stored {
            Some(stored) => self.objects.insert(place, stored),
            None => self.objects.remove(&place),
        }
    }

    /// Keeps an event.
    pub(crate) fn push(&mut self, event: Arc<Event>) {
        let place = Place::of(&event.key);
        self.newest = event.revision;
        self.history.insert((place, event.revision), event.clone());
        self.ring.push_back(event);
    }

    /// Drops the oldest event.
    pub(crate) fn evict(&mut self) {
        if let Some(event) = self.ring.pop_front() {
            self.first_sequence += 1;
            self.compacted = event.revision;
            self.history.remove(&(Place::of(&event.key), event.revision));
        }
    }

    /// The sequence number of the first event after a revision, if all of those are kept.
    pub(crate) fn sequence_after(&self, asked: Revision) -> Result<u64, StoreError> {
        if asked < self.compacted {
            return Err(StoreError::Compacted {
                asked,
                oldest: self.compacted,
            });
        }
        let skipped = self.ring.partition_point(|event| event.revision <= asked);
        Ok(self.first_sequence + skipped as u64)
    }

    /// Up to `count` events from a sequence number on; `None` when the first of them is gone.
    pub(crate) fn events(&self, sequence: u64, count: usize) -> Option<impl Iterator<Item = &Arc<Event>>> {
        let skipped = usize::try_from(sequence.checked_sub(self.first_sequence)?).ok()?;
        Some(self.ring.iter().skip(skipped).take(count))
    }

    /// Shares the table as it is now, in constant time.
    pub(crate) fn view(&self) -> TableView {
        TableView {
            objects: self.objects.clone(),
            history: self.history.clone(),
            newest: self.newest,
        }
    }
}

impl TableView {
    /// Lists as [`crate::Store::list`] tells; the revision must be one that can be shown.
    pub(crate) fn list(
        &self,
        namespace: Option<&Arc<str>>,
        at: Revision,
        after: Option<(&str, &str)>,
        limit: usize,
        keep: &(dyn Fn(&Object) -> bool + Sync),
    ) -> ListAnswer {
        let mut answer = ListAnswer {
            revision: at,
            objects: Vec::new(),
            more: false,
        };
        let start = Self::start(namespace, after);
        let inside = |place: &Place| namespace.is_none_or(|namespace| *namespace == place.namespace);
        for (_, version) in self.objects_at(at, start).take_while(|(place, _)| inside(place)) {
            let object = version.object();
            if !keep(object) {
                continue;
            }
            if limit > 0 && answer.objects.len() == limit {
                answer.more = true;
                break;
            }
            answer.objects.push(object.clone());
        }
        answer
    }

    /// The objects at a revision, in order, from a place on.
    pub(crate) fn objects_at(
        &self,
        at: Revision,
        start: Bound<Place>,
    ) -> impl Iterator<Item = (&Place, Version<'_>)> {
        // Objects that changed since are read from the first event after the revision.
        let changed = (at < self.newest).then(|| self.changed_since(at, start.clone()));
        let mut changed = changed.into_iter().flatten().peekable();
        let mut current = self.objects.range((start, Bound::Unbounded)).peekable();
        std::iter::from_fn(move || {
            loop {
                let Some((place, _)) = changed.peek() else {
                    return current
                        .next()
                        .map(|(place, stored)| (place, Version::Current(stored)));
                };
                if let Some((place, stored)) = current.next_if(|(other, _)| other < place) {
                    return Some((place, Version::Current(stored)));
                }
                current.next_if(|(other, _)| other == place);
                if let Some((place, Some(object))) = changed.next() {
                    return Some((place, Version::Past(object)));
                }
            }
        })
    }

    /// Every retained event, in no useful order.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.history.values()
    }

    /// Each place that changed after a revision, with its object at that revision.
    fn changed_since(
        &self,
        at: Revision,
        start: Bound<Place>,
    ) -> impl Iterator<Item = (&Place, Option<&Arc<Object>>)> {
        let start = match start {
            Bound::Included(place) => Bound::Included((place, Revision(0))),
            Bound::Excluded(place) => Bound::Excluded((place, Revision(u64::MAX))),
            Bound::Unbounded => Bound::Unbounded,
        };
        let mut last = None;
        self.history
            .range((start, Bound::Unbounded))
            .filter(move |((_, revision), _)| *revision > at)
            .filter(move |((place, _), _)| last.replace(place) != Some(place))
            .map(|((place, _), event)| (place, event.previous.as_ref()))
    }

    fn start(namespace: Option<&Arc<str>>, after: Option<(&str, &str)>) -> Bound<Place> {
        let first = namespace.map(|namespace| Place {
            namespace: namespace.clone(),
            name: "".into(),
        });
        let after = after.map(|(namespace, name)| Place {
            namespace: namespace.into(),
            name: name.into(),
        });
        match (first, after) {
            (Some(first), Some(after)) if first > after => Bound::Included(first),
            (_, Some(after)) => Bound::Excluded(after),
            (Some(first), None) => Bound::Included(first),
            (None, None) => Bound::Unbounded,
        }
    }
}

impl<'a> Version<'a> {
    pub(crate) fn object(&self) -> &'a Arc<Object> {
        match self {
            Self::Current(stored) => stored.object(),
            Self::Past(object) => object,
        }
    }

    /// The same as it would be stored.
    pub(crate) fn stored(&self) -> Cow<'a, Stored> {
        match self {
            Self::Current(stored) => Cow::Borrowed(stored),
            Self::Past(object) => {
                let revision = object.resource_version().parse().unwrap_or_default();
                Cow::Owned(Stored::new((*object).clone(), Revision(revision)))
            }
        }
    }
}

impl Place {
    pub(crate) fn of(key: &Key) -> Self {
        Self {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        }
    }
}
