//! What an include gave is kept, and never given where it would be another now.

use std::cell::Cell;
use std::rc::Rc;

use chart_template::{Functions, Limits, Map, Signature, Surroundings, TemplateSet, Text, Type, Value};

fn set_of(text: &str) -> TemplateSet {
    let mut set = TemplateSet::new(Functions::helm());
    set.parse("file", text).unwrap();
    set
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let inner = Value::map([("y".into(), Value::int(1))]);
    let list = Value::strings(["c", "b", "a"]);
    let data = Value::map([
        ("x".into(), Value::int(1)),
        ("in".into(), inner),
        ("list".into(), list),
    ]);
    assert_eq!(set_of(text).execute("file", &data).unwrap(), expected, "{text}");
}

#[test]
fn a_call_made_again_costs_nothing() {
    let limits = Limits {
        steps_max: 200_000,
        ..Limits::default()
    };
    for call in [
        "include \"a\" $",
        "include \"a\" (dict \"b\" $ \"c\" 1)",
        "tpl $.text $",
    ] {
        let text = format!(
            "{{{{ define \"a\" }}}}{{{{ range until 1000 }}}}x{{{{ end }}}}{{{{ end }}}}\
             {{{{ range until 1000 }}}}{{{{ len ({call}) }}}} {{{{ end }}}}"
        );
        let body = "{{ range until 1000 }}x{{ end }}";
        let data = Value::map([("text".into(), body.into())]);
        let out = set_of(&text).with_limits(limits).execute("file", &data).unwrap();
        assert_eq!(out, "1000 ".repeat(1000), "{call}");
    }
}

#[test]
fn changes_are_seen() {
    let shown = "{{ define \"x\" }}{{ .x }}{{ .in.y }}{{ end }}";
    for (change, expected) in [
        ("$_ := set . \"x\" 2", "11 21"),
        ("$_ := unset . \"x\"", "11 <no value>1"),
        ("$_ := set .in \"y\" 2", "11 12"),
        ("$_ := merge . (dict \"in\" (dict \"z\" 1))", "11 11"),
        ("$_ := mergeOverwrite . (dict \"in\" (dict \"y\" 5))", "11 15"),
        ("$_ := mustMergeOverwrite .in (dict \"y\" 6)", "11 16"),
        ("$_ := include \"change\" .", "11 13"),
        ("template \"change\" .", "11 13"),
    ] {
        let text = format!(
            "{shown}{{{{ define \"change\" }}}}{{{{ $_ := set .in \"y\" 3 }}}}{{{{ end }}}}\
             {{{{ include \"x\" . }}}} {{{{ {change} }}}}{{{{ include \"x\" . }}}}"
        );
        check(&text, expected);
    }
}

#[test]
fn changes_are_seen_by_the_calls_around() {
    check(
        r#"{{ define "b" }}{{ .in.y }}{{ end }}{{ define "a" }}[{{ include "b" . }}]{{ end }}{{ include "a" . }}{{ include "b" . }}{{ $_ := set .in "y" 7 }}{{ include "b" . }}{{ include "a" . }}"#,
        "[1]17[7]",
    );
}

#[test]
fn a_call_that_changes_something_is_made_each_time() {
    check(
        r#"{{ define "count" }}{{ $_ := set . "x" (add1 .x) }}{{ .x }}{{ end }}{{ define "around" }}<{{ include "count" . }}>{{ end }}{{ include "count" . }}{{ include "around" . }}{{ include "around" . }}"#,
        "2<3><4>",
    );
}

#[test]
fn what_a_call_makes_for_itself_may_change() {
    check(
        r#"{{ define "own" }}{{ $d := dict "n" 1 }}{{ $_ := set $d "n" .x }}{{ $d.n }}{{ end }}{{ range until 3 }}{{ include "own" $ }}{{ end }}"#,
        "111",
    );
    check(
        r#"{{ define "n" }}{{ .n }}{{ end }}{{ $d := dict "n" 1 }}{{ include "n" $d }}{{ $_ := set $d "n" 2 }}{{ include "n" $d }}{{ include "n" (dict "n" 1) }}"#,
        "121",
    );
}

#[test]
fn a_list_that_was_sorted_is_seen_sorted() {
    check(
        r#"{{ define "l" }}{{ join "" .list }}{{ end }}{{ include "l" . }} {{ $_ := sortAlpha .list }}{{ include "l" . }}"#,
        "cba abc",
    );
}

#[test]
fn types_are_told_apart() {
    check(
        r#"{{ define "t" }}{{ typeOf .v }} {{ end }}{{ include "t" (dict "v" 1) }}{{ include "t" (dict "v" (int64 1)) }}{{ include "t" (dict "v" 1.0) }}{{ include "t" (dict "v" (list "a")) }}{{ include "t" (dict "v" (splitList "," "a")) }}{{ include "t" (dict "v" "1") }}"#,
        "int int64 float64 []interface {} []string string ",
    );
}

#[test]
fn what_a_text_defines_for_a_while_counts() {
    check(
        r#"{{ define "a" }}1{{ end }}{{ define "b" }}{{ include "a" . }}{{ end }}{{ include "b" . }}{{ tpl "{{ define \"a\" }}2{{ end }}{{ include \"b\" . }}{{ include \"b\" . }}" . }}{{ include "b" . }}"#,
        "1221",
    );
}

#[test]
fn chance_and_time_are_asked_each_time() {
    #[derive(Debug, Default)]
    struct Moving(Cell<i64>);
    impl Surroundings for Moving {
        fn now(&self) -> jiff::Timestamp {
            self.0.set(self.0.get() + 1);
            jiff::Timestamp::from_second(self.0.get()).unwrap()
        }
        fn time_zone(&self) -> jiff::tz::TimeZone {
            jiff::tz::TimeZone::UTC
        }
        fn random(&mut self, buffer: &mut [u8]) -> Result<(), chart_template::Fault> {
            self.0.set(self.0.get() + 1);
            buffer.fill(self.0.get() as u8);
            Ok(())
        }
    }
    for body in ["now | unixEpoch", "randAlphaNum 3", "uuidv4", "randBytes 2"] {
        let text = format!(
            "{{{{ define \"a\" }}}}{{{{ {body} }}}}{{{{ end }}}}{{{{ define \"b\" }}}}{{{{ include \"a\" . }}}}{{{{ end }}}}\
             {{{{ ne (include \"b\" .) (include \"b\" .) }}}}"
        );
        let set = set_of(&text).with_surroundings(Moving::default());
        assert_eq!(set.execute("file", &Value::Nil).unwrap(), "true", "{body}");
    }
}

#[test]
fn the_callers_functions_are_asked_each_time() {
    let count = Cell::new(0);
    let next = Rc::new(move |_: &mut chart_template::Scope, _: &[Value]| {
        count.set(count.get() + 1);
        Ok(Value::int(count.get()))
    });
    let functions = Functions::helm().with("next", Signature::new(&[] as &'static [Type]), next);
    let mut set = TemplateSet::new(functions);
    let text = r#"{{ define "a" }}{{ next }}{{ end }}{{ include "a" . }}{{ include "a" . }}"#;
    set.parse("file", text).unwrap();
    assert_eq!(set.execute("file", &Value::Nil).unwrap(), "12");
}

#[test]
fn what_the_caller_replaces_between_executions_is_seen() {
    let set = set_of(
        r#"{{ define "name" }}{{ .Template.Name }}{{ end }}{{ define "all" }}{{ toYaml . }}{{ end }}{{ define "x" }}{{ .x }}{{ end }}{{ include "name" . }} {{ include "x" . }} {{ include "all" . }}"#,
    );
    let data = Value::map([("x".into(), Value::int(1))]);
    let Value::Map(map) = &data else {
        unreachable!("made above")
    };
    for name in ["a", "b"] {
        let about = Map::new([(Text::from("Name"), Value::from(name))].into());
        map.set_fleeting("Template".into(), Value::Map(Rc::new(about)));
        let expected = format!("{name} 1 Template:\n  Name: {name}\nx: 1");
        assert_eq!(set.execute("file", &data).unwrap(), expected);
    }
}

#[test]
fn another_set_on_the_same_values_sees_their_changes() {
    let reader = set_of(r#"{{ define "x" }}{{ .x }}{{ end }}{{ include "x" . }}"#);
    let writer = set_of(
        r#"{{ define "x" }}{{ .x }}{{ end }}{{ include "x" . }}{{ $_ := set . "x" 2 }}{{ include "x" . }}"#,
    );
    let data = Value::map([("x".into(), Value::int(1))]);
    assert_eq!(reader.execute("file", &data).unwrap(), "1");
    assert_eq!(writer.execute("file", &data).unwrap(), "12");
    assert_eq!(reader.execute("file", &data).unwrap(), "2");
}
