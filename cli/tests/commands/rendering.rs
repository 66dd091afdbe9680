//! Charts rendered without a cluster, and charts that cannot be.

use crate::sandbox::Sandbox;

#[test]
fn a_chart_is_rendered_without_a_cluster() {
    let sandbox = Sandbox::new();
    sandbox.write_chart();
    let expected = "---\n# Source: box/templates/config.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: web\n\
        data:\n  size: \"3\"\n";
    assert_eq!(
        sandbox.run(&["template", "web", "box", "--set", "size=3"]).ok(),
        expected
    );
    let dry = sandbox.run(&[
        "install",
        "web",
        "box",
        "--dry-run=client",
        "-n",
        "shop",
        "--set",
        "size=3",
    ]);
    let lines: Vec<&str> = dry.ok().lines().collect();
    let head = [
        "NAMESPACE: shop",
        "STATUS: pending-install",
        "REVISION: 1",
        "DESCRIPTION: Dry run complete",
    ];
    assert_eq!(lines[2..6], head);
    assert!(dry.stdout.ends_with("NOTES:\nIt is 3 wide.\n"));
    let json = sandbox.run(&["install", "web", "box", "--dry-run=client", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(json.ok()).unwrap();
    assert_eq!(
        (&json["version"], &json["apply_method"]),
        (&1.into(), &"ssa".into())
    );
    assert!(!sandbox.path().join("cluster").exists());
}

#[test]
fn err_charts_and_values_that_are_wrong() {
    let sandbox = Sandbox::new();
    sandbox.write_chart();
    let install = |more: &[&str]| {
        let arguments = [&["install", "web"][..], more].concat();
        sandbox.run(&arguments)
    };
    install(&["./nowhere"]).refused(&[
        "Error: INSTALLATION FAILED: path \"./nowhere\" not found",
        "Hint: CHART is a folder with a `Chart.yaml`, a .tgz file, REPO/NAME, oci://... or https://...",
    ]);
    install(&["stable/nowhere"]).refused(&[
        "Error: INSTALLATION FAILED: repo stable not found",
        "Hint: `tug repo add stable URL`",
    ]);
    install(&["box", "--set", "size=wide"]).refused(&[
        "Error: INSTALLATION FAILED: values don't meet the specifications of the schema(s) in the following chart(s):",
        "box:",
        "- at '/size': got string, want integer",
        "",
        "Hint: `--skip-schema-validation` renders all the same",
    ]);
    install(&["box", "-f", "nowhere.yaml"]).refused(&[
        "Error: INSTALLATION FAILED: cannot read values file `nowhere.yaml`",
        "Caused by: No such file or directory (os error 2)",
    ]);
    install(&["box", "--hide-secret"])
        .refused(&["Error: INSTALLATION FAILED: hiding Kubernetes secrets requires a dry-run mode"]);
    install(&["box", "--labels", "owner=me"]).refused(&[
        "Error: INSTALLATION FAILED: user supplied labels contains system reserved label name. System labels: [name owner \
         status version createdAt modifiedAt]",
    ]);
    let name = sandbox.run(&["install", "Web_", "box"]);
    let expected =
        "Error: INSTALLATION FAILED: release name check failed: release name \"Web_\": invalid release name";
    assert!(name.stderr.starts_with(expected), "{}", name.stderr);
    // A chart that is broken is found out before a cluster is started for it.
    sandbox.write("box/templates/broken.yaml", "a: {{ .Values.size.too.deep }}\n");
    let broken = install(&["box"]);
    assert_eq!((broken.code, broken.stdout.as_str()), (Some(1), ""));
    assert!(
        broken.stderr.contains("box/templates/broken.yaml:1"),
        "{}",
        broken.stderr
    );
    assert!(!sandbox.path().join("cluster").exists());
}

#[test]
fn a_post_renderer_changes_what_is_rendered() {
    let sandbox = Sandbox::new();
    sandbox.write_chart();
    let plain = sandbox.run(&["template", "web", "box"]);
    let render = |program: &str, arguments: &[&str]| {
        let mut all = vec!["template", "web", "box", "--post-renderer", program];
        for argument in arguments {
            all.extend(["--post-renderer-args", argument]);
        }
        let mut command = sandbox.command(&all);
        command.env("PATH", "/usr/bin:/bin");
        Sandbox::output(&mut command)
    };
    assert_eq!(render("cat", &[]).ok(), plain.ok());
    let changed = render("sed", &["-e", "s/size:/length:/"]);
    assert!(changed.ok().contains("length: \"1\""), "{}", changed.stdout);
    let failed = render("false", &[]);
    assert!(
        failed
            .stderr
            .starts_with("Error: error while running post-renderer false: exit status: 1"),
        "{}",
        failed.stderr
    );
    let empty = render("true", &[]);
    assert!(empty.stderr.contains("produced empty output"), "{}", empty.stderr);
    let missing = render("./nowhere", &[]);
    assert!(
        missing.stderr.contains("post-renderer ./nowhere"),
        "{}",
        missing.stderr
    );
}

#[test]
fn lookups_are_answered_from_a_file() {
    let sandbox = Sandbox::new();
    sandbox.write_chart();
    sandbox.write(
        "box/templates/config.yaml",
        "{{ with lookup \"v1\" \"Secret\" \"shop\" \"key\" }}found: {{ .data.a }}{{ else }}found: nothing{{ end }}\n\
         all: {{ len (lookup \"v1\" \"Secret\" \"shop\" \"\").items }}\n",
    );
    sandbox.write(
        "objects.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: key, namespace: shop}\ndata: {a: Yg==}\n---\napiVersion: v1\nkind: Secret\n\
         metadata: {name: other, namespace: desk}\n",
    );
    let with = sandbox.run(&["template", "web", "box", "--lookup-from", "objects.yaml"]);
    assert_eq!(
        with.ok(),
        "---\n# Source: box/templates/config.yaml\nfound: Yg==\nall: 1\n"
    );
    let missing = sandbox.run(&["template", "web", "box", "--lookup-from", "nowhere.yaml"]);
    assert!(
        missing
            .stderr
            .starts_with("Error: cannot read objects from `nowhere.yaml`"),
        "{}",
        missing.stderr
    );
}

#[test]
fn new_charts_are_jinja_unless_go_is_asked_for() {
    let sandbox = Sandbox::new();
    sandbox.run(&["create", "web"]);
    sandbox.run(&["create", "--go", "shop"]);
    assert!(sandbox.path().join("web/templates/deployment.yaml.j2").exists());
    assert!(sandbox.path().join("shop/templates/deployment.yaml").exists());
    for chart in ["web", "shop"] {
        let rendered = sandbox.run(&["template", "x", chart]);
        assert!(rendered.ok().contains("kind: Deployment"), "{}", rendered.stdout);
        let linted = sandbox.run(&["lint", "--strict", chart]);
        let expected = format!(
            "==> Linting {chart}\n[INFO] Chart.yaml: icon is recommended\n\n1 chart(s) linted, 0 chart(s) failed\n"
        );
        assert_eq!(linted.ok(), expected);
    }
    let again = sandbox.run(&["create", "web"]);
    assert_eq!(again.code, Some(1));
}

#[test]
fn err_lint_tells_all_faults_at_once() {
    let sandbox = Sandbox::new();
    sandbox.write_chart();
    sandbox.write("box/templates/broken.yaml", "a: {{ if }}\n");
    sandbox.write(
        "box/templates/missing.yaml",
        "a: 1\nb: {{ .Values.no.such.thing }}\n",
    );
    sandbox.write(
        "box/templates/pod.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  containers:\n  - name: c\n    imagee: d\n",
    );
    sandbox.write(
        "box/templates/map.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  a: 1\n",
    );
    let linted = sandbox.run(&["lint", "box"]);
    assert_eq!(linted.code, Some(1));
    for start in [
        "[ERROR] templates/broken.yaml:1: ",
        "[ERROR] templates/missing.yaml:2: ",
        "[WARNING] templates/pod.yaml:8: Pod \"a\": unknown field \"spec.containers[0].imagee\"",
        "[ERROR] templates/map.yaml:5: ConfigMap \"a\": json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
    ] {
        assert!(
            linted.stdout.lines().any(|line| line.starts_with(start)),
            "{start}\n{}",
            linted.stdout
        );
    }
}
