//! What a check of a chart finds.

use chart_model::{File, Language, Limits, scaffold};
use chart_render::{RenderOptions, Severity, lint};
use chart_values::Map;

fn file(name: &str, text: &str) -> File {
    File {
        name: name.to_owned(),
        data: text.as_bytes().into(),
    }
}

/// The findings of a new chart with some of its files replaced, the one about the icon left out.
fn findings(replaced: &[(&str, &str)]) -> Vec<String> {
    let mut files = scaffold("web", Language::Go).unwrap();
    for (name, text) in replaced {
        files.retain(|known| known.name != *name);
        files.push(file(name, text));
    }
    let found = lint(files, &Map::new(), &RenderOptions::default(), Limits::default());
    found
        .iter()
        .map(ToString::to_string)
        .filter(|finding| !finding.contains("icon is recommended"))
        .collect()
}

#[test]
fn new_charts_have_no_faults() {
    for language in [Language::Go, Language::Jinja] {
        let found = lint(
            scaffold("web", language).unwrap(),
            &Map::new(),
            &RenderOptions::default(),
        );
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["[INFO] Chart.yaml: icon is recommended"], "{language:?}");
        assert_eq!(found[0].severity, Severity::Info);
    }
}

#[test]
fn err_faults_are_found_with_file_and_line() {
    let metadata = "apiVersion: v2\nname: web\nversion: 1.0\nicon: https://x/y\n";
    for (name, text, wanted) in [
        (
            "Chart.yaml",
            &*format!("{metadata}foo: bar\n"),
            "[WARNING] Chart.yaml:5: failed to strictly parse",
        ),
        (
            "Chart.yaml",
            metadata,
            "[ERROR] Chart.yaml:3: version should be of type string but it's of type float64",
        ),
        (
            "Chart.yaml",
            &metadata.replace("https://x/y", "x"),
            "[ERROR] Chart.yaml:4: invalid icon URL 'x'",
        ),
        (
            "Chart.yaml",
            &format!("{metadata}maintainers:\n- name: a\n- email: b\n"),
            "[ERROR] Chart.yaml:7: each maintainer requires a name",
        ),
        (
            "Chart.yaml",
            "name: [",
            "[ERROR] Chart.yaml:1: unable to parse YAML",
        ),
        (
            "values.yaml",
            "a: 1\nb: [",
            "[ERROR] values.yaml:2: unable to parse YAML: error converting YAML",
        ),
        (
            "values.yaml",
            "image:\n  repository: 1\n",
            "[ERROR] values.yaml:2: at '/image/repository': got number, want string",
        ),
        (
            "templates/x.foo",
            "",
            "[ERROR] templates/x.foo: file extension '.foo' not valid.",
        ),
        (
            "templates/x.yaml",
            "a: {{ .Values.nope.x }}",
            "[ERROR] templates/x.yaml:1: web/templates/x.yaml:1:13",
        ),
        (
            "templates/x.yaml",
            "a: b: c",
            "[ERROR] templates/x.yaml: unable to parse YAML: error converting YAML",
        ),
        (
            "templates/x.yaml",
            "  kind: ConfigMap\n",
            "[WARNING] templates/x.yaml: document starts with an illegal indent:",
        ),
        (
            "templates/x.yaml",
            "kind: ConfigMap\nmetadata: {name: A_b}\n",
            "[WARNING] templates/x.yaml: object name does not conform to Kubernetes naming requirements: \"A_b\"",
        ),
        (
            "templates/x.yaml",
            "apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata: {name: a}\n",
            "[WARNING] templates/x.yaml: policy/v1beta1 PodDisruptionBudget is deprecated in v1.21+, unavailable in v1.25+; use policy/v1 PodDisruptionBudget",
        ),
        (
            "charts/db/Chart.yaml",
            "apiVersion: v2\nname: db\nversion: 1.0.0\n",
            "[ERROR] Chart.yaml: chart metadata is missing these dependencies: db",
        ),
    ] {
        let found = findings(&[(name, text)]);
        assert!(
            found.iter().any(|finding| finding.starts_with(wanted)),
            "{wanted}\nfound: {found:#?}"
        );
    }
}

#[test]
fn several_faults_are_found_at_once() {
    let found = findings(&[
        ("values.yaml", "replicas: x\nimage: {}\n"),
        ("templates/a.foo", ""),
        ("templates/b.yaml", "a: b: c"),
    ]);
    assert!(found.len() >= 4, "{found:#?}");
}
