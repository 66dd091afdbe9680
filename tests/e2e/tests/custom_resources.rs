//! Kinds that are defined at run time, through the real kubectl.

use std::time::Duration;

use test_support::{Lab, Output, peer, skip, until};

const LIMIT: Duration = Duration::from_secs(30);

const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget, shortNames: [wg]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema:
      openAPIV3Schema:
        type: object
        description: A thing of a size.
        properties:
          spec:
            type: object
            required: [color]
            properties:
              color: {type: string, enum: [red, green], description: How it is painted.}
              size: {type: integer, minimum: 1, default: 3}
          status: {type: object, properties: {size: {type: integer}}}
";

const WIDGET: &str = "
apiVersion: example.com/v1
kind: Widget
metadata: {name: one}
spec: {color: red}
";

#[test]
fn a_defined_kind_is_served_checked_and_cleaned_up() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(lab) = Lab::open() else { return };
    lab.tug(["cluster", "start"]).ok();
    let run = |arguments: &str| lab.client(&kubectl, arguments.split_whitespace());
    let apply = |text: &str| -> Output {
        let file = lab.folder().join("object.yaml");
        std::fs::write(&file, text).unwrap();
        run(&format!("apply -f {}", file.display()))
    };
    apply(DEFINITION).ok();
    run("wait --for=condition=Established crd/widgets.example.com --timeout=30s").ok();
    apply(WIDGET).ok();
    let table = run("get wg");
    let words: Vec<&str> = table.ok().split_whitespace().collect();
    assert_eq!(words[..4], ["NAME", "SIZE", "one", "3"], "{words:?}");
    assert!(
        run("explain widget.spec.color")
            .ok()
            .contains("How it is painted.")
    );

    let refused = apply(&WIDGET.replace("red", "blue, size: 0"));
    let refused = refused.err();
    for part in [
        "spec.color: Unsupported value: \"blue\": supported values: \"red\", \"green\"",
        "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
    ] {
        assert!(refused.contains(part), "{refused}");
    }
    assert!(
        apply(&WIDGET.replace("red", "red, colour: 1"))
            .err()
            .contains("unknown field \"spec.colour\"")
    );
    run("scale widget/one --replicas=5").ok();
    assert_eq!(
        run("get wg one -o jsonpath={.spec.size},{.metadata.generation}").ok(),
        "5,2"
    );

    // What was defined is served again after a restart.
    lab.tug(["cluster", "stop"]).ok();
    lab.tug(["cluster", "start"]).ok();
    assert_eq!(
        run("get widgets.v1.example.com -o name").ok(),
        "widget.example.com/one\n"
    );

    run("delete crd widgets.example.com --timeout=30s").ok();
    until("the kind is gone", LIMIT, || {
        (run("get widgets").code != 0).then_some(())
    });
    apply(DEFINITION).ok();
    run("wait --for=condition=Established crd/widgets.example.com --timeout=30s").ok();
    assert_eq!(
        run("get widgets -o name").ok(),
        "",
        "objects went with their definition"
    );
}

#[test]
fn objects_of_a_deleted_kind_go_with_their_owner_and_namespace() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(lab) = Lab::open() else { return };
    lab.tug(["cluster", "start"]).ok();
    let run = |arguments: &str| lab.client(&kubectl, arguments.split_whitespace());
    let file = lab.folder().join("object.yaml");
    std::fs::write(&file, DEFINITION).unwrap();
    let apply = format!("apply -f {}", file.display());
    run(&apply).ok();
    run("wait --for=condition=Established crd/widgets.example.com --timeout=30s").ok();
    run("create namespace shop").ok();
    std::fs::write(&file, WIDGET).unwrap();
    run(&format!("{apply} -n shop")).ok();
    run("delete namespace shop --timeout=60s").ok();
    assert_eq!(run("get widgets -A -o name").ok(), "");
    run("create configmap owner").ok();
    let uid = run("get configmap owner -o jsonpath={.metadata.uid}")
        .ok()
        .to_owned();
    let owner = format!("ownerReferences: [{{apiVersion: v1, kind: ConfigMap, name: owner, uid: {uid}}}]");
    std::fs::write(
        &file,
        WIDGET.replace("{name: one}", &format!("{{name: one, {owner}}}")),
    )
    .unwrap();
    run(&apply).ok();
    run("delete configmap owner").ok();
    until("the garbage collector follows new kinds", LIMIT, || {
        run("get widgets -o name").ok().is_empty().then_some(())
    });
}
