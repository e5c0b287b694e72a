//! What a port's policy says: its mode, what is spoken inside, which certificate is shown; and what
//! happens when the policy changes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::Arc;

use rustls::{ClientConnection, Connection};

use crate::authority::{Authority, Folder, Set, WEB};
use crate::ends::{Ends, Kind};
use crate::network::{Cable, POD, inside};
use crate::peer::{
    ask, ask_plainly, client, client_config, client_of, client_side, connect, serve_application,
    server_config,
};
use crate::program::Sidecar;
use crate::stream::{Peer, rest};

#[test]
fn ports_of_every_mode_may_be_in_one_pod() {
    let (cable, authority) = (Cable::new(), Authority::new("root"));
    let folder = Folder::of(&authority.issue(WEB));
    let listen = || serve_application(TcpListener::bind("[::]:0").unwrap()).port();
    let [mutual, server, permissive, off] = [(); 4].map(|()| inside(&cable.pod, listen));
    let policy = format!(
        r#"{{"default":{{"mode":"mutual"}},"ports":{{"{server}":{{"mode":"server"}},
            "{permissive}":{{"mode":"permissive"}},"{off}":{{"mode":"off"}}}}}}"#
    );
    folder.put("policy.json", &policy);
    let file = folder.path().join("policy.json");
    let credentials = folder.path().to_str().unwrap();
    let args = ["pod", "--credentials", credentials, "--policy", file.to_str().unwrap()];
    let admin = SocketAddr::from(([127, 0, 0, 1], 14190));
    let mut sidecar = inside(&cable.pod, || Sidecar::start(&args, admin)).ready();
    let laid = inside(&cable.pod, || {
        crate::program::program(&["redirect", "--inbound", "14143"]).status().unwrap()
    });
    assert!(laid.success());
    let set = authority.issue(WEB);
    let secretly = |port: u16, set: Option<&Set>| {
        inside(&cable.outside, || {
            let at = SocketAddr::new(POD[0].parse().unwrap(), port);
            ask(&mut client(connect(at), &authority.pem(), set), b"x").is_ok()
        })
    };
    let plainly = |port: u16, said: &[u8]| {
        inside(&cable.outside, || {
            let at = SocketAddr::new(POD[1].parse().unwrap(), port);
            ask_plainly(&mut connect(at), said).is_ok()
        })
    };
    for (port, without, plain) in
        [(mutual, false, false), (server, true, false), (permissive, false, true)]
    {
        assert!(secretly(port, Some(&set)), "{port} with a certificate");
        assert_eq!(secretly(port, None), without, "{port} without a certificate");
        assert_eq!(plainly(port, b"x"), plain, "{port} without TLS");
    }
    // Whatever is said to it, even if it begins like TLS.
    assert!(plainly(off, b"x") && plainly(off, &[0x16, 3, 1, 0, 4]));
    for reason in ["no_client_certificate", "plaintext", "plaintext", "no_client_certificate"] {
        assert_eq!(sidecar.line("message", "refused")["reason"], reason);
    }
}

#[test]
fn plaintext_does_not_pass_a_permissive_port_that_allows_only_some() {
    let policy = format!(r#"{{"default":{{"mode":"permissive","allow":["{WEB}"]}}}}"#);
    let mut ends = Ends::with_policy(&policy, &[]);
    let (mut peer, app) = ends.connect();
    peer.end();
    assert_eq!(rest(&app).unwrap(), b"");
    assert!(ask_plainly(&mut connect(ends.at), b"x").is_err());
    assert_eq!(ends.sidecar.line("message", "refused")["reason"], "peer_not_allowed");
}

fn offering(ends: &Ends, names: &[&str]) -> ClientConnection {
    let mut config = client_config(&ends.authority.pem(), Some(&ends.authority.issue(WEB)));
    config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
    client_of(config)
}

#[test]
fn a_protocol_is_agreed_on_that_both_sides_speak() {
    let mut ends = Ends::with_policy(r#"{"default":{"alpn":["h2","http/1.1"]}}"#, &[]);
    let cases: [(&[&str], Option<&str>); 4] = [
        (&["http/1.1", "h2"], Some("h2")),
        (&["spdy/3", "http/1.1"], Some("http/1.1")),
        (&["h2"], Some("h2")),
        (&[], None),
    ];
    for (offered, agreed) in cases {
        let peer = Peer::shaken(connect(ends.at), offering(&ends, offered));
        let tls = peer.tls.unwrap();
        assert_eq!(tls.alpn_protocol(), agreed.map(str::as_bytes), "{offered:?}");
    }
    let refused = Peer::try_shaken(connect(ends.at), offering(&ends, &["spdy/3"]));
    assert!(refused.is_err_and(|error| error.to_string().contains("NoApplicationProtocol")));
    assert_eq!(ends.sidecar.line("message", "refused")["reason"], "tls_incompatible");
}

#[test]
fn a_port_without_protocols_of_its_own_agrees_on_none() {
    let ends = Ends::of(Kind::Inbound);
    let peer = Peer::shaken(connect(ends.at), offering(&ends, &["h2"]));
    assert_eq!(peer.tls.unwrap().alpn_protocol(), None);
}

#[test]
fn what_the_application_speaks_is_offered_to_an_upstream() {
    let ends = Ends::with(Kind::Outbound, &["--alpn", "h2,http/1.1"]);
    let mut config = server_config(&ends.authority.issue(WEB), &ends.authority.pem());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let _app = connect(ends.at);
    let tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
    let peer = Peer::shaken(ends.accept(), tls);
    let Some(Connection::Server(tls)) = peer.tls else { unreachable!() };
    assert_eq!(tls.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(tls.server_name(), None, "an address is no name");
}

/// A folder of certificates: one for `shop.example`, one for all below `wild.example`.
fn certificates(authority: &Authority) -> Folder {
    let folder = Folder::new();
    for (name, dns) in [("shop", "shop.example"), ("wild", "*.wild.example")] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        let set = authority.issue_named(dns);
        std::fs::write(folder.path().join(name).join("tls.crt"), set.crt).unwrap();
        std::fs::write(folder.path().join(name).join("tls.key"), set.key).unwrap();
    }
    folder
}

#[test]
fn the_certificate_is_shown_that_bears_the_name_that_is_asked_for() {
    let customers = Authority::new("public");
    let folder = certificates(&customers);
    let policy = r#"{"default":{"mode":"server","certificates":["shop","wild"]}}"#;
    let args = ["--certificates", folder.path().to_str().unwrap()];
    let ends = Ends::with_policy(policy, &args);
    let call = |name: &str| {
        let config = Arc::new(client_config(&customers.pem(), None));
        let tls = ClientConnection::new(config, name.to_owned().try_into().unwrap()).unwrap();
        Peer::try_shaken(connect(ends.at), tls).map(|_| ()).map_err(|error| error.to_string())
    };
    for name in ["shop.example", "SHOP.example", "a.wild.example"] {
        assert_eq!(call(name), Ok(()), "{name}");
    }
    // To all others the first is shown, which they refuse.
    for name in ["other.example", "a.b.wild.example", "wild.example", "127.0.0.1"] {
        assert!(call(name).unwrap_err().contains("not valid for name"), "{name}");
    }
}

#[test]
fn a_policy_that_changes_is_in_force_at_once_and_one_that_is_wrong_is_not() {
    let mut ends = Ends::of(Kind::Inbound);
    ends.sidecar.line("message", "credentials in use");
    let anonymous = |ends: &Ends| {
        let tls = client_side(&ends.authority.pem(), None);
        Peer::try_shaken(connect(ends.at), tls).and_then(|mut peer| {
            peer.end();
            ends.accept().shutdown(Shutdown::Write).unwrap();
            peer.rest()
        })
    };
    ends.folder.put("policy.json", r#"{"default":{"mode":"server"}}"#);
    ends.sidecar.line("message", "credentials in use");
    assert!(anonymous(&ends).is_ok());
    for (wrong, names) in [
        (r#"{"default":{"mode":"mutal"}}"#, "mutal"),
        (r#"{"default":{"certificates":["none"]}}"#, "\"none\""),
        ("", "EOF"),
    ] {
        ends.folder.put("policy.json", wrong);
        let line = ends.sidecar.line("message", "policy rejected");
        let problem = line["problem"].as_str().unwrap();
        assert!(problem.contains("--policy") && problem.contains(names), "{line}");
        assert!(anonymous(&ends).is_ok(), "the old one stays");
        assert_eq!(ends.sidecar.get("/readyz").0, 200);
    }
    ends.folder.put("policy.json", r#"{"default":{"mode":"server","allow":[]}}"#);
    ends.sidecar.line("message", "credentials in use");
    let tls = client_side(&ends.authority.pem(), None);
    let mut peer = Peer::shaken(connect(ends.at), tls);
    assert!(peer.rest().unwrap_err().to_string().contains("AccessDenied"));
    let (mut read, mut write) = (Vec::new(), connect(ends.at));
    write.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    drop(write.read_to_end(&mut read));
    assert!(read.is_empty());
}
