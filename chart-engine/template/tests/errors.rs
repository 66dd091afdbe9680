//! What errors say: Helm's words, the place, and the line with a caret.
//!
//! A case of `tests/errors/cases.txt` is a template, and behind `===` what Helm 4.3.1 prints for it after `Error: `,
//! without its hint about `--debug`.

use std::fs;
use std::path::Path;

use chart_template::{ErrorKind, Functions, TemplateError, TemplateSet, Value, Via};

fn values() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/functions/values.yaml");
    Value::from(&chart_values::yaml::map_from_yaml(&fs::read_to_string(path).unwrap()).unwrap())
}

fn render(text: &str) -> Result<String, TemplateError> {
    let mut set = TemplateSet::new(Functions::helm());
    set.parse("chart/templates/file.yaml", text)?;
    set.execute(
        "chart/templates/file.yaml",
        &Value::map([("Values".into(), values())]),
    )
}

#[test]
fn errors_read_as_in_helm() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors/cases.txt");
    let text = fs::read_to_string(path).unwrap();
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in text.split("## ").skip(1) {
        let (name, rest) = case.split_once('\n').unwrap();
        let (template, expected) = rest.split_once("===\n").unwrap();
        let found = render(template).err().map(|err| err.to_string());
        count += 1;
        if found.as_deref().map(str::trim_end) != Some(expected.trim_end()) {
            wrong.push(format!(
                "{name}\nexpected: {expected}found:    {}\n",
                found.unwrap_or_default()
            ));
        }
    }
    assert!(count > 50);
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn errors_carry_the_way_to_the_fault() {
    let text = "a: 1\nb: {{ include \"outer\" . }}\n{{ define \"outer\" }}\n\t{{ tpl \"{{ .Values.nope.x }}\" . }}{{ end }}";
    let err = render(text).unwrap_err();
    assert_eq!(err.kind, ErrorKind::Execution);
    assert_eq!(err.message, "nil pointer evaluating interface {}.x");
    let ways: Vec<_> = err
        .trace
        .iter()
        .map(|frame| (frame.place.line, frame.place.column, frame.via.clone()))
        .collect();
    assert_eq!(
        ways,
        [
            (2, 6, Via::Start),
            (4, 4, Via::Include),
            (1, 10, Via::Tpl("{{ .Values.nope.x }}".to_owned()))
        ]
    );
    assert_eq!(err.trace[1].action, "tpl \"{{ .Values.nope.x }}\" .");
    assert_eq!(
        err.trace[1].place.snippet(),
        "4 | \t{{ tpl \"{{ .Values.nope.x }}\" . }}{{ end }}\n  | \t   ^"
    );
    assert_eq!(err.place().unwrap().file, "gotpl");
}

#[test]
fn syntax_errors_point_at_the_place() {
    let err = render("a: 1\nb: {{ nope . }}").unwrap_err();
    assert_eq!(err.kind, ErrorKind::Syntax);
    assert_eq!(err.place().unwrap().snippet(), "2 | b: {{ nope . }}\n  |       ^");
}

#[test]
fn err_text_of_no_template_adds_nothing() {
    let mut set = TemplateSet::new(Functions::helm());
    assert!(set.parse("a", "{{ define \"x\" }}{{ end }}{{ if }}").is_err());
    assert!(set.names().is_empty());
}
