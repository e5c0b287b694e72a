//! OpenSSL as the upstream that the sidecar calls.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::authority::{Authority, Folder, Set, WEB};
use crate::peer::connect;
use crate::program::{Port, Sidecar};

const OTHER: &str = "spiffe://cluster.local/ns/shop/sa/other";

/// `openssl s_server`, which sends each line back reversed; until this goes.
struct Server {
    child: Child,
    at: String,
    _folder: Folder,
}

impl Server {
    fn start(set: &Set, more: &[&str]) -> Self {
        let folder = Folder::of(set);
        let file = |name: &str| folder.path().join(name);
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:0", "-rev", "-cert"]);
        command.arg(file("tls.crt")).arg("-key").arg(file("tls.key")).arg("-CAfile");
        command.arg(file("ca.crt")).args(["-Verify", "2", "-verify_return_error"]).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("this test needs openssl");
        let said = BufReader::new(child.stdout.take().unwrap());
        let at = said
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned));
        Self { child, at: at.expect("it listens"), _folder: folder }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A sidecar that calls it.
fn outbound(authority: &Authority, server: &Server) -> (Sidecar, Port, Folder) {
    let folder = Folder::of(&authority.issue(WEB));
    let (port, admin) = (Port::new(), Port::new());
    let (at, credentials) = (port.address.to_string(), folder.path().to_str().unwrap());
    let args = ["outbound", "--listen", &at, "--to", &server.at, "--peer", OTHER];
    let sidecar =
        Sidecar::start(&[&args[..], &["--credentials", credentials]].concat(), admin.address);
    (sidecar.ready(), port, folder)
}

fn reverses(app: &mut TcpStream, line: &str) {
    app.write_all(line.as_bytes()).unwrap();
    app.write_all(b"\n").unwrap();
    let mut heard = vec![0; line.len() + 1];
    app.read_exact(&mut heard).unwrap();
    let wanted: String = line.chars().rev().chain(['\n']).collect();
    assert_eq!(String::from_utf8(heard).unwrap(), wanted);
}

#[test]
fn openssl_answers_in_every_suite_whether_or_not_it_hands_out_tickets() {
    let authority = Authority::new("root");
    let suites =
        ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
    for suite in suites {
        for tickets in ["0", "2", "20"] {
            let args = ["-ciphersuites", suite, "-num_tickets", tickets];
            let server = Server::start(&authority.issue(OTHER), &args);
            let (mut sidecar, port, _folder) = outbound(&authority, &server);
            let mut app = connect(port.address);
            for line in ["hello", "to", &"everybody ".repeat(800)] {
                reverses(&mut app, line);
            }
            app.shutdown(Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            app.read_to_end(&mut rest).unwrap();
            assert_eq!(sidecar.line("message", "connection")["end"], "closed", "{suite}");
        }
    }
}

#[test]
fn an_openssl_that_can_only_speak_1_2_is_refused() {
    let authority = Authority::new("root");
    let server = Server::start(&authority.issue(OTHER), &["-tls1_2"]);
    let (mut sidecar, port, _folder) = outbound(&authority, &server);
    let read = connect(port.address).read(&mut [0]);
    assert!(read.is_err(), "{read:?}");
    let reason = sidecar.line("message", "refused")["reason"].clone();
    assert!(
        ["tls_incompatible", "refused_by_peer"].contains(&reason.as_str().unwrap()),
        "{reason}"
    );
}
