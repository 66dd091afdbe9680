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
