//! Three members over sockets: certain reads on each of them, who leads, a lost leader, and unsafe changes.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cluster_objects::Object;
use cluster_store::{
    Change, Connect, Key, MembershipError, Precondition, RaftStore, RaftStoreConfig, Revision, Selection,
    StorageKey, Store, StoreError, Stream, StreamTransport, Transaction, Write,
};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

struct Tcp;

#[async_trait]
impl Connect for Tcp {
    async fn connect(&self, _: u64, address: &str) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// A member behind a socket; its connections end with it.
struct Served {
    store: Arc<RaftStore>,
    address: String,
    _accepting: JoinSet<()>,
}

impl Served {
    async fn open(dir: &Path, member: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut config = RaftStoreConfig::new(dir.join(member.to_string()));
        config.member = member;
        config.address = address.clone();
        config.bootstrap = member == 1;
        config.transport = Some(Arc::new(StreamTransport::new(Arc::new(Tcp))));
        config.segment_bytes = 256 << 10;
        config.snapshot_log_bytes = 128 << 10;
        config.encryption = Some(StorageKey::new(1, [member as u8; 32]));
        let store = Arc::new(RaftStore::open(config).await.unwrap());
        let mut accepting = JoinSet::new();
        let served = store.clone();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let served = served.clone();
                connections.spawn(async move { served.serve_peer(stream).await });
            }
        });
        Self {
            store,
            address,
            _accepting: accepting,
        }
    }

    /// Ends it without a word to the others.
    async fn end(self) {
        drop(self._accepting);
        self.store.shutdown().await;
    }
}

async fn group(dir: &Path) -> [Served; 3] {
    let members = [
        Served::open(dir, 1).await,
        Served::open(dir, 2).await,
        Served::open(dir, 3).await,
    ];
    let first = &members[0].store;
    for (member, number) in members[1..].iter().zip(2..) {
        first.add_member(number, &member.address).await.unwrap();
    }
    first.set_voters(BTreeSet::from([1, 2, 3])).await.unwrap();
    members
}

async fn put(store: &RaftStore, name: &str) -> Result<Revision, StoreError> {
    let writes = vec![Write {
        key: key(name),
        precondition: Precondition::None,
        change: Change::Put(Arc::new(Object::new("v1", "ConfigMap", Some("default"), name))),
    }];
    let committed = store.commit(Transaction { writes }).await?;
    Ok(committed.revision)
}

fn key(name: &str) -> Key {
    Key::new("configmaps", "default", name)
}

/// Waits until one of them leads, and all agree on it.
async fn leader<'a>(members: &[&'a Served]) -> &'a Served {
    let agreed = async {
        loop {
            let told: Vec<_> = members
                .iter()
                .map(|member| member.store.leadership().borrow().clone())
                .collect();
            let leader = members.iter().zip(&told).find(|(_, told)| told.is_self);
            if let Some((leader, own)) = leader
                && told.iter().all(|told| told.leader == own.leader)
            {
                return *leader;
            }
            let changed = members.iter().map(|member| {
                let mut leadership = member.store.leadership();
                Box::pin(async move { leadership.changed().await })
            });
            _ = tokio::time::timeout(Duration::from_millis(50), futures::future::select_all(changed)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), agreed)
        .await
        .expect("a leader")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_shows_what_was_acknowledged_before() {
    let dir = TempDir::new().unwrap();
    let members = group(dir.path()).await;
    for round in 0..100 {
        let name = format!("n{round}");
        let revision = put(&members[0].store, &name).await.unwrap();
        let reader = &members[round % 3].store;
        reader.ensure_newest().await.unwrap();
        assert!(reader.get(&key(&name)).is_some(), "{name}");
        assert!(reader.revision() >= revision);
    }
    // Many at once share the question.
    let mut readers = JoinSet::new();
    for number in 0..300 {
        let store = members[number % 3].store.clone();
        readers.spawn(async move { store.ensure_newest().await });
    }
    while let Some(read) = readers.join_next().await {
        read.unwrap().unwrap();
    }
    for member in members {
        member.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_soon_after_the_leader_is_gone() {
    let dir = TempDir::new().unwrap();
    let [first, second, third] = group(dir.path()).await;
    assert_eq!(leader(&[&first, &second, &third]).await.address, first.address);
    let newest = put(&first.store, "before").await.unwrap();
    let error = put(&second.store, "refused").await.unwrap_err();
    let StoreError::NotLeader {
        leader: told,
        address,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((told, address), (Some(1), Some(first.address.clone())));
    let status = first.store.group_status();
    assert_eq!((status.members.len(), status.term), (3, 1));
    assert!(status.members.iter().all(|member| member.member.is_voter));
    assert!(
        status.members[1..]
            .iter()
            .all(|member| member.matched_index > Some(0) && member.silent.is_some())
    );
    assert!(
        second
            .store
            .group_status()
            .members
            .iter()
            .all(|member| member.matched_index.is_none())
    );

    let lost = Instant::now();
    first.end().await;
    let leader = leader(&[&second, &third]).await;
    let revision = put(&leader.store, "after").await.unwrap();
    let took = lost.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(revision > newest);
    for member in [&second, &third] {
        member.store.ensure_newest().await.unwrap();
        assert!(member.store.get(&key("before")).is_some() && member.store.get(&key("after")).is_some());
    }

    // Without a majority nothing is written, and no read is certain.
    let (other, last) = if leader.address == second.address {
        (third, second)
    } else {
        (second, third)
    };
    other.end().await;
    let error = put(&last.store, "never").await.unwrap_err();
    assert!(matches!(error, StoreError::OutcomeUnknown { .. }), "{error}");
    assert!(!last.store.leadership().borrow().is_self);
    let error = put(&last.store, "never").await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    let error = last.store.ensure_newest().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(last.store.get(&key("after")).is_some(), "reads go on");
    last.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go() {
    let dir = TempDir::new().unwrap();
    let [first, second, third] = group(dir.path()).await;
    put(&first.store, "one").await.unwrap();
    first.store.remove_member(3).await.unwrap();
    let numbers = |served: &Served| -> Vec<u64> {
        served
            .store
            .members()
            .iter()
            .map(|member| member.number)
            .collect()
    };
    assert_eq!(numbers(&first), [1, 2]);
    third.end().await;
    put(&first.store, "two").await.unwrap();
    // The leader itself.
    first.store.remove_member(1).await.unwrap();
    assert_eq!(leader(&[&second]).await.store.members().len(), 1);
    put(&second.store, "three").await.unwrap();
    second.store.ensure_newest().await.unwrap();
    first.end().await;
    put(&second.store, "four").await.unwrap();
    second.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn err_changes_that_might_stop_the_group() {
    let dir = TempDir::new().unwrap();
    let [first, second, third] = group(dir.path()).await;
    let voters = |voters: &[u64]| BTreeSet::from_iter(voters.iter().copied());
    let error = first.store.set_voters(voters(&[])).await.unwrap_err();
    assert_eq!(error, MembershipError::NoVoters);
    let error = first.store.set_voters(voters(&[1, 4])).await.unwrap_err();
    assert_eq!(error, MembershipError::UnknownMember { number: 4 });
    let error = first.store.remove_member(9).await.unwrap_err();
    assert_eq!(error, MembershipError::UnknownMember { number: 9 });
    let error = second.store.set_voters(voters(&[1, 2])).await.unwrap_err();
    assert!(
        matches!(error, MembershipError::NotLeader { leader: Some(1), .. }),
        "{error}"
    );
    third.end().await;
    let is_silent = || first.store.group_status().members[2].silent > Some(Duration::from_secs(2));
    let waiting = async {
        while !is_silent() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .expect("its silence is noticed");
    let error = first.store.set_voters(voters(&[1, 3])).await.unwrap_err();
    let MembershipError::Unsafe {
        needed, unreachable, ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((needed, unreachable), (2, vec![3]));
    put(&first.store, "still").await.unwrap();
    first.store.remove_member(3).await.unwrap();
    first.end().await;
    second.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_compacts_its_log() {
    let dir = TempDir::new().unwrap();
    let members = group(dir.path()).await;
    let is_compacted = |member: &Served| member.store.group_status().snapshot_index > 100;
    let writing = async {
        for number in 0.. {
            put(&members[0].store, &format!("n{}", number % 50))
                .await
                .unwrap();
            if members.iter().all(is_compacted) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), writing)
        .await
        .expect("snapshots");
    for member in members {
        member.end().await;
    }
}

/// A name for each object, and its revision.
fn shown(store: &RaftStore) -> Vec<(String, String)> {
    let everything = Selection {
        table: "configmaps".into(),
        namespace: None,
    };
    let list = store.list(&everything, None, None, 0, &|_| true).unwrap().objects;
    let of = |object: &Arc<Object>| (object.name().to_owned(), object.resource_version().to_owned());
    list.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_while_the_log_was_compacted_gets_a_snapshot() {
    let dir = TempDir::new().unwrap();
    let [first, second, third] = group(dir.path()).await;
    put(&first.store, "before").await.unwrap();
    third.store.ensure_newest().await.unwrap();
    third.end().await;
    // More than is kept of the log before a snapshot.
    for number in 0..200 {
        put(&first.store, &format!("n{number}")).await.unwrap();
    }
    first.store.snapshot().await.unwrap();
    let compacted = first.store.group_status();
    assert!(compacted.snapshot_index > 200);
    // It comes back somewhere else.
    let third = Served::open(dir.path(), 3).await;
    assert!(third.store.get(&key("before")).is_some() && third.store.get(&key("n0")).is_none());
    first.store.add_member(3, &third.address).await.unwrap();
    third.store.ensure_newest().await.unwrap();
    assert_eq!(shown(&third.store), shown(&first.store));
    let status = third.store.group_status();
    assert!(status.snapshot_index >= compacted.snapshot_index, "{status:?}");
    assert!(status.members[2].member.is_voter, "it kept its vote");
    // With the second gone, it is needed.
    second.end().await;
    put(&first.store, "after").await.unwrap();
    third.store.ensure_newest().await.unwrap();
    assert_eq!(shown(&third.store), shown(&first.store));
    first.end().await;
    third.end().await;
}
