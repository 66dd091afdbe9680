//! `tug compose config`: what it prints, and what it refuses.

use crate::sandbox::Sandbox;

const PROJECT: &str = "name: shop
services:
  web:
    image: nginx:${TAG:-1}
    depends_on: [db]
    ports: ['8080:80']
  db:
    build: .
    profiles: []
";

#[test]
fn config_prints_the_project_or_its_parts() {
    let sandbox = Sandbox::new();
    sandbox.write("compose.yaml", PROJECT);
    let config = |flags: &[&str]| {
        sandbox
            .run(&[&["compose", "config"], flags].concat())
            .ok()
            .to_owned()
    };
    assert_eq!(config(&["--services"]), "db\nweb\n");
    assert_eq!(config(&["--images"]), "shop-db\nnginx:1\n");
    assert_eq!(config(&["--networks"]), "default\n");
    assert_eq!(config(&["--quiet"]), "");
    assert!(config(&["--no-interpolate"]).contains("image: nginx:${TAG:-1}\n"));
    assert!(config(&["--variables"]).contains("TAG "));
    let yaml = config(&[]);
    assert!(
        yaml.starts_with("name: shop\nservices:\n  db:\n    build:\n"),
        "{yaml}"
    );
    let json: serde_json::Value = serde_json::from_str(&config(&["--format", "json", "db"])).unwrap();
    assert_eq!(json["services"]["db"]["build"]["dockerfile"], "Dockerfile");
    assert!(json["services"].get("web").is_none());
    assert_eq!(config(&["-o", "out.yaml"]), "");
    assert_eq!(
        std::fs::read_to_string(sandbox.path().join("out.yaml")).unwrap(),
        yaml
    );
}

#[test]
fn err_all_faults_with_their_places() {
    let sandbox = Sandbox::new();
    let file = sandbox.write(
        "compose.yaml",
        "services:\n  web:\n    imgae: x\n  db:\n    image: [y]\n",
    );
    let file = file.display();
    sandbox.run(&["compose", "config"]).refused(&[
        &format!("Error: validating {file}: services.db.image must be a string"),
        "Caused by: compose.yaml:5:5",
        &format!(
            "Caused by: compose.yaml:3:5: validating {file}: services.web additional properties 'imgae' not allowed"
        ),
        "Hint: the nearest known key is `image`",
    ]);
    let none = sandbox.path().join("none.yaml");
    sandbox
        .run(&["compose", "-f", "none.yaml", "config"])
        .refused(&[&format!(
            "Error: open {}: no such file or directory",
            none.display()
        )]);
}
