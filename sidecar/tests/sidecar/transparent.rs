//! Calls of an application that does not know of its sidecar, in network namespaces of their own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;

use countersign_contract::discovery::Kind;

use crate::authority::{Authority, Folder, Set, WEB};
use crate::discovery::{Discovery, PORT, endpoint};
use crate::network::{Cable, OUTSIDE, POD, inside};
use crate::peer::{
    ask, ask_plainly, client, connect, serve_application, server_config, server_on, try_connect,
};
use crate::program::{Sidecar, copied, program_at};
use crate::redirect::{at, redirect};

const CALLER: &str = "spiffe://cluster.local/ns/desk/sa/caller";
pub(crate) const OPERATOR: &str =
    "spiffe://cluster.local/ns/countersign-system/sa/countersign-operator";

/// The user that the rules leave alone.
const SIDECAR: u32 = 14100;

/// A pod whose calls are redirected, and a discovery.
pub(crate) struct Stage {
    cable: Cable,
    authority: Authority,
    folder: Folder,
    pub(crate) sidecar: Sidecar,
    discovery: Option<Discovery>,
}

impl Stage {
    fn new() -> Self {
        Self::with(&[], OPERATOR)
    }

    /// With more arguments, and a discovery that proves to be somebody.
    pub(crate) fn with(more: &[&str], discovery: &str) -> Self {
        let (cable, authority) = (Cable::new(), Authority::new("root"));
        let folder = Folder::of(&authority.issue(CALLER));
        folder.put("labels", "app=\"caller\"\n");
        folder.put("policies.json", &policies("Allow"));
        let discovery = Discovery::start(&cable.outside, &authority.issue(discovery));
        redirect(&cable, &["--inbound", "14143", "--outbound", "14140"]);
        let sidecar = pod(&cable, &folder, more).ready();
        Self { cable, authority, folder, sidecar, discovery: Some(discovery) }
    }

    pub(crate) fn discovery(&self) -> &Discovery {
        self.discovery.as_ref().unwrap()
    }

    /// A server in the mesh, outside of the pod.
    pub(crate) fn server(&self, ip: &str, identity: &str) -> SocketAddr {
        let listener = self.listener(ip);
        server_on(listener, &self.authority.issue(identity), &self.authority.pem())
    }

    pub(crate) fn listener(&self, ip: &str) -> TcpListener {
        inside(&self.cable.outside, || TcpListener::bind(at(ip, 0)).unwrap())
    }

    /// What the application in the pod is answered.
    pub(crate) fn call(&self, to: SocketAddr) -> std::io::Result<String> {
        call_in(&self.cable, to)
    }

    fn refusals(&mut self, reason: &str) -> serde_json::Value {
        self.sidecar.line("reason", reason)
    }
}

fn call_in(cable: &Cable, to: SocketAddr) -> std::io::Result<String> {
    inside(&cable.pod, || ask_plainly(&mut try_connect(to)?, b"x"))
}

fn policies(unmeshed: &str) -> String {
    format!(
        r#"{{"revision":"rev-{unmeshed}","defaultAllow":[{{"trustDomains":["cluster.local"]}}],
            "defaultUnmeshed":"{unmeshed}","policies":[
            {{"name":"none","podSelector":{{"matchLabels":{{"app":"caller"}}}},"ports":{{"9":{{"mode":"off"}}}},
              "allow":[{{"namespaces":["desk"]}}]}}]}}"#
    )
}

fn pod(cable: &Cable, folder: &Folder, more: &[&str]) -> Sidecar {
    let copy = copied(folder.path());
    let path = folder.path().to_str().unwrap();
    let discovery = at(OUTSIDE[0], PORT).to_string();
    let [policies, labels] = ["policies.json", "labels"].map(|name| format!("{path}/{name}"));
    let args = ["pod", "--credentials", path, "--policies", &policies, "--labels", &labels];
    let mesh = ["--outbound", "14140", "--discovery", &discovery, "--discovery-peer", OPERATOR];
    let pod = ["--pod", "caller-0", "--pod-ips", &POD.join(",")];
    let args = [&args[..], &mesh, &pod, more].concat();
    inside(&cable.pod, || {
        let mut command = program_at(&copy, &args);
        command.uid(SIDECAR).gid(SIDECAR);
        Sidecar::of(command, at("127.0.0.1", 14190))
    })
}

/// An address of a Service: nobody has it.
pub(crate) fn service(place: usize) -> SocketAddr {
    at(["10.203.0.99", "fd03::99"][place], 80)
}

#[test]
fn a_call_to_a_service_goes_by_mutual_tls_to_who_discovery_names() {
    let mut stage = Stage::new();
    for (place, ip) in OUTSIDE.iter().enumerate() {
        let server = stage.server(ip, WEB);
        stage.discovery().say(service(place), Kind::Service, vec![endpoint(server, WEB)]);
        assert_eq!(stage.call(service(place)).unwrap(), "heard: x");
        let line = stage.sidecar.line("message", "connection");
        assert_eq!(line["peer"], WEB);
        assert_eq!(line["to"], format!("Service shop/web at {server}"));
        // The pod itself, by its own address.
        stage.discovery().say(server, Kind::Pod, vec![endpoint(server, WEB)]);
        assert_eq!(stage.call(server).unwrap(), "heard: x");
        assert_eq!(stage.sidecar.line("message", "connection")["peer"], WEB);
    }
    assert_eq!(stage.discovery().pods(), ["caller-0"]);
}

#[test]
fn whoever_proves_to_be_somebody_else_is_told_nothing() {
    let mut stage = Stage::new();
    let imposter = stage.server(OUTSIDE[0], "spiffe://cluster.local/ns/shop/sa/mallory");
    stage.discovery().say(service(0), Kind::Service, vec![endpoint(imposter, WEB)]);
    assert!(stage.call(service(0)).is_err());
    let line = stage.refusals("peer_unexpected");
    assert!(line["detail"].as_str().unwrap().contains(WEB), "{line}");
    // Beside somebody who is right, it costs a try, and that is told.
    let right = stage.server(OUTSIDE[0], WEB);
    let both = vec![endpoint(imposter, WEB), endpoint(right, WEB)];
    stage.discovery().say(service(0), Kind::Service, both);
    // The answer comes a moment after it was said.
    crate::program::until("the other one is called", || stage.call(service(0)).ok());
    for _ in 0..8 {
        assert_eq!(stage.call(service(0)).unwrap(), "heard: x");
    }
}

#[test]
fn an_endpoint_that_does_not_answer_is_passed_over() {
    let stage = Stage::new();
    let gone = stage.listener(OUTSIDE[0]).local_addr().unwrap();
    let right = stage.server(OUTSIDE[0], WEB);
    let both = vec![endpoint(gone, WEB), endpoint(right, WEB)];
    stage.discovery().say(service(0), Kind::Service, both);
    for _ in 0..8 {
        assert_eq!(stage.call(service(0)).unwrap(), "heard: x");
    }
}

#[test]
fn a_service_that_nobody_answers_for_is_refused_by_name() {
    let mut stage = Stage::new();
    stage.discovery().say(service(0), Kind::Service, vec![]);
    assert!(stage.call(service(0)).is_err());
    stage.refusals("no_endpoints");
}

#[test]
fn what_is_outside_of_the_mesh_is_called_as_it_is_unless_the_policy_forbids_it() {
    let mut stage = Stage::new();
    let plain = serve_application(stage.listener(OUTSIDE[0]));
    stage.discovery().say(plain, Kind::Outside, vec![]);
    stage.discovery().say(service(0), Kind::Service, vec![endpoint(plain, "")]);
    for to in [plain, service(0)] {
        assert_eq!(stage.call(to).unwrap(), "heard: x");
    }
    let greets = plain_greeter(stage.listener(OUTSIDE[0]));
    stage.discovery().say(greets, Kind::Outside, vec![]);
    let mut live = inside(&stage.cable.pod, || connect(greets));
    live.read_exact(&mut [0; 5]).unwrap();
    stage.folder.put("policies.json", &policies("Deny"));
    stage.discovery().report(|report| report.policy_revision == "rev-Deny");
    for to in [plain, service(0)] {
        assert!(stage.call(to).is_err());
        stage.refusals("unmeshed_not_allowed");
    }
    // What was there before goes, too.
    assert!(live.read(&mut [0]).is_err());
    stage.sidecar.line("end", "unmeshed_not_allowed");
}

#[test]
fn what_is_not_known_yet_waits_and_is_never_called_as_it_is() {
    let mut stage = Stage::with(&["--discovery-timeout", "300ms"], OPERATOR);
    let plain = serve_application(stage.listener(OUTSIDE[0]));
    assert!(stage.call(plain).is_err());
    let line = stage.refusals("destination_unknown");
    assert!(line["detail"].as_str().unwrap().contains("in time"), "{line}");
    let mut patient = Stage::new();
    let server = patient.server(OUTSIDE[0], WEB);
    std::thread::scope(|scope| {
        let cable = &patient.cable;
        let call = scope.spawn(|| call_in(cable, service(0)));
        patient.discovery().was_asked(service(0));
        patient.discovery().say(service(0), Kind::Service, vec![endpoint(server, WEB)]);
        assert_eq!(call.join().unwrap().unwrap(), "heard: x");
    });
    assert_eq!(patient.sidecar.line("message", "connection")["peer"], WEB);
}

#[test]
fn while_discovery_is_away_what_is_known_goes_on_and_what_is_not_waits() {
    let mut stage = Stage::with(&["--discovery-timeout", "300ms"], OPERATOR);
    let server = stage.server(OUTSIDE[0], WEB);
    stage.discovery().say(service(0), Kind::Service, vec![endpoint(server, WEB)]);
    assert_eq!(stage.call(service(0)).unwrap(), "heard: x");
    stage.discovery = None;
    assert_eq!(stage.call(service(0)).unwrap(), "heard: x");
    assert!(stage.call(server).is_err());
    stage.refusals("destination_unknown");
    // Another one, which is asked for all that is followed.
    let set = stage.authority.issue(OPERATOR);
    let discovery = Discovery::start(&stage.cable.outside, &set);
    discovery.was_asked(service(0));
    discovery.was_asked(server);
    discovery.say(server, Kind::Pod, vec![endpoint(server, WEB)]);
    assert_eq!(stage.call(server).unwrap(), "heard: x");
}

#[test]
fn known_outside_addresses_need_no_operator() {
    let mut stage = Stage::with(&["--discovery-timeout", "300ms"], OPERATOR);
    let plain = serve_application(stage.listener(OUTSIDE[0]));
    let received = |stage: &mut Stage, is_whole: bool| {
        crate::program::until("the ranges are received", || {
            let line = stage.sidecar.line("message", "ranges of the cluster received");
            (line["whole"] == is_whole).then_some(())
        });
    };
    // A first question shows that the stream is there.
    assert!(stage.call(service(0)).is_err());
    stage.discovery().was_asked(service(0));
    let ours = ["10.203.0.2/32", "fd03::2/128", "10.203.0.99/32"];
    stage.discovery().say_ranges(&ours, true);
    received(&mut stage, true);
    assert_eq!(stage.call(plain).unwrap(), "heard: x");
    assert!(!stage.discovery().has_heard_of(plain), "it is outside of all ranges");
    // The operator vouches for them no longer.
    stage.discovery().say_ranges(&[], false);
    received(&mut stage, false);
    assert!(stage.call(plain).is_err());
    stage.refusals("destination_unknown");
    stage.discovery().say_ranges(&ours, true);
    received(&mut stage, true);
    stage.discovery = None;
    let other = serve_application(stage.listener(OUTSIDE[0]));
    assert_eq!(stage.call(other).unwrap(), "heard: x");
    assert!(stage.call(service(0)).is_err(), "what may be of the cluster waits");
}

#[test]
fn ranges_without_our_own_address_are_not_used() {
    let mut stage = Stage::with(&["--discovery-timeout", "300ms"], OPERATOR);
    let plain = serve_application(stage.listener(OUTSIDE[0]));
    assert!(stage.call(service(0)).is_err());
    stage.discovery().was_asked(service(0));
    stage.discovery().say_ranges(&["10.244.0.0/16"], true);
    let line = stage
        .sidecar
        .line("message", "ranges of the cluster are not used: every address is asked about");
    assert!(line["error"].as_str().unwrap().contains("our own address"), "{line}");
    assert!(stage.call(plain).is_err());
    stage.refusals("destination_unknown");
}

#[test]
fn a_long_name_of_a_refused_caller_is_cut_and_ends_no_stream() {
    let stage = Stage::new();
    let long = format!("spiffe://partner.example/ns/{}/sa/x", "y".repeat(4000));
    let caller = stage.authority.issue(&long);
    let application =
        serve_application(inside(&stage.cable.pod, || TcpListener::bind(at(POD[0], 0)).unwrap()));
    let refused = inside(&stage.cable.outside, || {
        let stream = connect(application);
        ask(&mut client(stream, &stage.authority.pem(), Some(&caller)), b"x")
    });
    assert!(refused.is_err());
    let report = stage.discovery().report(|report| !report.denials.is_empty());
    assert_eq!(report.denials[0].peer, long[..256]);
    assert_eq!(stage.discovery().pods(), ["caller-0"], "the stream is still the first one");
}

#[test]
fn a_discovery_that_is_somebody_else_is_not_asked() {
    let mut stage = Stage::with(&["--discovery-timeout", "300ms"], WEB);
    let plain = serve_application(stage.listener(OUTSIDE[0]));
    stage.discovery().say(plain, Kind::Outside, vec![]);
    assert!(stage.call(plain).is_err());
    stage.refusals("destination_unknown");
    assert!(stage.discovery().pods().is_empty());
}

#[test]
fn the_next_call_goes_where_the_last_answer_says() {
    let mut stage = Stage::new();
    let identities = [WEB, "spiffe://cluster.local/ns/shop/sa/api"];
    for identity in identities {
        let server = stage.server(OUTSIDE[0], identity);
        stage.discovery().say(service(0), Kind::Service, vec![endpoint(server, identity)]);
        // The answer may come a moment after it was said.
        crate::program::until("the answer is in use", || {
            let answer = stage.call(service(0)).ok()?;
            assert_eq!(answer, "heard: x");
            let line = stage.sidecar.line("message", "connection");
            (line["peer"] == identity).then_some(())
        });
    }
}

#[test]
fn a_server_that_speaks_first_is_heard() {
    let stage = Stage::new();
    let (listener, set) = (stage.listener(OUTSIDE[0]), stage.authority.issue(WEB));
    let server = greeter(listener, &set);
    stage.discovery().say(service(0), Kind::Service, vec![endpoint(server, WEB)]);
    let heard = inside(&stage.cable.pod, || {
        let mut stream = connect(service(0));
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).map(|()| heard)
    });
    assert_eq!(&heard.unwrap(), b"hello");
}

/// A server that says hello before it is asked anything.
fn plain_greeter(listener: TcpListener) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                drop(stream.write_all(b"hello"));
                drop(stream.read(&mut [0]));
            });
        }
    });
    address
}

/// A server of TLS that says hello before it is asked anything.
fn greeter(listener: TcpListener, set: &Set) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    let config = std::sync::Arc::new(server_config(set, &set.ca));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let side = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(side, stream);
            drop(stream.write_all(b"hello").and_then(|()| stream.flush()));
            drop(stream.read(&mut [0]));
        }
    });
    address
}

#[test]
fn a_pod_that_calls_itself_through_its_service_reaches_itself() {
    let mut stage = Stage::new();
    let app =
        inside(&stage.cable.pod, || serve_application(TcpListener::bind(at(POD[0], 0)).unwrap()));
    stage.discovery().say(service(0), Kind::Service, vec![endpoint(app, CALLER)]);
    assert_eq!(stage.call(service(0)).unwrap(), "heard: x");
    assert_eq!(stage.sidecar.line("message", "connection")["to"], app.to_string());
}

#[test]
fn who_is_refused_by_a_policy_is_told_to_the_operator() {
    let mut stage = Stage::new();
    let app =
        inside(&stage.cable.pod, || serve_application(TcpListener::bind(at(POD[0], 0)).unwrap()));
    let call = |identity: &str| {
        let set = stage.authority.issue(identity);
        inside(&stage.cable.outside, || {
            ask(&mut client(connect(app), &stage.authority.pem(), Some(&set)), b"x")
        })
    };
    assert!(call(WEB).is_err());
    assert_eq!(call("spiffe://cluster.local/ns/desk/sa/other").unwrap(), "heard: x");
    let report = stage.discovery().report(|report| !report.denials.is_empty());
    let denial = &report.denials[0];
    assert_eq!(
        (denial.peer.as_str(), denial.port, denial.audited),
        (WEB, app.port().into(), false)
    );
    assert_eq!((denial.policies.as_slice(), denial.count), (&["none".to_owned()][..], 1));
    let line = stage.refusals("peer_not_allowed");
    assert!(line["detail"].as_str().unwrap().ends_with("by none"), "{line}");
}

#[test]
fn nobody_comes_to_the_outbound_side_from_outside() {
    let stage = Stage::new();
    let reached = inside(&stage.cable.outside, || {
        POD.iter().any(|ip| TcpStream::connect(at(ip, 14140)).is_ok())
    });
    assert!(!reached);
}
