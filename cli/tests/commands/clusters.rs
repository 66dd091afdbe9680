//! Which cluster is chosen, and clusters that cannot be reached.

use crate::sandbox::Sandbox;

fn kubeconfig(context: &str, server: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: {context}\nclusters:\n- name: c\n  cluster: {{server: '{server}'}}\n\
         users:\n- name: u\n  user: {{}}\ncontexts:\n- name: {context}\n  context: {{cluster: c, user: u, namespace: shop}}\n"
    )
}

/// The bundled cluster, where there never was one.
const NO_CLUSTER: [&str; 3] = [
    "Error: no cluster is named, and the bundled one was never started",
    "Hint: `tug install NAME CHART` or `tug cluster start` starts it",
    "Hint: `--kubeconfig FILE` or `--kube-context NAME` name another",
];

/// What is said of a cluster that is named and does not answer.
const REFUSED: &str = "Error: kubernetes cluster unreachable: cannot reach http://127.0.0.1:1: ";

#[test]
fn a_command_that_only_reads_starts_no_cluster() {
    let sandbox = Sandbox::new();
    for arguments in [
        &["list"][..],
        &["status", "web"],
        &["history", "web"],
        &["uninstall", "web"],
    ] {
        sandbox.run(arguments).refused(&NO_CLUSTER);
    }
    assert!(!sandbox.path().join("cluster").exists());
}

#[test]
fn the_first_that_names_a_cluster_is_taken() {
    let sandbox = Sandbox::new();
    let refused = |arguments: &[&str]| {
        let output = sandbox.run(arguments);
        assert!(
            output.stderr.starts_with(REFUSED),
            "{arguments:?}: {}",
            output.stderr
        );
        assert_eq!(output.code, Some(1));
    };
    refused(&["list", "--kube-apiserver", "http://127.0.0.1:1"]);
    sandbox.write(".kube/config", &kubeconfig("prod", "http://127.0.0.1:1"));
    refused(&["list"]);
    // The name of the bundled cluster comes before everything else.
    sandbox
        .run(&["list", "--kube-context", "tug"])
        .refused(&NO_CLUSTER);
    sandbox.write("tug.yaml", &kubeconfig("tug", "http://127.0.0.1:1"));
    refused(&["list", "--kubeconfig", "tug.yaml"]);
    let mut command = sandbox.command(&["list"]);
    command.env("KUBECONFIG", "missing.yaml:tug.yaml");
    assert!(Sandbox::output(&mut command).stderr.starts_with(REFUSED));
}

#[test]
fn err_kubeconfigs_that_name_no_cluster() {
    let sandbox = Sandbox::new();
    sandbox.run(&["list", "--kubeconfig", "missing.yaml"]).refused(&[
        "Error: cannot use kubeconfig `missing.yaml`",
        "Caused by: failed to read kubeconfig from '\"missing.yaml\"': No such file or directory (os error 2)",
    ]);
    sandbox.write("prod.yaml", &kubeconfig("prod", "http://127.0.0.1:1"));
    sandbox
        .run(&["list", "--kubeconfig", "prod.yaml", "--kube-context", "staging"])
        .refused(&[
            "Error: context `staging` does not exist",
            "Hint: contexts are: prod, and `tug`, the bundled cluster",
        ]);
    sandbox.write("broken.yaml", "clusters: [");
    let broken = sandbox.run(&["list", "--kubeconfig", "broken.yaml"]);
    assert!(
        broken
            .stderr
            .starts_with("Error: cannot use kubeconfig `broken.yaml`\nCaused by: ")
    );
    sandbox.run(&["cluster", "kubeconfig"]).refused(&[
        &format!(
            "Error: there is no kubeconfig at `{}`",
            sandbox.path().join("cluster/kubeconfig").display()
        ),
        "Caused by: the bundled cluster was never started",
        "Hint: `tug cluster start` starts it",
    ]);
}
