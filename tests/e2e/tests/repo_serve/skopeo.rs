//! skopeo: images in and out.

use std::fs;
use std::path::Path;

use repo_index::sha256_hex;
use serde_json::{Value, json};

use crate::host::{Host, client};

/// An image as a folder, in the layout that the image specification has.
fn write_image(folder: &Path, content: &str) -> String {
    let blob = |bytes: &[u8]| {
        let digest = sha256_hex(bytes);
        let path = folder.join("blobs/sha256").join(&digest);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        (format!("sha256:{digest}"), bytes.len())
    };
    let describe = |kind: &str, (digest, size): &(String, usize)| -> Value {
        json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": size})
    };
    let layer = blob(content.as_bytes());
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/hello"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.0]},
    });
    let config = blob(config.to_string().as_bytes());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": describe("config.v1+json", &config),
        "layers": [describe("layer.v1.tar", &layer)],
    });
    let manifest = blob(manifest.to_string().as_bytes());
    let mut described = describe("manifest.v1+json", &manifest);
    described["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
    let index = json!({"schemaVersion": 2, "manifests": [described]});
    fs::write(folder.join("index.json"), index.to_string()).unwrap();
    fs::write(folder.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
    manifest.0
}

#[test]
fn skopeo_copies_in_and_out_inspects_and_deletes() {
    let Some(skopeo) = client("skopeo") else { return };
    let host = Host::start(&[]);
    let run = |arguments: &[&str]| host.run(&skopeo, [&["--insecure-policy"], arguments].concat());
    let image = host.folder().join("image");
    let digest = write_image(&image, "a layer of words");
    let reference = format!("docker://{}/library/hello", host.host());
    let (tagged, copied) = (format!("{reference}:v1"), format!("{reference}-copy:v1"));
    run(&[
        "copy",
        "--preserve-digests",
        "--dest-tls-verify=false",
        "oci:image:v1",
        &tagged,
    ])
    .ok();
    let seen = run(&["inspect", "--tls-verify=false", &tagged]);
    let seen: Value = serde_json::from_str(seen.ok()).unwrap();
    assert_eq!(
        (seen["Digest"].as_str(), &seen["RepoTags"]),
        (Some(digest.as_str()), &json!(["v1"]))
    );
    // From one repository to another the blobs are mounted.
    run(&[
        "copy",
        "--preserve-digests",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        &tagged,
        &copied,
    ])
    .ok();
    run(&[
        "copy",
        "--preserve-digests",
        "--src-tls-verify=false",
        &copied,
        "oci:back:v1",
    ])
    .ok();
    let back = fs::read_to_string(host.folder().join("back/index.json")).unwrap();
    assert!(back.contains(&digest), "{back}");
    let tags = run(&["list-tags", "--tls-verify=false", &reference]);
    assert!(tags.ok().contains("\"v1\""));
    run(&["delete", "--tls-verify=false", &tagged]).ok();
    run(&["inspect", "--tls-verify=false", &tagged]).err();
    run(&["inspect", "--tls-verify=false", &copied]).ok();
}

#[test]
fn skopeo_converts_to_docker_s_kind_of_image() {
    let Some(skopeo) = client("skopeo") else { return };
    let host = Host::start(&[]);
    write_image(&host.folder().join("image"), "a layer of words");
    let reference = format!("docker://{}/hello:v2", host.host());
    let arguments = [
        "--insecure-policy",
        "copy",
        "--format",
        "v2s2",
        "--dest-tls-verify=false",
        "oci:image:v1",
        &reference,
    ];
    host.run(&skopeo, arguments).ok();
    let raw = host.run(&skopeo, ["inspect", "--raw", "--tls-verify=false", &reference]);
    assert!(
        raw.ok()
            .contains("application/vnd.docker.distribution.manifest.v2+json"),
        "{}",
        raw.stdout
    );
}

fn skopeo_says_who_it_is(how: &str) {
    let Some(skopeo) = client("skopeo") else { return };
    let host = Host::start_guarded(Some(how), false);
    let run = |arguments: &[&str]| host.run(&skopeo, [&["--insecure-policy"], arguments].concat());
    write_image(&host.folder().join("image"), "a layer of words");
    let reference = format!("docker://{}/team/hello:v1", host.host());
    let copy = |credentials: &str| {
        run(&[
            "copy",
            "--dest-tls-verify=false",
            "--dest-creds",
            credentials,
            "oci:image:v1",
            &reference,
        ])
    };
    copy("alice:wrong").err();
    copy("bob:b-secret").err();
    copy("alice:a-secret").ok();
    run(&[
        "inspect",
        "--tls-verify=false",
        "--creds",
        "bob:b-secret",
        &reference,
    ])
    .ok();
    run(&["inspect", "--tls-verify=false", "--no-creds", &reference]).err();
    run(&[
        "delete",
        "--tls-verify=false",
        "--creds",
        "bob:b-secret",
        &reference,
    ])
    .err();
    run(&[
        "delete",
        "--tls-verify=false",
        "--creds",
        "alice:a-secret",
        &reference,
    ])
    .ok();
}

#[test]
fn skopeo_gives_passwords() {
    skopeo_says_who_it_is("basic");
}

#[test]
fn skopeo_gives_tokens() {
    skopeo_says_who_it_is("token");
}
