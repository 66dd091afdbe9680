//! Any text is a template or a fault with a place in the text.

#![no_main]

use chart_template::{Functions, TemplateSet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    thread_local! {
        static FUNCTIONS: Functions = Functions::helm();
    }
    let mut set = TemplateSet::new(FUNCTIONS.with(Clone::clone));
    match set.parse("fuzz", text) {
        Ok(()) => assert!(set.contains("fuzz")),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            if let Some(place) = error.place() {
                assert!(place.line >= 1 && place.line <= text.split('\n').count() + 1, "{error}");
                let _ = place.snippet();
            }
        }
    }
});
