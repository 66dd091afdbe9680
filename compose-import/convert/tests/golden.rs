//! Whole projects with what they become: `golden/NAME/compose.yaml` beside `objects.yaml`, which ends with the warnings.
//!
//! `UPDATE=1 cargo test -p compose-convert --test golden` writes what is expected; read the difference before it is kept.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use compose_convert::chart::{self, ChartOptions, Dialect};
use compose_convert::{Conversion, DiskSources, Options, convert, to_yaml};
use compose_load::{DiskFiles, load};

fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(case)
}

fn conversion(case: &str) -> Conversion {
    conversion_with(case, &Options::default())
}

fn conversion_with(case: &str, how: &Options) -> Conversion {
    let options = compose_load::Options {
        current_dir: folder(case),
        environment: [("TOKEN".to_owned(), "from the environment".to_owned())].into(),
        ..compose_load::Options::default()
    };
    let project = load(&options, &DiskFiles).unwrap_or_else(|error| panic!("{case}: {error}"));
    convert(&project, &DiskSources, how)
}

#[track_caller]
fn compare(path: &Path, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert!(text == expected, "{} is expected to be:\n{text}", path.display());
}

#[track_caller]
fn check(case: &str) {
    check_with(case, &Options::default());
}

#[track_caller]
fn check_with(case: &str, how: &Options) {
    let conversion = conversion_with(case, how);
    let mut text = String::new();
    for object in &conversion.objects {
        write!(text, "---\n{}", to_yaml(&object.value)).unwrap();
    }
    for warning in &conversion.warnings {
        let line = warning
            .to_string()
            .replace(&format!("{}/", folder(case).display()), "");
        writeln!(text, "# {line}").unwrap();
    }
    compare(&folder(case).join("objects.yaml"), &text);
}

#[track_caller]
fn check_chart(case: &str, dialect: Dialect, folder_name: &str) {
    let options = ChartOptions {
        name: case.to_owned(),
        version: "0.1.0".to_owned(),
        dialect,
        with_secrets: false,
    };
    for (name, content) in chart::files(&conversion(case), &options) {
        compare(&folder(case).join(folder_name).join(name), &content);
    }
}

#[test]
fn names_and_ports() {
    check("network");
}

#[test]
fn volumes_files_configs_and_secrets() {
    check("storage");
}

#[test]
fn health_order_hooks_and_jobs() {
    check("process");
}

#[test]
fn pods_that_would_wait_in_a_circle() {
    check("circle");
}

#[test]
fn users_rights_and_limits() {
    check("security");
}

#[test]
fn deploy_as_swarm_has_it() {
    check("deploy");
}

#[test]
fn a_stack_has_the_defaults_of_swarm() {
    let how = Options {
        swarm: true,
        ..Options::default()
    };
    check_with("stack", &how);
}

#[test]
fn labels_of_kompose() {
    check("kompose");
}

#[test]
fn everything_that_is_not_honoured_is_told() {
    check("reported");
}

#[test]
fn err_names_and_values_that_kubernetes_cannot_take() {
    check("odd");
}

#[test]
fn a_chart_in_both_languages() {
    check_chart("chart", Dialect::Go, "go");
    check_chart("chart", Dialect::Jinja, "jinja");
}

#[test]
fn the_same_project_gives_the_same_objects() {
    let text = |conversion: Conversion| {
        conversion
            .objects
            .iter()
            .map(|object| to_yaml(&object.value))
            .collect::<String>()
    };
    assert_eq!(text(conversion("storage")), text(conversion("storage")));
}
