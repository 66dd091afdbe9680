//! A text is a lock that reads back the same, or is refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use repo_index::ChartLock;

fuzz_target!(|text: &str| {
    let Ok(lock) = ChartLock::read(text) else {
        return;
    };
    if let Ok(written) = lock.write() {
        let again = ChartLock::read(&written).expect("what was written can be read");
        assert_eq!(again, lock, "{written}");
    }
});
