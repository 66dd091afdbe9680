//! What a check of a chart finds.

use chart_model::{File, Language, Limits, scaffold};
use chart_render::{Finding, ObjectFault, RenderOptions, Severity, lint};
use chart_values::Map;

fn file(name: &str, text: &str) -> File {
    File {
        name: name.to_owned(),
        data: text.as_bytes().into(),
    }
}

fn lint_with_defaults(files: Vec<File>) -> Vec<Finding> {
    lint(
        files,
        &Map::new(),
        &RenderOptions::default(),
        Limits::default(),
        &|_| Vec::new(),
    )
}

/// The findings of a new chart with some of its files replaced, the one about the icon left out.
fn findings(replaced: &[(&str, &str)]) -> Vec<String> {
    let mut files = scaffold("web", Language::Go).unwrap();
    for (name, text) in replaced {
        files.retain(|known| known.name != *name);
        files.push(file(name, text));
    }
    let found = lint_with_defaults(files);
    found
        .iter()
        .map(ToString::to_string)
        .filter(|finding| !finding.contains("icon is recommended"))
        .collect()
}

#[test]
fn new_charts_have_no_faults() {
    for language in [Language::Go, Language::Jinja] {
        let found = lint_with_defaults(scaffold("web", language).unwrap());
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

#[test]
fn every_template_that_fails_is_a_finding() {
    let found = findings(&[
        ("templates/a.yaml", "{{ if }}"),
        ("templates/b.yaml", "x: 1\ny: {{ .Values.none.at.all }}"),
        ("templates/c.yaml", "x: {{ fail \"is nothing to lint\" }}"),
        ("templates/d.yaml.j2", "x: {{ values.none }}"),
        ("templates/e.yaml.j2", "x: {% if %}"),
        (
            "templates/f.yaml",
            "{{ include \"web.name\" . | int | fromYaml }}",
        ),
    ]);
    for start in [
        "[ERROR] templates/a.yaml:1: ",
        "[ERROR] templates/b.yaml:2: ",
        "[ERROR] templates/d.yaml.j2:1: ",
        "[ERROR] templates/e.yaml.j2:1: ",
        "[ERROR] templates/f.yaml:1: ",
    ] {
        assert!(
            found.iter().any(|finding| finding.starts_with(start)),
            "{start}: {found:#?}"
        );
    }
    assert!(
        !found.iter().any(|finding| finding.contains("templates/c.yaml")),
        "{found:#?}"
    );
}

#[test]
fn a_fault_of_a_partial_is_told_once() {
    let found = findings(&[
        (
            "templates/_p.tpl",
            "{{ define \"p\" }}{{ .Values.none.at.all }}{{ end }}",
        ),
        ("templates/a.yaml", "a: {{ include \"p\" . }}"),
    ]);
    let told = found
        .iter()
        .filter(|finding| finding.starts_with("[ERROR] templates/_p.tpl:1: "));
    assert_eq!(told.count(), 1, "{found:#?}");
}

#[test]
fn faults_of_objects_are_at_the_line_that_writes_the_field() {
    let template =
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n{{- if true }}\ndatas:\n  b: 1\n{{- end }}\n";
    let mut files = scaffold("web", Language::Go).unwrap();
    files.push(file("templates/a.yaml", template));
    let judge = |object: &Map| {
        let named = object.get("metadata").and_then(|metadata| metadata.get("name"));
        if named.and_then(chart_values::Value::as_str) != Some("a") {
            return Vec::new();
        }
        vec![ObjectFault {
            severity: Severity::Warning,
            field: "datas".into(),
            message: "unknown field \"datas\"".into(),
        }]
    };
    let found = lint(
        files,
        &Map::new(),
        &RenderOptions::default(),
        Limits::default(),
        &judge,
    );
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    let expected = "[WARNING] templates/a.yaml:6: ConfigMap \"a\": unknown field \"datas\"";
    assert!(texts.iter().any(|text| text == expected), "{texts:#?}");
}
