//! An archive is a chart, or is refused, within its limits.

#![no_main]

use std::io::Write as _;

use chart_model::{Chart, Limits, package};
use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits {
        file_bytes_max: 1 << 16,
        chart_bytes_max: 1 << 18,
        files_max: 100,
        depth_max: 5,
        ..Limits::default()
    };
    // A gzipped archive as it is, anything else as the archive inside: most inputs would get no further than gzip's sum.
    let zipped = if data.starts_with(b"\x1f\x8b") {
        data.to_vec()
    } else {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
        gzip.write_all(data).unwrap();
        gzip.finish().unwrap()
    };
    let Ok(chart) = Chart::from_archive_within(&zipped, limits) else {
        return;
    };
    for file in &chart.raw {
        assert!(!file.name.is_empty() && !file.name.starts_with('/'), "{}", file.name);
        assert!(file.name.split('/').all(|part| part != ".."), "{}", file.name);
    }
    // What was taken can be packed, and is the same chart again.
    if let Ok(packed) = package(&chart, 0) {
        let again = Chart::from_archive(&packed);
        if let Ok(again) = again {
            assert_eq!(again.name(), chart.name());
            assert_eq!(again.templates.len(), chart.templates.len());
        }
    }
});
