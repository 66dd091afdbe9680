use std::fs;
use std::path::Path;
use std::sync::Arc;

use cluster_objects::Object;
use serde_json::json;

use crate::seal::{Sealer, StorageKey};
use crate::snapshot::{Before, Past, read_snapshot, write_snapshot};
use crate::tables::Tables;
use crate::{Change, Key, Limits, ListAnswer, Precondition, Revision, Transaction, Write};

fn commit(tables: &mut Tables, key: Key, change: Change) {
    let writes = vec![Write {
        key,
        precondition: Precondition::None,
        change,
    }];
    tables.apply(Transaction { writes }).unwrap();
}

fn put(tables: &mut Tables, key: Key, text: &str) {
    let mut object = Object::new("v1", "ConfigMap", Some(&key.namespace), &key.name);
    object.set(&["data", "value"], text);
    commit(tables, key, Change::Put(Arc::new(object)));
}

/// Tables of which the older past is no longer kept.
fn filled() -> Tables {
    filled_with("x")
}

fn filled_with(letter: &str) -> Tables {
    let limits = Limits {
        history_events_max: 300,
        ..Limits::default()
    };
    let mut tables = Tables::new(limits);
    for step in 0..1000_usize {
        let table = ["configmaps", "secrets"][usize::from(step % 5 == 0)];
        let key = Key::new(table, &format!("n{}", step % 3), &format!("o{}", step * 7 % 400));
        if step % 11 == 0 {
            commit(&mut tables, key, Change::Delete);
        } else {
            put(&mut tables, key, &letter.repeat(step * 10));
        }
    }
    put(&mut tables, Key::new("namespaces", "", "default"), "");
    tables.take_wakes();
    tables
}

fn list(tables: &Tables, table: &str, at: Revision) -> ListAnswer {
    tables
        .table(table)
        .unwrap()
        .view()
        .list(None, at, None, 0, &|_| true)
}

fn write(tables: &Tables, path: &Path) {
    let bytes = write_snapshot(
        path,
        json!({"index": 7}),
        &tables.view(),
        Past::Newest,
        None,
        None,
    )
    .unwrap();
    assert_eq!(bytes, fs::metadata(path).unwrap().len());
}

#[test]
fn a_snapshot_holds_the_tables_and_their_past() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.snapshot");
    let tables = filled();
    write(&tables, &path);
    let (header, read) = read_snapshot(&path, Limits::default(), None).unwrap();
    assert_eq!(header.log, json!({"index": 7}));
    assert_eq!(read.revision(), tables.revision());
    assert_eq!(read.live_bytes(), tables.live_bytes());
    for name in ["configmaps", "secrets", "namespaces"] {
        let (before, after) = (tables.table(name).unwrap(), read.table(name).unwrap());
        assert_eq!(before.compacted(), after.compacted());
        for revision in before.compacted().0..=tables.revision().0 {
            let revision = Revision(revision);
            let shown = list(&read, name, revision);
            assert_eq!(
                shown.objects,
                list(&tables, name, revision).objects,
                "{name} at {revision}"
            );
            let sequence = after.sequence_after(revision).unwrap();
            let events = |table: &crate::table::Table, sequence| -> Vec<_> {
                let events = table.events(sequence, usize::MAX).unwrap();
                let told = events.map(|event| (event.revision, event.object.clone(), event.previous.clone()));
                told.collect()
            };
            let expected = before.sequence_after(revision).unwrap();
            assert_eq!(events(after, sequence), events(before, expected));
        }
    }
}

#[test]
fn of_a_long_past_the_newest_part_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.snapshot");
    let mut tables = Tables::new(Limits::default());
    put(&mut tables, Key::new("quiet", "default", "x"), "");
    for step in 0..6000 {
        let key = Key::new("busy", "default", &format!("o{}", step % 700));
        if step % 50 == 7 {
            commit(&mut tables, key, Change::Delete);
        } else {
            put(&mut tables, key, &step.to_string());
        }
    }
    put(&mut tables, Key::new("late", "default", "x"), "");
    write(&tables, &path);
    let (_, read) = read_snapshot(&path, Limits::default(), None).unwrap();
    let newest = tables.revision();
    let begin = read.table("busy").unwrap().compacted();
    assert_eq!(newest.0 - begin.0, 4096);
    assert_eq!(read.table("quiet").unwrap().compacted(), Revision(1));
    assert_eq!(read.table("late").unwrap().compacted(), Revision(0));
    for at in [begin, Revision(begin.0 + 1), Revision(newest.0 - 5), newest] {
        for name in ["busy", "quiet", "late"] {
            assert_eq!(
                list(&read, name, at).objects,
                list(&tables, name, at).objects,
                "{name} at {at}"
            );
        }
    }
}

#[test]
fn a_snapshot_without_the_past_shows_the_present() {
    let dir = tempfile::tempdir().unwrap();
    let (small, usual) = (
        dir.path().join("small.snapshot"),
        dir.path().join("usual.snapshot"),
    );
    let tables = filled();
    let bytes = write_snapshot(&small, json!({}), &tables.view(), Past::Nothing, None, None).unwrap();
    assert!(bytes < write_snapshot(&usual, json!({}), &tables.view(), Past::Newest, None, None).unwrap());
    let (_, read) = read_snapshot(&small, Limits::default(), None).unwrap();
    let newest = tables.revision();
    assert_eq!(read.revision(), newest);
    for name in ["configmaps", "secrets", "namespaces"] {
        assert_eq!(
            list(&read, name, newest).objects,
            list(&tables, name, newest).objects
        );
        let before = Revision(read.table(name).unwrap().compacted().0 - 1);
        assert!(read.table(name).unwrap().sequence_after(before).is_err());
    }
}

#[test]
fn err_any_damage_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.snapshot");
    let mut tables = Tables::new(Limits::default());
    for name in ["a", "b", "c"] {
        put(&mut tables, Key::new("configmaps", "default", name), "value");
    }
    write(&tables, &path);
    let whole = fs::read(&path).unwrap();
    assert!(read_snapshot(&path, Limits::default(), None).is_ok());
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(
            read_snapshot(&path, Limits::default(), None).is_err(),
            "cut at {length}"
        );
    }
    for place in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[place] ^= 0xff;
        fs::write(&path, &flipped).unwrap();
        assert!(
            read_snapshot(&path, Limits::default(), None).is_err(),
            "byte {place}"
        );
    }
    fs::write(&path, [&whole[..], &whole[..]].concat()).unwrap();
    assert!(read_snapshot(&path, Limits::default(), None).is_err(), "twice");
}

/// The bytes of a snapshot without the past, written beside one before.
fn written_after(tables: &Tables, before: Option<Before>) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("after.snapshot");
    write_snapshot(&path, json!({}), &tables.view(), Past::Nothing, None, before).unwrap();
    fs::read(path).unwrap()
}

#[test]
fn what_has_not_changed_is_copied_from_the_snapshot_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("before.snapshot");
    // The same objects at the same revisions, with other texts: so it shows which were copied.
    let other = filled_with("y");
    fs::write(&path, written_after(&other, None)).unwrap();
    let sealer = Arc::new(Sealer::new(StorageKey::new(1, [7; 32])).unwrap());
    let sealed = dir.path().join("sealed.snapshot");
    write_snapshot(
        &sealed,
        json!({}),
        &other.view(),
        Past::Nothing,
        Some(&sealer),
        None,
    )
    .unwrap();
    let mut tables = filled();
    for (path, sealer) in [(&path, None), (&sealed, Some(sealer))] {
        let before = Before::open(path, sealer).unwrap();
        assert!(written_after(&tables, Some(before)) == written_after(&other, None));
    }
    put(&mut tables, Key::new("configmaps", "n0", "o21"), "changed");
    put(&mut tables, Key::new("configmaps", "n9", "new"), "new");
    put(&mut tables, Key::new("pods", "n0", "new"), "in a new table");
    let gone = Key::new("secrets", "n1", "o70");
    assert!(!list(&tables, "secrets", tables.revision()).objects.is_empty());
    commit(&mut tables, gone.clone(), Change::Delete);
    let after = dir.path().join("after.snapshot");
    fs::write(
        &after,
        written_after(&tables, Some(Before::open(&path, None).unwrap())),
    )
    .unwrap();
    let (_, read) = read_snapshot(&after, Limits::default(), None).unwrap();
    let mut copied = 0;
    for name in ["configmaps", "namespaces", "pods", "secrets"] {
        let (expected, found) = (
            list(&tables, name, tables.revision()),
            list(&read, name, read.revision()),
        );
        assert_eq!(expected.objects.len(), found.objects.len(), "{name}");
        for (expected, found) in expected.objects.iter().zip(&found.objects) {
            let text = |object: &Object| object.text(&["data", "value"]).unwrap_or_default().to_owned();
            assert_eq!(expected.resource_version(), found.resource_version());
            assert_eq!(text(expected).replace('x', "y"), text(found), "{}", found.key());
            copied += usize::from(text(found).starts_with('y'));
        }
    }
    assert!(copied > 300, "{copied} were copied");
}

#[test]
fn err_a_damaged_snapshot_before_costs_nothing_but_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("before.snapshot");
    let mut tables = filled();
    write(&tables, &path);
    put(&mut tables, Key::new("configmaps", "n0", "o21"), "changed");
    let expected = written_after(&tables, None);
    let whole = fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        for bytes in [&damaged[..], &whole[..at]] {
            fs::write(&path, bytes).unwrap();
            let before = Before::open(&path, None).unwrap();
            assert_eq!(written_after(&tables, Some(before)), expected, "damaged at {at}");
        }
    }
}
