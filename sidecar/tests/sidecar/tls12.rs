//! TLS 1.2, where a port allows it and only there; spoken by OpenSSL and by rustls.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use countersign_sidecar::tls::provider::provider_of_both_versions;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ProtocolVersion, SupportedCipherSuite, version};

use crate::authority::{Authority, Folder, WEB};
use crate::ends::Ends;
use crate::openssl::{Openssl, carries};
use crate::peer::{chain, client_of, connect, key, roots};
use crate::program::PATIENCE;
use crate::stream::{Peer, is_reset, rest};

const ALLOWED: &str = r#"{"default":{"minVersion":"1.2"}}"#;

/// Sends back so much, and ends.
fn echo(mut app: TcpStream, len: usize) {
    app.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = vec![0; len];
    app.read_exact(&mut heard).unwrap();
    app.write_all(&heard).unwrap();
    app.shutdown(Shutdown::Write).unwrap();
    drop(rest(&app));
}

fn much() -> Vec<u8> {
    (0..3_000_000_u32).map(|byte| (byte.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn openssl_moves_much_both_ways_with_every_suite_and_is_refused_on_ports_of_1_3() {
    let (much, mut ends) = (much(), Ends::with_policy(ALLOWED, &[]));
    let set = ends.authority.issue(WEB);
    let suites = [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ];
    for suite in suites {
        let listener = ends.behind.try_clone().unwrap();
        let len = much.len();
        let app = std::thread::spawn(move || echo(listener.accept().unwrap().0, len));
        let args = ["-tls1_2", "-cipher", suite];
        let heard = carries(ends.at, &ends.authority, &set, &args, &much).unwrap();
        assert!(heard == much, "{suite}: {} bytes", heard.len());
        app.join().unwrap();
        ends.sidecar.line("message", "connection");
    }
    let weak = ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"];
    assert!(carries(ends.at, &ends.authority, &set, &weak, b"x").is_err());
    assert_eq!(ends.sidecar.line("message", "refused")["reason"], "tls_incompatible");

    let mut strict = Ends::with_policy("{}", &[]);
    let said = carries(strict.at, &strict.authority, &set, &["-tls1_2"], b"x").unwrap_err();
    assert!(said.contains("protocol version"), "{said}");
    assert_eq!(strict.sidecar.line("message", "refused")["reason"], "tls_incompatible");
}

fn config(ends: &Ends, suite: SupportedCipherSuite) -> ClientConfig {
    let set = ends.authority.issue(WEB);
    let only =
        CryptoProvider { cipher_suites: vec![suite], ..(*provider_of_both_versions()).clone() };
    ClientConfig::builder_with_provider(Arc::new(only))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .unwrap()
        .with_root_certificates(roots(&ends.authority.pem()))
        .with_client_auth_cert(chain(&set), key(&set))
        .unwrap()
}

#[test]
fn ends_of_1_2_are_told_as_exactly_as_those_of_1_3() {
    for suite in provider_of_both_versions().cipher_suites.clone() {
        if format!("{suite:?}").contains("RSA") {
            continue;
        }
        let mut ends = Ends::with_policy(ALLOWED, &[]);
        let call = || Peer::shaken(connect(ends.at), client_of(config(&ends, suite)));
        let (mut peer, mut cut) = (call(), call());
        let (mut app, cut_app) = (ends.accept(), ends.accept());
        peer.send(&[7; 100_000]).unwrap();
        peer.end();
        assert_eq!(rest(&app).unwrap(), [7; 100_000], "{suite:?}");
        app.write_all(&[8; 100_000]).unwrap();
        app.shutdown(Shutdown::Write).unwrap();
        assert_eq!(peer.rest().unwrap(), [8; 100_000], "{suite:?}");
        ends.ended("closed");
        cut.send(b"half").unwrap();
        cut.fin();
        let mut heard = [0; 4];
        (&cut_app).read_exact(&mut heard).unwrap();
        assert!(is_reset(&rest(&cut_app)), "{suite:?}");
        ends.ended("truncated");
    }
}

#[test]
fn a_certificate_of_rsa_is_shown_with_the_suites_that_are_for_it() {
    let (customers, folder) = (Authority::new("public"), Folder::new());
    std::fs::create_dir(folder.path().join("old")).unwrap();
    let set = customers.issue_rsa("web.test");
    std::fs::write(folder.path().join("old/tls.crt"), set.crt).unwrap();
    std::fs::write(folder.path().join("old/tls.key"), set.key).unwrap();
    let policy = r#"{"default":{"mode":"server","minVersion":"1.2","certificates":["old"]}}"#;
    let ends = Ends::with_policy(policy, &["--certificates", folder.path().to_str().unwrap()]);
    for suite in provider_of_both_versions().cipher_suites.clone() {
        let only =
            CryptoProvider { cipher_suites: vec![suite], ..(*provider_of_both_versions()).clone() };
        let config = ClientConfig::builder_with_provider(Arc::new(only))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .unwrap()
            .with_root_certificates(roots(&customers.pem()))
            .with_no_client_auth();
        let shaken = Peer::try_shaken(connect(ends.at), client_of(config));
        assert_eq!(shaken.is_ok(), !format!("{suite:?}").contains("ECDSA"), "{suite:?}");
        let Ok(mut peer) = shaken else { continue };
        let app = ends.accept();
        peer.send(b"hello").unwrap();
        peer.end();
        assert_eq!(rest(&app).unwrap(), b"hello");
    }
}

#[test]
fn who_can_do_better_than_1_2_does() {
    let ends = Ends::with_policy(ALLOWED, &[]);
    let config = |ends: &Ends| {
        let set = ends.authority.issue(WEB);
        ClientConfig::builder_with_provider(provider_of_both_versions())
            .with_protocol_versions(&[&version::TLS12, &version::TLS13])
            .unwrap()
            .with_root_certificates(roots(&ends.authority.pem()))
            .with_client_auth_cert(chain(&set), key(&set))
            .unwrap()
    };
    let peer = Peer::shaken(connect(ends.at), client_of(config(&ends)));
    assert_eq!(peer.tls.unwrap().protocol_version(), Some(ProtocolVersion::TLSv1_3));
}

#[test]
fn a_wish_to_negotiate_again_is_cut() {
    let mut ends = Ends::with_policy(ALLOWED, &[]);
    let set = ends.authority.issue(WEB);
    let mut openssl = Openssl::call(ends.at, &ends.authority, &set, &["-tls1_2"]);
    let mut app = ends.accept();
    openssl.types("before\n");
    app.read_exact(&mut [0; 7]).unwrap();
    openssl.types("R\n");
    assert!(is_reset(&rest(&app)));
    let line = ends.ended("tls_protocol");
    assert!(line["detail"].as_str().unwrap().contains("negotiate again"), "{line}");
}
