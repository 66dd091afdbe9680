//! Looking into an index of 10,000 versions that was kept: reading it, and finding a word in it.
//!
//! `cargo bench -p repo-fetch`; the number of versions can be given: `cargo bench -p repo-fetch -- 1000`.

#![expect(clippy::print_stdout, reason = "a bench says what it measured")]

use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use repo_fetch::{CachedIndex, Search};
use repo_index::Index;

/// Versions that each chart has.
const VERSIONS: usize = 20;
const RUNS: usize = 21;

fn main() {
    let count = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok());
    let count: usize = count.unwrap_or(10_000);
    let text = index(count);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big-index.yaml");
    fs::write(&path, &text).unwrap();
    println!("{count} versions, {} bytes of YAML", text.len());

    let read = Index::read(text.as_bytes()).unwrap();
    println!(
        "parse the YAML          {}",
        spread(3, || drop(Index::read(text.as_bytes()).unwrap()))
    );
    let cached = CachedIndex::of(&read);
    println!(
        "keep it                 {}",
        spread(RUNS, || cached.save(&path).unwrap())
    );
    println!(
        "take what was kept      {}",
        spread(RUNS, || drop(CachedIndex::load(&path).unwrap()))
    );
    let indexes = [("big".to_owned(), cached)];
    for (what, keyword, all_versions) in [
        ("a name", "chart-123", false),
        ("a word of all", "bench", false),
        ("nothing", "no such word", false),
        ("every version", "", true),
    ] {
        let search = Search {
            keyword: keyword.to_owned(),
            all_versions,
            ..Search::default()
        };
        let found = search.run(&indexes).unwrap().len();
        println!(
            "find {what:<18} {}, {found} found",
            spread(RUNS, || drop(search.run(&indexes).unwrap()))
        );
    }
}

/// The median of some runs, and the longest.
fn spread(runs: usize, mut work: impl FnMut()) -> String {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed()
        })
        .collect();
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    format!(
        "{:>8.2} ms median, {:.2} ms at most",
        ms(times[runs / 2]),
        ms(times[runs - 1])
    )
}

fn index(count: usize) -> String {
    let mut text = String::from("apiVersion: v1\nentries:\n");
    for number in 0..count {
        let (chart, minor) = (number / VERSIONS, VERSIONS - 1 - number % VERSIONS);
        if number % VERSIONS == 0 {
            writeln!(text, "  chart-{chart:03}:").unwrap();
        }
        writeln!(
            text,
            "  - apiVersion: v2\n    appVersion: \"{chart}.{minor}\"\n    created: \"2026-01-01T00:00:00Z\"\n    \
             description: Chart number {chart} of a large repository, for a bench\n    digest: \"{number:064x}\"\n    \
             home: https://example.com/{chart}\n    keywords:\n    - bench\n    - word{chart}\n    maintainers:\n    \
             - email: ann@example.com\n      name: Ann\n    name: chart-{chart:03}\n    urls:\n    \
             - charts/chart-{chart:03}-1.{minor}.0.tgz\n    version: 1.{minor}.0"
        )
        .unwrap();
    }
    text
}
