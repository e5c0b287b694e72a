//! A stranger that exhausts pools, ports, descriptors or the log.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::authority::{Authority, Folder, Set, WEB};
use crate::crowds::connect_from;
use crate::ends::{Ends, Kind};
use crate::peer::{
    application, ask, ask_plainly, client, client_config, client_of, client_side, connect,
    serve_application, server, try_connect,
};
use crate::program::{Port, Sidecar, program, until};
use crate::stream::{Peer, is_reset, rest};

/// A sidecar whose log nobody reads.
struct Unread {
    child: Child,
    at: Port,
    admin: Port,
    authority: Authority,
    _folder: Folder,
}

impl Unread {
    fn start(mode: &str) -> Self {
        let authority = Authority::new("root");
        let folder = Folder::of(&authority.issue(WEB));
        let policy = folder.path().join("policy.json");
        std::fs::write(&policy, format!(r#"{{"default":{{"mode":"{mode}"}}}}"#)).unwrap();
        let (at, admin, to) = (Port::new(), Port::new(), application());
        let [listen, to, admin_at] =
            [at.address, to, admin.address].map(|address| address.to_string());
        let mut command = program(&["inbound", "--listen", &listen, "--to", &to]);
        command.arg("--credentials").arg(folder.path()).arg("--policy").arg(&policy);
        command.args(["--admin", &admin_at, "--workers", "2"]);
        // A pipe that is never read: whoever writes to it waits once it is full.
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        let unread = Self { child, at, admin, authority, _folder: folder };
        until("it is ready", || (unread.get("/readyz")?.0 == 200).then_some(()));
        unread
    }

    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = try_connect(self.admin.address).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Health is answered, and SIGTERM ends it.
    fn ends_well(mut self) {
        assert_eq!(self.get("/readyz").unwrap().0, 200);
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = until("it ends", || self.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn unread_log_holds_up_nothing_while_strangers_are_refused() {
    const STRANGERS: u32 = 3000;
    let unread = Unread::start("mutual");
    for _ in 0..STRANGERS {
        let refused = ask_plainly(&mut connect(unread.at.address), b"GET / HTTP/1.1\r\n\r\n");
        // Refused by the sidecar, and not given up by the client because nothing came.
        let kind = refused.unwrap_err().kind();
        assert!(!matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{kind}");
    }
    let refusals = r#"countersign_sidecar_refusals_total{direction="inbound",reason="plaintext"}"#;
    // The last one is counted once its connection has ended on the sidecar's side, too.
    until("all are counted", || (unread.metric(refusals) == f64::from(STRANGERS)).then_some(()));
    let set = unread.authority.issue(WEB);
    let mut caller = client(connect(unread.at.address), &unread.authority.pem(), Some(&set));
    assert_eq!(ask(&mut caller, b"x").unwrap(), "heard: x");
    unread.ends_well();
}

#[test]
fn unread_log_holds_up_nothing_while_connections_are_logged() {
    let unread = Unread::start("off");
    // Each has a line of some 300 bytes: more than the pipe and the queue hold together.
    for _ in 0..3000 {
        assert_eq!(ask_plainly(&mut connect(unread.at.address), b"x").unwrap(), "heard: x");
    }
    until("lines are dropped and counted", || {
        (unread.metric("countersign_sidecar_log_lines_dropped_total") > 0.0).then_some(())
    });
    unread.ends_well();
}

#[test]
fn refusals_of_one_reason_are_logged_up_to_a_bound_and_summed_up() {
    const STRANGERS: u64 = 300;
    let mut ends = Ends::of(Kind::Inbound);
    for _ in 0..STRANGERS {
        assert!(ask_plainly(&mut connect(ends.at), b"GET / HTTP/1.1\r\n\r\n").is_err());
    }
    let line = ends.sidecar.line("message", "more refusals of the same reason");
    assert_eq!((&line["reason"], &line["direction"]), (&"plaintext".into(), &"inbound".into()));
    let omitted = line["omitted"].as_u64().unwrap();
    // One a second is logged beyond the first hundred.
    assert!((STRANGERS - 100 - 60..=STRANGERS - 100).contains(&omitted), "{line}");
    assert_eq!(ends.sidecar.refusals("inbound", "plaintext"), Some(300.0));
}

/// Strangers that are connected to the application, and rest.
fn idle_strangers(ends: &Ends, count: u8, source: [u8; 4]) -> Vec<(TcpStream, TcpStream)> {
    let connected = |_| {
        let mut stranger = connect_from(source, ends.at);
        stranger.write_all(b"x").unwrap();
        let mut app = ends.accept();
        app.read_exact(&mut [0]).unwrap();
        (stranger, app)
    };
    (0..count).map(connected).collect()
}

/// A connection of the mesh, which sidecars announce by ALPN, and the application's end of it.
fn connect_as_member(ends: &Ends) -> (Peer, TcpStream) {
    let set = ends.authority.issue(WEB);
    let mut config = client_config(&ends.authority.pem(), Some(&set));
    config.alpn_protocols = vec![b"countersign/1".to_vec()];
    let peer = Peer::shaken(connect(ends.at), client_of(config));
    (peer, ends.accept())
}

fn is_refused(mut stranger: TcpStream) {
    drop(stranger.write_all(b"x"));
    let read = stranger.read(&mut [0]);
    assert!(is_reset(&read), "{read:?}");
}

const PENDING: &str = "countersign_sidecar_pending_handshakes";
const PERMISSIVE: &str = r#"{"default":{"mode":"permissive"}}"#;

#[test]
fn one_source_cannot_take_every_connection() {
    let mut ends = Ends::with_policy(PERMISSIVE, &["--max-connections", "8"]);
    let _crowd = idle_strangers(&ends, 4, [127, 0, 0, 3]);
    is_refused(connect_from([127, 0, 0, 3], ends.at));
    let line = ends.sidecar.line("reason", "overloaded");
    assert!(line["detail"].as_str().unwrap().contains("--max-connections-per-source"), "{line}");
    assert_eq!(ends.sidecar.refusals("inbound", "overloaded"), Some(1.0));
    idle_strangers(&ends, 1, [127, 0, 0, 4]);
}

#[test]
fn strangers_leave_room_for_members_of_the_mesh() {
    let limits = ["--max-connections", "8", "--max-connections-per-source", "8"];
    let mut ends = Ends::with_policy(PERMISSIVE, &limits);
    let _crowd = idle_strangers(&ends, 6, [127, 0, 0, 3]);
    is_refused(connect_from([127, 0, 0, 4], ends.at));
    let line = ends.sidecar.line("reason", "overloaded");
    assert!(line["detail"].as_str().unwrap().contains("--max-unidentified-connections"), "{line}");
    let (mut peer, mut app) = connect_as_member(&ends);
    peer.send(b"hello").unwrap();
    app.read_exact(&mut [0; 5]).unwrap();
}

/// Waits until the sidecar has ended a member's connection for being half closed, which nothing else
/// here is: whatever rests by then has rested for as long.
fn await_half_closed_timeout(ends: &mut Ends) {
    let (mut member, _app) = connect_as_member(ends);
    member.end();
    ends.ended("half_closed_timeout");
}

/// The stranger of whose end this line tells: it was reset.
fn is_reset_stranger(line: &Value, strangers: &[(TcpStream, TcpStream)]) {
    let client = line["client"].as_str().unwrap();
    let is_one = |stranger: &TcpStream| stranger.local_addr().unwrap().to_string() == client;
    let (stranger, _) = strangers.iter().find(|(stranger, _)| is_one(stranger)).unwrap();
    assert!(is_reset(&rest(stranger)), "{line}");
}

#[test]
fn idle_strangers_go_once_there_are_many_of_them() {
    let limits = ["--max-connections", "8", "--unidentified-idle-timeout", "400ms"];
    let timeout = ["--half-closed-timeout", "400ms"];
    let mut ends = Ends::with_policy(PERMISSIVE, &[limits.as_slice(), &timeout].concat());
    let (mut peer, mut app) = connect_as_member(&ends);
    let mut strangers = idle_strangers(&ends, 2, [127, 0, 0, 3]);
    // Two are not many.
    await_half_closed_timeout(&mut ends);
    for (stranger, app) in &strangers {
        (&*stranger).write_all(b"x").unwrap();
        (&*app).read_exact(&mut [0]).unwrap();
    }
    // Three of six are half of what strangers may have.
    strangers.extend(idle_strangers(&ends, 1, [127, 0, 0, 4]));
    is_reset_stranger(&ends.ended("idle_timeout"), &strangers);
    peer.send(b"there").unwrap();
    app.read_exact(&mut [0; 5]).unwrap();
}

/// Clients that begin a handshake and stop, each from an address of its own.
fn unfinished_handshakes(ends: &Ends, count: u8) -> Vec<TcpStream> {
    let begin = |last| {
        let mut stranger = connect_from([127, 0, 1, last], ends.at);
        stranger.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).unwrap();
        stranger
    };
    (1..=count).map(begin).collect()
}

#[test]
fn unfinished_handshake_gives_way_to_a_member_where_every_connection_is_taken() {
    let limits = ["--max-connections", "8", "--max-connections-per-source", "8"];
    let ends = Ends::with_policy("{}", &limits);
    let mut members: Vec<_> = (0..4).map(|_| connect_as_member(&ends)).collect();
    let strangers = unfinished_handshakes(&ends, 4);
    until("all are taken", || (ends.sidecar.metric(PENDING) == Some(4.0)).then_some(()));
    members.push(connect_as_member(&ends));
    assert!(is_reset(&rest(&strangers[0])));
    for (peer, app) in &mut members {
        peer.send(b"hello").unwrap();
        app.read_exact(&mut [0; 5]).unwrap();
    }
}

#[test]
fn idle_stranger_gives_way_to_a_member_where_every_connection_is_taken() {
    let limits = ["--max-connections", "8", "--max-connections-per-source", "8"];
    let timeout = ["--half-closed-timeout", "400ms"];
    let mut ends = Ends::with_policy(PERMISSIVE, &[limits.as_slice(), &timeout].concat());
    let strangers = idle_strangers(&ends, 6, [127, 0, 0, 3]);
    await_half_closed_timeout(&mut ends);
    let mut members: Vec<_> = (0..3).map(|_| connect_as_member(&ends)).collect();
    is_reset_stranger(&ends.ended("idle_timeout"), &strangers);
    for (peer, app) in &mut members {
        peer.send(b"hello").unwrap();
        app.read_exact(&mut [0; 5]).unwrap();
    }
    assert_eq!(ends.sidecar.refusals("inbound", "overloaded").unwrap_or_default(), 0.0);
}

#[test]
fn handshake_under_way_outlasts_a_burst_of_silent_strangers() {
    let ends = Ends::with_policy("{}", &["--max-handshakes", "8"]);
    let set = ends.authority.issue(WEB);
    let mut tls = client_side(&ends.authority.pem(), Some(&set));
    let mut stream = connect(ends.at);
    tls.write_tls(&mut stream).unwrap();
    while tls.is_handshaking() {
        tls.read_tls(&mut stream).unwrap();
        tls.process_new_packets().unwrap();
    }
    // The sidecar has answered, and waits for the client.
    let _burst = unfinished_handshakes(&ends, 60);
    let gave_way = || ends.sidecar.refusals("inbound", "overloaded").unwrap_or_default();
    until("as many have given way as came", || (gave_way() >= 53.0).then_some(()));
    let mut peer = Peer::shaken(stream, tls);
    let mut app = ends.accept();
    peer.send(b"hello").unwrap();
    app.read_exact(&mut [0; 5]).unwrap();
}

/// A pod with a port for anybody, and an upstream.
struct Pod {
    sidecar: Sidecar,
    served: Port,
    upstream: Port,
    authority: Authority,
    _folder: Folder,
}

impl Pod {
    fn start(mode: &str, more: &[&str]) -> Self {
        let authority = Authority::new("root");
        let folder = Folder::of(&authority.issue(WEB));
        let policy = folder.path().join("policy.json");
        std::fs::write(&policy, format!(r#"{{"default":{{"mode":"{mode}"}}}}"#)).unwrap();
        let app = serve_application(TcpListener::bind("127.0.0.1:0").unwrap());
        let behind = server(&authority.issue(WEB), &authority.pem());
        let (served, upstream, admin) = (Port::new(), Port::new(), Port::new());
        let serve = format!("{}={}", served.address.port(), app.port());
        let calls = format!("{}={behind}={WEB}", upstream.address.port());
        let [credentials, policy] = [folder.path(), &policy].map(|path| path.to_str().unwrap());
        let args = ["pod", "--inbound", "0", "--serve", &serve, "--upstream", &calls];
        let files = ["--credentials", credentials, "--policy", policy];
        let sidecar = Sidecar::start(&[&args[..], &files, more].concat(), admin.address).ready();
        Self { sidecar, served, upstream, authority, _folder: folder }
    }

    /// What the application is answered by its upstream.
    fn call(&self) -> std::io::Result<String> {
        ask_plainly(&mut connect(self.upstream.address), b"x")
    }
}

#[test]
fn strangers_idle_connections_do_not_block_the_applications_own_calls() {
    let limits = ["--max-connections", "4", "--max-connections-per-source", "4"];
    let more = [&limits[..], &["--max-unidentified-connections", "4"]].concat();
    let mut pod = Pod::start("server", &more);
    let stranger = || client_side(&pod.authority.pem(), None);
    let _crowd: Vec<_> =
        (0..4).map(|_| Peer::shaken(connect(pod.served.address), stranger())).collect();
    let limit = |way: &str| format!("countersign_sidecar_connections_limit{{direction=\"{way}\"}}");
    assert_eq!(pod.sidecar.metric(&limit("inbound")), Some(4.0));
    assert_eq!(pod.sidecar.metric(&limit("outbound")), Some(4.0));
    // A handshake is over for the client before it is for the sidecar, and may give way until then.
    until("all are done", || (pod.sidecar.metric(PENDING) == Some(0.0)).then_some(()));
    assert!(Peer::try_shaken(connect(pod.served.address), stranger()).is_err());
    let line = pod.sidecar.line("reason", "overloaded");
    assert_eq!(line["direction"], "inbound", "{line}");
    for _ in 0..8 {
        assert_eq!(pod.call().unwrap(), "heard: x");
    }
}

/// A client whose records hold one byte each, as fast as it can.
fn floods_with_tiny_records(at: SocketAddr, authority: &Authority, set: &Set) -> Peer {
    let mut peer = Peer::shaken(connect(at), client_side(&authority.pem(), Some(set)));
    let mut records = Vec::new();
    let tls = peer.tls.as_mut().unwrap();
    for _ in 0..20_000 {
        tls.writer().write_all(b"x").unwrap();
        while tls.wants_write() {
            tls.write_tls(&mut records).unwrap();
        }
    }
    peer.sock.write_all(&records).unwrap();
    peer
}

#[test]
fn records_of_one_byte_arrive_whole_and_in_order() {
    let ends = Ends::of(Kind::Inbound);
    let set = ends.authority.issue(WEB);
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| floods_with_tiny_records(ends.at, &ends.authority, &set));
        let mut app = ends.accept();
        let mut heard = vec![0; 20_000];
        app.read_exact(&mut heard).unwrap();
        assert!(heard.iter().all(|byte| *byte == b'x'));
        let mut peer = flood.join().unwrap();
        peer.end();
        app.shutdown(Shutdown::Write).unwrap();
        peer.rest().unwrap();
    });
}
