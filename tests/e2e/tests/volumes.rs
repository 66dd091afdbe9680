//! Claims get folders of the node, which outlive pods and go with the claim.

use std::path::PathBuf;
use std::time::Duration;

use test_support::{Lab, peer, skip, until};

const LIMIT: Duration = Duration::from_secs(60);

/// Each start adds a line to a file of the volume.
const STATEFUL_SET: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {runAsUser: 1000}
      containers:
      - name: db
        image: test/box:1
        command: [sh, -c, 'echo started $HOSTNAME >> /data/log; exec sleep 100000']
        readinessProbe: {exec: {command: [grep, started, /data/log]}, periodSeconds: 1}
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Mi}}}
";

#[test]
fn a_stateful_set_keeps_its_data_over_its_pods() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    if peer("busybox").is_none() {
        return skip("busybox is not installed, from which the image is made");
    }
    let Some(lab) = Lab::open() else { return };
    let run = |arguments: &str| lab.client(&kubectl, arguments.split_whitespace());
    lab.tug(["cluster", "start"]).ok();
    lab.load_image("test/box:1", ["--", "sh"]);
    let file = lab.folder().join("set.yaml");
    std::fs::write(&file, STATEFUL_SET).unwrap();
    run(&format!("apply -f {}", file.display())).ok();
    run("rollout status statefulset/db --timeout=60s").ok();
    let classes = "get pvc -o jsonpath={.items[*].status.phase},{.items[*].spec.storageClassName}";
    assert_eq!(run(classes).ok(), "Bound Bound,local local");

    let uid = "get pod db-0 -o jsonpath={.metadata.uid}";
    let before = run(uid).ok().to_owned();
    run("delete pod db-0").ok();
    until("another pod takes its place", LIMIT, || {
        let after = run(uid);
        (!after.stdout.is_empty() && after.stdout != before).then_some(())
    });
    run("wait --for=condition=Ready pod/db-0 --timeout=60s").ok();
    assert_eq!(
        run("exec db-0 -- cat /data/log").ok(),
        "started db-0\nstarted db-0\n"
    );
    assert_eq!(run("exec db-1 -- cat /data/log").ok(), "started db-1\n");

    let folders = || -> Vec<PathBuf> {
        let found = std::fs::read_dir(lab.data_dir().join("volumes")).unwrap();
        found.map(|entry| entry.unwrap().path()).collect()
    };
    assert_eq!(folders().len(), 2);
    run("delete statefulset db").ok();
    run("delete pvc data-db-0").ok();
    until("the folder goes with its claim", LIMIT, || {
        (folders().len() == 1).then_some(())
    });
    until("the volume goes with its claim", LIMIT, || {
        (run("get pv -o name").ok().lines().count() == 1).then_some(())
    });
}
