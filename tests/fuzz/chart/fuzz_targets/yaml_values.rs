//! What YAML gives can be written, and reads back as the same values.

#![no_main]

use chart_values::Value;
use chart_values::json::{from_json, to_json};
use chart_values::yaml::{entries_from_yaml, from_yaml, to_yaml, to_yaml_pretty, values_from_yaml};
use libfuzzer_sys::fuzz_target;

/// How many items and characters a value has, as aliases can make much of little.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => 1 + text.len(),
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(map) => 1 + map.iter().map(|(key, value)| key.len() + size(value)).sum::<usize>(),
        _ => 1,
    }
}

/// Keys that take more than a thousand characters in JSON are refused, as Helm does; a character takes six at most.
const KEY_MAX: usize = 150;

/// Whether Helm's own text of it reads back as something else, or not at all: the key `<<` is written as it is, and is
/// a merge then; a next line (U+0085) is written as it is, and is a fold then; minus zero becomes zero; a text that begins
/// with a tab is written as a block, which may not; one that ends with U+2028 or U+2029 gets another line end; U+FFFE, U+FFFF
/// and keys that are too long are refused.
fn reads_back_otherwise(value: &Value) -> bool {
    let is_text_so = |text: &str| {
        text.contains(['\u{85}', '\u{fffe}', '\u{ffff}'])
            || text.trim_start_matches('\n').starts_with('\t')
            || text.ends_with(['\u{2028}', '\u{2029}'])
    };
    match value {
        Value::String(text) => is_text_so(text),
        Value::Float(number) => *number == 0.0 && number.is_sign_negative(),
        Value::List(items) => items.iter().any(reads_back_otherwise),
        Value::Map(map) => map.iter().any(|(key, value)| {
            key == "<<" || is_text_so(key) || key.len() > KEY_MAX || reads_back_otherwise(value)
        }),
        _ => false,
    }
}

fuzz_target!(|text: &str| {
    let _ = values_from_yaml(text);
    let value = match from_yaml(text) {
        Ok(value) => value,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(entries_from_yaml(text, &["kind", "metadata"]).is_none(), "{text:?}: {error}");
            return;
        }
    };
    if size(&value) > 100_000 {
        return;
    }
    let json = to_json(&value);
    assert_eq!(to_json(&from_json(&json).unwrap()), json);
    if reads_back_otherwise(&value) {
        return;
    }
    for written in [to_yaml(&value), to_yaml_pretty(&value)] {
        // Helm gives the text without its last line end, which belongs to the value where that is a block.
        let written = written.unwrap() + "\n";
        let again = from_yaml(&written).unwrap_or_else(|error| panic!("{text:?}: {written:?}: {error}"));
        assert_eq!(to_json(&again), json, "{text:?}: {written:?}");
    }
    if let Some(entries) = entries_from_yaml(text, &["kind", "metadata"]) {
        for (key, entry) in &entries {
            assert_eq!(value.get(key), Some(entry), "{text:?}");
        }
    }
});
