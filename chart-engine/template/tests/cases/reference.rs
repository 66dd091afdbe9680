//! `docs/reference/functions.md` is made of the examples of the functions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use chart_template::{Functions, Signature};

use super::{Case, cases};

/// Most examples shown of a function.
const EXAMPLES_MAX: usize = 4;

const HEAD: &str = "\
# Template functions

Everything that Go templates of charts can call, with the same arguments, results and errors as in Helm 4. In Jinja
templates the same functions are there under the same names, as functions and as filters.

Each example is a test. `!!` stands before the end of an error.

This page is made of the files in `chart-engine/template/tests/functions` by
`TUG_TEST_WRITE_DOCS=1 cargo test -p chart-template --test functions`.
";

fn families() -> Vec<(&'static str, &'static str)> {
    vec![
        ("builtin.txt", "The language's own"),
        ("flow.txt", "Templates, defaults, faults"),
        ("strings.txt", "Texts"),
        ("words.txt", "Words and cases"),
        ("regex.txt", "Regular expressions"),
        ("numbers.txt", "Numbers"),
        ("lists.txt", "Lists"),
        ("dicts.txt", "Tables"),
        ("types.txt", "Types"),
        ("data.txt", "YAML and JSON"),
        ("toml.txt", "TOML"),
        ("encode.txt", "Encodings and sums"),
        ("dates.txt", "Times and durations"),
        ("semver.txt", "Versions"),
        ("paths.txt", "Paths"),
        ("urls.txt", "Addresses"),
        ("chance.txt", "Chance"),
        ("crypto.txt", "Keys, certificates, passwords"),
    ]
}

/// The family of a file: keys that take long to make are in a file of their own.
fn family(file: &str) -> &str {
    if file == "slow.txt" { "crypto.txt" } else { file }
}

fn shown(name: &str, signature: Signature) -> String {
    let mut text = name.to_owned();
    for wanted in signature.fixed {
        let _ = write!(text, " {}", word(wanted.name()));
    }
    if let Some(rest) = signature.rest {
        let _ = write!(text, " [{} ...]", word(rest.name()));
    }
    text
}

fn word(go: &str) -> &str {
    match go {
        "interface {}" | "reflect.Value" => "any",
        "map[string]interface {}" => "table",
        "[]interface {}" => "list",
        "[]string" => "texts",
        "string" => "text",
        "int" | "int64" | "uint32" => "int",
        "float64" => "float",
        "bool" => "bool",
        "time.Time" => "time",
        "time.Duration" => "duration",
        other => other,
    }
}

fn page() -> String {
    let functions = Functions::helm();
    let mut by_name: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for case in cases() {
        if let Some((name, _)) = &case.function {
            by_name.entry(name.clone()).or_default().push(case);
        }
    }
    let mut page = HEAD.to_owned();
    for (file, title) in families() {
        let _ = write!(page, "\n## {title}\n");
        for (name, cases) in by_name.iter().filter(|(_, cases)| family(&cases[0].file) == file) {
            let Some(signature) = functions.signature(name) else {
                continue;
            };
            let about = cases[0].function.as_ref().map_or("", |(_, about)| about);
            let _ = write!(
                page,
                "\n### {name}\n\n`{}`\n\n{about}\n\n```text\n",
                shown(name, signature)
            );
            // What goes well first: it says more.
            let (good, bad): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| case.expected.is_ok());
            for case in good.into_iter().chain(bad).take(EXAMPLES_MAX) {
                let result = match &case.expected {
                    Ok(output) => format!("=> {}", quoted(output)),
                    Err(error) => format!("!! {error}"),
                };
                let _ = writeln!(page, "{}\n  {result}", case.expression);
            }
            page.push_str("```\n");
        }
    }
    page
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    chart_values::json::write_string(&mut out, text, false);
    out
}

#[test]
fn the_page_is_what_the_examples_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/functions.md");
    let page = page();
    let headings: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    for name in Functions::helm().names() {
        assert!(headings.contains(&name), "{name} is not on the page");
    }
    if std::env::var_os("TUG_TEST_WRITE_DOCS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, page).unwrap();
        return;
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/functions.md is out of date: TUG_TEST_WRITE_DOCS=1 cargo test -p chart-template --test functions"
    );
}
