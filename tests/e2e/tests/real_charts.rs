//! Charts that others wrote: accepted by the API, and one of them running on an image made from Debian's packages.

use std::path::PathBuf;
use std::time::Duration;

use test_support::{Lab, peer, repository, skip, until};

/// Charts of different authors that need no values of ours.
const CHARTS: [&str; 8] = [
    "bitnami__nginx",
    "bitnami__redis",
    "grafana-community__grafana",
    "metrics-server__metrics-server",
    "oauth2-proxy__oauth2-proxy",
    "prometheus-community__kube-state-metrics",
    "prometheus-community__prometheus-blackbox-exporter",
    "vector__vector",
];

/// The archive of a chart in the collection of real charts beside the repository, where there is one.
fn archive(name: &str) -> Option<PathBuf> {
    let folder = repository().join("../shared/corpus/charts");
    let mut files = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()));
    files.find(|path| {
        path.file_name()
            .is_some_and(|file| file.to_string_lossy().starts_with(&format!("{name}-")))
    })
}

#[test]
fn charts_of_others_are_accepted_by_the_server() {
    let Some(lab) = Lab::open() else { return };
    if archive(CHARTS[0]).is_none() {
        println!("skipped: the collection of real charts is not beside the repository");
        return;
    }
    lab.tug(["cluster", "start"]).ok();
    for name in CHARTS {
        let chart = archive(name).unwrap_or_else(|| panic!("{name} is not in the collection"));
        let tried = lab.tug(["install", "rel", chart.to_str().unwrap(), "--dry-run=server"]);
        assert!(tried.ok().contains("kind: "), "{name}: {}", tried.stdout);
    }
    assert_eq!(lab.tug(["list", "-q", "-A"]).ok(), "", "a dry run leaves nothing");
}

#[test]
fn a_chart_of_others_runs_nginx() {
    let Some(chart) = archive("bjw-s__app-template") else {
        println!("skipped: the collection of real charts is not beside the repository");
        return;
    };
    if peer("nginx").is_none() || peer("busybox").is_none() {
        return skip("nginx or busybox is not installed, from which the image is made");
    }
    let Some(lab) = Lab::open() else { return };
    lab.load_image(
        "test/nginx:1",
        [
            "--package=nginx",
            "--package=nginx-common",
            "--folder=/var/lib/nginx",
            "--folder=/var/log/nginx",
            "--file=/etc/nginx/sites-enabled/site=server { listen 80; root /var/www/html; }",
            "--port=80/tcp",
            "--",
            "nginx",
            "-g",
            "daemon off; error_log /dev/stderr; ",
        ],
    );
    assert!(lab.tug(["image", "list"]).ok().contains("test/nginx"));

    let values = lab.folder().join("values.yaml");
    std::fs::write(
        &values,
        "
controllers:
  main:
    replicas: 2
    containers:
      main:
        image: {repository: test/nginx, tag: '1', pullPolicy: IfNotPresent}
        probes: {liveness: {enabled: true}, readiness: {enabled: true}}
service:
  main:
    controller: main
    type: NodePort
    ports: {http: {port: 80, nodePort: 30081}}
configMaps:
  page:
    data: {index.html: served by a real chart}
persistence:
  page:
    type: configMap
    identifier: page
    globalMounts: [{path: /var/www/html}]
",
    )
    .unwrap();
    // The chart's schema refers to others in the network, which nothing here may ask.
    let (chart, values) = (chart.to_str().unwrap(), values.to_str().unwrap());
    lab.tug(["install", "web", chart, "-f", values, "--skip-schema-validation"])
        .ok();
    let answer = until("nginx answers", Duration::from_secs(30), || {
        lab.get(30081, "/index.html")
    });
    assert_eq!(answer, (200, "served by a real chart".to_owned()));
}
