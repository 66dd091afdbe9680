//! Signs of life of a node: how often it gives them, and that nobody else gives them in its name.
//!
//! A node's lease bears, besides the time, *where* its agent works ([`NodeConfig::place`](super::NodeConfig)): which data
//! folder on which machine. One folder has one agent at a time, so what stands there tells a new start of the same agent from
//! a copy of its folder on another machine.

use std::sync::Arc;
use std::time::Duration;

use cluster_client::{Api, Clock};
use cluster_objects::{Object, Status};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::node::{NodeError, Shared};
use super::registration::{REPORT, Registration, RenewError};

/// How often a node says that it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Longest time between two signs of life; jitter makes it shorter by up to a fifth.
    pub period: Duration,
    /// The node counts as lost where nothing was heard of it for so long.
    pub lost_after: Duration,
}

impl Default for Heartbeat {
    /// What the kubelet does.
    fn default() -> Self {
        Self {
            period: Duration::from_secs(10),
            lost_after: Duration::from_secs(40),
        }
    }
}

/// Least time for the API to take a sign of life.
const RENEW_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// What one who waits for signs of life of another gives it besides the period.
const LATE: Duration = Duration::from_secs(2);
/// Between two looks at the lease of another.
const LOOK: Duration = Duration::from_millis(250);
/// Longest wait for the API while it is looked for another.
const CLAIM_MAX: Duration = Duration::from_secs(50);

impl Heartbeat {
    /// Until the next sign of life; soon, where the last one was not taken. `jitter` is a number from 0 to 1.
    fn pause(&self, is_taken: bool, jitter: f64) -> Duration {
        let longest = if is_taken { self.period } else { self.period / 4 };
        longest.mul_f64(1.0 - 0.2 * jitter.clamp(0.0, 1.0))
    }

    fn renew_timeout(&self) -> Duration {
        self.period.max(RENEW_TIMEOUT_MIN)
    }

    /// One that lives and reaches the API is heard of within this time, also where its last sign of life was not taken.
    fn heard_within(&self) -> Duration {
        self.period * 3 / 2 + LATE
    }
}

/// Waits for a change of how often signs of life are given; forever where nobody changes it any more.
async fn changed(heartbeat: &mut watch::Receiver<Heartbeat>) {
    if heartbeat.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Renews the lease, and reports the status now and then. Ends where somebody else goes by the node's name, and tells that.
pub(super) async fn beat(
    shared: Arc<Shared>,
    registration: Registration,
    node_uid: String,
    superseded: watch::Sender<Option<String>>,
) {
    let mut heartbeats = shared.config.heartbeat.clone();
    let mut pressures = shared.pressures.subscribe();
    let mut reported = Instant::now();
    // Whether there is news of the node that the cluster does not have yet.
    let mut owed = false;
    loop {
        let heartbeat = *heartbeats.borrow_and_update();
        let now = shared.clock.now();
        let started = Instant::now();
        let renewing = registration.renew(&*shared.api, &node_uid, heartbeat.lost_after, now);
        let renewed = timeout(heartbeat.renew_timeout(), renewing).await;
        let is_taken = match renewed {
            Ok(Ok(())) => {
                shared.beats.note(Some(started.elapsed()));
                true
            }
            Ok(Err(RenewError::Held { by })) => {
                superseded.send_replace(Some(by));
                return;
            }
            Ok(Err(RenewError::Status(status))) => {
                tracing::warn!(%status, "cannot renew the lease of the node");
                shared.beats.note(None);
                false
            }
            Err(_) => {
                tracing::warn!("cannot renew the lease of the node: no answer");
                shared.beats.note(None);
                false
            }
        };
        tokio::select! {
            () = sleep(heartbeat.pause(is_taken, shared.config.jitter.next())) => {}
            () = changed(&mut heartbeats) => {}
            // The sender lives as long as this.
            _ = pressures.changed() => owed = true,
        }
        if !is_taken {
            continue;
        }
        // A node that was silent is taken for lost until it says itself that it is not.
        if owed || reported.elapsed() >= REPORT || registration.is_taken_for_lost(&*shared.api).await {
            reported = Instant::now();
            let images = shared.image_list().await;
            let now = shared.clock.now();
            let pressures = *pressures.borrow_and_update();
            let registered = registration
                .register(&*shared.api, &shared.machine, &images, pressures, now)
                .await;
            owed = registered.is_err();
            if let Err(status) = registered {
                tracing::warn!(%status, "cannot report the status of the node");
            }
        }
    }
}

/// Takes the name of a node for the agent of a place, unless that of another place lives.
///
/// Whether it does is seen by the signs of life that come while this waits, by no clock: a start after a crash on the same
/// place, and one after an agent that was stopped, do not wait.
///
/// # Errors
/// [`NodeError::Superseded`] where another one lives, [`NodeError::Refused`] where the API does not answer.
pub async fn claim(
    api: &dyn Api,
    node: &str,
    place: &str,
    heartbeat: Heartbeat,
    clock: &Clock,
) -> Result<(), NodeError> {
    let end = Instant::now() + CLAIM_MAX;
    let refused = |status: Status| NodeError::Refused {
        name: node.to_owned(),
        status,
    };
    let renewed = |lease: &Object| lease.text(&["spec", "renewTime"]).map(str::to_owned);
    let mut seen: Option<(Option<String>, Instant)> = None;
    loop {
        let lease = match Registration::lease(api, node).await {
            Ok(lease) => lease,
            // What was not seen meanwhile does not count.
            Err(_) if Instant::now() < end => {
                seen = None;
                sleep(LOOK).await;
                continue;
            }
            Err(status) => return Err(refused(status)),
        };
        let Some(lease) = lease else { return Ok(()) };
        let Some(by) = Registration::held_by(&lease).filter(|by| *by != place) else {
            return Ok(());
        };
        match &seen {
            Some((before, _)) if *before != renewed(&lease) => {
                return Err(NodeError::Superseded {
                    name: node.to_owned(),
                    by: by.to_owned(),
                });
            }
            Some((_, since)) if since.elapsed() >= heartbeat.heard_within() => {
                match Registration::take_over(api, &lease, place, clock.now()).await {
                    Ok(()) => return Ok(()),
                    // Somebody else was first: it is to be seen whether it goes on.
                    Err(status) if status.is_conflict() && Instant::now() < end => seen = None,
                    Err(status) => return Err(refused(status)),
                }
            }
            Some(_) => {}
            None => {
                tracing::info!(
                    by,
                    "another agent had the name of this node: it is waited for signs of life"
                );
                seen = Some((renewed(&lease), Instant::now()));
            }
        }
        sleep(LOOK).await;
    }
}

/// Takes the name of a node for the agent of a place, whoever has it: for where it was made certain otherwise that no other
/// one lives.
///
/// # Errors
/// The API does not take it.
pub async fn take(api: &dyn Api, node: &str, place: &str, clock: &Clock) -> Result<(), Status> {
    loop {
        let Some(lease) = Registration::lease(api, node).await? else {
            return Ok(());
        };
        if Registration::held_by(&lease).is_none_or(|by| by == place) {
            return Ok(());
        }
        match Registration::take_over(api, &lease, place, clock.now()).await {
            // It was renewed just now, by whoever does so for the last time.
            Err(status) if status.is_conflict() => sleep(LOOK).await,
            taken => return taken,
        }
    }
}

#[cfg(test)]
mod tests {
    use cluster_apiserver::LocalApi;

    use super::*;

    const QUICK: Heartbeat = Heartbeat {
        period: Duration::from_millis(300),
        lost_after: Duration::from_secs(2),
    };

    fn registration(place: &str) -> Registration {
        Registration {
            name: "n1".to_owned(),
            labels: std::collections::BTreeMap::new(),
            pods_max: 1,
            pod_cidr: None,
            endpoint_port: None,
            eviction: crate::EvictionThresholds::default(),
            runtime_version: String::new(),
            place: Some(place.to_owned()),
        }
    }

    async fn renew(api: &LocalApi, place: &str) -> Result<(), RenewError> {
        let now = Clock::system().now();
        registration(place).renew(api, "uid", QUICK.lost_after, now).await
    }

    async fn claim_for(api: &LocalApi, place: &str) -> Result<(), NodeError> {
        claim(api, "n1", place, QUICK, &Clock::system()).await
    }

    #[tokio::test]
    async fn one_name_has_one_agent_until_that_is_silent_or_gives_it_up() {
        let api = Arc::new(LocalApi::in_memory().await.unwrap());
        claim_for(&api, "here").await.unwrap();
        renew(&api, "here").await.unwrap();
        // Started again where it was: nobody is waited for.
        let started = Instant::now();
        claim_for(&api, "here").await.unwrap();
        assert!(started.elapsed() < QUICK.heard_within());
        // Another one, while this one lives.
        let living = api.clone();
        let living = tokio::spawn(async move {
            while renew(&living, "here").await.is_ok() {
                sleep(QUICK.period).await;
            }
        });
        let refused = claim_for(&api, "there").await;
        assert!(matches!(refused, Err(NodeError::Superseded { ref by, .. }) if by == "here"));
        assert!(matches!(renew(&api, "there").await, Err(RenewError::Held { ref by }) if by == "here"));
        living.abort();
        // And when it is silent: then the first one is told when it is back.
        claim_for(&api, "there").await.unwrap();
        renew(&api, "there").await.unwrap();
        assert!(matches!(renew(&api, "here").await, Err(RenewError::Held { ref by }) if by == "there"));
        // What was given up is free at once.
        registration("there").give_up(&*api).await.unwrap();
        let started = Instant::now();
        claim_for(&api, "here").await.unwrap();
        assert!(started.elapsed() < QUICK.heard_within());
        // Who is certain to be the only one takes it.
        renew(&api, "here").await.unwrap();
        take(&*api, "n1", "there", &Clock::system()).await.unwrap();
        assert!(renew(&api, "there").await.is_ok());
    }

    #[test]
    fn signs_of_life_come_within_the_period_and_soon_again_where_one_was_not_taken() {
        let heartbeat = Heartbeat {
            period: Duration::from_secs(4),
            lost_after: Duration::from_secs(16),
        };
        let millis = |is_taken, jitter| heartbeat.pause(is_taken, jitter).as_millis();
        assert_eq!(
            [millis(true, 0.0), millis(true, 0.5), millis(true, 1.0)],
            [4000, 3600, 3200]
        );
        assert_eq!([millis(false, 0.0), millis(false, 1.0)], [1000, 800]);
        // Three may be lost before the node is.
        let lost = heartbeat.pause(true, 0.0) + 3 * heartbeat.pause(false, 0.0);
        assert!(lost < heartbeat.lost_after);
    }
}
