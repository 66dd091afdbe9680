//! Every function against its examples, and the examples against the real helm.

mod cases;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chart_template::{Fixed, Functions, TemplateSet, Value};

use cases::{Case, cases, folder};

fn values() -> Value {
    let text = fs::read_to_string(folder().join("values.yaml")).unwrap();
    Value::from(&chart_values::yaml::map_from_yaml(&text).unwrap())
}

fn render(expression: &str) -> Result<String, String> {
    let now = "2026-05-04T03:02:01Z".parse().unwrap();
    let mut set = TemplateSet::new(Functions::helm()).with_surroundings(Fixed::new(now, 1));
    set.parse("case", expression).map_err(|err| err.to_string())?;
    let data = Value::map([("Values".into(), values())]);
    set.execute("case", &data).map_err(|err| err.go_text())
}

#[test]
fn gives_what_the_examples_say() {
    let mut wrong = Vec::new();
    for case in cases() {
        if cfg!(debug_assertions) && case.file == "slow.txt" {
            continue;
        }
        let found = render(&case.expression);
        let right = match (&found, &case.expected) {
            (Ok(found), Ok(expected)) => found == expected,
            (Err(found), Err(expected)) => found.trim_end().ends_with(expected.as_str()),
            _ => false,
        };
        if !right {
            wrong.push(format!(
                "{}\n  expected {:?}\n  found    {found:?}",
                case.name(),
                case.expected
            ));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn has_every_function_of_helm_and_no_other() {
    let list = fs::read_to_string(folder().join("names.list")).unwrap();
    let wanted: Vec<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
    // 19 of Go, 209 of sprig, 24 of Helm; `slice` is in two of these.
    assert_eq!(wanted.len(), 19 + 209 + 24 - 1);
    assert_eq!(Functions::helm().names(), wanted);
}

#[test]
fn has_an_example_of_every_function() {
    let cases = cases();
    for name in Functions::helm().names() {
        let own = cases
            .iter()
            .filter(|case| matches!(&case.function, Some((function, _)) if function == name));
        let uses = |case: &Case| {
            case.expression
                .split(|c: char| c != '_' && !c.is_alphanumeric())
                .any(|word| word == name)
        };
        assert!(own.clone().count() > 0, "{name} is not described");
        assert!(own.clone().any(uses), "{name} has no example");
    }
}

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
/// The path of a peer program; where it is missing, says so and gives nothing, unless the environment demands it.
fn peer(program: &str) -> Option<PathBuf> {
    let found = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path)
            .map(|folder| folder.join(program))
            .find(|path| path.is_file())
    });
    if found.is_none() {
        assert!(
            std::env::var_os("TUG_TEST_REQUIRE_PEERS").is_none(),
            "{program} is missing"
        );
        println!("skipped: {program} is missing");
    }
    found
}

/// Renders cases by helm in one chart; the error when any of them fails.
fn render_by_helm(helm: &Path, cases: &[&Case]) -> Result<Vec<Vec<u8>>, String> {
    let chart = tempfile::tempdir().unwrap();
    let templates = chart.path().join("templates");
    fs::create_dir(&templates).unwrap();
    fs::write(
        chart.path().join("Chart.yaml"),
        "apiVersion: v2\nname: cases\nversion: 0.1.0\n",
    )
    .unwrap();
    fs::copy(folder().join("values.yaml"), chart.path().join("values.yaml")).unwrap();
    for (i, case) in cases.iter().enumerate() {
        let definition = format!("{{{{- define \"case{i}\" -}}}}{}{{{{ end }}}}", case.expression);
        fs::write(templates.join(format!("_case{i}.tpl")), definition).unwrap();
        let output = format!("case{i:05}: {{{{ include \"case{i}\" . | b64enc }}}}\n");
        fs::write(templates.join(format!("case{i:05}.yaml")), output).unwrap();
    }
    let run = Command::new(helm)
        .args(["template", "release"])
        .arg(chart.path())
        .env("TZ", "UTC")
        .output()
        .unwrap();
    if !run.status.success() {
        return Err(String::from_utf8_lossy(&run.stderr).into_owned());
    }
    let mut outputs: Vec<(String, Vec<u8>)> = String::from_utf8_lossy(&run.stdout)
        .lines()
        .filter_map(|line| line.strip_prefix("case")?.split_once(':'))
        .map(|(number, output)| (number.to_owned(), STANDARD.decode(output.trim()).unwrap()))
        .collect();
    outputs.sort();
    Ok(outputs.into_iter().map(|(_, output)| output).collect())
}

#[test]
fn agrees_with_helm() {
    let Some(helm) = peer("helm") else { return };
    let cases = cases();
    let good: Vec<&Case> = cases.iter().filter(|case| case.expected.is_ok()).collect();
    // What is random, or a set that Go walks in random order, has examples whose result is the same every time.
    let outputs = render_by_helm(&helm, &good).unwrap();
    assert_eq!(outputs.len(), good.len());
    for (case, output) in good.iter().zip(outputs) {
        let output = String::from_utf8_lossy(&output);
        assert_eq!(case.expected.as_deref(), Ok(output.as_ref()), "{}", case.name());
    }
    let bad: Vec<&Case> = cases.iter().filter(|case| case.expected.is_err()).collect();
    // Each error ends a run of helm, so each needs its own; most of that is waiting for processes to start.
    std::thread::scope(|scope| {
        for part in bad.chunks(bad.len().div_ceil(4)) {
            let helm = &helm;
            scope.spawn(move || part.iter().for_each(|case| check_refused_by_helm(helm, case)));
        }
    });
}

fn check_refused_by_helm(helm: &Path, case: &Case) {
    let expected = case.expected.as_ref().unwrap_err();
    let error = render_by_helm(helm, &[case]).err().unwrap_or_default();
    assert!(
        error.contains(expected.as_str()),
        "{}\n  expected {expected:?}\n  found {error:?}",
        case.name()
    );
}
