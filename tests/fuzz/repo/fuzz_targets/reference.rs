//! A text is a reference to a chart that reads back the same, or is refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use repo_index::{ChartPlace, ChartReference};

fuzz_target!(|text: &str| {
    let Ok(reference) = text.parse::<ChartReference>() else {
        return;
    };
    let written = reference.to_string();
    assert_eq!(written.parse::<ChartReference>().as_ref(), Ok(&reference), "{written}");
    match &reference.place {
        ChartPlace::Named { chart, .. } => assert!(!matches!(chart.as_str(), "" | "." | "..") && !chart.contains('/')),
        ChartPlace::Oci(place) => assert!(place.repository.split('/').all(|part| part != ".." && !part.is_empty())),
        _ => {}
    }
});
