//! Many at once: strangers that hang on the port, and peers that do not read.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::attacks::hello;
use crate::authority::WEB;
use crate::ends::{Ends, Kind};
use crate::peer::{client_side, connect};
use crate::program::{PATIENCE, until};
use crate::stream::Peer;

const PENDING: &str = "countersign_sidecar_pending_handshakes";

/// A connection from another address of the machine.
pub(crate) fn connect_from(source: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect_timeout(&to.into(), PATIENCE).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// Whether an honest client from there gets through.
fn passes(ends: &Ends, source: [u8; 4]) {
    let set = ends.authority.issue(WEB);
    let tls = client_side(&ends.authority.pem(), Some(&set));
    let mut peer = Peer::shaken(connect_from(source, ends.at), tls);
    let mut app = ends.accept();
    peer.send(b"hello").unwrap();
    app.read_exact(&mut [0; 5]).unwrap();
}

#[test]
fn honest_clients_get_through_a_crowd_that_hangs_on_the_port() {
    let limits = ["--max-handshakes", "120", "--max-handshakes-per-source", "60"];
    let patience = ["--handshake-timeout", "60s", "--first-byte-timeout", "60s"];
    let ends = Ends::with(Kind::Inbound, &[limits, patience].concat());
    let hello = hello(&ends);
    let crowd: Vec<_> = (0..320)
        .map(|number| {
            let mut stranger = connect_from([127, 0, 0, 3], ends.at);
            // Some say nothing, some begin, and some stop in the middle.
            let said = [&[][..], &hello[..1], &hello].map(<[u8]>::to_vec)[number % 3].clone();
            stranger.write_all(&said).unwrap();
            stranger
        })
        .collect();
    let gave_way = |ends: &Ends| ends.sidecar.refusals("inbound", "overloaded").unwrap();
    until("the oldest have given way", || (gave_way(&ends) >= 260.0).then_some(()));
    assert_eq!(ends.sidecar.metric(PENDING), Some(60.0));
    for _ in 0..10 {
        // From the crowd's own address, from another one, and from a third one that is crowded, too.
        passes(&ends, [127, 0, 0, 3]);
        passes(&ends, [127, 0, 0, 2]);
    }
    let second: Vec<_> = (0..100).map(|_| connect_from([127, 0, 0, 4], ends.at)).collect();
    until("the whole place is taken", || (gave_way(&ends) >= 300.0).then_some(()));
    passes(&ends, [127, 0, 0, 2]);
    assert!(ends.sidecar.metric(PENDING).unwrap() <= 120.0);
    drop((crowd, second));
    ends.leaks_nothing();
}

#[test]
fn clients_for_whom_there_is_no_room_are_refused_by_name_until_there_is() {
    let limits = ["--max-connections", "2", "--max-connections-per-source", "2"];
    let mut ends = Ends::with(Kind::Inbound, &limits);
    let (mut first, app) = ends.connect();
    let second = ends.connect();
    let tls = || client_side(&ends.authority.pem(), Some(&ends.authority.issue(WEB)));
    assert!(Peer::try_shaken(connect(ends.at), tls()).is_err());
    assert_eq!(ends.sidecar.refusals("inbound", "overloaded"), Some(1.0));
    first.end();
    drop((first, app));
    ends.sidecar.line("message", "connection");
    drop((ends.connect(), second));
}

/// So much of a connection's memory may stay while somebody does not read: a buffer for each way that
/// is stuck, and what else there is to a connection.
fn most(ways: usize) -> usize {
    ways * 160 * 1024 + 32 * 1024
}

#[test]
fn an_end_that_does_not_read_costs_a_buffer_and_no_more() {
    const CROWD: usize = 60;
    for (kind, ways) in [(Kind::Inbound, 1), (Kind::Outbound, 1), (Kind::Inbound, 2)] {
        let ends = Ends::with(kind, &["--stall-timeout", "5m"]);
        drop(ends.connect());
        let before = ends.sidecar.resident();
        let mut stuck: Vec<_> = (0..CROWD).map(|_| ends.connect()).collect();
        std::thread::scope(|scope| {
            for (peer, app) in &mut stuck {
                scope.spawn(|| fill(app, |bytes| (&*app).write_all(bytes)));
                if ways == 2 {
                    let sock = peer.sock.try_clone().unwrap();
                    scope.spawn(move || fill(&sock, |bytes| peer.send(bytes)));
                }
            }
        });
        let each = ends.sidecar.resident().saturating_sub(before) / CROWD;
        assert!(each < most(ways), "{kind:?}, {ways}: {each} bytes for each");
        drop(stuck);
        ends.leaks_nothing();
        until("the memory is given back", || {
            (ends.sidecar.resident() < before + before / 10 + (1 << 20)).then_some(())
        });
    }
}

/// Sends until nothing is taken any more.
fn fill(stream: &TcpStream, mut send: impl FnMut(&[u8]) -> std::io::Result<()>) {
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    while send(&[7; 1 << 16]).is_ok() {}
}
