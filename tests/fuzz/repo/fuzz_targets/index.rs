//! Any bytes are an index or are refused; what is read is sorted, is written, and reads back the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use repo_index::Index;

fuzz_target!(|bytes: &[u8]| {
    let read = match Index::read(bytes) {
        Ok(read) => read,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    for skipped in &read.skipped {
        assert!(!skipped.to_string().is_empty());
    }
    let index = read.index;
    for (_, versions) in index.charts() {
        assert!(versions.is_sorted_by(|a, b| a.version() >= b.version()));
        for entry in versions {
            assert!(!entry.name().is_empty() && !entry.name().contains('/'));
            assert!(!entry.version_text().is_empty());
            entry.urls().for_each(drop);
        }
    }
    let written = index.write().expect("what was read can be written");
    let again = Index::read(written.as_bytes()).expect("what was written can be read");
    assert!(again.skipped.is_empty());
    assert_eq!(again.index, index);
    let mut merged = index.clone();
    merged.merge(&again.index);
    assert_eq!(merged, index);
});
