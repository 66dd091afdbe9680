//! Sets of templates: which definition counts, what `tpl` sees, and what objects of the caller can do.

use std::any::Any;
use std::borrow::Cow;

use chart_template::{
    Contents, Fault, Functions, Kind, Map, MapType, NamedMap, Object, Signature, TemplateSet, Type, Value,
    without_no_value,
};

fn set(files: &[(&str, &str)]) -> TemplateSet {
    let mut set = TemplateSet::new(Functions::helm());
    for (name, text) in files {
        set.parse(name, text).unwrap();
    }
    set
}

#[track_caller]
fn check(files: &[(&str, &str)], expected: &str) {
    let set = set(files);
    let first = files[0].0;
    assert_eq!(set.execute(first, &Value::Nil).unwrap(), expected);
}

#[test]
fn the_last_definition_counts() {
    check(
        &[
            ("a", "{{ include \"x\" . }}"),
            ("b", "{{ define \"x\" }}first{{ end }}"),
            ("c", "{{ define \"x\" }}second{{ end }}"),
        ],
        "second",
    );
}

#[test]
fn an_empty_definition_replaces_nothing() {
    check(
        &[
            ("a", "[{{ include \"x\" . }}]"),
            ("b", "{{ define \"x\" }}full{{ end }}"),
            ("c", "{{ define \"x\" }} \n {{/* nothing */}} {{ end }}"),
        ],
        "[full]",
    );
    check(
        &[(
            "a",
            "[{{ include \"x\" . }}]{{ define \"x\" }}{{ end }}{{ define \"x\" }}full{{ end }}",
        )],
        "[full]",
    );
}

#[test]
fn a_block_is_a_default() {
    let block = "{{ block \"x\" . }}default{{ end }}";
    check(&[("a", block)], "default");
    check(
        &[("a", block), ("b", "{{ define \"x\" }}other{{ end }}")],
        "other",
    );
}

#[test]
fn a_text_may_run_itself_and_others_by_their_names() {
    check(
        &[
            ("a", "{{ include \"b\" 3 }}"),
            ("b", "{{ . }}{{ with sub . 1 }}{{ include \"b\" . }}{{ end }}"),
        ],
        "321",
    );
}

#[test]
fn tpl_sees_the_set_and_defines_for_itself_only() {
    check(
        &[
            (
                "a",
                "{{ tpl \"{{ define `x` }}inner{{ end }}{{ include `y` . }}\" . }} {{ include \"y\" . }}",
            ),
            (
                "b",
                "{{ define \"x\" }}outer{{ end }}{{ define \"y\" }}<{{ include \"x\" . }}>{{ end }}",
            ),
        ],
        "<inner> <outer>",
    );
    let set = set(&[(
        "a",
        "{{ $_ := tpl \"{{ define `z` }}z{{ end }}\" . }}{{ include \"z\" . }}",
    )]);
    assert!(set.execute("a", &Value::Nil).is_err());
}

#[test]
fn tpl_of_the_same_text_takes_other_values() {
    check(
        &[("a", "{{ range list 1 2 }}{{ tpl \"{{ . }},\" . }}{{ end }}")],
        "1,2,",
    );
}

#[test]
fn maps_are_shared_between_templates() {
    let data = Value::map([("m".into(), Value::map([]))]);
    let set = set(&[("a", "{{ $_ := set .m \"k\" 1 }}"), ("b", "{{ .m.k }}")]);
    set.execute("a", &data).unwrap();
    assert_eq!(set.execute("b", &data).unwrap(), "1");
}

#[test]
fn missing_values_leave_a_mark_that_helm_removes() {
    let text = set(&[("a", "[{{ .x }}]")]).execute("a", &Value::map([])).unwrap();
    assert_eq!(text, "[<no value>]");
    assert_eq!(without_no_value(text), "[]");
}

#[test]
fn names_are_sorted() {
    let set = set(&[("b", "{{ define \"c\" }}x{{ end }}"), ("a", "")]);
    assert_eq!(set.names(), ["a", "b", "c"]);
    assert!(set.contains("c") && !set.contains("d"));
}

/// A file system of one file, as `.Files` is one.
#[derive(Debug)]
struct Files;

impl Object for Files {
    fn type_name(&self) -> Cow<'_, str> {
        Cow::Borrowed("engine.files")
    }

    fn kind(&self) -> Kind {
        Kind::Map
    }

    fn method(&self, name: &str) -> Option<Signature> {
        match name {
            "Get" => Some(Signature::new(&[Type::String])),
            "Count" => Some(Signature::new(&[])),
            "Join" => Some(Signature::variadic(&[Type::String], Type::Any)),
            _ => None,
        }
    }

    fn call(&self, name: &str, args: &[Value]) -> Result<Value, Fault> {
        match (name, args) {
            ("Count", []) => Ok(Value::int(1)),
            ("Get", [name]) if name.to_string() == "bad" => Err(Fault::new("no such file")),
            (_, args) => Ok(Value::from(
                args.iter().map(ToString::to_string).collect::<Vec<_>>().join("/"),
            )),
        }
    }

    fn contents(&self) -> Option<Contents> {
        Some(Contents::Entries(vec![(
            "f".into(),
            Value::Bytes(b"hi"[..].into()),
        )]))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[track_caller]
fn check_object(text: &str, expected: Result<&str, &str>) {
    let mut set = TemplateSet::new(Functions::helm());
    set.parse("t", text).unwrap();
    let found = set.execute("t", &Value::map([("Files".into(), Value::object(Files))]));
    match (found, expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected),
        (Err(found), Err(expected)) => assert_eq!(found.message, expected),
        (found, expected) => panic!("{text}: expected {expected:?}, found {found:?}"),
    }
}

#[test]
fn methods_take_arguments_and_piped_values() {
    check_object("{{ .Files.Get \"a\" }}", Ok("a"));
    check_object("{{ \"a\" | .Files.Get }}", Ok("a"));
    check_object("{{ .Files.Count }}", Ok("1"));
    check_object("{{ (.Files.Get \"a\") | upper }}", Ok("A"));
    check_object("{{ .Files.Join \"a\" 1 (list 2) }}", Ok("a/1/[2]"));
    check_object("{{ 3 | .Files.Join \"a\" }}", Ok("a/3"));
    check_object("{{ with $f := .Files }}{{ $f.Get \"a\" }}{{ end }}", Ok("a"));
    check_object(
        "{{ range $k, $v := .Files }}{{ $k }}={{ toString $v }} {{ $v }}{{ end }}",
        Ok("f=hi [104 105]"),
    );
    check_object(
        "{{ len .Files }} {{ kindOf .Files }} {{ typeOf .Files }} {{ index .Files \"f\" }}",
        Ok("1 map engine.files [104 105]"),
    );
}

#[test]
fn err_methods_check_what_they_are_given() {
    check_object("{{ .Files.Get 1 }}", Err("expected string; found 1"));
    check_object(
        "{{ .Files.Get (int 1) }}",
        Err("wrong type for value; expected string; got int"),
    );
    check_object(
        "{{ 1 | .Files.Get }}",
        Err("wrong type for value; expected string; got int"),
    );
    check_object(
        "{{ .Files.Get }}",
        Err("wrong number of args for Get: want 1 got 0"),
    );
    check_object(
        "{{ .Files.Count 1 }}",
        Err("wrong number of args for Count: want 0 got 1"),
    );
    check_object(
        "{{ .Files.Nope 1 }}",
        Err("Nope is not a method but has arguments"),
    );
    check_object("{{ .Files.Get \"bad\" }}", Err("no such file"));
}

#[test]
fn named_maps_may_have_methods() {
    static NAMED: NamedMap = NamedMap {
        name: "common.Values",
        method: |name| (name == "Size").then(|| Signature::new(&[])),
        call: |map: &std::rc::Rc<Map>, _, _| Ok(Value::int(map.len().try_into().unwrap_or(0))),
    };
    let values = Value::typed_map(MapType::Named(&NAMED), [("a".into(), Value::int(1))]);
    let set = set(&[(
        "t",
        "{{ .Size }} {{ .a }} {{ typeOf . }} {{ (set . \"b\" 2).Size }}",
    )]);
    assert_eq!(set.execute("t", &values).unwrap(), "1 1 common.Values 2");
}
