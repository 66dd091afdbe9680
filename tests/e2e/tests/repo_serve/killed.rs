//! A server that is killed while charts come in: what is left is whole, and what was acknowledged is there.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use repo_index::{Index, sha256_hex};

use crate::host::{Host, ask, chart};

/// Uploads in all.
const UPLOADS: usize = 200;
/// Those who upload at the same time.
const CLIENTS: usize = 4;

/// A version and its archive, of some hundred kilobytes that cannot be compressed, so that writing takes a while.
fn archive(number: usize) -> (String, Vec<u8>) {
    let mut state = number as u64 + 1;
    let noise: String = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state % 90) as u8)
    })
    .take(200_000)
    .collect();
    let version = format!("1.{number}.0");
    let archive = chart("web", &version, &[("noise.txt", &noise)]);
    (version, archive)
}

/// Looks at everything that the server has after it was killed and started again.
fn check(host: &Host, sent: &BTreeMap<String, String>, acknowledged: &BTreeMap<String, String>) {
    let (status, index) = host.get("/index.yaml");
    assert_eq!(status, 200);
    let index = Index::read(&index).unwrap();
    assert!(index.skipped.is_empty());
    let listed: BTreeMap<&str, &str> = index
        .index
        .versions("web")
        .iter()
        .map(|entry| (entry.version_text(), entry.digest().unwrap()))
        .collect();
    for (version, digest) in &listed {
        let (status, body) = host.get(&format!("/charts/web-{version}.tgz"));
        assert_eq!(status, 200, "the index names a missing file: {version}");
        assert_eq!(sha256_hex(&body), *digest, "{version} is not what the index says");
        assert_eq!(sent[*version], *digest, "{version} is not what was sent");
    }
    for (version, digest) in acknowledged {
        assert_eq!(
            listed.get(version.as_str()),
            Some(&digest.as_str()),
            "{version} was acknowledged"
        );
    }
    // No file lies around that is not listed, and nothing half-written is left.
    let files = fs::read_dir(host.charts()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".tgz")
    });
    assert_eq!(files.count(), listed.len());
    assert_eq!(
        fs::read_dir(host.charts().join(".tug/drafts")).unwrap().count(),
        0
    );
}

#[test]
fn a_server_killed_during_uploads_has_whole_archives_and_a_true_index() {
    let mut host = Host::start(&[]);
    let next = AtomicUsize::new(0);
    let sent = Mutex::new(BTreeMap::new());
    let acknowledged = Mutex::new(BTreeMap::new());
    let mut kills = 0;
    while next.load(Ordering::Relaxed) < UPLOADS {
        let address = host.address;
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let (version, archive) = archive(number);
                        let digest = sha256_hex(&archive);
                        sent.lock().unwrap().insert(version.clone(), digest.clone());
                        // The server is killed: this upload is lost, or was done without an answer.
                        let Ok((status, _)) = ask(address, "POST", "/api/charts", &archive) else {
                            return;
                        };
                        assert_eq!(status, 201);
                        acknowledged.lock().unwrap().insert(version, digest);
                    }
                });
            }
            // Some moment: the clock's last digits are as good as dice.
            let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            std::thread::sleep(Duration::from_millis(
                30 + u64::from(clock.subsec_nanos()) / 1000 % 300,
            ));
            host.kill();
        });
        kills += 1;
        host.restart();
        check(&host, &sent.lock().unwrap(), &acknowledged.lock().unwrap());
    }
    assert!(kills > 1, "the server was killed at several moments");
    assert!(!acknowledged.lock().unwrap().is_empty());
}
