//! The admin port: who is connected, what is logged, what is counted, and who may ask.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use countersign_contract::{Ending, Refusal};

use crate::authority::{Authority, Folder, WEB};
use crate::crowds::connect_from;
use crate::ends::{Ends, Kind};
use crate::network::{Cable, OUTSIDE, POD, inside, ip};
use crate::peer::connect;
use crate::program::{Sidecar, until};

/// The status and the body of an answer.
fn ask(address: SocketAddr, request: &str, body: &str) -> (u16, String) {
    let mut stream = until("the admin port answers", || TcpStream::connect(address).ok());
    let length = body.len();
    write!(stream, "{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn live_connections_are_listed_with_their_peers() {
    for kind in Kind::ALL {
        let mut ends = Ends::of(kind);
        let (mut peer, mut app) = ends.connect();
        peer.send(b"12345").unwrap();
        app.read_exact(&mut [0; 5]).unwrap();
        app.write_all(b"123").unwrap();
        peer.read_exact(&mut [0; 3]).unwrap();
        let (status, text) = ends.sidecar.get("/connections");
        let list: Value = serde_json::from_str(&text).unwrap();
        let [one] = &list["connections"].as_array().unwrap()[..] else { panic!("{list}") };
        let identity = if kind.speaks_tls() { WEB.into() } else { Value::Null };
        assert_eq!((status, &one["peer"]), (200, &identity));
        assert_eq!((&one["received"], &one["sent"]), (&5.into(), &3.into()), "{one}");
        assert!(one["ageSeconds"].is_u64() && one["to"].is_string(), "{one}");
        let from = if kind == Kind::Outbound { &app } else { &peer.sock };
        assert_eq!(one["client"], from.local_addr().unwrap().to_string());
        drop((peer, app));
        ends.sidecar.line("message", "connection");
        assert_eq!(ends.sidecar.get("/connections").1, "{\"connections\":[]}\n");
    }
}

#[test]
fn what_is_logged_can_be_changed_while_it_runs() {
    let mut ends = Ends::of(Kind::Inbound);
    let admin = ends.sidecar.admin();
    assert_eq!(ask(admin, "GET /log", ""), (200, "info\n".to_owned()));
    assert_eq!(ask(admin, "PUT /log", "warn"), (200, "warn\n".to_owned()));
    let hushed = ends.connect();
    drop(hushed);
    ends.leaks_nothing();
    assert_eq!(ask(admin, "PUT /log", "a=b=c").0, 400);
    assert_eq!(ask(admin, "PUT /log", &"x".repeat(5000)).0, 400);
    assert_eq!(ask(admin, "GET /log", "").1, "warn\n");
    assert_eq!(ask(admin, "PUT /log", "info\n").0, 200);
    let told = ends.connect();
    let client = told.0.sock.local_addr().unwrap().to_string();
    drop(told);
    // The one before was not told.
    assert_eq!(ends.sidecar.line("message", "connection")["client"], client);
}

#[test]
fn every_reason_is_counted_from_zero_on() {
    let mut ends = Ends::of(Kind::Inbound);
    let (_, text) = ends.sidecar.get("/metrics");
    assert!(text.ends_with("# EOF\n"));
    for direction in ["inbound", "outbound"] {
        for reason in Refusal::ALL {
            assert_eq!(ends.sidecar.refusals(direction, reason.as_str()), Some(0.0), "{reason}");
        }
        for ending in Ending::ALL {
            let labels = format!("{{direction=\"{direction}\",reason=\"{ending}\"}} 0\n");
            assert!(
                text.contains(&format!("countersign_sidecar_connections_closed_total{labels}"))
            );
        }
    }
    drop(ends.connect());
    ends.ended("truncated");
    connect(ends.at).write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    ends.sidecar.line("reason", "plaintext");
    let (_, text) = ends.sidecar.get("/metrics");
    for line in [
        "countersign_sidecar_connections_opened_total{direction=\"inbound\"} 2\n",
        "countersign_sidecar_connections_closed_total{direction=\"inbound\",reason=\"truncated\"} 1\n",
        "countersign_sidecar_connections_closed_total{direction=\"inbound\",reason=\"refused\"} 1\n",
        "countersign_sidecar_refusals_total{direction=\"inbound\",reason=\"plaintext\"} 1\n",
        "countersign_sidecar_connections{direction=\"inbound\"} 0\n",
        "countersign_sidecar_handshake_duration_seconds_count 1\n",
        "countersign_sidecar_pending_handshakes 0\n",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
}

#[test]
fn who_is_connected_and_what_is_logged_is_not_for_callers_from_elsewhere() {
    let (cable, authority) = (Cable::new(), Authority::new("root"));
    let folder = Folder::of(&authority.issue(WEB));
    let args = ["pod", "--credentials", folder.path().to_str().unwrap()];
    let admin = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 0], 14190));
    let _sidecar = inside(&cable.pod, || Sidecar::start(&args, admin)).ready();
    let at = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 14190);
    let from = |place: &str, ip: &str, request: &str| {
        inside(place, || {
            ask(at(ip), request, if request.starts_with("PUT") { "debug" } else { "" })
        })
        .0
    };
    let private = ["GET /connections", "GET /log", "PUT /log"];
    for request in private {
        assert_eq!(from(&cable.pod, "127.0.0.1", request), 200, "{request}");
        assert_eq!(from(&cable.pod, "::1", request), 200, "{request}");
        for ip in POD {
            assert_eq!(from(&cable.outside, ip, request), 403, "{request} at {ip}");
            assert_eq!(from(&cable.pod, ip, request), 403, "{request} at {ip} from the pod itself");
        }
    }
    for request in ["GET /livez", "GET /readyz", "GET /metrics"] {
        assert_eq!(from(&cable.outside, POD[0], request), 200, "{request}");
    }
}

/// What the webhook gives every sidecar: the kubelet calls the pod's first address, of either family.
#[test]
fn probes_are_answered_on_an_address_of_either_family_alone() {
    let authority = Authority::new("root");
    let folder = Folder::of(&authority.issue(WEB));
    for (gone, left) in [(0, 1), (1, 0)] {
        let cable = Cable::new();
        let prefix = ["24", "64"][gone];
        for (namespace, address) in [(&cable.pod, POD[gone]), (&cable.outside, OUTSIDE[gone])] {
            ip(&format!("-n {namespace} addr del {address}/{prefix} dev eth0"));
        }
        let args = ["pod", "--credentials", folder.path().to_str().unwrap()];
        let admin = "[::]:14190".parse().unwrap();
        let _sidecar = inside(&cable.pod, || Sidecar::start(&args, admin)).ready();
        let at = SocketAddr::new(POD[left].parse().unwrap(), 14190);
        for request in ["GET /livez", "GET /readyz"] {
            assert_eq!(inside(&cable.outside, || ask(at, request, "")).0, 200, "{request} at {at}");
        }
    }
}

#[test]
fn callers_that_say_nothing_keep_no_probe_from_being_answered() {
    let ends = Ends::of(Kind::Inbound);
    let admin = ends.sidecar.admin();
    let mut crowd = Vec::new();
    for last in 3..9 {
        crowd.extend((0..50).map(|_| connect_from([127, 0, 0, last], admin)));
        // As long as a kubelet waits, and from an address that is crowded, too.
        for source in [[127, 0, 0, 2], [127, 0, 0, last]] {
            let mut probe = connect_from(source, admin);
            probe.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            probe.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let mut answer = [0; 12];
            probe.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200");
        }
    }
    assert!(ends.sidecar.descriptors() < 100);
}
