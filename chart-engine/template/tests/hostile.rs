//! Templates that ask for too much are refused; none of them, however odd, brings the process down.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use chart_template::{ErrorKind, Fixed, Functions, Limits, TemplateError, TemplateSet, Value};

fn render_within(limits: Limits, text: &str) -> Result<String, TemplateError> {
    let now = "2026-05-04T03:02:01Z".parse().unwrap();
    let mut set = TemplateSet::new(Functions::helm())
        .with_limits(limits)
        .with_surroundings(Fixed::new(now, 1));
    set.parse("t", text)?;
    set.execute("t", &Value::map([("text".into(), Value::from("abc"))]))
}

/// Limits small enough to be reached at once where the compiler does not optimise.
fn small() -> Limits {
    Limits {
        steps_max: 200_000,
        text_bytes_max: 1 << 20,
        text_bytes_total_max: 16 << 20,
        ..Limits::default()
    }
}

#[track_caller]
fn check_refused(text: &str, because: &str) {
    let started = Instant::now();
    let err = render_within(small(), text).expect_err(text);
    assert_eq!(err.kind, ErrorKind::Limit, "{text}: {err}");
    assert!(err.message.contains(because), "{text}: {err}");
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{text} took {:?}",
        started.elapsed()
    );
}

#[test]
fn refuses_endless_work() {
    check_refused(
        "{{ range until 1000 }}{{ range until 1000 }}{{ end }}{{ end }}",
        "steps",
    );
    check_refused("{{ range 9223372036854775807 }}{{ end }}", "steps");
    check_refused(
        "{{ $l := list }}{{ range 5000 }}{{ $l = append $l 1 }}{{ end }}",
        "steps",
    );
    check_refused(
        "{{ $l := list 1 }}{{ range 40 }}{{ $l = list $l $l }}{{ end }}{{ toJson $l }}",
        "steps",
    );
    check_refused(
        "{{ $l := list 1 }}{{ range 40 }}{{ $l = list $l $l }}{{ end }}{{ $l }}",
        "steps",
    );
    check_refused(
        "{{ $l := list 1 }}{{ range 40 }}{{ $l = list $l $l }}{{ end }}{{ deepCopy $l }}",
        "steps",
    );
    check_refused(
        "{{ $l := list 1 }}{{ range 40 }}{{ $l = list $l $l }}{{ end }}{{ deepEqual $l (deepCopy $l) }}",
        "steps",
    );
    check_refused("{{ genPrivateKey \"rsa\" }}", "steps");
    check_refused("{{ range 100 }}{{ bcrypt \"x\" | len }}{{ end }}", "steps");
}

#[test]
fn refuses_huge_texts_and_lists() {
    check_refused("{{ repeat 1000000000 \"x\" }}", "text of more than");
    check_refused("{{ indent 1000000000 \"x\" }}", "text of more than");
    check_refused(
        "{{ $s := \"x\" }}{{ range 40 }}{{ $s = cat $s $s }}{{ end }}",
        "text of more than",
    );
    check_refused(
        "{{ $s := \"x\" }}{{ range 40 }}{{ $s = printf \"%s%s\" $s $s }}{{ end }}",
        "text of more than",
    );
    check_refused(
        "{{ printf (repeat 100000 \"%[1]999999d\") 1 }}",
        "text of more than",
    );
    check_refused(
        "{{ replace \"\" (repeat 1000 \"x\") (repeat 10000 \"y\") }}",
        "text of more than",
    );
    check_refused(
        "{{ regexReplaceAll \"x\" (repeat 10000 \"x\") (repeat 1000 \"y\") }}",
        "text of more than",
    );
    check_refused(
        "{{ wrapWith 1 (repeat 1000 \"x\") (repeat 10000 \"y\") }}",
        "text of more than",
    );
    check_refused("{{ randAlphaNum 1000000000 }}", "text of more than");
    check_refused("{{ until 1000000000 }}", "list of more than");
    check_refused("{{ untilStep 0 9223372036854775807 1 }}", "list of more than");
    check_refused("{{ seq 1 9223372036854775807 }}", "list of more than");
    check_refused(
        "{{ range until 100000 }}{{ repeat 1000 \"x\" }}{{ end }}",
        "more than",
    );
    check_refused(
        "{{ range until 1000 }}{{ $x := repeat 100000 \"x\" }}{{ end }}",
        "bytes of text",
    );
}

#[test]
fn refuses_values_that_contain_themselves() {
    for walk in [
        "toYaml $d",
        "toJson $d",
        "toToml $d",
        "print $d",
        "deepCopy $d",
        "merge (dict) $d",
        "$d",
        "quote $d",
    ] {
        check_refused(
            &format!("{{{{ $d := dict }}}}{{{{ $_ := set $d \"d\" $d }}}}{{{{ {walk} }}}}"),
            "contains itself",
        );
    }
}

#[test]
fn refuses_endless_recursion() {
    let recursive = "{{ define \"r\" }}{{ include \"r\" . }}{{ end }}{{ include \"r\" . }}";
    let err = render_within(Limits::default(), recursive).unwrap_err();
    assert_eq!(
        err.message,
        "rendering template has a nested reference name: r: unable to execute template"
    );
    assert_eq!(err.go_text().matches("error calling include").count(), 1002);

    let recursive = "{{ define \"r\" }}{{ template \"r\" . }}{{ end }}{{ include \"r\" . }}";
    let err = render_within(Limits::default(), recursive).unwrap_err();
    assert_eq!(err.message, "exceeded maximum template depth (100000)");

    let mut set = TemplateSet::new(Functions::helm());
    set.parse("t", "{{ tpl .text . }}").unwrap();
    let text = "{{ tpl .text . }}";
    let err = set
        .execute("t", &Value::map([("text".into(), Value::from(text))]))
        .unwrap_err();
    assert_eq!(
        (err.kind, err.message.as_str()),
        (ErrorKind::Limit, "tpl nests deeper than 1000")
    );
}

#[test]
fn refuses_deep_syntax() {
    for text in [
        format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000)),
        "{{ if 1 }}".repeat(100_000),
        format!("{{{{ {}", "(print ".repeat(100_000)),
        format!(
            "{{{{ with 1 }}{{{{ range 1 }}}}}}{}",
            "{{ block \"x\" . }}".repeat(10_000)
        ),
    ] {
        let err = render_within(Limits::default(), &text).unwrap_err();
        assert_eq!(err.kind, ErrorKind::Syntax, "{err}");
    }
    // Long is no fault.
    let chain = format!("{{{{ if 0 }}}}{}{{{{ end }}}}", "{{ else if 0 }}x".repeat(5_000));
    assert_eq!(render_within(Limits::default(), &chain).unwrap(), "");
    let pipe = format!("{{{{ 1{} }}}}", " | print".repeat(5_000));
    assert_eq!(render_within(Limits::default(), &pipe).unwrap(), "1");
}

#[test]
fn drops_deep_values() {
    let deep = "{{ $l := list }}{{ range 100000 }}{{ $l = list $l }}{{ end }}{{ len $l }}";
    assert_eq!(render_within(Limits::default(), deep).unwrap(), "1");
    let deep = "{{ $d := dict }}{{ range 100000 }}{{ $d = dict \"d\" $d }}{{ end }}{{ len $d }}";
    assert_eq!(render_within(Limits::default(), deep).unwrap(), "1");
}

/// A small generator of numbers, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides.max(1) as u64).unwrap()
    }
}

/// A text made of pieces of others, with a few characters changed.
fn mutant(dice: &mut Dice, seeds: &[String]) -> String {
    let mut text: Vec<char> = Vec::new();
    for _ in 0..=dice.roll(3) {
        let seed: Vec<char> = seeds[dice.roll(seeds.len())].chars().collect();
        let from = dice.roll(seed.len());
        let to = from + dice.roll(seed.len() - from + 1);
        let (from, to) = if dice.roll(3) == 0 {
            (0, seed.len())
        } else {
            (from, to)
        };
        let at = dice.roll(text.len() + 1);
        text.splice(at..at, seed[from..to].iter().copied());
    }
    const ODD: [&str; 24] = [
        "{{",
        "}}",
        "-",
        " ",
        "\n",
        "\"",
        "`",
        "'",
        "(",
        ")",
        "|",
        ".",
        "$",
        "$x",
        ":=",
        "=",
        ",",
        "é",
        "\u{0}",
        "99999999999",
        "-1",
        "nil",
        "{{ end }}",
        "1e9",
    ];
    for _ in 0..dice.roll(4) {
        let at = dice.roll(text.len() + 1);
        text.splice(at..at, ODD[dice.roll(ODD.len())].chars());
    }
    text.into_iter().collect()
}

#[test]
fn survives_mutants_of_the_examples() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/functions");
    let mut seeds: Vec<String> = Vec::new();
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for path in files {
        let text = fs::read_to_string(path).unwrap();
        seeds.extend(
            text.lines()
                .filter(|line| line.starts_with("{{"))
                .map(str::to_owned),
        );
    }
    // Those that are slow for their own sake teach nothing here.
    seeds.retain(|seed| {
        !["bcrypt", "htpasswd", "gen", "derive"]
            .iter()
            .any(|slow| seed.contains(slow))
    });
    let count = std::env::var("TUG_TEST_MUTANTS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(2_000);
    let limits = Limits {
        steps_max: 20_000,
        text_bytes_max: 1 << 16,
        text_bytes_total_max: 1 << 20,
        ..Limits::default()
    };
    let mut rendered = 0;
    for seed in 0..count {
        let text = mutant(&mut Dice(seed), &seeds);
        rendered += usize::from(render_within(limits, &text).is_ok());
    }
    assert!(rendered > 0);
}
