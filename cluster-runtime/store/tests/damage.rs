//! What is done with directories that were damaged, copied halfway, or are of another version; and what is in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cluster_objects::Object;
use cluster_store::{
    Change, Key, OpenError, Precondition, RaftStore, RaftStoreConfig, Revision, Selection, StorageKey, Store,
    Transaction, Write,
};
use tempfile::TempDir;

/// Secrets in a directory.
const COUNT: usize = 160;

const SECRET: &str = "correct-horse-battery-staple";

fn config(dir: &Path, key: Option<StorageKey>) -> RaftStoreConfig {
    let mut config = RaftStoreConfig::new(dir);
    config.segment_bytes = 16 << 10;
    config.encryption = key;
    config
}

fn storage_key() -> Option<StorageKey> {
    Some(StorageKey::new(1, [7; 32]))
}

async fn put(store: &RaftStore, number: usize) {
    let key = Key::new("secrets", "default", &format!("s{number}"));
    let mut object = Object::new("v1", "Secret", Some("default"), &key.name);
    object.set(&["data", "password"], format!("{SECRET}-{number}"));
    object.set(&["data", "filler"], "x".repeat(300));
    let writes = vec![Write {
        key,
        precondition: Precondition::None,
        change: Change::Put(Arc::new(object)),
    }];
    store.commit(Transaction { writes }).await.unwrap();
}

/// A directory with a snapshot, and a log of several segments after it.
async fn fill(dir: &Path, key: Option<StorageKey>) -> Revision {
    let store = RaftStore::open(config(dir, key)).await.unwrap();
    for number in 0..COUNT {
        put(&store, number).await;
        // Beyond the entries that are kept before a snapshot.
        if number == 100 {
            store.snapshot().await.unwrap();
        }
    }
    let revision = store.revision();
    store.shutdown().await;
    revision
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, &target).unwrap();
    }
}

/// Opens a directory; gives its newest revision and how many objects are there.
async fn open(dir: &Path, key: Option<StorageKey>) -> Result<(Revision, usize), OpenError> {
    let store = RaftStore::open(config(dir, key)).await?;
    let everything = Selection {
        table: "secrets".into(),
        namespace: None,
    };
    let all = store.list(&everything, None, None, 0, &|_| true).unwrap().objects;
    for object in &all {
        assert!(object.text(&["data", "password"]).unwrap().starts_with(SECRET));
    }
    let shown = (store.revision(), all.len());
    store.shutdown().await;
    Ok(shown)
}

async fn err_any_flipped_byte(key: Option<StorageKey>) {
    let dir = TempDir::new().unwrap();
    let whole = dir.path().join("whole");
    let expected = (fill(&whole, key.clone()).await, COUNT);
    let mut noticed = 0;
    for (number, file) in files(&whole).into_iter().enumerate() {
        let content = fs::read(&file).unwrap();
        // Small files at every byte, and of others the ends and places in between.
        let step = (content.len() / 40).max(1) | 1;
        let places = (0..content.len())
            .step_by(step)
            .chain((0..content.len().min(64)).step_by(7));
        for place in places {
            let copied = dir.path().join(format!("copy-{number}-{place}"));
            copy(&whole, &copied);
            let mut flipped = content.clone();
            flipped[place] ^= 1 << (place % 8);
            fs::write(copied.join(file.strip_prefix(&whole).unwrap()), flipped).unwrap();
            match open(&copied, key.clone()).await {
                Err(_) => noticed += 1,
                // Where nothing was written yet, nothing is lost.
                Ok(shown) => {
                    assert_eq!(shown, expected, "{} at {place}", file.display());
                    assert_eq!(content[place], 0, "{} at {place}", file.display());
                }
            }
            fs::remove_dir_all(copied).unwrap();
        }
    }
    assert!(noticed > 100, "{noticed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn err_a_flipped_byte_of_any_file() {
    err_any_flipped_byte(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn err_a_flipped_byte_of_any_encrypted_file() {
    err_any_flipped_byte(storage_key()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn err_a_directory_that_was_copied_halfway() {
    let dir = TempDir::new().unwrap();
    let whole = dir.path().join("whole");
    let expected = (fill(&whole, None).await, COUNT);
    let all = files(&whole);
    assert!(all.len() > 6, "{all:?}");
    for (number, file) in all.iter().enumerate() {
        let copied = dir.path().join(format!("copy-{number}"));
        copy(&whole, &copied);
        let name = file.strip_prefix(&whole).unwrap();
        fs::remove_file(copied.join(name)).unwrap();
        match name.to_str().unwrap() {
            // The lock is made anew. The others tell what is missing; without them nothing else is.
            "lock" | "segments" | "vote.tmp" | "log/spare.tmp" => {
                assert_eq!(
                    open(&copied, None).await.unwrap(),
                    expected,
                    "without {}",
                    name.display()
                );
            }
            _ => {
                let error = open(&copied, None).await.unwrap_err();
                let is_told = matches!(error, OpenError::Incomplete { .. } | OpenError::Damaged { .. });
                assert!(is_told, "without {}: {error}", name.display());
            }
        }
        // A file that is there in part.
        let content = fs::read(file).unwrap();
        let cut = dir.path().join(format!("cut-{number}"));
        copy(&whole, &cut);
        fs::write(cut.join(name), &content[..content.len() / 2]).unwrap();
        match name.to_str().unwrap() {
            "lock" | "vote.tmp" | "log/spare.tmp" => {}
            _ => assert!(open(&cut, None).await.is_err(), "with half of {}", name.display()),
        }
    }
    let only_log = dir.path().join("only-log");
    copy(&whole.join("log"), &only_log.join("log"));
    let error = open(&only_log, None).await.unwrap_err();
    assert!(error.to_string().contains("`format` is not"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_in_no_file_of_an_encrypted_directory() {
    let dir = TempDir::new().unwrap();
    let holds_secret = |dir: &Path| {
        let holds = |file: &PathBuf| {
            let content = fs::read(file).unwrap();
            content
                .windows(SECRET.len())
                .any(|part| part == SECRET.as_bytes())
        };
        files(dir).iter().any(holds)
    };
    let (open_dir, closed_dir) = (dir.path().join("open"), dir.path().join("closed"));
    fill(&open_dir, None).await;
    assert!(holds_secret(&open_dir), "it is found where it is");
    let revision = fill(&closed_dir, storage_key()).await;
    assert!(!holds_secret(&closed_dir));
    assert_eq!(open(&closed_dir, storage_key()).await.unwrap(), (revision, COUNT));

    let error = open(&closed_dir, None).await.unwrap_err();
    let place = closed_dir.display();
    assert_eq!(
        error.to_string(),
        format!("`{place}` is encrypted with key 1, and no key was given")
    );
    for (number, byte) in [(1, 8), (2, 7)] {
        let error = open(&closed_dir, Some(StorageKey::new(number, [byte; 32])))
            .await
            .unwrap_err();
        assert!(matches!(error, OpenError::WrongKey { number: 1, .. }), "{error}");
    }
    assert_eq!(
        open(&closed_dir, storage_key()).await.unwrap(),
        (revision, COUNT),
        "nothing was changed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_without_a_key_gets_one() {
    let dir = TempDir::new().unwrap();
    let revision = fill(dir.path(), None).await;
    assert_eq!(open(dir.path(), storage_key()).await.unwrap(), (revision, COUNT));
    assert!(matches!(
        open(dir.path(), None).await,
        Err(OpenError::KeyMissing { number: 1, .. })
    ));
    // What is old goes with the next snapshots.
    let store = RaftStore::open(config(dir.path(), storage_key())).await.unwrap();
    put(&store, COUNT).await;
    store.snapshot().await.unwrap();
    store.shutdown().await;
    assert_eq!(open(dir.path(), storage_key()).await.unwrap().1, COUNT + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_format_1_is_brought_up() {
    let dir = TempDir::new().unwrap();
    let revision = fill(dir.path(), None).await;
    let vote = fs::read_to_string(dir.path().join("vote")).unwrap();
    let as_before = |name: &str, content: &str| fs::write(dir.path().join(name), content).unwrap();
    as_before("vote", vote.lines().next().unwrap());
    as_before("format", r#"{"format":1,"member":1}"#);
    fs::remove_file(dir.path().join("segments")).unwrap();
    for _ in 0..2 {
        assert_eq!(open(dir.path(), None).await.unwrap(), (revision, COUNT));
    }
    assert!(
        fs::read_to_string(dir.path().join("format"))
            .unwrap()
            .starts_with(r#"{"format":2,"#)
    );
}
