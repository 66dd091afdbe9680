//! Whole charts, rendered.

use chart_model::{Chart, File};
use chart_render::{
    KubeVersion, Output, RenderError, RenderOptions, Rendered, Snapshot, ensure_installable, render,
};
use chart_values::Map;
use chart_values::yaml::map_from_yaml;

const CHART: &str = "apiVersion: v2\nname: web\nversion: 1.2.3\n";

fn chart(files: &[(&str, &str)]) -> Chart {
    let given = files.iter().any(|(name, _)| *name == "Chart.yaml");
    let default = (!given).then_some(("Chart.yaml", CHART));
    let files = default
        .iter()
        .chain(files)
        .map(|(name, text)| File {
            name: (*name).to_owned(),
            data: text.as_bytes().into(),
        })
        .collect();
    Chart::from_files(files).unwrap()
}

fn try_render(files: &[(&str, &str)], values: &str) -> Result<Rendered, RenderError> {
    render(
        chart(files),
        map_from_yaml(values).unwrap(),
        &RenderOptions::default(),
    )
}

fn text(files: &[(&str, &str)], values: &str) -> String {
    let rendered = try_render(files, values).unwrap_or_else(|error| panic!("{error}"));
    Output::default().text(&rendered).unwrap()
}

/// The one line that the template `t.txt` gives.
fn line(files: &[(&str, &str)], values: &str) -> String {
    let text = text(files, values);
    text.lines().nth(2).unwrap_or_default().to_owned()
}

fn check_error(files: &[(&str, &str)], values: &str, message: &str) {
    assert_eq!(try_render(files, values).unwrap_err().to_string(), message);
}

#[test]
fn prints_objects_by_kind_and_hooks_last() {
    let hook = "kind: Job\nmetadata:\n  name: j\n  annotations: {helm.sh/hook: post-install}\n";
    let files = [
        (
            "templates/b.yaml",
            "kind: Service\n---\nkind: Secret\napiVersion: v1\n\n",
        ),
        ("templates/a.yaml", hook),
        ("templates/NOTES.txt", "see {{ .Release.Name }}"),
        ("templates/_p.tpl", "{{ define \"x\" }}{{ end }}"),
        ("crds/c.yaml", "kind: CustomResourceDefinition\n"),
    ];
    let rendered = try_render(&files, "").unwrap();
    assert_eq!(rendered.notes, "see release-name");
    assert_eq!(
        Output::default().text(&rendered).unwrap(),
        format!(
            "---\n# Source: web/templates/b.yaml\nkind: Secret\napiVersion: v1\n\n\n---\n# Source: web/templates/b.yaml\nkind: Service\n---\n# Source: web/templates/a.yaml\n{hook}\n"
        )
    );
    let with_all = Output {
        include_crds: true,
        hide_secrets: true,
        no_hooks: true,
        ..Output::default()
    };
    assert_eq!(
        with_all.text(&rendered).unwrap(),
        "---\n# Source: web/crds/c.yaml\nkind: CustomResourceDefinition\n\n---\n# Source: web/templates/b.yaml\n# HIDDEN: The Secret output has been suppressed\n---\n# Source: web/templates/b.yaml\nkind: Service\n"
    );
    let only = Output {
        show_only: vec!["templates/b.*".into()],
        ..Output::default()
    };
    assert_eq!(
        only.text(&rendered).unwrap(),
        "---\n# Source: web/templates/b.yaml\nkind: Secret\napiVersion: v1\n\n\n\n---\n# Source: web/templates/b.yaml\nkind: Service\n\n"
    );
    let missing = Output {
        show_only: vec!["templates/c.yaml".into()],
        ..Output::default()
    };
    assert_eq!(
        missing.text(&rendered).unwrap_err().to_string(),
        "could not find template templates/c.yaml in chart"
    );
}

#[test]
fn templates_see_the_objects() {
    let metadata = "apiVersion: v2\nname: web\nversion: 1.2.3\nappVersion: 1.10\nkeywords: [k]\n";
    for (template, wanted) in [
        (
            "{{ .Release | toJson }}",
            r##"{"IsInstall":true,"IsUpgrade":false,"Name":"release-name","Namespace":"default","Revision":1,"Service":"Helm"}"##,
        ),
        (
            "{{ .Chart.Name }} {{ .Chart.AppVersion }} {{ .Chart.Keywords }} {{ .Chart.IsRoot }} {{ .Chart.nope }}",
            "web 1.1 [k] true",
        ),
        (
            "{{ .Template | toJson }}",
            r##"{"BasePath":"web/templates","Name":"web/templates/t.txt"}"##,
        ),
        (
            "{{ .Capabilities.KubeVersion }} {{ .Capabilities.KubeVersion.Minor }} {{ .Capabilities.APIVersions.Has \"apps/v1\" }} {{ len .Capabilities.APIVersions }}",
            "v1.37.0 37 true 57",
        ),
        ("{{ .Capabilities.HelmVersion.Version }}", r##"v4.3.1"##),
        (
            "{{ toJson .Capabilities.KubeVersion }} {{ toYaml .Capabilities.KubeVersion | quote }}",
            r##"{"Version":"v1.37.0","Major":"1","Minor":"37"} "Major: \"1\"\nMinor: \"37\"\nVersion: v1.37.0""##,
        ),
        (
            "{{ .Capabilities | toJson | trunc 76 }}",
            r##"{"KubeVersion":{"Version":"v1.37.0","Major":"1","Minor":"37"},"APIVersions":"##,
        ),
        (
            "{{ .Files.Get \"f/a.txt\" | quote }} {{ .Files.Lines \"f/a.txt\" }} {{ len .Files }}",
            r##""x\ny\n" [x y] 2"##,
        ),
        (
            "{{ (.Files.Glob \"f/*\").AsConfig | toJson }}",
            r##""a.txt: |\n  x\n  y\nb.txt: b""##,
        ),
        ("{{ (.Files.Glob \"**/b.txt\").AsSecrets }}", "b.txt: Yg=="),
        (
            "{{ typeOf .Values }} {{ .Values.missing }} {{ .Values.a.b }}",
            "common.Values  1",
        ),
        ("{{ lookup \"v1\" \"Pod\" \"a\" \"b\" }}", "map[]"),
    ] {
        let template = format!("# {template}");
        let files = [
            ("Chart.yaml", metadata),
            ("f/a.txt", "x\ny\n"),
            ("f/b.txt", "b"),
            ("templates/t.txt", template.as_str()),
        ];
        assert_eq!(line(&files, "a: {b: 1}"), format!("# {wanted}"), "{template}");
    }
}

/// No annotations are the nil that Go has for maps, which differs from a table without entries.
#[test]
fn templates_see_whether_there_are_annotations() {
    let template = "# {{ toJson .Chart.Annotations }} {{ toYaml .Chart.Annotations }} {{ eq .Chart.Annotations nil }} \
                    {{ .Chart.Annotations }} {{ .Chart.Annotations.x }} {{ len .Chart.Annotations }} \
                    {{ kindOf .Chart.Annotations }} {{ deepCopy .Chart.Annotations | toJson }} \
                    {{ list .Chart.Annotations | toPrettyJson | nospace }}";
    for (annotations, wanted) in [
        ("", "# null null true map[]  0 map null [null]"),
        ("annotations:\n", "# null null true map[]  0 map null [null]"),
        ("annotations: {}\n", "# {} {} false map[]  0 map {} [{}]"),
    ] {
        let metadata = format!("apiVersion: v2\nname: web\nversion: 1.0.0\n{annotations}");
        let files = [("Chart.yaml", metadata.as_str()), ("templates/t.txt", template)];
        assert_eq!(line(&files, ""), wanted, "{annotations}");
    }
}

#[test]
fn subcharts_see_their_part_of_the_values_and_share_it() {
    let files = [
        (
            "Chart.yaml",
            "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies: [{name: db, version: 1.x, alias: store}]\n",
        ),
        ("values.yaml", "global: {g: 1}\nstore: {port: 2}\n"),
        (
            "templates/t.txt",
            "# {{ .Values.store.port }} {{ .Values.store.changed }} {{ .Subcharts.store.Chart.Name }}",
        ),
        (
            "charts/db/Chart.yaml",
            "apiVersion: v2\nname: db\nversion: 1.0.0\n",
        ),
        ("charts/db/values.yaml", "port: 1\nhost: h\n"),
        // Runs first, since it lies deeper.
        ("charts/db/templates/_x.yaml", ""),
        (
            "charts/db/templates/u.txt",
            "{{ $_ := set .Values \"changed\" (printf \"%v-%v-%v\" .Values.port .Values.host .Values.global.g) }}",
        ),
    ];
    assert_eq!(line(&files, ""), "# 2 2-h-1 store");
}

/// Helm copies the globals and the tables in them for each chart, but not the tables in those.
#[test]
fn charts_share_the_tables_in_tables_of_globals() {
    let files = [
        ("values.yaml", "global: {a: {b: {}, l: [{}]}, l: [{}]}\n"),
        ("templates/t.txt", "# {{ toJson .Values.global }}"),
        (
            "charts/db/Chart.yaml",
            "apiVersion: v2\nname: db\nversion: 1.0.0\n",
        ),
        (
            "charts/db/templates/u.txt",
            "{{ $g := .Values.global }}{{ $_ := set $g \"x\" 1 }}{{ $_ := set $g.a \"y\" 2 }}{{ $_ := set $g.a.b \"z\" 3 }}\
             {{ $_ := set (first $g.l) \"z\" 4 }}{{ $_ := set (first $g.a.l) \"z\" 5 }}",
        ),
    ];
    assert_eq!(
        line(&files, ""),
        r##"# {"a":{"b":{"z":3},"l":[{"z":5}]},"l":[{"z":4}]}"##
    );
}

/// As observed with Helm 4.3.1: the whole text is kept, and the numbers decide.
#[test]
fn versions_of_kubernetes_are_known_in_full_and_by_their_numbers() {
    let template = "# {{ .Capabilities.KubeVersion }} {{ .Capabilities.KubeVersion.String }} \
                    {{ .Capabilities.KubeVersion.Version }} {{ .Capabilities.KubeVersion.GitVersion }} \
                    {{ .Capabilities.KubeVersion.Minor }}";
    let files = [
        (
            "Chart.yaml",
            "apiVersion: v2\nname: web\nversion: 1.0.0\nkubeVersion: '>=1.31.2 <1.32'\n",
        ),
        ("templates/t.txt", template),
    ];
    let mut options = RenderOptions::default();
    let mut try_version = |version: &str| {
        options.capabilities.kube_version = KubeVersion::parse(version).unwrap();
        render(chart(&files), Map::new(), &options)
    };
    let rendered = try_version("1.31.2-gke.05").unwrap();
    let text = Output::default().text(&rendered).unwrap();
    let wanted = "# v1.31.2 v1.31.2 v1.31.2-gke.05 v1.31.2-gke.05 31";
    assert_eq!(text.lines().nth(2), Some(wanted));
    let cluster = KubeVersion::of_cluster("v1.31.5-eks-7", "1", "31+");
    assert_eq!(
        (cluster.to_string(), cluster.minor.as_str()),
        ("v1.31.5-eks-7".to_owned(), "31+")
    );
    assert_eq!(
        try_version("v1.32+k3s1").unwrap_err().to_string(),
        "chart requires kubeVersion: >=1.31.2 <1.32 which is incompatible with Kubernetes v1.32+k3s1"
    );
    assert_eq!(KubeVersion::parse(""), Ok(KubeVersion::default()));
    for (version, fault) in [
        ("vv1.2", "could not parse \"vv1.2\" as version"),
        ("1", "illegal version string \"1\""),
        ("1.x", "illegal version string \"1.x\""),
        (
            "01.2",
            "illegal zero-prefixed version component \"01\" in \"01.2\"",
        ),
    ] {
        let error = KubeVersion::parse(version).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("invalid kube version '{version}': {fault}")
        );
    }
}

#[test]
fn definitions_of_the_chart_win_over_those_of_subcharts() {
    let files = [
        ("templates/a.yaml", "{{ define \"n\" }}chart{{ end }}"),
        ("templates/b.yaml", "{{ define \"n\" }}chart, later file{{ end }}"),
        ("templates/t.txt", "# {{ include \"n\" . }}"),
        (
            "charts/db/Chart.yaml",
            "apiVersion: v2\nname: db\nversion: 1.0.0\n",
        ),
        (
            "charts/db/templates/_n.tpl",
            "{{ define \"n\" }}subchart{{ end }}",
        ),
    ];
    assert_eq!(line(&files, ""), "# chart");
}

#[test]
fn lookups_are_answered_by_the_caller() {
    let snapshot =
        Snapshot::parse("{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: ns}, data: {k: v}}");
    let options = RenderOptions {
        lookup: Some(std::sync::Arc::new(snapshot.unwrap())),
        ..RenderOptions::default()
    };
    let chart = chart(&[(
        "templates/t.txt",
        "# {{ (lookup \"v1\" \"Secret\" \"ns\" \"s\").data.k }}",
    )]);
    let rendered = render(chart, chart_values::Map::new(), &options).unwrap();
    assert_eq!(rendered.manifests[0].content, "# v");
}

#[test]
fn jinja_and_go_stand_side_by_side() {
    let files = [
        (
            "values.yaml",
            "replicas: 2\nimage: {tag: ''}\nlabels: {b: '1', a: x}\nports: [80, 443]\ntext: '{{ release.name }}!'\n",
        ),
        ("conf/a.conf", "one\ntwo\n"),
        (
            "templates/_helpers.tpl",
            "{{ define \"web.name\" }}{{ .Chart.Name }}-go{{ end }}",
        ),
        (
            "templates/_macros.j2",
            "{% macro label(name) %}app: {{ name }}{% endmacro %}",
        ),
        (
            "templates/d.yaml.j2",
            "{% import \"_macros.j2\" as m %}\nkind: Deployment\nmetadata:\n  name: {{ release.name | trunc(7) }}\n  labels:\n    {{ m.label(include(\"web.name\")) }}\n    {{ values.labels | toyaml | nindent(4) | trim }}\nspec:\n  replicas: {{ values.replicas }}\n  tag: {{ values.image.tag | default(chart.version) | quote }}\n{% for port in values.ports %}\n  port{{ loop.index }}: {{ port }}\n{% endfor %}\n  file: {{ files.get(\"conf/a.conf\") | tojson }}\n  lines: {{ files.lines(\"conf/a.conf\") | length }}\n  apps: {{ \"apps/v1\" in capabilities.api_versions }}\n  tpl: {{ tpl(values.text) }}\n",
        ),
        (
            "templates/NOTES.txt.j2",
            "{{ chart.name }} in {{ release.namespace }}",
        ),
    ];
    let rendered = try_render(&files, "").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(rendered.notes, "web in default");
    assert_eq!(
        Output::default().text(&rendered).unwrap(),
        "---\n# Source: web/templates/d.yaml.j2\nkind: Deployment\nmetadata:\n  name: release\n  labels:\n    app: web-go\n    a: x\n    b: \"1\"\nspec:\n  replicas: 2\n  tag: \"1.2.3\"\n  port1: 80\n  port2: 443\n  file: \"one\\ntwo\\n\"\n  lines: 2\n  apps: true\n  tpl: release-name!\n"
    );
}

#[test]
fn err_jinja_names_file_line_and_what_is_missing() {
    for (template, message) in [
        ("a: 1\nb: {{ values.nope.x }}\n", "web/templates/a.yaml.j2:2:"),
        ("a: {% if %}\n", "web/templates/a.yaml.j2:1:"),
        ("a: {{ values.nope }}\n", "web/templates/a.yaml.j2:1:"),
        (
            "a: {{ required(\"give x\", values.x) }}\n",
            "web/templates/a.yaml.j2:1:7: ",
        ),
        (
            "{% for i in range(1000000000) %}{% endfor %}",
            "web/templates/a.yaml.j2:1:",
        ),
    ] {
        let error = try_render(&[("templates/a.yaml.j2", template)], "").unwrap_err();
        assert!(matches!(error, RenderError::Jinja(_)));
        assert!(error.to_string().starts_with(message), "{error}");
    }
}

#[test]
fn err_words_are_helms() {
    check_error(
        &[("templates/a.yaml", "x: {{ .Values.a.b }}")],
        "",
        "web/templates/a.yaml:1:13\n  executing \"web/templates/a.yaml\" at <.Values.a.b>:\n    nil pointer evaluating interface {}.b",
    );
    check_error(
        &[("templates/a.yaml", "x: {{ required \"give a\" .Values.a }}")],
        "",
        "execution error at (web/templates/a.yaml:1:6): give a",
    );
    check_error(
        &[("templates/a.yaml", "x: {{ nope }}")],
        "",
        "parse error at (web/templates/a.yaml:1): function \"nope\" not defined",
    );
    check_error(
        &[("templates/a.yaml", "a: b: c")],
        "",
        "YAML parse error on web/templates/a.yaml: error converting YAML to JSON: yaml: mapping values are not allowed in this context",
    );
    check_error(
        &[(
            "Chart.yaml",
            "apiVersion: v2\nname: web\nversion: 1.0.0\nkubeVersion: '>=99'\n",
        )],
        "",
        "chart requires kubeVersion: >=99 which is incompatible with Kubernetes v1.37.0",
    );
    check_error(
        &[(
            "values.schema.json",
            r#"{"properties":{"a":{"type":"string"}},"required":["b"]}"#,
        )],
        "a: 1",
        "values don't meet the specifications of the schema(s) in the following chart(s):\nweb:\n- at '': missing property 'b'\n- at '/a': got number, want string\n",
    );
    let library = chart(&[(
        "Chart.yaml",
        "apiVersion: v2\nname: l\nversion: 1.0.0\ntype: library\n",
    )]);
    assert_eq!(
        ensure_installable(&library).unwrap_err().to_string(),
        "library charts are not installable"
    );
    let incomplete = chart(&[(
        "Chart.yaml",
        "apiVersion: v2\nname: l\nversion: 1.0.0\ndependencies: [{name: a, version: 1.x}]\n",
    )]);
    assert!(
        ensure_installable(&incomplete)
            .unwrap_err()
            .to_string()
            .ends_with("missing in charts/ directory: a")
    );
}

#[test]
fn a_check_renders_what_would_fail() {
    let chart = chart(&[(
        "templates/a.yaml",
        "a: {{ required \"x\" .Values.a }}{{ fail \"y\" }}",
    )]);
    let options = RenderOptions {
        lint: true,
        ..RenderOptions::default()
    };
    assert!(render(chart, chart_values::Map::new(), &options).is_ok());
}

/// The charts that `create` writes, in both languages, with their defaults and with everything switched on.
#[test]
fn new_charts_render_the_same_in_both_languages() {
    let everything = "{autoscaling: {enabled: true}, ingress: {enabled: true, className: c, tlsSecret: t, annotations: {a: b}}, \
        podAnnotations: {a: b}, podLabels: {l: m}, imagePullSecrets: [s], env: {B: '1', A: x}, resources: {limits: {cpu: 1}}, \
        nodeSelector: {x: z}, tolerations: [{key: k}], affinity: {q: {}}, podSecurityContext: {fsGroup: 1}, \
        securityContext: {runAsUser: 1}, serviceAccount: {annotations: {c: d}}, service: {type: NodePort}}";
    for values in ["", everything] {
        let documents = |language| {
            let files = chart_model::scaffold("web", language).unwrap();
            let chart = Chart::from_files(files).unwrap();
            let rendered = render(
                chart.clone(),
                map_from_yaml(values).unwrap(),
                &RenderOptions::default(),
            );
            let rendered = rendered.unwrap_or_else(|error| panic!("{error}"));
            let manifests = rendered.manifests.iter().map(|manifest| manifest.content.clone());
            let hooks = rendered.hooks.iter().map(|hook| hook.manifest.clone());
            let objects: Vec<_> = manifests
                .chain(hooks)
                .map(|text| map_from_yaml(&text).unwrap())
                .collect();
            (objects, rendered.notes.trim().to_owned())
        };
        let (go, jinja) = (
            documents(chart_model::Language::Go),
            documents(chart_model::Language::Jinja),
        );
        assert_eq!(go.0.len(), if values.is_empty() { 4 } else { 6 });
        assert_eq!(go, jinja);
    }
}
