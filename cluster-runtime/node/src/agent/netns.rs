//! Connections that begin inside the network namespace of a pod.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;

/// Connects to an address as a process of the pod would; without a namespace as one of the machine.
pub(crate) async fn connect(netns: Option<&Path>, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match netns {
        None => new_socket(address)?,
        Some(path) => {
            let namespace = File::open(path)?;
            let (sender, made) = oneshot::channel();
            // A thread of its own, which ends: a socket belongs to the namespace that it was made in, and a thread of
            // a pool must not be left in another one.
            thread::Builder::new().name("netns".into()).spawn(move || {
                let entered = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
                let _ = sender.send(
                    entered
                        .map_err(io::Error::from)
                        .and_then(|()| new_socket(address)),
                );
            })?;
            made.await.map_err(io::Error::other)??
        }
    };
    socket.connect(address).await
}

fn new_socket(address: SocketAddr) -> io::Result<TcpSocket> {
    if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }
}
