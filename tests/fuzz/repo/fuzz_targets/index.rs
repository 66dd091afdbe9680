//! Any bytes are an index or are refused; what is read is sorted, and reads back the same once it is written.

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
    // JSON has characters that YAML has not; Helm cannot write them either.
    let written = match index.write() {
        Ok(written) => written,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let again = Index::read(written.as_bytes()).expect("what was written can be read");
    assert!(again.skipped.is_empty());
    assert_eq!(again.index, index);
    let mut merged = index.clone();
    merged.merge(&again.index);
    assert_eq!(merged, index);
});
