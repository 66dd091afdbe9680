use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use tempfile::TempDir;

use crate::wal::log::{Wal, WalOptions};
use crate::wal::record::{Entry, Position};
use crate::wal::segment::{list_segments, segment_path};

fn options() -> WalOptions {
    WalOptions {
        segment_bytes: 8 << 10,
        first_segment_bytes: 4 << 10,
        newest_path: None,
        before_write: None,
    }
}

fn position(index: u64) -> Position {
    Position {
        term: 1,
        member: 7,
        index,
    }
}

fn entry(index: u64, bytes: usize) -> Entry {
    Entry {
        position: position(index),
        payload: vec![index as u8 % 250 + 1; bytes],
    }
}

fn wait(ask: impl FnOnce(Box<dyn FnOnce(io::Result<()>) + Send>)) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel();
    ask(Box::new(move |outcome| sender.send(outcome).unwrap()));
    receiver.recv().unwrap()
}

fn append(wal: &Wal, entries: Vec<Entry>) -> io::Result<()> {
    wait(|done| wal.append(entries, done))
}

fn open(dir: &Path) -> Wal {
    Wal::open(dir, options()).unwrap().0
}

/// Writes entries, one frame for each, and gives the folder.
fn written(sizes: &[usize]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path());
    for (index, bytes) in sizes.iter().enumerate() {
        append(&wal, vec![entry(index as u64, *bytes)]).unwrap();
    }
    wal.close();
    dir
}

fn indexes(wal: &Wal) -> Vec<u64> {
    let entries = wal.read(0, u64::MAX).unwrap();
    for entry in &entries {
        assert!(
            entry
                .payload
                .iter()
                .all(|byte| *byte == entry.position.index as u8 % 250 + 1)
        );
    }
    entries.iter().map(|entry| entry.position.index).collect()
}

#[test]
fn entries_are_there_after_reopening() {
    let sizes: Vec<usize> = (0..60).map(|step| step * 37 % 900).collect();
    let dir = written(&sizes);
    assert!(
        list_segments(dir.path()).unwrap().len() > 3,
        "several segments are used"
    );
    let wal = open(dir.path());
    assert_eq!(indexes(&wal), (0..60).collect::<Vec<_>>());
    let lengths: Vec<usize> = wal
        .read(10, 20)
        .unwrap()
        .iter()
        .map(|entry| entry.payload.len())
        .collect();
    assert_eq!(lengths, sizes[10..20]);
    append(&wal, vec![entry(60, 5), entry(61, 5)]).unwrap();
    wal.close();
    let wal = open(dir.path());
    assert_eq!(wal.state(), (Some(position(61)), None));
    assert_eq!(indexes(&wal).len(), 62);
}

#[test]
fn an_entry_larger_than_a_segment_gets_its_own() {
    let dir = written(&[10, 100_000, 10, 7000, 7000]);
    assert_eq!(indexes(&open(dir.path())), [0, 1, 2, 3, 4]);
}

#[test]
fn the_committed_position_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path());
    append(&wal, vec![entry(0, 10), entry(1, 10)]).unwrap();
    wal.set_committed(position(1));
    wal.close();
    assert_eq!(Wal::open(dir.path(), options()).unwrap().1, Some(position(1)));
}

#[test]
fn truncated_entries_are_written_anew() {
    let dir = written(&[10; 5]);
    let wal = open(dir.path());
    wait(|done| wal.truncate(2, done)).unwrap();
    assert_eq!(indexes(&wal), [0, 1]);
    append(&wal, vec![entry(2, 99)]).unwrap();
    wal.close();
    let wal = open(dir.path());
    assert_eq!(indexes(&wal), [0, 1, 2]);
    assert_eq!(wal.read(2, 3).unwrap()[0].payload.len(), 99);
}

#[test]
fn purging_removes_whole_segments() {
    let dir = written(&[1000; 50]);
    let before = list_segments(dir.path()).unwrap();
    let wal = open(dir.path());
    let bytes_before = wal.bytes();
    wait(|done| wal.purge(position(39), done)).unwrap();
    assert!(wal.bytes() < bytes_before / 2);
    assert_eq!(indexes(&wal), (40..50).collect::<Vec<_>>());
    wal.close();
    let after = list_segments(dir.path()).unwrap();
    assert!(after.len() < before.len() && after.last() >= before.last());
    let wal = open(dir.path());
    assert_eq!(wal.state(), (Some(position(49)), Some(position(39))));
    assert_eq!(indexes(&wal), (40..50).collect::<Vec<_>>());
}

#[test]
fn a_log_purged_beyond_its_end_goes_on_after_that() {
    let dir = written(&[10; 3]);
    let wal = open(dir.path());
    wait(|done| wal.purge(position(100), done)).unwrap();
    assert_eq!(wal.state(), (Some(position(100)), Some(position(100))));
    // Enough to leave the segment with the record of the purge behind.
    for index in 101..130 {
        append(&wal, vec![entry(index, 1000)]).unwrap();
    }
    wait(|done| wal.purge(position(120), done)).unwrap();
    wal.close();
    let wal = open(dir.path());
    assert_eq!(wal.state(), (Some(position(129)), Some(position(120))));
    assert_eq!(indexes(&wal), (121..130).collect::<Vec<_>>());
}

/// The only segment's path, and where its last frame starts and ends.
fn last_frame(dir: &Path, body_bytes: usize) -> (std::path::PathBuf, usize, usize) {
    let numbers = list_segments(dir).unwrap();
    let path = segment_path(dir, *numbers.last().unwrap());
    let bytes = fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let length = crate::wal::frame::padded(body_bytes);
    (path, end - length, end)
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_off() {
    let dir = written(&[300, 300]);
    // Kind, three one-byte numbers, and a two-byte length stand before the payload.
    let (path, start, end) = last_frame(dir.path(), 6 + 300);
    let whole = fs::read(&path).unwrap();
    for cut in start..end {
        let mut torn = whole.clone();
        torn[cut..].fill(0);
        fs::write(&path, &torn).unwrap();
        let wal = open(dir.path());
        assert_eq!(indexes(&wal), [0], "torn at {cut}");
        append(&wal, vec![entry(1, 20)]).unwrap();
        wal.close();
        let wal = open(dir.path());
        assert_eq!(indexes(&wal), [0, 1], "torn at {cut}, then written to");
        wal.close();
    }
}

#[test]
fn err_any_flipped_byte_of_a_frame_is_an_error() {
    let dir = written(&[300, 300, 300]);
    let (path, start, end) = last_frame(dir.path(), 6 + 300);
    let whole = fs::read(&path).unwrap();
    let length = end - start;
    for place in start - length..end {
        let mut flipped = whole.clone();
        flipped[place] ^= 0xff;
        fs::write(&path, &flipped).unwrap();
        assert!(Wal::open(dir.path(), options()).is_err(), "byte {place}");
    }
}

#[test]
fn err_a_missing_or_short_segment_is_an_error() {
    let dir = written(&[1000; 50]);
    let numbers = list_segments(dir.path()).unwrap();
    for number in &numbers[..numbers.len() - 1] {
        let path = segment_path(dir.path(), *number);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(
            Wal::open(dir.path(), options()).is_err(),
            "without segment {number}"
        );
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(Wal::open(dir.path(), options()).is_err(), "segment {number} cut");
        fs::write(&path, &bytes).unwrap();
    }
    assert_eq!(indexes(&open(dir.path())).len(), 50);
}

#[test]
fn err_after_a_failed_write_nothing_more_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let left = Arc::new(AtomicU64::new(5));
    let budget = left.clone();
    let full =
        move || match budget.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::ErrorKind::StorageFull.into()),
        };
    let options = WalOptions {
        before_write: Some(Arc::new(full)),
        ..options()
    };
    let (wal, _) = Wal::open(dir.path(), options).unwrap();
    let mut written = Vec::new();
    let error = loop {
        let index = written.len() as u64;
        match append(&wal, vec![entry(index, 10)]) {
            Ok(()) => written.push(index),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(!written.is_empty());
    left.store(100, Ordering::SeqCst);
    assert!(
        append(&wal, vec![entry(written.len() as u64, 10)]).is_err(),
        "it stays failed"
    );
    wal.close();
    assert_eq!(indexes(&open(dir.path())), written);
}
