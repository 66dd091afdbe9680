//! Stopping in good order.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::fixture::{Fixture, chart};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_is_answered_and_no_new_one_is_taken() {
    let server = Fixture::open().await;
    let archive = chart("web", "1.0.0");
    let mut stream = TcpStream::connect(server.address).unwrap();
    let (first, second) = archive.split_at(archive.len() / 2);
    write!(
        stream,
        "POST /api/charts HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        archive.len()
    )
    .unwrap();
    // The server reads the body: it is at work.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 Continue"));
    stream.write_all(first).unwrap();
    server.begin_stop();
    let refused = async {
        while TcpStream::connect(server.address).is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(20);
    tokio::time::timeout(limit, refused)
        .await
        .expect("nobody listens any more");
    stream.write_all(second).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(answer.contains("connection: close") || answer.ends_with("{\"saved\":true}"));
    let folder = server.stop().await;
    assert!(folder.path().join("web-1.0.0.tgz").exists());
}
