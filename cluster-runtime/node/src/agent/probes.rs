//! Probes: when a container is asked how it is, and what follows from the answers.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::patient::Patient;
use super::pod::Probe;

/// The shortest distance between looks that come sooner than the period says.
const EAGER_MIN: Duration = Duration::from_millis(15);
/// What came up is seen after a fifth of the time that it took, at the latest.
const EAGER_SHARE: u32 = 5;

/// Which probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

impl ProbeKind {
    /// The word in events.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// What probes found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProbeNews {
    /// The startup probe has succeeded.
    Started,
    /// The readiness probe says so.
    Ready(bool),
    /// One failed; for the event.
    Failed { kind: ProbeKind, message: String },
    /// It failed too often: the container is to be restarted.
    Condemned {
        kind: ProbeKind,
        grace_seconds: Option<u64>,
    },
}

impl Patient {
    /// Carries out the probes of the container until dropped; tells news.
    pub(crate) async fn probe(self, news: mpsc::Sender<ProbeNews>) {
        if let Some(probe) = &self.container.startup_probe
            && !self.follow(ProbeKind::Startup, probe, &news).await
        {
            return;
        }
        let followed = |kind, probe: Option<&Probe>| {
            let probe = probe.cloned();
            let news = &news;
            let this = &self;
            async move {
                if let Some(probe) = probe {
                    this.follow(kind, &probe, news).await;
                }
            }
        };
        tokio::join!(
            followed(ProbeKind::Liveness, self.container.liveness_probe.as_ref()),
            followed(ProbeKind::Readiness, self.container.readiness_probe.as_ref()),
        );
    }

    /// Follows one probe. Gives whether the container may go on, when the probe has nothing more to say.
    ///
    /// Until the first success, startup and readiness are looked at sooner than the period says, at growing distances:
    /// what comes up quickly is ready quickly. Failures count only at the times that the period gives.
    async fn follow(&self, kind: ProbeKind, probe: &Probe, news: &mpsc::Sender<ProbeNews>) -> bool {
        let period = probe.period();
        let initial = Duration::from_secs(probe.initial_delay_seconds);
        let mut eager = kind != ProbeKind::Liveness;
        let begin = Instant::now() + initial;
        let mut regular = if eager || initial.is_zero() {
            begin + period
        } else {
            begin
        };
        let mut next = if eager { begin } else { regular };
        let (mut successes, mut failures) = (0, 0);
        let mut said = None;
        loop {
            sleep_until(next).await;
            let counts = next == regular;
            if counts {
                regular += period;
            }
            match self.check(probe).await {
                Ok(()) => {
                    (successes, failures) = (successes + 1, 0);
                    if successes >= probe.success_threshold() {
                        eager = false;
                        match kind {
                            ProbeKind::Startup => {
                                let _ = news.send(ProbeNews::Started).await;
                                return true;
                            }
                            ProbeKind::Readiness if said != Some(true) => {
                                said = Some(true);
                                let _ = news.send(ProbeNews::Ready(true)).await;
                            }
                            _ => {}
                        }
                    }
                }
                Err(_) if !counts => successes = 0,
                Err(message) => {
                    (successes, failures) = (0, failures + 1);
                    let _ = news.send(ProbeNews::Failed { kind, message }).await;
                    if failures >= probe.failure_threshold() {
                        if kind != ProbeKind::Readiness {
                            let grace_seconds = probe.termination_grace_period_seconds;
                            let _ = news.send(ProbeNews::Condemned { kind, grace_seconds }).await;
                            return false;
                        }
                        if said != Some(false) {
                            said = Some(false);
                            let _ = news.send(ProbeNews::Ready(false)).await;
                        }
                    }
                }
            }
            next = regular;
            if eager {
                let now = Instant::now();
                let passed = now.saturating_duration_since(begin);
                next = regular.min(now + (passed / EAGER_SHARE).max(EAGER_MIN));
            }
        }
    }
}
