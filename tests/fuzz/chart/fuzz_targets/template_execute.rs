//! Whatever a template does, it ends within its limits, and does the same again.

#![no_main]

use chart_template::{Fixed, Functions, Limits, TemplateSet, Value};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    steps_max: 20_000,
    steps_total_max: 40_000,
    text_bytes_max: 1 << 16,
    text_bytes_total_max: 1 << 20,
    list_items_max: 10_000,
    include_depth_max: 100,
    template_depth_max: 1000,
    value_depth_max: 100,
    syntax_depth_max: 100,
};

const VALUES: &str = "a: {b: {c: x, d: [1, 2.5, true, null]}}\nlist: [b, a, c]\nn: 3\ntext: 'x {{ .n }} y'\n\
                      multi: |\n  one\n  two\nempty: {}\n";

fn render(functions: &Functions, text: &str) -> Result<String, String> {
    let now = "2026-05-04T03:02:01Z".parse().unwrap();
    let mut set = TemplateSet::new(functions.clone())
        .with_limits(LIMITS)
        .with_surroundings(Fixed::new(now, 1));
    set.parse("fuzz", text).map_err(|error| error.to_string())?;
    // Values are made anew: templates may change them.
    let values = Value::from(&chart_values::yaml::map_from_yaml(VALUES).unwrap());
    let data = Value::map([("Values".into(), values), ("n".into(), Value::int(7))]);
    set.execute("fuzz", &data).map_err(|error| error.to_string())
}

fuzz_target!(|text: &str| {
    thread_local! {
        static FUNCTIONS: Functions = Functions::helm();
    }
    FUNCTIONS.with(|functions| {
        let rendered = render(functions, text);
        if let Ok(output) = &rendered {
            // Bytes that are no UTF-8 become three.
            assert!(output.len() <= 3 * LIMITS.text_bytes_max);
        }
        assert_eq!(rendered, render(functions, text));
    });
});
