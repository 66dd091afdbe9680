//! The tables against a model that copies everything at every revision.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster_objects::Object;
use cluster_store::{
    Change, Event, Key, Limits, MemoryStore, Precondition, Revision, Selection, Store, StoreError,
    Transaction, Write,
};
use futures::{FutureExt, StreamExt};
use proptest::prelude::*;

const NAMESPACES: [&str; 3] = ["", "a", "b"];
const TABLES: [&str; 2] = ["pods", "secrets"];

/// One step of a run: what a transaction asks of keys, all of them small numbers.
#[derive(Clone, Debug)]
struct Step {
    table: usize,
    namespace: usize,
    name: u8,
    precondition: u8,
    change: u8,
    value: u16,
}

/// Value and revision of each object of both tables.
type State = BTreeMap<(usize, String, String), (u16, u64)>;

/// One change, as the model tells it: table, place, value after it, value before it.
type Told = (usize, String, String, Option<u16>, Option<u16>);

#[derive(Default)]
struct Model {
    /// The state at each revision.
    states: Vec<State>,
    /// The change that made each revision but the first.
    told: Vec<Told>,
}

impl Model {
    fn newest(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    fn now(&self) -> &State {
        self.states.last().unwrap()
    }

    fn apply(&mut self, steps: &[Step]) -> bool {
        let holds = steps.iter().all(|step| {
            let current = self.now().get(&step.place());
            match step.precondition() {
                Precondition::None => true,
                Precondition::Absent => current.is_none(),
                Precondition::Present => current.is_some(),
                Precondition::At(revision) => current.is_some_and(|(_, found)| *found == revision.0),
            }
        });
        for step in steps.iter().filter(|_| holds) {
            let mut next = self.now().clone();
            let place = step.place();
            let before = next.get(&place).map(|(value, _)| *value);
            let after = match step.change {
                0 => continue,
                1 if before.is_none() => continue,
                1 => None,
                _ => Some(step.value),
            };
            match after {
                Some(value) => _ = next.insert(place.clone(), (value, self.newest() + 1)),
                None => _ = next.remove(&place),
            }
            self.states.push(next);
            self.told.push((place.0, place.1, place.2, after, before));
        }
        holds
    }
}

impl Step {
    fn place(&self) -> (usize, String, String) {
        (
            self.table,
            NAMESPACES[self.namespace].to_owned(),
            format!("n{}", self.name),
        )
    }

    fn key(&self) -> Key {
        let (table, namespace, name) = self.place();
        Key::new(TABLES[table], &namespace, &name)
    }

    fn precondition(&self) -> Precondition {
        match self.precondition {
            0 => Precondition::Absent,
            1 => Precondition::Present,
            // Now and then the right one.
            2 => Precondition::At(Revision(u64::from(self.value) % 40)),
            _ => Precondition::None,
        }
    }

    fn write(&self) -> Write {
        let key = self.key();
        let change = match self.change {
            0 => Change::Check,
            1 => Change::Delete,
            _ => {
                let mut object = Object::new("v1", "Thing", Some(&key.namespace), &key.name);
                object.set(&["value"], self.value);
                Change::Put(Arc::new(object))
            }
        };
        Write {
            precondition: self.precondition(),
            change,
            key,
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    (0..2_usize, 0..3_usize, 0..6_u8, 0..8_u8, 0..6_u8, any::<u16>()).prop_map(
        |(table, namespace, name, precondition, change, value)| Step {
            table,
            namespace,
            name,
            precondition,
            change,
            value,
        },
    )
}

/// Transactions of up to four keys, none twice.
fn transactions() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let transaction = prop::collection::vec(step(), 1..4).prop_map(|mut steps| {
        steps.sort_by_key(Step::place);
        steps.dedup_by_key(|step| step.place());
        steps
    });
    prop::collection::vec(transaction, 1..60)
}

fn value(object: &Object) -> u16 {
    object.integer(&["value"]).unwrap() as u16
}

fn check(transactions: &[Vec<Step>], limits: Limits, page: usize) {
    let store = MemoryStore::new(limits);
    let mut model = Model {
        states: vec![State::new()],
        ..Model::default()
    };
    for steps in transactions {
        let writes = steps.iter().map(Step::write).collect();
        let outcome = store.commit(Transaction { writes }).now_or_never().unwrap();
        assert_eq!(outcome.is_ok(), model.apply(steps), "{steps:?}: {outcome:?}");
        assert_eq!(store.revision().0, model.newest());
    }
    for (number, table) in TABLES.iter().enumerate() {
        for namespace in [None, Some("a"), Some("")] {
            let selection = Selection {
                table: (*table).into(),
                namespace: namespace.map(Into::into),
            };
            for (at, state) in model.states.iter().enumerate() {
                let inside = |found: usize, other: &str| {
                    found == number && namespace.is_none_or(|namespace| namespace == other)
                };
                let expected = state
                    .iter()
                    .filter(|((found, other, _), _)| inside(*found, other));
                let expected: Vec<_> = expected
                    .map(|((_, namespace, name), (value, revision))| {
                        (namespace.clone(), name.clone(), *value, revision.to_string())
                    })
                    .collect();
                let at = Revision(at as u64);
                match pages(&store, &selection, at, page) {
                    Ok(found) => assert_eq!(found, expected, "{table} {namespace:?} at {at}"),
                    Err(StoreError::Compacted { oldest, .. }) => {
                        assert!(at < oldest && oldest <= store.revision());
                    }
                    Err(error) => panic!("{error}"),
                }
                let told = model
                    .told
                    .iter()
                    .zip(1..)
                    .filter(|((found, other, ..), revision)| inside(*found, other) && *revision > at.0);
                match store.watch(&selection, at) {
                    Ok(stream) => check_events(stream, told),
                    Err(StoreError::Compacted { oldest, .. }) => assert!(at < oldest),
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

fn pages(
    store: &MemoryStore,
    selection: &Selection,
    at: Revision,
    page: usize,
) -> Result<Vec<(String, String, u16, String)>, StoreError> {
    let mut found: Vec<(String, String, u16, String)> = Vec::new();
    loop {
        let after = found
            .last()
            .map(|(namespace, name, ..)| (namespace.as_str(), name.as_str()));
        let answer = store.list(selection, Some(at), after, page, &|_| true)?;
        assert!(answer.objects.len() <= page && answer.revision == at);
        found.extend(answer.objects.iter().map(|object| {
            let namespace = object.namespace().unwrap_or_default().to_owned();
            let version = object.resource_version().to_owned();
            (namespace, object.name().to_owned(), value(object), version)
        }));
        if !answer.more {
            return Ok(found);
        }
    }
}

fn check_events<'a>(mut stream: cluster_store::EventStream, told: impl Iterator<Item = (&'a Told, u64)>) {
    for ((_, namespace, name, after, before), revision) in told {
        let event: Arc<Event> = stream.next().now_or_never().expect("an event").unwrap().unwrap();
        assert_eq!(event.revision.0, revision);
        assert_eq!(
            (&*event.key.namespace, &*event.key.name),
            (namespace.as_str(), name.as_str())
        );
        assert_eq!(event.deleted, after.is_none());
        assert_eq!(event.previous.as_deref().map(value), *before);
        assert_eq!(Some(value(&event.object)), after.or(*before));
        assert_eq!(event.object.resource_version(), revision.to_string());
    }
    assert!(
        stream.next().now_or_never().is_none(),
        "no more events than were told"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_revision_is_shown_as_it_was(transactions in transactions(), page in 1..5_usize) {
        check(&transactions, Limits::default(), page);
    }

    #[test]
    fn with_a_short_history_what_is_kept_is_shown_as_it_was(
        transactions in transactions(),
        kept in 0..30_usize,
        page in 1..5_usize,
    ) {
        let limits = Limits { history_events_max: kept, ..Limits::default() };
        check(&transactions, limits, page);
    }
}
