//! Members of one process, joined without sockets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use cluster_store::{RaftStore, RaftStoreConfig, Transport, TransportError};

/// Carries messages by calling the receiver.
#[derive(Default)]
pub(crate) struct Switchboard {
    /// How long messages are on their way: some so long, others up to thrice as long.
    pub(crate) latency: Duration,
    pub(crate) sent: AtomicU32,
    pub(crate) members: Mutex<BTreeMap<u64, Weak<RaftStore>>>,
}

#[async_trait]
impl Transport for Switchboard {
    async fn send(&self, member: u64, address: &str, message: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        assert_eq!(address, address_of(member));
        if !self.latency.is_zero() {
            let times = 1 + self.sent.fetch_add(1, Ordering::SeqCst) % 3;
            tokio::time::sleep(self.latency * times).await;
        }
        let store = self.members.lock().unwrap().get(&member).and_then(Weak::upgrade);
        let reason = "it is not connected".to_owned();
        let store = store.ok_or(TransportError { member, reason })?;
        Ok(store.receive(&message).await)
    }
}

/// What a member is added to a group with.
pub(crate) fn address_of(member: u64) -> String {
    format!("address-of-{member}")
}

impl Switchboard {
    /// The configuration of a member on this board; the first one makes the group.
    pub(crate) fn member(self: &Arc<Self>, member: u64, mut config: RaftStoreConfig) -> RaftStoreConfig {
        config.member = member;
        config.address = address_of(member);
        config.bootstrap = member == 1;
        config.transport = Some(self.clone());
        config
    }

    /// Opens a member of this board and connects it.
    pub(crate) async fn open(&self, config: RaftStoreConfig) -> Arc<RaftStore> {
        let member = config.member;
        let store = Arc::new(RaftStore::open(config).await.unwrap());
        let connected = Arc::downgrade(&store);
        self.members.lock().unwrap().insert(member, connected);
        store
    }
}
