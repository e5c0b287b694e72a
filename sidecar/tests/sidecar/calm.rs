//! Connections that wait cost no time, whatever they wait for; and what the application's side can do
//! to those that have come through.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::authority::WEB;
use crate::ends::{Ends, Kind};
use crate::peer::{client_side, connect};
use crate::program::until;
use crate::stream::{Peer, rest};

/// Everything that a connection may wait for.
fn waiting(ends: &Ends) -> Vec<(Peer, TcpStream)> {
    let nothing = ends.connect();
    let (mut peer, app) = ends.connect();
    peer.end();
    rest(&app).unwrap();
    let peer_ended = (peer, app);
    let (mut peer, app) = ends.connect();
    peer.close_notify();
    peer.send(b"").unwrap();
    let peer_said_so = (peer, app);
    let (mut peer, app) = ends.connect();
    app.shutdown(Shutdown::Write).unwrap();
    peer.rest().unwrap();
    let app_ended = (peer, app);
    let (mut peer, app) = ends.connect();
    peer.sock.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    while peer.send(&[7; 1 << 16]).is_ok() {}
    let app_does_not_read = (peer, app);
    let (peer, mut app) = ends.connect();
    app.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    while app.write_all(&[7; 1 << 16]).is_ok() {}
    let peer_does_not_read = (peer, app);
    let (mut peer, app) = ends.connect();
    // The beginning of a record, where there are any.
    peer.sock.write_all(&[23, 3, 3]).unwrap();
    let in_between = (peer, app);
    vec![
        nothing,
        peer_ended,
        peer_said_so,
        app_ended,
        app_does_not_read,
        peer_does_not_read,
        in_between,
    ]
}

#[test]
fn connections_that_wait_cost_no_time() {
    for kind in Kind::ALL {
        let ends = Ends::of(kind);
        let held = waiting(&ends);
        let before = ends.sidecar.cpu_time();
        std::thread::sleep(Duration::from_secs(1));
        let spent = ends.sidecar.cpu_time() - before;
        assert!(spent < Duration::from_millis(100), "{kind:?}: {spent:?} of a second");
        drop(held);
        ends.leaks_nothing();
    }
}

#[test]
fn clients_that_hang_in_their_handshake_cost_no_time() {
    let ends = Ends::with(Kind::Inbound, &["--handshake-timeout", "60s"]);
    let hello = crate::attacks::hello(&ends);
    let held: Vec<_> = [&[][..], &hello[..1], &hello[..hello.len() - 1], &hello]
        .iter()
        .map(|said| {
            let mut stream = connect(ends.at);
            stream.write_all(said).unwrap();
            stream
        })
        .collect();
    let pending = "countersign_sidecar_pending_handshakes";
    until("all hang", || (ends.sidecar.metric(pending) == Some(4.0)).then_some(()));
    let before = ends.sidecar.cpu_time();
    std::thread::sleep(Duration::from_secs(1));
    let spent = ends.sidecar.cpu_time() - before;
    assert!(spent < Duration::from_millis(100), "{spent:?} of a second");
    drop(held);
}

/// An application that has no time to accept: the kernel keeps one connection for it, and no more.
fn busy() -> (Socket, std::net::SocketAddr, TcpStream) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address, TcpStream::connect(address).unwrap())
}

#[test]
fn an_application_that_does_not_accept_in_time_is_named() {
    let (_socket, to, _first) = busy();
    let ends = Ends::of(Kind::Inbound);
    let (folder, port) = (ends.folder.path().to_str().unwrap(), crate::program::Port::new());
    let (at, to) = (port.address.to_string(), to.to_string());
    let args = ["inbound", "--listen", &at, "--to", &to, "--dial-timeout", "300ms"];
    let admin = crate::program::Port::new();
    let mut sidecar = crate::program::Sidecar::start(
        &[&args[..], &["--credentials", folder]].concat(),
        admin.address,
    )
    .ready();
    let tls = client_side(&ends.authority.pem(), Some(&ends.authority.issue(WEB)));
    let mut peer = Peer::shaken(connect(port.address), tls);
    let said = peer.rest().unwrap_err().to_string();
    assert!(said.contains("InternalError"), "{said}");
    let line = sidecar.line("message", "refused");
    assert_eq!((&line["reason"], &line["detail"]), (&"dial_timeout".into(), &to.into()));
}

#[test]
fn connections_that_end_in_every_way_at_once_are_all_told_and_leave_nothing() {
    for kind in Kind::TLS {
        let mut ends = Ends::with(kind, &["--workers", "2"]);
        let rounds = 40;
        for _ in 0..rounds {
            let held: Vec<_> = (0..8).map(|_| ends.connect()).collect();
            for (way, (mut peer, mut app)) in held.into_iter().enumerate() {
                drop((peer.send(b"up"), app.write_all(b"down")));
                match way {
                    0 => peer.end(),
                    1 => peer.fin(),
                    2 => crate::stream::reset(peer.sock),
                    3 => app.shutdown(Shutdown::Write).unwrap(),
                    4 => crate::stream::reset(app),
                    5 => drop(peer),
                    6 => drop(app),
                    _ => drop(app.read(&mut [0; 2])),
                }
            }
        }
        for _ in 0..rounds * 8 {
            ends.sidecar.line("message", "connection");
        }
        // A second worker has descriptors of its own, which were not there yet when they were counted.
        ends.leaks_at_most(10);
        let name = "countersign_sidecar_connections";
        let direction = if kind == Kind::Outbound { "outbound" } else { "inbound" };
        let live = format!("{name}{{direction=\"{direction}\"}}");
        assert_eq!(ends.sidecar.metric(&live), Some(0.0));
    }
}
