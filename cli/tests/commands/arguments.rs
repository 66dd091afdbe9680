//! Arguments, and what is printed without a cluster or a chart.

use crate::sandbox::Sandbox;

#[test]
fn err_arguments_that_cannot_be_understood() {
    let sandbox = Sandbox::new();
    sandbox.run(&["rolback"]).refused(&[
        "Error: unrecognized subcommand 'rolback'",
        "Hint: a similar subcommand exists: 'rollback'",
        "Hint: usage: tug [OPTIONS] <COMMAND>",
    ]);
    sandbox.run(&["list", "-o", "yml"]).refused(&[
        "Error: invalid value 'yml' for '--output <FORMAT>'",
        "  [possible values: table, json, yaml, name]",
        "Hint: a similar value exists: 'yaml'",
    ]);
    sandbox
        .run(&["install", "web", "box", "--timeout", "300"])
        .refused(&[
            "Error: invalid value '300' for '--timeout <DURATION>': time: missing unit in duration \"300\"",
        ]);
    sandbox.run(&["install", "box"]).refused(&[
        "Error: INSTALLATION FAILED: must either provide a name or specify --generate-name",
        "Hint: `tug install NAME CHART`",
    ]);
    sandbox
        .run(&["install", "web", "box", "--generate-name"])
        .refused(&["Error: INSTALLATION FAILED: cannot set --generate-name and also specify a name"]);
    let alone = sandbox.run(&[]);
    assert_eq!((alone.code, alone.stdout.as_str()), (Some(1), ""));
    assert!(alone.stderr.contains("Usage: tug [OPTIONS] <COMMAND>"));
}

/// As in Helm and kubectl: of an option that is given twice, the last one counts.
#[test]
fn options_may_be_repeated() {
    let sandbox = Sandbox::new();
    sandbox.write_chart();
    let twice = ["--namespace", "one", "--no-hooks", "--no-hooks", "-n", "two"];
    let namespace = sandbox.run(&[&["env", "HELM_NAMESPACE"], &twice[..2], &twice[4..]].concat());
    assert_eq!(namespace.ok(), "two\n");
    sandbox
        .run(&[&["template", "web", "box"], &twice[..]].concat())
        .ok();
}

/// As in Helm and kubectl: an option takes the next word, whatever it looks like.
#[test]
fn a_value_may_begin_with_a_hyphen() {
    let sandbox = Sandbox::new();
    sandbox.write_chart();
    sandbox.write("box/templates/x.yaml", "x: {{ index .Values \"-x\" }}\n");
    let shown = sandbox.run(&[
        "template",
        "web",
        "box",
        "--set",
        "-x=7",
        "-s",
        "templates/x.yaml",
    ]);
    assert!(shown.ok().contains("x: 7\n"));
    sandbox
        .run(&["install", "web", "box", "--values", "--wait"])
        .refused(&[
            "Error: INSTALLATION FAILED: cannot read values file `--wait`",
            "Caused by: No such file or directory (os error 2)",
        ]);
    // What is not understood either way is told as it would be without this.
    sandbox
        .run(&["template", "web", "box", "--set", "-x=1", "--values"])
        .refused(&[
            "Error: unexpected argument '-x' found",
            "Hint: to pass '-x' as a value, use '-- -x'",
            "Hint: usage: tug template [OPTIONS] <NAME> <CHART>...",
        ]);
}

#[test]
fn help_and_version_are_data() {
    let sandbox = Sandbox::new();
    let version = concat!("v", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(sandbox.run(&["version", "--short"]).ok(), version);
    assert!(
        sandbox
            .run(&["install", "--help"])
            .ok()
            .contains("--create-namespace")
    );
    assert!(
        sandbox
            .run(&["completion", "bash"])
            .ok()
            .contains("complete -F _tug")
    );
    let hidden = sandbox.run(&["--help"]);
    assert!(!hidden.ok().contains("__server"));
}

#[test]
fn the_environment_is_honoured_below_flags() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["env", "HELM_NAMESPACE"]);
    command.env("HELM_NAMESPACE", "shop");
    assert_eq!(Sandbox::output(&mut command).ok(), "shop\n");
    command.args(["-n", "desk"]);
    assert_eq!(Sandbox::output(&mut command).ok(), "desk\n");
    assert_eq!(sandbox.run(&["env", "HELM_NAMESPACE"]).ok(), "default\n");
}

#[test]
fn a_reader_that_goes_away_is_no_failure_to_talk_about() {
    use std::process::Stdio;
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["completion", "zsh"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    // The command holds the other writing end.
    drop(command);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn colours_are_used_when_asked_for_and_not_otherwise() {
    let sandbox = Sandbox::new();
    let colored = sandbox.run(&["--color", "always", "status", "web"]);
    assert!(
        colored.stderr.starts_with("\u{1b}[31mError:\u{1b}[0m "),
        "{}",
        colored.stderr
    );
    let plain = sandbox.run(&["status", "web"]);
    assert!(plain.stderr.starts_with("Error: "));
    let mut command = sandbox.command(&["status", "web"]);
    command.env("HELM_COLOR", "always").env("NO_COLOR", "1");
    assert!(Sandbox::output(&mut command).stderr.starts_with("Error: "));
}
