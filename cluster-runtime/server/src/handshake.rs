//! Whether a living server of this cluster listens at an address.

use std::fs;
use std::io::{self, Error};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConnection;

use crate::tls;

/// Shakes hands by TLS with the server at an address, which must show a certificate of the authority in `pki`.
///
/// A connection alone says little: the kernel takes connections for a process that was killed until it is gone.
///
/// # Errors
/// Nobody takes the connection or answers in time, or another server does.
pub(crate) fn shake_hands(address: SocketAddr, pki: &Path, limit: Duration) -> io::Result<()> {
    let authority = fs::read_to_string(pki.join("ca.crt"))?;
    let config = tls::onlooker(&authority).map_err(Error::other)?;
    let mut connection =
        ClientConnection::new(Arc::new(config), address.ip().into()).map_err(Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use time::OffsetDateTime;

    use super::*;
    use crate::pki::Authority;

    const LIMIT: Duration = Duration::from_secs(10);

    fn serve_once(authority: &Authority) -> SocketAddr {
        let identity = authority
            .server(
                "a",
                &[],
                &["127.0.0.1".parse().unwrap()],
                OffsetDateTime::now_utc(),
            )
            .unwrap();
        let credentials = tls::Credentials::new(authority.certificate(), &identity).unwrap();
        let config = Arc::new(tls::server(authority.certificate(), &credentials).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut connection = rustls::ServerConnection::new(config).unwrap();
            while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
        });
        address
    }

    #[test]
    fn a_living_server_of_the_authority_answers() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::open(dir.path(), OffsetDateTime::now_utc()).unwrap();
        shake_hands(serve_once(&authority), dir.path(), LIMIT).unwrap();
    }

    #[test]
    fn err_a_server_of_another_authority() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Authority::open(dir.path(), OffsetDateTime::now_utc()).unwrap();
        let stranger = Authority::open(other.path(), OffsetDateTime::now_utc()).unwrap();
        shake_hands(serve_once(&stranger), dir.path(), LIMIT).unwrap_err();
    }

    #[test]
    fn err_a_port_whose_process_does_not_accept() {
        let dir = tempfile::tempdir().unwrap();
        Authority::open(dir.path(), OffsetDateTime::now_utc()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        shake_hands(
            listener.local_addr().unwrap(),
            dir.path(),
            Duration::from_millis(100),
        )
        .unwrap_err();
    }
}
