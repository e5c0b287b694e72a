//! Whoever is at the other ends: an application, clients and servers of TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use countersign_sidecar::tls::provider::provider;
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    version,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::authority::Set;
use crate::program::PATIENCE;

/// A client that has, or will have, spoken TLS with the sidecar.
pub(crate) type Client = StreamOwned<ClientConnection, TcpStream>;

/// An application that answers only once the request has ended, with what it was sent.
pub(crate) fn application() -> SocketAddr {
    serve_application(TcpListener::bind("127.0.0.1:0").unwrap())
}

pub(crate) fn serve_application(listener: TcpListener) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let mut request = Vec::new();
    if stream.read_to_end(&mut request).is_ok() {
        drop(stream.write_all(b"heard: ").and_then(|()| stream.write_all(&request)));
    }
}

/// What reads and writes, and gives up in the end.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    try_connect(address).unwrap()
}

/// The same with somebody who may refuse: that may come before the connection looks as if it were
/// there.
pub(crate) fn try_connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A client that trusts `ca`, and that presents `set` if it has one.
pub(crate) fn client(stream: TcpStream, ca: &str, set: Option<&Set>) -> Client {
    StreamOwned::new(client_side(ca, set), stream)
}

/// The same, before it has a connection.
pub(crate) fn client_side(ca: &str, set: Option<&Set>) -> ClientConnection {
    client_of(client_config(ca, set))
}

/// A client of a configuration that was changed.
pub(crate) fn client_of(config: ClientConfig) -> ClientConnection {
    ClientConnection::new(Arc::new(config), "web.test".try_into().unwrap()).unwrap()
}

pub(crate) fn client_config(ca: &str, set: Option<&Set>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_root_certificates(roots(ca));
    match set {
        Some(set) => builder.with_client_auth_cert(chain(set), key(set)).unwrap(),
        None => builder.with_no_client_auth(),
    }
}

/// Sends a request, ends it, and reads the answer, which comes after that.
pub(crate) fn ask(client: &mut Client, request: &[u8]) -> io::Result<String> {
    client.write_all(request)?;
    client.conn.send_close_notify();
    client.flush()?;
    client.sock.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The same, without TLS.
pub(crate) fn ask_plainly(stream: &mut TcpStream, request: &[u8]) -> io::Result<String> {
    stream.write_all(request)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A server that presents `set`, admits clients of `ca`, and answers as the application does.
pub(crate) fn server(set: &Set, ca: &str) -> SocketAddr {
    server_on(TcpListener::bind("127.0.0.1:0").unwrap(), set, ca)
}

pub(crate) fn server_on(listener: TcpListener, set: &Set, ca: &str) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    let config = Arc::new(server_config(set, ca));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = config.clone();
            std::thread::spawn(move || answer_secretly(config, stream));
        }
    });
    address
}

/// The server's side of one connection.
pub(crate) fn server_side(set: &Set, ca: &str) -> ServerConnection {
    ServerConnection::new(Arc::new(server_config(set, ca))).unwrap()
}

pub(crate) fn server_config(set: &Set, ca: &str) -> ServerConfig {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)), provider())
        .build()
        .unwrap();
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(set), key(set))
        .unwrap()
}

fn answer_secretly(config: Arc<ServerConfig>, stream: TcpStream) {
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let mut request = Vec::new();
    if stream.read_to_end(&mut request).is_ok() {
        drop(stream.write_all(b"heard: ").and_then(|()| stream.write_all(&request)));
        stream.conn.send_close_notify();
        drop(stream.flush());
    }
}

pub(crate) fn chain(set: &Set) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(set.crt.as_bytes()).map(Result::unwrap).collect()
}

pub(crate) fn key(set: &Set) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(set.key.as_bytes()).unwrap()
}

pub(crate) fn roots(ca: &str) -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    store
}
