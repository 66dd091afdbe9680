//! Informers against a server that fails, forgets and comes back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cluster_client::{
    Api, Backoff, Change, Collection, DeleteOptions, Deleted, Discovery, Informer, InformerOptions, Jitter,
    List, ListOptions, Patch, Target, WatchEvent, WatchOptions, WatchStream, WriteOptions,
};
use cluster_objects::{Object, Status};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A server whose answers are written down beforehand, and which writes down what it is asked.
#[derive(Default)]
struct Scripted {
    lists: Mutex<VecDeque<Result<List, Status>>>,
    watches: Mutex<VecDeque<Result<mpsc::UnboundedReceiver<WatchEvent>, Status>>>,
    asked: Mutex<Vec<String>>,
}

impl Scripted {
    fn list(&self, answer: Result<List, Status>) {
        self.lists.lock().unwrap().push_back(answer);
    }

    /// One more watch; what is sent is reported, and dropping the sender ends the watch.
    fn watch(&self) -> mpsc::UnboundedSender<WatchEvent> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.watches.lock().unwrap().push_back(Ok(receiver));
        sender
    }

    fn refuse_watch(&self, status: Status) {
        self.watches.lock().unwrap().push_back(Err(status));
    }

    fn note(&self, request: String) {
        self.asked.lock().unwrap().push(request);
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn unused<T>() -> Result<T, Status> {
    Err(Status::internal("not part of the script"))
}

#[async_trait]
impl Api for Scripted {
    async fn get(&self, _: &Target) -> Result<Arc<Object>, Status> {
        unused()
    }

    async fn list(&self, _: &Collection, options: &ListOptions) -> Result<List, Status> {
        let page = if options.continue_token.is_empty() {
            ""
        } else {
            " next"
        };
        self.note(format!("list{page} {}", options.limit));
        let answer = self.lists.lock().unwrap().pop_front();
        answer.unwrap_or_else(unused)
    }

    async fn watch(&self, _: &Collection, options: &WatchOptions) -> Result<WatchStream, Status> {
        self.note(format!("watch {}", options.resource_version));
        let answer = self.watches.lock().unwrap().pop_front();
        match answer {
            Some(Ok(mut receiver)) => Ok(Box::pin(futures::stream::poll_fn(move |context| {
                receiver.poll_recv(context)
            }))),
            Some(Err(status)) => Err(status),
            None => Ok(futures::stream::pending().boxed()),
        }
    }

    async fn create(&self, _: &Collection, _: Object, _: &WriteOptions) -> Result<Arc<Object>, Status> {
        unused()
    }

    async fn post(&self, _: &Target, _: Object, _: &WriteOptions) -> Result<Arc<Object>, Status> {
        unused()
    }

    async fn update(&self, _: &Target, _: Object, _: &WriteOptions) -> Result<Arc<Object>, Status> {
        unused()
    }

    async fn patch(&self, _: &Target, _: Patch, _: &WriteOptions) -> Result<Arc<Object>, Status> {
        unused()
    }

    async fn delete(&self, _: &Target, _: &DeleteOptions) -> Result<Deleted, Status> {
        unused()
    }

    async fn discovery(&self) -> Result<Arc<Discovery>, Status> {
        unused()
    }

    async fn raw(&self, _: &str) -> Result<Vec<u8>, Status> {
        unused()
    }
}

fn pod(name: &str, revision: &str) -> Arc<Object> {
    let mut pod = Object::new("v1", "Pod", Some("default"), name);
    pod.set(&["metadata", "uid"], name);
    pod.set(&["metadata", "resourceVersion"], revision);
    Arc::new(pod)
}

fn page(revision: &str, next: &str, pods: &[(&str, &str)]) -> Result<List, Status> {
    Ok(List {
        items: pods.iter().map(|(name, revision)| pod(name, revision)).collect(),
        resource_version: revision.into(),
        continue_token: next.into(),
    })
}

/// An informer, and what its handler saw as `+name`, `~name` and `-name`.
fn start(server: &Arc<Scripted>, page_size: u32) -> (Informer, Arc<Mutex<Vec<String>>>) {
    let options = InformerOptions {
        page_size,
        backoff: Backoff {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(8),
        },
        jitter: Jitter::none(),
        ..InformerOptions::default()
    };
    let informer = Informer::start(server.clone(), Collection::all("v1", "pods"), options);
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = seen.clone();
    informer.add_handler(move |change| {
        let sign = match change {
            Change::Added(_) => '+',
            Change::Updated { .. } => '~',
            Change::Deleted(_) => '-',
        };
        log.lock()
            .unwrap()
            .push(format!("{sign}{}", change.object().name()));
    });
    (informer, seen)
}

async fn until(informer: &Informer, condition: impl Fn(&Informer) -> bool) {
    let waiting = informer.wait_until(condition);
    tokio::time::timeout(Duration::from_secs(600), waiting)
        .await
        .expect("in time");
}

fn names(informer: &Informer) -> Vec<String> {
    informer
        .list()
        .iter()
        .map(|object| object.name().to_owned())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_cache_follows_the_watch_and_resumes_it() {
    let server = Arc::new(Scripted::default());
    server.list(page("5", "", &[("a", "3"), ("b", "4")]));
    let (first, second) = (server.watch(), server.watch());
    let (informer, seen) = start(&server, 0);
    informer.synced().await;
    assert_eq!(names(&informer), ["a", "b"]);
    assert!(informer.has_seen("5") && !informer.has_seen("6"));

    first.send(WatchEvent::Added(pod("c", "6"))).unwrap();
    first.send(WatchEvent::Modified(pod("a", "7"))).unwrap();
    first.send(WatchEvent::Deleted(pod("b", "8"))).unwrap();
    first.send(WatchEvent::Bookmark("11".into())).unwrap();
    until(&informer, |informer| informer.has_seen("11")).await;
    drop(first);
    second.send(WatchEvent::Added(pod("d", "12"))).unwrap();
    until(&informer, |informer| informer.len() == 3).await;
    assert_eq!(names(&informer), ["a", "c", "d"]);
    assert_eq!(*seen.lock().unwrap(), ["+a", "+b", "+c", "~a", "-b", "+d"]);
    assert_eq!(server.asked(), ["list 0", "watch 5", "watch 11"]);
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_revision_is_made_up_for_by_a_new_list() {
    let server = Arc::new(Scripted::default());
    server.list(page("5", "", &[("a", "3"), ("b", "4")]));
    server.list(page("20", "", &[("b", "4"), ("c", "15")]));
    let first = server.watch();
    first.send(WatchEvent::Error(Status::expired("too old"))).unwrap();
    let (informer, seen) = start(&server, 0);
    until(&informer, |informer| informer.has_seen("20")).await;
    assert_eq!(*seen.lock().unwrap(), ["+a", "+b", "-a", "+c"]);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(server.asked(), ["list 0", "watch 5", "list 0", "watch 20"]);
}

#[tokio::test(start_paused = true)]
async fn err_a_failing_server_is_asked_less_and_less_often() {
    let server = Arc::new(Scripted::default());
    for _ in 0..3 {
        server.list(Err(Status::unavailable("starting")));
    }
    server.list(page("5", "", &[]));
    server.refuse_watch(Status::unavailable("busy"));
    let third = server.watch();
    let began = Instant::now();
    let (informer, _) = start(&server, 0);
    assert!(!informer.has_synced());
    informer.synced().await;
    assert_eq!(began.elapsed().as_secs(), 1 + 2 + 4);
    third.send(WatchEvent::Added(pod("a", "6"))).unwrap();
    until(&informer, |informer| informer.len() == 1).await;
    assert_eq!(began.elapsed().as_secs(), 1 + 2 + 4 + 8);
    assert_eq!(server.asked()[3..], ["list 0", "watch 5", "watch 5"]);
}

#[tokio::test(start_paused = true)]
async fn a_long_collection_is_read_in_pages() {
    let server = Arc::new(Scripted::default());
    server.list(page("5", "more", &[("a", "1"), ("b", "2")]));
    server.list(page("5", "", &[("c", "3")]));
    let (informer, _) = start(&server, 2);
    informer.synced().await;
    assert_eq!(names(&informer), ["a", "b", "c"]);
    assert_eq!(server.asked()[..2], ["list 2", "list next 2"]);

    // The pages' revision is gone in the middle: one answer without pages still works.
    let server = Arc::new(Scripted::default());
    server.list(page("5", "more", &[("a", "1")]));
    server.list(Err(Status::expired("too old")));
    server.list(page("9", "", &[("b", "8")]));
    let (informer, _) = start(&server, 1);
    informer.synced().await;
    assert_eq!(names(&informer), ["b"]);
    assert_eq!(server.asked()[..3], ["list 1", "list next 1", "list 0"]);
}

#[tokio::test(start_paused = true)]
async fn an_informer_stops_with_its_last_clone() {
    let server = Arc::new(Scripted::default());
    server.list(page("5", "", &[]));
    let watch = server.watch();
    let (informer, _) = start(&server, 0);
    let other = informer.clone();
    informer.synced().await;
    drop(informer);
    watch.send(WatchEvent::Added(pod("a", "6"))).unwrap();
    until(&other, |other| other.len() == 1).await;
    drop(other);
    tokio::time::timeout(Duration::from_secs(1), watch.closed())
        .await
        .expect("the watch is over");
}
