//! A network that loses, delays and cuts off, from a seed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use test_history::Random;
use tokio::time::sleep;

use crate::raft::RaftStore;
use crate::raft::message::is_bulk;
use crate::raft::transport::{Transport, TransportError};

/// How long a message that is lost is waited for.
const LOST: Duration = Duration::from_millis(400);

/// What the network does to messages from one member to another.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    pub(super) is_cut: bool,
    pub(super) lost_percent: u64,
    pub(super) delay_ms_max: u64,
    pub(super) doubled_percent: u64,
}

/// The network between members.
pub(super) struct Network {
    state: Mutex<State>,
    /// Parts of snapshots that arrived.
    pub(super) snapshot_parts: AtomicUsize,
}

struct State {
    random: Random,
    members: HashMap<u64, Weak<RaftStore>>,
    weather: HashMap<(u64, u64), Weather>,
}

/// The network as one member uses it.
pub(super) struct Port {
    pub(super) network: Arc<Network>,
    pub(super) member: u64,
}

impl Network {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        let state = State {
            random: Random::new(seed),
            members: HashMap::new(),
            weather: HashMap::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
            snapshot_parts: AtomicUsize::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn connect(&self, member: u64, store: &Arc<RaftStore>) {
        self.state().members.insert(member, Arc::downgrade(store));
    }

    pub(super) fn disconnect(&self, member: u64) {
        self.state().members.remove(&member);
    }

    pub(super) fn set_weather(&self, from: u64, to: u64, weather: Weather) {
        self.state().weather.insert((from, to), weather);
    }

    pub(super) fn clear(&self) {
        self.state().weather.clear();
    }

    /// What happens to one message: whether it is lost, how long it takes, and whether it comes twice.
    fn fate(&self, from: u64, to: u64) -> (bool, Duration, bool) {
        let mut state = self.state();
        let weather = state.weather.get(&(from, to)).copied().unwrap_or_default();
        let random = &mut state.random;
        let is_lost = weather.is_cut || random.percent(weather.lost_percent);
        let delay = Duration::from_micros(random.below(weather.delay_ms_max * 1000 + 1));
        (is_lost, delay, random.percent(weather.doubled_percent))
    }

    fn find(&self, member: u64) -> Option<Arc<RaftStore>> {
        self.state().members.get(&member).and_then(Weak::upgrade)
    }
}

#[async_trait]
impl Transport for Port {
    async fn send(&self, member: u64, _: &str, message: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        let failed = |reason: &str| TransportError {
            member,
            reason: reason.to_owned(),
        };
        let (is_lost, delay, is_doubled) = self.network.fate(self.member, member);
        if is_lost {
            sleep(LOST).await;
            return Err(failed("it does not answer"));
        }
        sleep(delay).await;
        let there = self
            .network
            .find(member)
            .ok_or_else(|| failed("it is not there"))?;
        if is_bulk(&message) {
            self.network.snapshot_parts.fetch_add(1, Ordering::SeqCst);
        }
        if is_doubled {
            let (_, later, _) = self.network.fate(self.member, member);
            let (there, message) = (there.clone(), message.clone());
            tokio::spawn(async move {
                sleep(later).await;
                there.receive(&message).await;
            });
        }
        // What arrived is dealt with, whether or not anyone still waits for the answer.
        let answer = tokio::spawn(async move { there.receive(&message).await }).await;
        let answer = answer.map_err(|_| failed("it broke off"))?;
        let (is_lost, delay, _) = self.network.fate(member, self.member);
        if is_lost {
            sleep(LOST).await;
            return Err(failed("it does not answer"));
        }
        sleep(delay).await;
        Ok(answer)
    }
}
