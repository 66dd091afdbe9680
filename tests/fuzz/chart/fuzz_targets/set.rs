//! `--set` and its kin take any text, or say why not.

#![no_main]

use chart_values::{Map, UserValues};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let flags: [fn(&mut UserValues, String); 5] = [
        |values, text| values.set.push(text),
        |values, text| values.string.push(text),
        |values, text| values.json.push(text),
        |values, text| values.file.push(text),
        |values, text| values.literal.push(text),
    ];
    for flag in flags {
        let mut values = UserValues::default();
        values.set.push("a.b=1,c={x,y},d[1].e=2".to_owned());
        flag(&mut values, text.to_owned());
        let mut read = |name: &str| {
            if name.is_empty() {
                Err("no name".to_owned())
            } else {
                Ok(name.to_owned())
            }
        };
        let merged: Result<Map, _> = values.merge(&mut read);
        if let Err(error) = merged {
            assert!(!error.to_string().is_empty());
        }
    }
});
