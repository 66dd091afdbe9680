//! curl for ChartMuseum's API.

use std::fs;

use crate::host::{Host, client};

#[test]
fn curl_uploads_lists_and_deletes() {
    let Some(curl) = client("curl") else { return };
    let host = Host::start(&[]);
    let url = host.url();
    let run = |arguments: &[&str]| host.run(&curl, [&["-sS", "-w", "\n%{http_code}"], arguments].concat());
    let archive = host.pack("web", "1.0.0", &[]);
    let data = format!("@{}", archive.display());
    let charts = format!("{url}/api/charts");
    assert_eq!(
        run(&["--data-binary", &data, &charts]).ok(),
        "{\"saved\":true}\n201"
    );
    assert_eq!(
        run(&["--data-binary", &data, &charts]).ok(),
        "{\"error\":\"web-1.0.0.tgz already exists\"}\n409"
    );
    let signature = host.folder().join("web-1.0.0.tgz.prov");
    let text = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nname: web\n...\nfiles:\n  web-1.0.0.tgz: sha256:00\n-----BEGIN PGP SIGNATURE-----\n-----END PGP SIGNATURE-----\n";
    fs::write(&signature, text).unwrap();
    let (chart_part, prov_part) = (format!("chart={data}"), format!("prov=@{}", signature.display()));
    let both = run(&["-F", &chart_part, "-F", &prov_part, &format!("{charts}?force")]);
    assert_eq!(both.ok(), "{\"saved\":true}\n201");
    assert_eq!(
        run(&[&format!("{url}/charts/web-1.0.0.tgz.prov")]).ok(),
        format!("{text}\n200")
    );
    assert!(run(&[&charts]).ok().starts_with("{\"web\":[{"));
    let part = run(&["-r", "0-1", "-o", "part", &format!("{url}/charts/web-1.0.0.tgz")]);
    assert!(part.ok().ends_with("206"));
    assert_eq!(fs::read(host.folder().join("part")).unwrap(), b"\x1f\x8b");
    let gzip = run(&["--compressed", &format!("{url}/index.yaml")]);
    assert!(gzip.ok().contains("- charts/web-1.0.0.tgz"));
    let deleted = run(&["-X", "DELETE", &format!("{charts}/web/1.0.0")]);
    assert_eq!(deleted.ok(), "{\"deleted\":true}\n200");
    assert!(run(&[&format!("{url}/index.yaml")]).ok().contains("entries: {}"));
}

#[test]
fn curl_says_who_it_is() {
    let Some(curl) = client("curl") else { return };
    let host = Host::start_guarded(None, false);
    let data = format!("@{}", host.pack("web", "1.0.0", &[]).display());
    let url = format!("{}/api/team/charts", host.url());
    for (user, status) in [
        ("alice:a-secret", "201"),
        ("bob:b-secret", "403"),
        ("alice:wrong", "401"),
    ] {
        let done = host.run(
            &curl,
            [
                "-sS",
                "-o",
                "answer",
                "-w",
                "%{http_code}",
                "-u",
                user,
                "--data-binary",
                &data,
                &url,
            ],
        );
        assert_eq!(done.ok(), status, "{user}");
    }
}
