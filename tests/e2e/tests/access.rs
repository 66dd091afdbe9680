//! Service accounts and roles: who a program is, and what it may.

use test_support::{Lab, peer, skip};

const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

#[test]
fn an_account_may_what_its_roles_say() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    let Some(lab) = Lab::open() else { return };
    lab.tug(["cluster", "start"]).ok();
    let run = |arguments: &str| lab.client(&kubectl, arguments.split_whitespace());
    run("create namespace shop").ok();
    run("create serviceaccount reader -n shop").ok();
    let token = run("create token reader -n shop").ok().trim().to_owned();
    let as_reader = |arguments: &str| run(&format!("--token={token} {arguments}"));
    let who = as_reader("auth whoami -o jsonpath={.status.userInfo.username}");
    assert_eq!(who.ok(), "system:serviceaccount:shop:reader");
    assert_eq!(
        as_reader("get pods -n shop").err().trim(),
        "Error from server (Forbidden): pods is forbidden: User \"system:serviceaccount:shop:reader\" cannot list \
         resource \"pods\" in API group \"\" in the namespace \"shop\""
    );
    run("create rolebinding read -n shop --clusterrole=view --serviceaccount=shop:reader").ok();
    as_reader("get pods -n shop").ok();
    as_reader("get deployments.apps -n shop").ok();
    as_reader("get pods -n default").err();
    as_reader("get secrets -n shop").err();
    as_reader("create configmap x -n shop").err();
    let can = "auth can-i list pods -n shop --as=system:serviceaccount:shop:reader";
    assert_eq!(run(can).ok().trim(), "yes");

    // Who may make roles gives nobody more than they have.
    run("create rolebinding rule -n shop --clusterrole=admin --serviceaccount=shop:reader").ok();
    as_reader("create role pods -n shop --verb=get,delete --resource=pods").ok();
    let refused = as_reader("create role nodes -n shop --verb=get --resource=nodes");
    assert!(
        refused
            .err()
            .contains("is attempting to grant RBAC permissions not currently held"),
        "{}",
        refused.stderr
    );
    as_reader("create rolebinding up -n shop --clusterrole=cluster-admin --serviceaccount=shop:reader").err();

    run("delete serviceaccount reader -n shop").ok();
    assert!(
        as_reader("get pods -n shop").err().contains("Unauthorized"),
        "its tokens end with the account"
    );
}

#[test]
fn a_program_in_a_pod_asks_the_api_as_its_account() {
    let Some(kubectl) = peer("kubectl") else {
        return skip("`kubectl` is not installed");
    };
    if peer("busybox").is_none() || peer("curl").is_none() {
        return skip("curl or busybox is not installed, from which the image is made");
    }
    let Some(lab) = Lab::open() else { return };
    lab.tug(["cluster", "start"]).ok();
    lab.load_image("test/curl:1", ["--package=curl", "--", "sh"]);
    let run = |arguments: &str| lab.client(&kubectl, arguments.split_whitespace());
    let command =
        "run box --image=test/curl:1 --image-pull-policy=Never --restart=Never --command -- sleep 10000";
    run(command).ok();
    run("wait --for=condition=Ready pod/box --timeout=60s").ok();
    let ask = |path: &str| {
        let script = format!(
            "curl -sS --cacert {ACCOUNT}/ca.crt -H \"Authorization: Bearer $(cat {ACCOUNT}/token)\" \
             https://kubernetes.default.svc{path}"
        );
        lab.client(&kubectl, ["exec", "box", "--", "sh", "-c", &script])
            .json()
    };
    assert_eq!(ask("/version")["major"], "1");
    let refused = ask("/api/v1/namespaces/default/pods");
    assert_eq!(refused["reason"], "Forbidden");
    run("create clusterrolebinding see --clusterrole=view --serviceaccount=default:default").ok();
    assert_eq!(
        ask("/api/v1/namespaces/default/pods")["items"][0]["metadata"]["name"],
        "box"
    );
    assert_eq!(
        run(&format!("exec box -- cat {ACCOUNT}/namespace")).ok(),
        "default"
    );
}
