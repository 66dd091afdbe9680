//! HTTP from outside by host and path, plain and with TLS, as a browser would come.

use std::time::Duration;

use test_support::{Lab, peer, repository, skip, until};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn an_ingress_leads_to_its_service_with_and_without_tls() {
    let (Some(kubectl), Some(curl), Some(openssl)) = (peer("kubectl"), peer("curl"), peer("openssl")) else {
        return skip("kubectl, curl or openssl is not installed");
    };
    let Some(lab) = Lab::open() else { return };
    lab.tug(["cluster", "start"]).ok();
    let mut certificate = lab.command(&openssl);
    certificate.current_dir(lab.folder()).args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=shop.example",
        "-addext",
        "subjectAltName=DNS:shop.example",
        "-keyout",
        "tls.key",
        "-out",
        "tls.crt",
    ]);
    lab.run(certificate).ok();
    let file = |name: &str| lab.folder().join(name).display().to_string();
    let secret = format!(
        "create secret tls shop --cert={} --key={}",
        file("tls.crt"),
        file("tls.key")
    );
    lab.client(&kubectl, secret.split_whitespace()).ok();
    let chart = repository().join("charts/hello");
    let install = |verb: &str, host: &str| {
        let host = format!("ingress.host={host}");
        let options = [
            "--set",
            "ingress.enabled=true",
            "--set",
            "ingress.tlsSecret=shop",
            "--set",
            &host,
        ];
        lab.tug(
            [verb, "hello", chart.to_str().unwrap()]
                .into_iter()
                .chain(options),
        )
        .ok();
    };
    install("install", "shop.example");
    let fetch = |arguments: &[&str]| {
        let mut command = lab.command(&curl);
        command.args([
            "--silent",
            "--show-error",
            "--max-time",
            "10",
            "--resolve",
            "*:80:127.0.0.1",
            "--resolve",
        ]);
        command
            .args(["*:443:127.0.0.1", "--write-out", "%{http_code}"])
            .args(arguments);
        lab.run(command)
    };
    let answer = until("the ingress answers", LIMIT, || {
        let answer = fetch(&["http://shop.example/"]);
        answer.stdout.ends_with("200").then_some(answer.stdout)
    });
    assert!(answer.starts_with("Hello from tug"), "{answer}");
    let trusted = fetch(&["--cacert", &file("tls.crt"), "https://shop.example/"]);
    assert!(trusted.ok().ends_with("200"), "{}", trusted.stdout);
    let http2 = fetch(&[
        "--cacert",
        &file("tls.crt"),
        "--http2",
        "--head",
        "https://shop.example/",
    ]);
    assert!(http2.ok().starts_with("HTTP/2 200"), "{}", http2.stdout);
    assert!(fetch(&["http://other.example/"]).ok().ends_with("404"));
    let shown = lab.client(
        &kubectl,
        [
            "get",
            "ingress",
            "-o",
            "jsonpath={.items[0].status.loadBalancer.ingress[0].ip}",
        ],
    );
    assert!(
        shown.ok().parse::<std::net::Ipv4Addr>().is_ok(),
        "{}",
        shown.stdout
    );

    // A change is followed, and the ports are free again when the last Ingress is gone.
    install("upgrade", "other.example");
    until("the new host answers", LIMIT, || {
        fetch(&["http://other.example/"])
            .stdout
            .ends_with("200")
            .then_some(())
    });
    lab.tug(["uninstall", "hello"]).ok();
    until("the port is free", LIMIT, || {
        (fetch(&["http://other.example/"]).code != 0).then_some(())
    });
}
