//! Inbound connections: who may pass, and what is said of those who may not.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};

use crate::authority::{Authority, Folder, Set, Validity, WEB};
use crate::peer::{application, ask, client, connect};
use crate::program::{PATIENCE, Port, Sidecar};

/// A sidecar before an application, and the authority that both ends trust.
struct Stage {
    authority: Authority,
    sidecar: Sidecar,
    at: SocketAddr,
    _port: Port,
    _folder: Folder,
}

fn stage(more: &[&str]) -> Stage {
    stage_before(application(), more)
}

fn stage_before(app: SocketAddr, more: &[&str]) -> Stage {
    let authority = Authority::new("root");
    let folder = Folder::of(&authority.issue(WEB));
    let (port, admin) = (Port::new(), Port::new());
    let (at, to) = (port.address.to_string(), app.to_string());
    let credentials = folder.path().to_str().unwrap();
    let mut args = vec!["inbound", "--listen", &at, "--to", &to, "--credentials", credentials];
    args.extend(more);
    let sidecar = Sidecar::start(&args, admin.address).ready();
    Stage { authority, sidecar, at: port.address, _port: port, _folder: folder }
}

impl Stage {
    /// Makes a call as somebody who must be refused for `reason`.
    fn refuses(mut self, set: Option<&Set>, reason: &str) {
        assert_eq!(self.sidecar.refusals("inbound", reason), Some(0.0));
        let mut caller = client(connect(self.at), &self.authority.pem(), set);
        let answer = ask(&mut caller, b"let me in");
        assert!(answer.is_err(), "{reason}: {answer:?}");
        self.is_refused(reason);
    }

    fn is_refused(&mut self, reason: &str) {
        let line = self.sidecar.line("reason", reason);
        assert_eq!((&line["level"], &line["direction"]), (&"WARN".into(), &"inbound".into()));
        assert!(line["client"].is_string() && line["detail"].is_string(), "{line}");
        assert_eq!(self.sidecar.refusals("inbound", reason), Some(1.0));
    }
}

#[test]
fn a_client_of_the_same_authority_reaches_the_application_and_may_end_its_request_first() {
    let mut stage = stage(&[]);
    let id = "spiffe://cluster.local/ns/shop/sa/db";
    let set = stage.authority.issue(id);
    let mut caller = client(connect(stage.at), &stage.authority.pem(), Some(&set));
    assert_eq!(ask(&mut caller, b"hello").unwrap(), "heard: hello");
    let line = stage.sidecar.line("message", "connection");
    assert_eq!(line["peer"], id);
    assert_eq!(line["direction"], "inbound");
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&5.into(), &12.into()));
    let opened = "countersign_sidecar_connections_opened_total{direction=\"inbound\"}";
    assert_eq!(stage.sidecar.metric(opened), Some(1.0));
}

#[test]
fn several_workers_serve_the_same_port() {
    let stage = stage(&["--workers", "2"]);
    let set = stage.authority.issue(WEB);
    for _ in 0..16 {
        let mut caller = client(connect(stage.at), &stage.authority.pem(), Some(&set));
        assert_eq!(ask(&mut caller, b"x").unwrap(), "heard: x");
    }
}

#[test]
fn a_large_transfer_arrives_whole() {
    let stage = stage(&[]);
    let set = stage.authority.issue(WEB);
    let mut caller = client(connect(stage.at), &stage.authority.pem(), Some(&set));
    let request = vec![b'x'; 8 * 1024 * 1024];
    assert_eq!(ask(&mut caller, &request).unwrap().len(), request.len() + "heard: ".len());
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    stage(&[]).refuses(None, "no_client_certificate");
}

#[test]
fn a_client_of_a_foreign_authority_is_refused() {
    let set = Authority::new("foreign").issue(WEB);
    stage(&[]).refuses(Some(&set), "peer_untrusted");
}

#[test]
fn a_client_of_an_authority_that_only_bears_the_same_name_is_refused() {
    let set = Authority::new("root").issue(WEB);
    stage(&[]).refuses(Some(&set), "peer_untrusted");
}

#[test]
fn a_client_whose_certificate_expired_is_refused() {
    let stage = stage(&[]);
    let set = stage.authority.issue_for(WEB, Validity::Past);
    stage.refuses(Some(&set), "peer_expired");
}

#[test]
fn a_client_whose_certificate_is_not_valid_yet_is_refused() {
    let stage = stage(&[]);
    let set = stage.authority.issue_for(WEB, Validity::Future);
    stage.refuses(Some(&set), "peer_not_yet_valid");
}

#[test]
fn a_client_is_told_by_an_alert_why_it_is_refused() {
    let stage = stage(&[]);
    let set = stage.authority.issue_for(WEB, Validity::Past);
    let mut caller = client(connect(stage.at), &stage.authority.pem(), Some(&set));
    let error = caller.flush().and_then(|()| caller.read(&mut [0])).unwrap_err();
    assert!(error.to_string().contains("CertificateExpired"), "{error}");
}

#[test]
fn plaintext_is_refused_before_the_application_sees_it() {
    let mut stage = stage(&[]);
    connect(stage.at).write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    stage.is_refused("plaintext");
}

#[test]
fn a_client_that_says_nothing_is_refused() {
    let mut stage = stage(&["--handshake-timeout", "200ms"]);
    let _silent = connect(stage.at);
    stage.is_refused("first_byte_timeout");
}

#[test]
fn a_client_that_stops_in_the_middle_of_the_handshake_is_refused() {
    let mut stage = stage(&["--handshake-timeout", "200ms"]);
    let mut slow = connect(stage.at);
    slow.write_all(&[0x16, 0x03, 0x01]).unwrap();
    stage.is_refused("handshake_timeout");
}

#[test]
fn a_client_that_breaks_off_in_the_handshake_is_refused() {
    let mut stage = stage(&[]);
    let mut caller = connect(stage.at);
    caller.write_all(&[0x16, 0x03, 0x01]).unwrap();
    caller.shutdown(Shutdown::Both).unwrap();
    stage.is_refused("handshake_aborted");
}

#[test]
fn what_only_begins_like_tls_is_refused() {
    let mut stage = stage(&[]);
    let mut caller = connect(stage.at);
    caller.write_all(&[0x16, 0x03, 0x01, 0, 4, 9, 9, 9, 9]).unwrap();
    stage.is_refused("tls_protocol");
}

#[test]
fn an_application_that_does_not_listen_is_named_in_the_refusal() {
    let nobody = Port::new();
    let stage = stage_before(nobody.address, &[]);
    let set = stage.authority.issue(WEB);
    stage.refuses(Some(&set), "dial_failed");
}

/// A stage whose policy holds for the port of its application.
fn stage_with_policy(policy: impl Fn(u16) -> String) -> Stage {
    let app = application();
    let folder = Folder::new();
    let file = folder.path().join("policy.json");
    std::fs::write(&file, policy(app.port())).unwrap();
    stage_before(app, &["--policy", file.to_str().unwrap()])
}

#[test]
fn a_client_that_the_policy_does_not_name_is_refused() {
    let stage = stage_with_policy(|_| format!(r#"{{"default":{{"allow":["{WEB}"]}}}}"#));
    let (pem, web) = (stage.authority.pem(), stage.authority.issue(WEB));
    let mut caller = client(connect(stage.at), &pem, Some(&web));
    assert_eq!(ask(&mut caller, b"x").unwrap(), "heard: x");
    let other = stage.authority.issue("spiffe://cluster.local/ns/shop/sa/other");
    stage.refuses(Some(&other), "peer_not_allowed");
}

#[test]
fn a_port_for_customers_asks_for_no_certificate() {
    let stage =
        stage_with_policy(|port| format!(r#"{{"ports":{{"{port}":{{"mode":"server"}}}}}}"#));
    let mut caller = client(connect(stage.at), &stage.authority.pem(), None);
    assert_eq!(ask(&mut caller, b"x").unwrap(), "heard: x");
}

#[test]
fn a_request_that_was_cut_off_never_looks_whole_to_the_application() {
    let app = TcpListener::bind("127.0.0.1:0").unwrap();
    let stage = stage_before(app.local_addr().unwrap(), &[]);
    let set = stage.authority.issue(WEB);
    let mut caller = client(connect(stage.at), &stage.authority.pem(), Some(&set));
    caller.write_all(b"pay 10").unwrap();
    caller.flush().unwrap();
    let (mut stream, _) = app.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = [0; 6];
    stream.read_exact(&mut request).unwrap();
    // Whoever sits between can end a TCP stream, but cannot forge a close_notify.
    drop(caller);
    let error = stream.read(&mut request).expect_err("not the end of the request");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}
