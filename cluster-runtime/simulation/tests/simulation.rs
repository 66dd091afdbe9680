//! Small simulations of whole clusters: every pod finds its place, and none a wrong one.

use cluster_simulation::{Arrival, Profile, SimulationOptions, Source, StorePlace, Workload, simulate};

fn check(options: &SimulationOptions) {
    // Several tests share the process, and one of them is first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let report = runtime.block_on(simulate(options, &|_| {})).unwrap();
    assert_eq!(report.faults, Vec::<String>::new(), "{options:?}");
    assert_eq!((report.placed, report.running), (options.pods, options.pods));
    assert!(report.placements_per_second > 0.0);
    assert!(report.memory_peak_mib > 0);
}

#[test]
fn deployments_of_plain_pods_are_placed_within_capacity() {
    check(&SimulationOptions {
        nodes: 50,
        pods: 1_000,
        ..SimulationOptions::default()
    });
}

#[test]
fn company_that_pods_refuse_is_kept_away_and_zones_are_even() {
    check(&SimulationOptions {
        nodes: 50,
        pods: 1_000,
        replicas: 30,
        workload: Workload::AntiAffinityAndTopologySpread,
        ..SimulationOptions::default()
    });
}

#[test]
fn waiting_pods_are_placed_by_every_profile_from_a_store_on_disk() {
    for profile in [Profile::Spread, Profile::Binpack, Profile::Random] {
        let dir = tempfile::tempdir().unwrap();
        check(&SimulationOptions {
            nodes: 20,
            pods: 400,
            source: Source::Bare,
            arrival: Arrival::Waiting,
            profile,
            store: StorePlace::Folder(dir.path().join("store")),
            ..SimulationOptions::default()
        });
    }
}
