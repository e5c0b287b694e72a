//! Outbound connections: who must answer, and what is said of those who are somebody else.

use std::net::SocketAddr;

use crate::authority::{Authority, Folder, Validity, WEB};
use crate::peer::{ask_plainly, connect, server};
use crate::program::{Port, Sidecar};

const OTHER: &str = "spiffe://cluster.local/ns/shop/sa/other";

/// A sidecar that calls a server in the name of an application.
struct Stage {
    sidecar: Sidecar,
    at: SocketAddr,
    _port: Port,
    _folder: Folder,
}

fn stage(authority: &Authority, to: &str, peer: &str) -> Stage {
    let folder = Folder::of(&authority.issue(WEB));
    let (port, admin) = (Port::new(), Port::new());
    let at = port.address.to_string();
    let credentials = folder.path().to_str().unwrap();
    let args =
        ["outbound", "--listen", &at, "--to", to, "--peer", peer, "--credentials", credentials];
    let sidecar = Sidecar::start(&args, admin.address).ready();
    Stage { sidecar, at: port.address, _port: port, _folder: folder }
}

impl Stage {
    fn passes(&self) {
        assert_eq!(ask_plainly(&mut connect(self.at), b"hello").unwrap(), "heard: hello");
    }

    /// The application must not take a refusal for an answer that is empty.
    fn refuses(mut self, reason: &str) {
        assert_eq!(self.sidecar.refusals("outbound", reason), Some(0.0));
        let answer = ask_plainly(&mut connect(self.at), b"hello");
        assert!(answer.is_err(), "{reason}: {answer:?}");
        let line = self.sidecar.line("reason", reason);
        assert_eq!((&line["level"], &line["direction"]), (&"WARN".into(), &"outbound".into()));
        assert_eq!(self.sidecar.refusals("outbound", reason), Some(1.0));
    }
}

#[test]
fn a_server_with_the_expected_spiffe_id_answers() {
    let authority = Authority::new("root");
    let to = server(&authority.issue(OTHER), &authority.pem()).to_string();
    let mut stage = stage(&authority, &to, OTHER);
    stage.passes();
    let line = stage.sidecar.line("message", "connection");
    assert_eq!((&line["peer"], &line["direction"]), (&OTHER.into(), &"outbound".into()));
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&5.into(), &12.into()));
}

#[test]
fn a_server_with_the_expected_dns_name_answers() {
    let authority = Authority::new("root");
    let port = server(&authority.issue(OTHER), &authority.pem()).port();
    stage(&authority, &format!("localhost:{port}"), "dns:web.test").passes();
}

#[test]
fn a_server_with_another_spiffe_id_is_refused() {
    let authority = Authority::new("root");
    let to = server(&authority.issue(OTHER), &authority.pem()).to_string();
    stage(&authority, &to, WEB).refuses("peer_unexpected");
}

#[test]
fn a_server_with_another_dns_name_is_refused() {
    let authority = Authority::new("root");
    let to = server(&authority.issue(OTHER), &authority.pem()).to_string();
    stage(&authority, &to, "dns:other.test").refuses("peer_unexpected");
}

#[test]
fn a_server_of_a_foreign_authority_is_refused() {
    let (authority, foreign) = (Authority::new("root"), Authority::new("foreign"));
    let to = server(&foreign.issue(OTHER), &authority.pem()).to_string();
    stage(&authority, &to, OTHER).refuses("peer_untrusted");
}

#[test]
fn a_server_whose_certificate_expired_is_refused() {
    let authority = Authority::new("root");
    let to = server(&authority.issue_for(OTHER, Validity::Past), &authority.pem()).to_string();
    stage(&authority, &to, OTHER).refuses("peer_expired");
}

#[test]
fn a_server_that_refuses_us_is_named_as_the_one_who_refused() {
    let (authority, foreign) = (Authority::new("root"), Authority::new("foreign"));
    let to = server(&authority.issue(OTHER), &foreign.pem()).to_string();
    stage(&authority, &to, OTHER).refuses("refused_by_peer");
}

#[test]
fn a_server_that_does_not_listen_is_refused_by_name() {
    let (authority, nobody) = (Authority::new("root"), Port::new());
    stage(&authority, &nobody.address.to_string(), OTHER).refuses("dial_failed");
}

#[test]
fn a_name_that_nobody_knows_is_refused_by_name() {
    let authority = Authority::new("root");
    stage(&authority, "nobody.invalid:1", OTHER).refuses("resolve_failed");
}
