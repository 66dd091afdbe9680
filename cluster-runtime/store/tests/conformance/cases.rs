//! The promises, one function each.

use std::sync::Arc;
use std::time::Duration;

use cluster_objects::Object;
use cluster_store::{
    Change, Committed, Event, EventStream, Key, Limits, Precondition, Revision, Selection, Store, StoreError,
    Transaction, Write,
};
use futures::StreamExt;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

/// A way to open an empty store.
pub(crate) trait Open<S: Store>: AsyncFnOnce(Limits) -> S {}

impl<S: Store, F: AsyncFnOnce(Limits) -> S> Open<S> for F {}

fn key(namespace: &str, name: &str) -> Key {
    Key::new("configmaps", namespace, name)
}

fn object(key: &Key, value: &str) -> Arc<Object> {
    let mut object = Object::new("v1", "ConfigMap", Some(&key.namespace), &key.name);
    object.set(&["data", "value"], value);
    Arc::new(object)
}

fn put(key: &Key, precondition: Precondition, value: &str) -> Write {
    Write {
        key: key.clone(),
        precondition,
        change: Change::Put(object(key, value)),
    }
}

fn delete(key: &Key, precondition: Precondition) -> Write {
    Write {
        key: key.clone(),
        precondition,
        change: Change::Delete,
    }
}

fn check(key: &Key, precondition: Precondition) -> Write {
    Write {
        key: key.clone(),
        precondition,
        change: Change::Check,
    }
}

async fn commit(store: &impl Store, writes: impl Into<Vec<Write>>) -> Result<Committed, StoreError> {
    let writes = writes.into();
    store.commit(Transaction { writes }).await
}

async fn set(store: &impl Store, key: &Key, value: &str) -> Revision {
    let committed = commit(store, [put(key, Precondition::None, value)]).await;
    committed.unwrap().revision
}

fn everything() -> Selection {
    Selection {
        table: "configmaps".into(),
        namespace: None,
    }
}

fn value(object: &Object) -> String {
    object.text(&["data", "value"]).unwrap().to_owned()
}

/// The values that a list shows, as `name=value`.
fn shown(store: &impl Store, at: Option<Revision>) -> Result<Vec<String>, StoreError> {
    let answer = store.list(&everything(), at, None, 0, &|_| true)?;
    assert!(!answer.more);
    let line = |object: &Arc<Object>| format!("{}={}", object.key(), value(object));
    Ok(answer.objects.iter().map(line).collect())
}

async fn next(stream: &mut EventStream) -> Option<Result<Arc<Event>, StoreError>> {
    timeout(LIMIT, stream.next())
        .await
        .expect("an event within the limit")
}

async fn event(stream: &mut EventStream) -> Arc<Event> {
    next(stream).await.expect("the stream goes on").expect("an event")
}

pub(crate) async fn a_put_is_stamped_and_read_back<S: Store>(open: impl Open<S>) {
    let store = open(Limits::default()).await;
    let key = key("default", "web");
    assert!(store.get(&key).is_none());
    let given = object(&key, "one");
    let write = Write {
        key: key.clone(),
        precondition: Precondition::Absent,
        change: Change::Put(given.clone()),
    };
    let committed = commit(&store, [write]).await.unwrap();
    let stored = store.get(&key).unwrap();
    assert_eq!(stored.resource_version(), committed.revision.to_string());
    assert_eq!(committed.objects, [Some(stored.clone())]);
    assert_eq!(value(&stored), "one");
    assert_eq!(
        given.resource_version(),
        "",
        "the caller's own object stays as it was"
    );
}

pub(crate) async fn each_change_makes_the_next_revision<S: Store>(open: impl Open<S>) {
    let store = open(Limits::default()).await;
    let start = store.revision();
    let first = set(&store, &key("a", "x"), "1").await;
    let second = set(&store, &key("a", "x"), "2").await;
    assert_eq!(first.0, start.0 + 1);
    assert_eq!(second.0, start.0 + 2);
    assert_eq!(store.revision(), second);
    let writes = ["x", "y", "z"].map(|name| put(&key("a", name), Precondition::None, "3"));
    let committed = commit(&store, writes).await.unwrap();
    let stamps = committed.objects.iter().flatten();
    let stamps: Vec<_> = stamps
        .map(|object| object.resource_version().to_owned())
        .collect();
    assert_eq!(stamps, [3, 4, 5].map(|step| (start.0 + step).to_string()));
    assert_eq!(committed.revision.0, start.0 + 5);
}

pub(crate) async fn checks_alone_make_no_revision<S: Store>(open: impl Open<S>) {
    let store = open(Limits::default()).await;
    let revision = set(&store, &key("a", "x"), "1").await;
    let writes = [
        check(&key("a", "x"), Precondition::At(revision)),
        check(&key("a", "y"), Precondition::Absent),
    ];
    let committed = commit(&store, writes).await.unwrap();
    assert_eq!(committed.revision, revision);
    assert_eq!(committed.objects, [None, None]);
    assert_eq!(store.revision(), revision);
}

pub(crate) async fn deleting_what_is_absent_changes_nothing<S: Store>(open: impl Open<S>) {
    let store = open(Limits::default()).await;
    let before = store.revision();
    let committed = commit(&store, [delete(&key("a", "x"), Precondition::None)]).await;
    let committed = committed.unwrap();
    assert_eq!((committed.revision, committed.objects), (before, vec![None]));
}

pub(crate) async fn preconditions_decide<S: Store>(open: impl Open<S>) {
    let store = open(Limits::default()).await;
    let (there, absent) = (key("a", "there"), key("a", "absent"));
    let old = set(&store, &there, "1").await;
    let now = set(&store, &there, "2").await;
    for (key, precondition, holds) in [
        (&there, Precondition::None, true),
        (&there, Precondition::Present, true),
        (&there, Precondition::At(now), true),
        (&there, Precondition::Absent, false),
        (&there, Precondition::At(old), false),
        (&absent, Precondition::None, true),
        (&absent, Precondition::Absent, true),
        (&absent, Precondition::Present, false),
        (&absent, Precondition::At(now), false),
    ] {
        match commit(&store, [check(key, precondition.clone())]).await {
            Ok(_) => assert!(holds, "{key} {precondition:?}"),
            Err(StoreError::PreconditionFailed { key: named, current }) => {
                assert!(!holds, "{key} {precondition:?}");
                assert_eq!((&named, current), (key, store.get(key)));
            }
            Err(error) => panic!("{key} {precondition:?}: {error}"),
        }
    }
}

pub(crate) async fn err_a_transaction_is_done_whole_or_not_at_all<S: Store>(open: impl Open<S>) {
    let store = open(Limits::default()).await;
    let revision = set(&store, &key("a", "old"), "1").await;
    let writes = [
        put(&key("a", "new"), Precondition::Absent, "1"),
        delete(&key("a", "old"), Precondition::Present),
        check(&key("a", "missing"), Precondition::Present),
    ];
    let error = commit(&store, writes).await.unwrap_err();
    assert!(matches!(error, StoreError::PreconditionFailed { key, .. } if &*key.name == "missing"));
    assert_eq!(shown(&store, None).unwrap(), ["a/old=1"]);
    assert_eq!(store.revision(), revision);

    let writes = [
        put(&key("a", "new"), Precondition::Absent, "1"),
        delete(&key("a", "old"), Precondition::Present),
    ];
    let committed = commit(&store, writes).await.unwrap();
    assert_eq!(shown(&store, None).unwrap(), ["a/new=1"]);
    let deleted = committed.objects[1].as_ref().unwrap();
    assert_eq!(deleted.resource_version(), committed.revision.to_string());
    assert_eq!(value(deleted), "1");
}

pub(crate) async fn err_a_key_appears_twice<S: Store>(open: impl Open<S>) {
    let store = open(Limits::default()).await;
    let write = put(&key("a", "x"), Precondition::None, "1");
    let error = commit(&store, [write.clone(), write]).await.unwrap_err();
    let message = "malformed transaction: key `configmaps/a/x` appears twice";
    assert_eq!(error.to_string(), message);
    assert!(store.get(&key("a", "x")).is_none());
}

pub(crate) async fn err_an_object_nests_too_deep<S: Store>(open: impl Open<S>) {
    let store = open(Limits::default()).await;
    for (levels, is_taken) in [(100, true), (118, true), (119, false), (1000, false)] {
        let mut value = serde_json::Value::Null;
        for level in 0..levels {
            value = match level % 2 {
                0 => serde_json::json!({ "deeper": value }),
                _ => serde_json::json!([value]),
            };
        }
        let key = key("a", "deep");
        let mut object = Object::new("v1", "ConfigMap", Some("a"), "deep");
        object.set(&["data", "value"], value);
        let write = Write {
            key,
            precondition: Precondition::None,
            change: Change::Put(Arc::new(object)),
        };
        let outcome = commit(&store, [write]).await;
        assert_eq!(outcome.is_ok(), is_taken, "{levels} levels");
    }
}

pub(crate) async fn err_a_transaction_is_too_large<S: Store>(open: impl Open<S>) {
    let limits = Limits {
        transaction_bytes_max: 10_000,
        transaction_writes_max: 3,
        ..Limits::default()
    };
    let store = open(limits).await;
    let large = "x".repeat(10_000);
    let error = commit(&store, [put(&key("a", "x"), Precondition::None, &large)]).await;
    assert!(matches!(
        error,
        Err(StoreError::TooLarge {
            bytes_max: 10_000,
            ..
        })
    ));
    let many = ["a", "b", "c", "d"].map(|name| put(&key("a", name), Precondition::None, ""));
    let error = commit(&store, many).await;
    assert!(matches!(error, Err(StoreError::Invalid { .. })));
    assert!(shown(&store, None).unwrap().is_empty());
}

/// Writes that make up far more than one entry of the log of [`small_entries`].
fn many_entries() -> Vec<Write> {
    let value = "x".repeat(1_000);
    let name = |number: usize| format!("{number:03}");
    (0..100)
        .map(|number| put(&key("a", &name(number)), Precondition::Absent, &value))
        .collect()
}

fn small_entries() -> Limits {
    Limits {
        entry_bytes_max: 10_000,
        ..Limits::default()
    }
}

/// What is in the table of parts.
fn parts(store: &impl Store) -> usize {
    let parts = Selection {
        table: "transactionparts.tug.dev".into(),
        namespace: None,
    };
    store
        .list(&parts, None, None, 0, &|_| true)
        .unwrap()
        .objects
        .len()
}

pub(crate) async fn a_transaction_of_many_entries_is_done_as_one<S: Store>(open: impl Open<S>) {
    let store = open(small_entries()).await;
    set(&store, &key("a", "gone"), "v").await;
    let mut seen = store.watch(&everything(), store.revision()).unwrap();
    let mut writes = many_entries();
    writes.push(check(&key("a", "moon"), Precondition::Absent));
    writes.push(delete(&key("a", "gone"), Precondition::Present));
    let committed = commit(&store, writes).await.unwrap();
    assert_eq!(committed.objects.len(), 102, "one for each write, in their order");
    assert_eq!(committed.objects[99].as_ref().unwrap().name(), "099");
    assert!(committed.objects[100].is_none());
    let mut last = Revision(0);
    for number in 0..100 {
        let event = event(&mut seen).await;
        assert_eq!(&*event.key.name, format!("{number:03}"));
        assert!(
            last.0 == 0 || event.revision.0 == last.0 + 1,
            "nothing came between"
        );
        last = event.revision;
    }
    assert!(event(&mut seen).await.deleted);
    assert_eq!(shown(&store, None).unwrap().len(), 100);
    assert_eq!(parts(&store), 0);
}

pub(crate) async fn err_a_transaction_of_many_entries_leaves_nothing<S: Store>(open: impl Open<S>) {
    let store = open(small_entries()).await;
    set(&store, &key("a", "050"), "first").await;
    let error = commit(&store, many_entries()).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::PreconditionFailed { key: failed, .. } if *failed == key("a", "050")),
        "{error}"
    );
    assert_eq!(shown(&store, None).unwrap(), ["a/050=first"]);
    assert_eq!(parts(&store), 0);
}

pub(crate) async fn err_a_full_store_takes_only_deletions<S: Store>(open: impl Open<S>) {
    let limits = Limits {
        live_bytes_max: 50_000,
        ..Limits::default()
    };
    let store = open(limits).await;
    let value = "x".repeat(5_000);
    let mut stored = 0;
    let error = loop {
        let key = key("a", &stored.to_string());
        match commit(&store, [put(&key, Precondition::None, &value)]).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 50, "the limit never holds");
    };
    assert!(matches!(
        error,
        StoreError::Full {
            bytes_max: 50_000,
            ..
        }
    ));
    set(&store, &key("a", "0"), "smaller").await;
    let writes = [delete(&key("a", "1"), Precondition::Present)];
    commit(&store, writes).await.unwrap();
    set(&store, &key("a", "new"), &value).await;
}

pub(crate) async fn lists_are_ordered_and_paged<S: Store>(open: impl Open<S>) {
    let store = open(Limits::default()).await;
    for (namespace, name) in [("b", "1"), ("a", "2"), ("a-b", "9"), ("a", "10"), ("a", "1")] {
        set(&store, &key(namespace, name), "v").await;
    }
    set(&store, &Key::new("secrets", "a", "0"), "v").await;
    let names = |namespace: Option<&str>, after, limit, even: bool| {
        let selection = Selection {
            table: "configmaps".into(),
            namespace: namespace.map(Into::into),
        };
        let keep = move |object: &Object| !even || object.name().ends_with(['0', '2']);
        let answer = store.list(&selection, None, after, limit, &keep).unwrap();
        let names = answer.objects.iter().map(|object| object.key().into_owned());
        (names.collect::<Vec<_>>().join(" "), answer.more)
    };
    let cases = [
        (None, None, 0, false, "a/1 a/10 a/2 a-b/9 b/1", false),
        (None, None, 2, false, "a/1 a/10", true),
        (None, Some(("a", "10")), 2, false, "a/2 a-b/9", true),
        (None, Some(("a-b", "9")), 2, false, "b/1", false),
        (None, Some(("a", "15")), 1, false, "a/2", true),
        (Some("a"), None, 0, false, "a/1 a/10 a/2", false),
        (Some("a"), None, 3, false, "a/1 a/10 a/2", false),
        (Some("a"), Some(("a", "1")), 1, false, "a/10", true),
        (Some("b"), Some(("a", "9")), 0, false, "b/1", false),
        (Some("a"), Some(("b", "1")), 0, false, "", false),
        (Some("c"), None, 0, false, "", false),
        (None, None, 0, true, "a/10 a/2", false),
        (None, None, 1, true, "a/10", true),
        (None, None, 2, true, "a/10 a/2", false),
    ];
    for (namespace, after, limit, even, expected, more) in cases {
        let found = names(namespace, after, limit, even);
        let case = format!("{namespace:?} {after:?} {limit} {even}");
        assert_eq!(found, (expected.to_owned(), more), "{case}");
    }
}

pub(crate) async fn a_list_shows_an_older_revision<S: Store>(open: impl Open<S>) {
    let store = open(Limits::default()).await;
    let empty = store.revision();
    let created = set(&store, &key("a", "x"), "1").await;
    let other = set(&store, &key("b", "y"), "1").await;
    let changed = set(&store, &key("a", "x"), "2").await;
    let writes = [
        delete(&key("a", "x"), Precondition::None),
        put(&key("a", "w"), Precondition::None, "3"),
    ];
    let deleted = commit(&store, writes).await.unwrap().revision;
    let again = set(&store, &key("a", "x"), "4").await;
    for (at, expected) in [
        (empty, vec![]),
        (created, vec!["a/x=1"]),
        (other, vec!["a/x=1", "b/y=1"]),
        (changed, vec!["a/x=2", "b/y=1"]),
        (deleted, vec!["a/w=3", "b/y=1"]),
        (again, vec!["a/w=3", "a/x=4", "b/y=1"]),
    ] {
        assert_eq!(shown(&store, Some(at)).unwrap(), expected, "at {at}");
    }
    let page = store.list(&everything(), Some(other), Some(("a", "x")), 1, &|_| true);
    let page = page.unwrap();
    assert_eq!((page.objects.len(), page.more, page.revision), (1, false, other));
    assert_eq!(page.objects[0].resource_version(), other.to_string());
}

pub(crate) async fn err_the_future_cannot_be_read<S: Store>(open: impl Open<S>) {
    let store = open(Limits::default()).await;
    let newest = set(&store, &key("a", "x"), "1").await;
    let asked = Revision(newest.0 + 1);
    let is_future = |error: StoreError| {
        assert!(matches!(error, StoreError::Future { asked: a, newest: n } if a == asked && n == newest));
    };
    is_future(shown(&store, Some(asked)).unwrap_err());
    is_future(store.watch(&everything(), asked).err().unwrap());
}

pub(crate) async fn err_compacted_revisions_are_refused<S: Store>(open: impl Open<S>) {
    let limits = Limits {
        history_events_max: 10,
        ..Limits::default()
    };
    let store = open(limits).await;
    let first = set(&store, &key("a", "x"), "first").await;
    let mut newest = first;
    for round in 0..30 {
        newest = set(&store, &key("a", "x"), &round.to_string()).await;
    }
    let StoreError::Compacted { asked, oldest } = shown(&store, Some(first)).unwrap_err() else {
        panic!("the first revision is still there")
    };
    assert_eq!(asked, first);
    assert_eq!(newest.0 - oldest.0, 10, "ten events are kept");
    assert_eq!(shown(&store, Some(oldest)).unwrap(), ["a/x=19"]);
    assert!(store.watch(&everything(), oldest).is_ok());
    let error = store.watch(&everything(), Revision(oldest.0 - 1)).err();
    assert!(matches!(error, Some(StoreError::Compacted { .. })));
}

pub(crate) async fn a_quiet_table_keeps_its_past<S: Store>(open: impl Open<S>) {
    let limits = Limits {
        history_events_max: 10,
        ..Limits::default()
    };
    let store = open(limits).await;
    let quiet = set(&store, &Key::new("secrets", "a", "x"), "1").await;
    for round in 0..30 {
        set(&store, &key("a", "x"), &round.to_string()).await;
    }
    let selection = Selection {
        table: "secrets".into(),
        namespace: None,
    };
    assert!(store.watch(&selection, quiet).is_ok(), "nothing was lost for it");
    let answer = store.list(&selection, Some(quiet), None, 0, &|_| true);
    assert_eq!(answer.unwrap().objects.len(), 1);
}

pub(crate) async fn a_watch_starts_at_any_retained_revision<S: Store>(open: impl Open<S>) {
    let store = open(Limits::default()).await;
    let created = set(&store, &key("a", "x"), "1").await;
    let writes = [
        put(&key("a", "y"), Precondition::None, "2"),
        put(&key("a", "x"), Precondition::None, "2"),
    ];
    let both = commit(&store, writes).await.unwrap().revision;
    let writes = [delete(&key("a", "x"), Precondition::None)];
    let deleted = commit(&store, writes).await.unwrap().revision;

    let mut all = store.watch(&everything(), Revision(created.0 - 1)).unwrap();
    let first = event(&mut all).await;
    assert_eq!((first.revision, first.deleted), (created, false));
    assert!(first.previous.is_none());
    let mut later = store.watch(&everything(), created).unwrap();
    for stream in [&mut all, &mut later] {
        let second = event(stream).await;
        assert_eq!((second.revision.0, &*second.key.name), (both.0 - 1, "y"));
        let third = event(stream).await;
        assert_eq!((third.revision, value(&third.object)), (both, "2".to_owned()));
        assert_eq!(
            third.previous.as_ref().map(|object| value(object)),
            Some("1".to_owned())
        );
        let last = event(stream).await;
        assert_eq!((last.revision, last.deleted), (deleted, true));
        assert_eq!(last.object.resource_version(), deleted.to_string());
        let previous = last.previous.as_ref().unwrap();
        assert_eq!(previous.resource_version(), both.to_string());
    }
}

pub(crate) async fn a_watch_follows_without_a_gap<S: Store>(open: impl Open<S>) {
    let store = Arc::new(open(Limits::default()).await);
    let start = store.revision();
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut stream = store.watch(&everything(), start).unwrap();
        streams.push(tokio::spawn(async move {
            let mut revisions = Vec::new();
            while revisions.len() < 500 {
                revisions.push(event(&mut stream).await.revision.0);
            }
            revisions
        }));
    }
    for round in 0..500 {
        set(&*store, &key("a", &(round % 7).to_string()), &round.to_string()).await;
    }
    let expected: Vec<u64> = (start.0 + 1..=start.0 + 500).collect();
    for stream in streams {
        assert_eq!(stream.await.unwrap(), expected);
    }
}

pub(crate) async fn a_watch_of_a_namespace_sees_only_that<S: Store>(open: impl Open<S>) {
    let store = open(Limits::default()).await;
    let selection = Selection {
        table: "configmaps".into(),
        namespace: Some("a".into()),
    };
    let mut stream = store.watch(&selection, store.revision()).unwrap();
    set(&store, &key("b", "x"), "1").await;
    set(&store, &Key::new("secrets", "a", "x"), "1").await;
    let revision = set(&store, &key("a", "x"), "1").await;
    assert_eq!(event(&mut stream).await.revision, revision);
}

pub(crate) async fn err_a_slow_watcher_is_cut_off<S: Store>(open: impl Open<S>) {
    let limits = Limits {
        history_events_max: 100,
        ..Limits::default()
    };
    let store = open(limits).await;
    let mut stream = store.watch(&everything(), store.revision()).unwrap();
    for round in 0..150 {
        set(&store, &key("a", "x"), &round.to_string()).await;
    }
    let error = next(&mut stream).await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::SlowWatcher));
    assert!(next(&mut stream).await.is_none(), "it ends after the error");
}

pub(crate) async fn concurrent_writers_lose_no_update<S: Store>(open: impl Open<S>) {
    let store = Arc::new(open(Limits::default()).await);
    let counter = key("a", "counter");
    set(&*store, &counter, "0").await;
    let mut writers = Vec::new();
    for _ in 0..8 {
        let (store, counter) = (store.clone(), counter.clone());
        writers.push(tokio::spawn(async move {
            let mut done = 0;
            while done < 25 {
                let current = store.get(&counter).unwrap();
                let revision = Revision(current.resource_version().parse().unwrap());
                let next = value(&current).parse::<u32>().unwrap() + 1;
                let write = put(&counter, Precondition::At(revision), &next.to_string());
                match commit(&*store, [write]).await {
                    Ok(_) => done += 1,
                    Err(StoreError::PreconditionFailed { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(value(&store.get(&counter).unwrap()), "200");
}
