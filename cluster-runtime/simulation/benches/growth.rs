//! How the cost of a pod grows with the nodes: `cargo bench -p cluster-simulation`.
//!
//! Each line is a whole simulated cluster with its store on disk. Arguments choose: `cargo bench -p cluster-simulation --
//! PODS WORKLOAD NODES...`, as `-- 20000 anti-affinity 500 1000 5000`.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use cluster_simulation::{
    Arrival, Profile, Report, SimulationOptions, Source, StorePlace, Workload, simulate,
};

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("skipped: measures only under `cargo bench`");
        return;
    }
    // Nobody else can have installed one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let pods = arguments.first().map_or(20_000, |word| word.parse().unwrap());
    let workloads: Vec<Workload> = match arguments.get(1).map(String::as_str) {
        None | Some("all") => vec![Workload::Plain, Workload::AntiAffinityAndTopologySpread],
        Some(word) => vec![workload(word)],
    };
    let mut nodes: Vec<u32> = arguments
        .iter()
        .skip(2)
        .filter_map(|word| word.parse().ok())
        .collect();
    if nodes.is_empty() {
        nodes = vec![500, 1_000, 5_000];
    }
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    println!(
        "{:<32} {:>6} {:>8} {:>10} {:>12} {:>10} {:>9}",
        "workload", "nodes", "pods", "placed/s", "us/pod (cpu)", "GET p99", "peak MiB"
    );
    for workload in workloads {
        for nodes in &nodes {
            let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let options = SimulationOptions {
                nodes: *nodes,
                pods,
                workload,
                source: if has("bare") {
                    Source::Bare
                } else {
                    Source::Deployments
                },
                arrival: if has("waiting") {
                    Arrival::Waiting
                } else {
                    Arrival::Flowing
                },
                profile: Profile::Spread,
                store: if has("memory") {
                    StorePlace::Memory
                } else {
                    StorePlace::Folder(dir.path().join("store"))
                },
                ..SimulationOptions::default()
            };
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .unwrap();
            let report = runtime.block_on(simulate(&options, &|_| {})).unwrap();
            print_line(&report);
        }
    }
}

fn print_line(report: &Report) {
    println!(
        "{:<32} {:>6} {:>8} {:>10.0} {:>12.0} {:>7.1} ms {:>9}  latency p50 {:.0} p99 {:.0} ms, GET p50 {:.1} max {:.1}, setup {:.1}s place {:.1}s run {:.1}s",
        format!("{:?} {:?} {:?}", report.workload, report.source, report.arrival),
        report.nodes,
        report.pods,
        report.placements_per_second,
        report.processor.micros_per_pod,
        report.requests.get.p99_ms,
        report.memory_peak_mib,
        report.placement_latency.p50_ms,
        report.placement_latency.p99_ms,
        report.requests.get.p50_ms,
        report.requests.get.max_ms,
        report.setup_seconds,
        report.placement_seconds,
        report.running_seconds,
    );
    assert_eq!(report.faults, Vec::<String>::new());
}

fn workload(word: &str) -> Workload {
    match word {
        "plain" => Workload::Plain,
        "anti-affinity" => Workload::AntiAffinity,
        "topology-spread" => Workload::TopologySpread,
        "both" => Workload::AntiAffinityAndTopologySpread,
        other => panic!("{other} is no workload"),
    }
}
