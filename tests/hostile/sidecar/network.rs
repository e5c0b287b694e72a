//! A stranger on the network and on layer 2.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::authority::{Authority, Folder, WEB};
use crate::network::{Cable, OUTSIDE, POD, inside};
use crate::peer::{Client, ask, ask_plainly, client, connect, serve_application};
use crate::program::Sidecar;
use crate::redirect::{at, redirect};

/// As long as a packet takes that is answered at all, and more.
const UNANSWERED: Duration = Duration::from_millis(1500);

/// The pod's second interface, and a host that only the pod reaches by it.
const SECOND: [&str; 2] = ["198.51.100.1", "fd04::1"];
const ELSEWHERE: [&str; 2] = ["198.51.100.9", "fd04::9"];

fn run(program: &str, line: &str) {
    let output = Command::new(program).args(line.split(' ')).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A namespace that is connected to the pod's second interface.
struct Elsewhere(String);

impl Elsewhere {
    fn new(cable: &Cable) -> Self {
        let (pod, name) = (&cable.pod, format!("{}-2", cable.outside));
        run("ip", &format!("netns add {name}"));
        run("ip", &format!("-n {pod} link add eth1 type veth peer name eth0 netns {name}"));
        for (namespace, link, [ipv4, ipv6]) in [(pod, "eth1", SECOND), (&name, "eth0", ELSEWHERE)] {
            run("ip", &format!("-n {namespace} link set lo up"));
            run("ip", &format!("-n {namespace} addr add {ipv4}/24 dev {link}"));
            run("ip", &format!("-n {namespace} addr add {ipv6}/64 dev {link} nodad"));
            run("ip", &format!("-n {namespace} link set {link} up"));
        }
        Self(name)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["netns", "delete", &self.0]).status());
    }
}

/// A setting of the kernel for one namespace.
fn set(namespace: &str, name: &str, value: &str) {
    run("ip", &format!("netns exec {namespace} sysctl -qw net/{name}={value}"));
}

/// Makes the outside send packets for an address to the pod's interface.
fn send_to_pod(cable: &Cable, ip: &str) {
    let via = if ip.contains(':') { POD[1] } else { POD[0] };
    run("ip", &format!("-n {} route add {ip} via {via} dev eth0", cable.outside));
}

/// Lets the outside send packets to 127.0.0.1 out, as an attacker with a raw socket does.
fn send_loopback_to_pod(cable: &Cable) {
    run("ip", &format!("-n {} addr flush dev lo", cable.outside));
    run("ip", &format!("-n {} link set lo down", cable.outside));
    for name in ["route_localnet", "rp_filter"] {
        for link in ["all", "eth0"] {
            let value = if name == "rp_filter" { "0" } else { "1" };
            set(&cable.outside, &format!("ipv4/conf/{link}/{name}"), value);
        }
    }
    send_to_pod(cable, "127.0.0.1/32");
}

fn application(namespace: &str, address: &str) -> u16 {
    inside(namespace, || serve_application(TcpListener::bind(at(address, 0)).unwrap()).port())
}

/// Tries to connect from the outside's own address.
fn attack(cable: &Cable, to: SocketAddr) -> std::io::Result<()> {
    inside(&cable.outside, || {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        let place = usize::from(to.is_ipv6());
        socket.bind(&at(OUTSIDE[place], 0).into())?;
        socket.connect_timeout(&to.into(), UNANSWERED)
    })
}

/// Nothing answers, not even by a reset: the packets go no further than to the rules.
fn is_unanswered(cable: &Cable, to: SocketAddr) {
    let attacked = attack(cable, to).map_err(|error| error.kind());
    assert_eq!(attacked, Err(ErrorKind::TimedOut), "{to}");
}

/// A pod with a sidecar, and somebody of the mesh outside.
struct Stage {
    cable: Cable,
    authority: Authority,
    sidecar: Sidecar,
    _folder: Folder,
}

impl Stage {
    fn new(more: &[&str]) -> Self {
        Self::with(Cable::new(), more)
    }

    fn with(cable: Cable, more: &[&str]) -> Self {
        let authority = Authority::new("root");
        let folder = Folder::of(&authority.issue(WEB));
        let credentials = folder.path().to_str().unwrap();
        let args = [&["pod", "--credentials", credentials], more].concat();
        let sidecar = inside(&cable.pod, || Sidecar::start(&args, at("127.0.0.1", 14190))).ready();
        Self { cable, authority, sidecar, _folder: folder }
    }

    fn redirected(self) -> Self {
        redirect(&self.cable, &["--inbound", "14143"]);
        self
    }

    /// What a member of the mesh is answered.
    fn ask(&self, namespace: &str, to: SocketAddr) -> std::io::Result<String> {
        let (set, ca) = (self.authority.issue(WEB), self.authority.pem());
        inside(namespace, || ask(&mut client(connect(to), &ca, Some(&set)), b"x"))
    }

    fn client(&self, stream: TcpStream) -> Client {
        client(stream, &self.authority.pem(), Some(&self.authority.issue(WEB)))
    }
}

#[test]
fn layer_2_neighbour_cannot_reach_loopback_listeners() {
    let stage = Stage::new(&[]).redirected();
    let hidden = application(&stage.cable.pod, "127.0.0.1");
    let open = application(&stage.cable.pod, "::");
    send_loopback_to_pod(&stage.cable);
    is_unanswered(&stage.cable, at("127.0.0.1", hidden));
    for ip in POD {
        assert_eq!(stage.ask(&stage.cable.outside, at(ip, open)).unwrap(), "heard: x");
    }
}

#[test]
fn layer_2_neighbour_cannot_use_the_pod_as_a_proxy() {
    let stage = Stage::new(&[]).redirected();
    let elsewhere = Elsewhere::new(&stage.cable);
    let foreign = application(&elsewhere.0, "::");
    for ip in ELSEWHERE {
        send_to_pod(&stage.cable, ip);
        is_unanswered(&stage.cable, at(ip, foreign));
    }
}

/// Whatever sent it here: the rules of an older version, or of another tool.
#[test]
fn refuses_redirected_connections_to_addresses_that_are_not_the_pods() {
    let mut stage = Stage::new(&[]);
    let elsewhere = Elsewhere::new(&stage.cable);
    let foreign = application(&elsewhere.0, "::");
    let hidden = application(&stage.cable.pod, "127.0.0.1");
    for line in [
        "add table inet older",
        "add chain inet older pre { type nat hook prerouting priority -100 ; }",
        "add rule inet older pre tcp dport != 14143 redirect to :14143",
    ] {
        inside(&stage.cable.pod, || run("nft", line));
    }
    send_loopback_to_pod(&stage.cable);
    ELSEWHERE.iter().for_each(|ip| send_to_pod(&stage.cable, ip));
    let targets = [at("127.0.0.1", hidden), at(ELSEWHERE[0], foreign), at(ELSEWHERE[1], foreign)];
    for to in targets {
        // It is reset at once, perhaps before the attacker sees that it was accepted.
        drop(attack(&stage.cable, to));
        let line = stage.sidecar.line("reason", "foreign_destination");
        assert_eq!(line["detail"], to.to_string());
    }
}

#[test]
fn further_interfaces_of_the_pod_are_served_under_the_same_policy() {
    let mut stage = Stage::new(&["--pod-ips", &POD.join(",")]).redirected();
    let elsewhere = Elsewhere::new(&stage.cable);
    let app = application(&stage.cable.pod, "::");
    for ip in SECOND {
        assert_eq!(stage.ask(&elsewhere.0, at(ip, app)).unwrap(), "heard: x");
        // Linux takes packets for any of its addresses on any interface.
        send_to_pod(&stage.cable, ip);
        assert_eq!(stage.ask(&stage.cable.outside, at(ip, app)).unwrap(), "heard: x");
        let plain = inside(&stage.cable.outside, || ask_plainly(&mut connect(at(ip, app)), b"x"));
        assert!(plain.is_err(), "{plain:?}");
        stage.sidecar.line("reason", "plaintext");
    }
}

/// Docker in Docker, virtual machines: the pod is a router of guests.
#[test]
fn traffic_that_the_pod_forwards_is_left_alone() {
    let stage = Stage::new(&[]).redirected();
    let elsewhere = Elsewhere::new(&stage.cable);
    let foreign = application(&elsewhere.0, "::");
    set(&stage.cable.pod, "ipv4/ip_forward", "1");
    set(&stage.cable.pod, "ipv6/conf/all/forwarding", "1");
    for (place, ip) in ELSEWHERE.iter().enumerate() {
        send_to_pod(&stage.cable, ip);
        let back = format!("-n {} route add {} via {}", elsewhere.0, OUTSIDE[place], SECOND[place]);
        run("ip", &back);
        let mut stream = inside(&stage.cable.outside, || connect(at(ip, foreign)));
        assert_eq!(ask_plainly(&mut stream, b"x").unwrap(), "heard: x");
    }
}

/// An application that answers each byte at once.
fn echo(namespace: &str) -> u16 {
    let listener = inside(namespace, || TcpListener::bind("[::]:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut writer = stream.try_clone().unwrap();
            std::thread::spawn(move || std::io::copy(&mut &stream, &mut writer));
        }
    });
    port
}

/// A segment with one byte of data, as it stands in an IPv4 packet.
fn segment(
    from: (Ipv4Addr, u16),
    to: (Ipv4Addr, u16),
    sequence: u32,
    acknowledged: u32,
) -> Vec<u8> {
    let mut tcp = Vec::new();
    tcp.extend(from.1.to_be_bytes());
    tcp.extend(to.1.to_be_bytes());
    tcp.extend(sequence.to_be_bytes());
    tcp.extend(acknowledged.to_be_bytes());
    tcp.extend([5 << 4, 0x10, 1, 0, 0, 0, 0, 0, b'x']);
    let length = u16::try_from(tcp.len()).unwrap();
    let pseudo = [&from.0.octets()[..], &to.0.octets(), &[0, 6], &length.to_be_bytes(), &tcp];
    let sum = pseudo.concat().chunks(2).fold(0_u32, |sum, pair| {
        sum + (u32::from(pair[0]) << 8) + u32::from(pair.get(1).copied().unwrap_or(0))
    });
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
    let mut packet = vec![0x45, 0];
    packet.extend((20 + length).to_be_bytes());
    packet.extend([0x12, 0x34, 0, 0, 64, 6, 0, 0]);
    packet.extend(from.0.octets());
    packet.extend(to.0.octets());
    packet.extend(tcp);
    packet
}

/// What a client's kernel saw last of a server: what it will send next, and what it expects.
fn last_seen(raw: &Socket, server: u16) -> (u32, u32) {
    let mut last = None;
    let mut packet = [0; 65536];
    while let Ok(length) = (&*raw).read(&mut packet) {
        let tcp = &packet[usize::from(packet[0] & 15) * 4..length];
        let number = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().unwrap());
        if tcp[..2] == server.to_be_bytes() {
            let data = tcp.len() - usize::from(tcp[12] >> 4) * 4;
            last = Some((number(4).wrapping_add(u32::try_from(data).unwrap()), number(8)));
        }
    }
    last.unwrap()
}

#[test]
fn segment_out_of_window_does_not_reset_the_connection() {
    let stage = Stage::new(&[]).redirected();
    let app = echo(&stage.cable.pod);
    let to = at(POD[0], app);
    let [seen, raw] = [6, 255].map(|protocol| {
        inside(&stage.cable.outside, || {
            Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(protocol))).unwrap()
        })
    });
    seen.set_nonblocking(true).unwrap();
    let stream = inside(&stage.cable.outside, || connect(to));
    let from = stream.local_addr().unwrap().port();
    let mut caller = stage.client(stream);
    let mut is_answered = |what: &[u8]| {
        caller.write_all(what).and_then(|()| caller.flush()).unwrap();
        caller.read_exact(&mut vec![0; what.len()]).unwrap();
    };
    is_answered(b"before");
    let [source, destination]: [Ipv4Addr; 2] = [OUTSIDE[0], POD[0]].map(|ip| ip.parse().unwrap());
    let (server_next, own_next) = last_seen(&seen, app);
    // Far out of the window: what answers it, without knowing the connection, resets it.
    let far = own_next.wrapping_add(50_000_000);
    let packet = segment((source, from), (destination, app), far, server_next);
    raw.send_to(&packet, &SocketAddr::new(IpAddr::V4(destination), 0).into()).unwrap();
    is_answered(b"after");
    is_answered(b"and again");
}

#[test]
fn more_connections_pass_than_the_kernel_has_local_ports() {
    let cable = Cable::new();
    set(&cable.pod, "ipv4/ip_local_port_range", "40000\t40031");
    let stage = Stage::with(cable, &["--pod-ips", &POD.join(",")]).redirected();
    let listener = inside(&stage.cable.pod, || TcpListener::bind("[::]:8080").unwrap());
    serve_application(listener);
    let own = inside(&stage.cable.pod, || TcpListener::bind("[::]:8081").unwrap());
    serve_application(own);
    for ip in POD {
        // Each leaves its port in TIME_WAIT at the sidecar's side: the client ends first.
        for _ in 0..70 {
            assert_eq!(stage.ask(&stage.cable.outside, at(ip, 8080)).unwrap(), "heard: x");
        }
        // The application's own calls still find a port.
        let own = inside(&stage.cable.pod, || ask_plainly(&mut connect(at(ip, 8081)), b"x"));
        assert_eq!(own.unwrap(), "heard: x");
    }
}

/// An application that says from which address it is called.
fn says_who_calls(listener: TcpListener) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let caller = stream.peer_addr().unwrap().ip().to_canonical();
            drop(stream.write_all(caller.to_string().as_bytes()));
        }
    });
    address
}

#[test]
fn caller_of_the_mesh_is_no_loopback_caller_in_mode_explicit() {
    let cable = Cable::new();
    let app = inside(&cable.pod, || says_who_calls(TcpListener::bind("127.0.0.1:0").unwrap()));
    let serve = format!("8443={}", app.port());
    let pod_ips = POD.join(",");
    let args = ["--inbound", "0", "--serve", &serve, "--pod-ips", &pod_ips];
    let stage = Stage::with(cable, &args);
    for ip in POD {
        let set = stage.authority.issue(WEB);
        let mut caller = inside(&stage.cable.outside, || {
            client(connect(at(ip, 8443)), &stage.authority.pem(), Some(&set))
        });
        let mut heard = String::new();
        caller.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, POD[0]);
    }
}
