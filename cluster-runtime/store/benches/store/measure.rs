//! Many clients that do one thing after another for a while.

use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

/// What came of a round.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    half_us: u32,
    most_us: u32,
    /// Processor time of the server for each call, where it has a process of its own.
    processor_us: Option<f64>,
}

/// Lets clients call for a while, each with numbers of its own.
pub(crate) async fn measure<F, Fut>(clients: usize, during: Duration, call: F) -> Figures
where
    F: Fn(usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let started = Instant::now();
    let end = started + during;
    let tasks = (0..clients).map(|client| {
        let call = call.clone();
        tokio::spawn(async move {
            let mut took_us = Vec::new();
            let mut number = client * 7919;
            loop {
                let begun = Instant::now();
                if begun >= end {
                    return took_us;
                }
                call(number).await;
                took_us.push(begun.elapsed().as_micros() as u32);
                number += 1;
                if number.is_multiple_of(64) {
                    tokio::task::yield_now().await;
                }
            }
        })
    });
    let mut took_us = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        took_us.extend(task.await.unwrap());
    }
    Figures::new(took_us, started.elapsed())
}

impl Figures {
    /// From how long each call took, and all of them.
    pub(crate) fn new(mut took_us: Vec<u32>, all: Duration) -> Self {
        took_us.sort_unstable();
        Self {
            per_second: took_us.len() as f64 / all.as_secs_f64(),
            half_us: took_us[took_us.len() / 2],
            most_us: took_us[took_us.len() * 99 / 100],
            processor_us: None,
        }
    }

    /// With the processor time that the server used in a round.
    pub(crate) fn of_server(mut self, used: Duration, round: Duration) -> Self {
        let calls = self.per_second * round.as_secs_f64();
        self.processor_us = Some(used.as_micros() as f64 / calls);
        self
    }
}

/// The round in the middle.
pub(crate) fn median(rounds: &[Figures]) -> Option<Figures> {
    let mut rounds = rounds.to_vec();
    rounds.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    rounds.get(rounds.len() / 2).cloned()
}

/// Processor time of a process, of all its threads.
pub(crate) fn processor_time(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok());
    // Linux counts in hundredths of a second.
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// Memory of this process.
pub(crate) fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0}/s (p50 {} us, p99 {} us",
            self.per_second, self.half_us, self.most_us
        )?;
        match self.processor_us {
            Some(processor_us) => write!(f, ", processor {processor_us:.0} us)"),
            None => write!(f, ")"),
        }
    }
}
