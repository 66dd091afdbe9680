//! The table of the specification's requirements names tests that exist, at least one for each.

use std::collections::BTreeSet;

const TABLE: &str = include_str!("../../../../docs/reference/distribution-spec.md");
const TESTS: [(&str, &str); 5] = [
    ("access", include_str!("access.rs")),
    ("discovery", include_str!("discovery.rs")),
    ("management", include_str!("management.rs")),
    ("pull", include_str!("pull.rs")),
    ("push", include_str!("push.rs")),
];

/// `MODULE::TEST` of every test.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (module, source) in TESTS {
        let mut lines = source.lines();
        while let Some(line) = lines.next() {
            if line.starts_with("#[tokio::test") {
                let name = lines.next().and_then(|line| line.strip_prefix("async fn "));
                let name = name.and_then(|name| name.split('(').next()).unwrap();
                found.insert(format!("{module}::{name}"));
            }
        }
    }
    found
}

#[test]
fn every_requirement_of_the_distribution_specification_has_a_test() {
    let tests = tests();
    let rows = TABLE.lines().filter(|line| line.starts_with("| "));
    let rows: Vec<&str> = rows.filter(|line| !line.starts_with("| requirement")).collect();
    assert!(rows.len() > 50, "{} rows", rows.len());
    let mut named = BTreeSet::new();
    for row in rows {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<&str> = cell.split('`').filter(|part| part.contains("::")).collect();
        assert!(
            !names.is_empty() || cell.contains("there are none"),
            "no test: {row}"
        );
        named.extend(names.into_iter().map(str::to_owned));
    }
    let unknown: Vec<_> = named.difference(&tests).collect();
    assert!(
        unknown.is_empty(),
        "the table names tests that do not exist: {unknown:?}"
    );
}
