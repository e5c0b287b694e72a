//! Credentials in one file, and credentials that are somebody else's.

use std::io::Read;

use crate::authority::{Authority, Folder, Set, WEB};
use crate::ends::{Ends, Kind};
use crate::peer::{application, ask, client, connect};
use crate::program::{Port, Sidecar};

const OTHER: &str = "spiffe://cluster.local/ns/shop/sa/other";

fn bundle(folder: &Folder, set: &Set) {
    folder.put("ca.crt", &set.ca);
    folder.put("credentialbundle.pem", &(set.key.clone() + &set.crt));
}

fn inbound(folder: &Folder, port: &Port, more: &[&str]) -> Sidecar {
    let (at, to) = (port.address.to_string(), application().to_string());
    let credentials = folder.path().to_str().unwrap();
    let args = ["inbound", "--listen", &at, "--to", &to, "--credentials", credentials];
    Sidecar::start(&[&args[..], more].concat(), Port::new().address)
}

#[test]
fn a_bundle_of_key_and_chain_is_as_good_as_two_files_and_may_change() {
    let (authority, folder, port) = (Authority::new("root"), Folder::new(), Port::new());
    let between = authority.below("between");
    let below = between.issue(WEB);
    bundle(&folder, &Set { crt: below.crt + &between.pem(), ca: authority.pem(), key: below.key });
    let mut sidecar = inbound(&folder, &port, &[]).ready();
    sidecar.line("message", "credentials in use");
    let set = authority.issue(WEB);
    let answers = || {
        let mut caller = client(connect(port.address), &authority.pem(), Some(&set));
        ask(&mut caller, b"x").unwrap();
        caller.conn.peer_certificates().unwrap().len()
    };
    assert_eq!(answers(), 2);
    bundle(&folder, &authority.issue(WEB));
    sidecar.line("message", "credentials in use");
    assert_eq!(answers(), 1);
    let (one, other) = (authority.issue(WEB), authority.issue(WEB));
    for (text, problem) in [
        (one.crt.clone(), "credentialbundle.pem: there is no PEM section PRIVATE KEY"),
        (one.key.clone(), "credentialbundle.pem: there is no PEM section CERTIFICATE"),
        (one.key + &other.crt, "do not belong together"),
    ] {
        folder.put("credentialbundle.pem", &text);
        let line = sidecar.line("message", "credentials rejected");
        assert!(line["problem"].as_str().unwrap().contains(problem), "{line}");
        assert_eq!(answers(), 1);
    }
}

#[test]
fn credentials_of_another_identity_are_refused_by_name() {
    let (authority, port) = (Authority::new("root"), Port::new());
    let folder = Folder::of(&authority.issue(OTHER));
    let sidecar = inbound(&folder, &port, &["--identity", WEB]);
    let (status, why) = sidecar.get("/readyz");
    assert!(status == 503 && why.contains(OTHER) && why.contains(WEB), "{status} {why}");
    folder.write(&authority.issue(WEB));
    let mut sidecar = sidecar.ready();
    folder.put("tls.crt", "");
    folder.write(&authority.issue(OTHER));
    let line = loop {
        let line = sidecar.line("message", "credentials rejected");
        if line["keeps_old"] == true && line["problem"].as_str().unwrap().contains(OTHER) {
            break line;
        }
    };
    assert!(line["problem"].as_str().unwrap().contains(WEB), "{line}");
    assert_eq!(sidecar.get("/readyz").0, 200);
}

#[test]
fn the_identity_may_be_asked_for_of_both_sides() {
    for kind in Kind::TLS {
        let ends = Ends::with(kind, &["--identity", WEB]);
        let (mut peer, app) = ends.connect();
        peer.send(b"x").unwrap();
        (&app).read_exact(&mut [0]).unwrap();
    }
}
