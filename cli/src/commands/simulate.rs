//! `tug cluster simulate`

use std::path::PathBuf;
use std::time::Duration;

use cluster_simulation::{
    Arrival, Profile, Progress, Report, SimulationOptions, Source, StorePlace, Workload, simulate,
};

use crate::duration;
use crate::failure::Failure;
use crate::output::{OutputArgs, OutputFormat, to_json, to_yaml};
use crate::settings::Settings;

/// Simulate a cluster of thousands of nodes in this process, and measure it
///
/// Store, API, controllers and scheduler are those of a real cluster; the nodes are simulated and say of every pod that it
/// runs. Nothing of it is left afterwards.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct SimulateArgs {
    /// Nodes
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    nodes: u32,
    /// Pods
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pods: u32,
    /// Pods of one application, which share a deployment
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    replicas: u32,
    /// Zones that the nodes are in
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    zones: u32,
    /// Keep the pods of an application on different nodes
    #[arg(long)]
    anti_affinity: bool,
    /// Spread the pods of an application evenly over the zones
    #[arg(long)]
    topology_spread: bool,
    /// What makes a node a good one
    #[arg(long, value_name = "PROFILE", default_value = "spread")]
    profile: ProfileChoice,
    /// Create pods themselves, and not deployments
    #[arg(long)]
    bare: bool,
    /// Create all pods before the scheduler starts, so that placing alone is measured
    #[arg(long)]
    waiting: bool,
    /// Keep the store in memory, without a log
    #[arg(long, conflicts_with = "dir")]
    memory: bool,
    /// Folder for the store; a folder in it is made and removed [default: that of temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Number from which all randomness of the scheduler comes
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// End when nothing happens for so long
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration::parse)]
    patience: Duration,
    #[command(flatten)]
    output: OutputArgs,
}

const AFTER_HELP: &str = "\
The rate is that of all the work, from the first pod (with --waiting: from the start of the scheduler) to the last placement,
while nodes report pods as running and a client reads single pods over HTTPS. The exit code is 3 if a pod found no place or
a wrong one.";

/// Exit code when a placement is wrong or missing.
const FAULTY: u8 = 3;

#[derive(Clone, Copy, clap::ValueEnum)]
enum ProfileChoice {
    /// Free nodes
    Spread,
    /// Full nodes
    Binpack,
    /// Any node
    Random,
}

impl SimulateArgs {
    fn options(&self, store: StorePlace) -> SimulationOptions {
        SimulationOptions {
            nodes: self.nodes,
            pods: self.pods,
            zones: self.zones,
            workload: match (self.anti_affinity, self.topology_spread) {
                (false, false) => Workload::Plain,
                (true, false) => Workload::AntiAffinity,
                (false, true) => Workload::TopologySpread,
                (true, true) => Workload::AntiAffinityAndTopologySpread,
            },
            replicas: self.replicas,
            source: if self.bare {
                Source::Bare
            } else {
                Source::Deployments
            },
            arrival: if self.waiting {
                Arrival::Waiting
            } else {
                Arrival::Flowing
            },
            profile: match self.profile {
                ProfileChoice::Spread => Profile::Spread,
                ProfileChoice::Binpack => Profile::Binpack,
                ProfileChoice::Random => Profile::Random,
            },
            store,
            seed: self.seed,
            patience: self.patience,
        }
    }
}

pub(super) fn run(arguments: &SimulateArgs, settings: &Settings) -> Result<(), Failure> {
    let parent = arguments.dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir = tempfile::Builder::new()
        .prefix("tug-simulation-")
        .tempdir_in(&parent)
        .map_err(|error| {
            Failure::new(format!("cannot make a folder in `{}`", parent.display())).because_error(&error)
        })?;
    let store = if arguments.memory {
        StorePlace::Memory
    } else {
        StorePlace::Folder(dir.path().join("store"))
    };
    let options = arguments.options(store);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start the runtime").because_error(&error))?;
    let console = &settings.console;
    let show = |progress: Progress| {
        if console.shows_progress() {
            let Progress {
                made,
                placed,
                running,
                seconds,
            } = progress;
            console.progress(&format!(
                "\r\u{1b}[2K{seconds} s: {made} pods made, {placed} placed, {running} running"
            ));
        }
    };
    let report = runtime.block_on(async {
        // Dropping the simulation ends all of it, and the folder goes with it.
        tokio::select! {
            report = simulate(&options, &show) => report.map_err(|error| Failure::from_error(&error)),
            Ok(()) = tokio::signal::ctrl_c() => Err(Failure::silent(crate::failure::INTERRUPTED)),
        }
    });
    if console.shows_progress() {
        console.progress("\r\u{1b}[2K");
    }
    drop(runtime);
    let report = report?;
    match arguments.output.output {
        OutputFormat::Json => console.line(to_json(&report)?)?,
        OutputFormat::Yaml => console.data(&to_yaml(&report)?)?,
        OutputFormat::Name => console.line(format!("{:.0}", report.placements_per_second))?,
        OutputFormat::Table => console.data(&table(&report))?,
    }
    for fault in &report.faults {
        console.warn(fault);
    }
    if report.faults.is_empty() {
        Ok(())
    } else {
        Err(Failure::silent(FAULTY))
    }
}

fn table(report: &Report) -> String {
    let latencies = |latencies: &cluster_simulation::Latencies| {
        format!(
            "p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, at most {:.1} ms ({} times)",
            latencies.p50_ms, latencies.p90_ms, latencies.p99_ms, latencies.max_ms, latencies.count
        )
    };
    let rows = [
        ("NODES", report.nodes.to_string()),
        (
            "PODS",
            format!(
                "{} ({} placed, {} running)",
                report.pods, report.placed, report.running
            ),
        ),
        ("SETUP", format!("{:.1} s", report.setup_seconds)),
        (
            "PLACEMENT",
            format!(
                "{:.1} s, {:.0} pods/s ({} in the best second)",
                report.placement_seconds, report.placements_per_second, report.placements_best_second
            ),
        ),
        (
            "RUNNING",
            format!("{:.1} s until the last pod ran", report.running_seconds),
        ),
        ("LATENCY", latencies(&report.placement_latency)),
        ("GET", latencies(&report.requests.get)),
        (
            "STORE",
            format!("{}, {} revisions", report.store, report.revisions),
        ),
        (
            "MEMORY",
            format!(
                "{} MiB, {} MiB at most",
                report.memory_mib, report.memory_peak_mib
            ),
        ),
        (
            "PROCESSOR",
            format!(
                "{:.1} s, {:.0} us for a pod",
                report.processor.seconds, report.processor.micros_per_pod
            ),
        ),
    ];
    rows.iter()
        .map(|(name, value)| format!("{name:<11}{value}\n"))
        .collect()
}
