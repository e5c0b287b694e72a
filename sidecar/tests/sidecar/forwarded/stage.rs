//! A sidecar before an HTTP server, and clients of it.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use aws_lc_rs::digest::{SHA256, digest};

use crate::authority::{Authority, Folder, Set, WEB};
use crate::ends::Ends;
use crate::peer::chain;
use crate::program::{Port, Sidecar, until};
use crate::stream::Peer;

/// What most of these tests have for a policy.
pub(crate) const POLICY: &str =
    r#"{"default":{"forwardedClientCert":true,"alpn":["h2","http/1.1"]}}"#;

/// A server that is a program of its own, until this goes.
pub(crate) struct Server {
    child: Child,
    pub(crate) at: SocketAddr,
    _folder: Folder,
    _port: Port,
}

impl Server {
    /// nginx, of HTTP/1.1, or of HTTP/2 if it is asked for.
    pub(crate) fn nginx(how: &str) -> Self {
        Self::start(|folder, port| {
            let config = include_str!("nginx.conf");
            let config = config.replace("PORT", &port.port().to_string()).replace("HOW", how);
            std::fs::write(folder.join("nginx.conf"), config).unwrap();
            let mut command = Command::new("/usr/sbin/nginx");
            command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(folder);
            command
        })
    }

    /// busybox, which knows HTTP/1.0 and files.
    pub(crate) fn busybox() -> Self {
        Self::start(|folder, port| {
            let mut command = Command::new("busybox");
            command.args(["httpd", "-f", "-p", &port.to_string(), "-h"]).arg(folder);
            command
        })
    }

    fn start(command: impl Fn(&Path, SocketAddr) -> Command) -> Self {
        let folder = Folder::new();
        std::fs::write(folder.path().join("served.txt"), "served\n".repeat(1000)).unwrap();
        let port = Port::new();
        let child = command(folder.path(), port.address).stderr(Stdio::null()).spawn().unwrap();
        let at = port.address;
        until("the server listens", || TcpStream::connect(at).ok());
        Self { child, at, _folder: folder, _port: port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A sidecar before a server.
pub(crate) struct Stage {
    pub(crate) authority: Authority,
    pub(crate) sidecar: Sidecar,
    pub(crate) at: SocketAddr,
    pub(crate) folder: Folder,
    _port: Port,
}

impl Stage {
    pub(crate) fn before(app: SocketAddr, policy: &str) -> Self {
        Self::with(app, policy, &[])
    }

    pub(crate) fn with(app: SocketAddr, policy: &str, more: &[&str]) -> Self {
        let authority = Authority::new("root");
        let folder = Folder::of(&authority.issue(WEB));
        let file = folder.path().join("policy.json");
        std::fs::write(&file, policy).unwrap();
        let (port, admin) = (Port::new(), Port::new());
        let (at, to) = (port.address.to_string(), app.to_string());
        let credentials = folder.path().to_str().unwrap();
        let args = ["inbound", "--listen", &at, "--to", &to, "--credentials", credentials];
        let policy = ["--policy", file.to_str().unwrap()];
        let sidecar = Sidecar::start(&[&args[..], &policy, more].concat(), admin.address).ready();
        Self { authority, sidecar, at: port.address, folder, _port: port }
    }

    /// What curl prints, as somebody who presents `set`, if anything.
    pub(crate) fn curl(&self, set: Option<&Set>, args: &[&str]) -> String {
        let output = self.try_curl(set, args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn try_curl(&self, set: Option<&Set>, args: &[&str]) -> Output {
        let client = set.map(Folder::of);
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "30"]);
        command.arg("--resolve").arg(format!("web.test:{}:127.0.0.1", self.at.port()));
        command.arg("--cacert").arg(self.folder.path().join("ca.crt"));
        if let Some(client) = &client {
            command.arg("--cert").arg(client.path().join("tls.crt"));
            command.arg("--key").arg(client.path().join("tls.key"));
        }
        command.args(args).output().unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://web.test:{}{path}", self.at.port())
    }
}

/// What the application is told of a client of the mesh.
pub(crate) fn told(set: &Set, id: &str) -> String {
    let subject = "CN=rcgen self signed cert";
    format!("By={WEB};Hash={};Subject=\"{subject}\";URI={id};DNS=web.test", hash(set))
}

/// The digest of a client's certificate.
pub(crate) fn hash(set: &Set) -> String {
    let digest = digest(&SHA256, &chain(set)[0]);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a message's head, and nothing behind it.
pub(crate) fn head(from: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        from.read_exact(&mut byte).unwrap_or_else(|error| {
            panic!("{error} after {:?}", String::from_utf8_lossy(&head));
        });
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Reads as much as is expected.
pub(crate) fn expect(from: &mut impl Read, expected: &str) {
    let mut read = vec![0; expected.len()];
    from.read_exact(&mut read).unwrap();
    assert_eq!(String::from_utf8_lossy(&read), expected);
}

/// The lines of a head that name who calls.
pub(crate) fn callers(head: &str) -> Vec<&str> {
    let is_one = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.replace('_', "-").trim() == "x-forwarded-client-cert"
    };
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(name, _)| is_one(name)).map(|(_, value)| value.trim()).collect()
}

/// Ends as one should, whether or not the other side is still there.
pub(crate) fn goes(mut peer: Peer) {
    if let Some(tls) = &mut peer.tls {
        tls.send_close_notify();
        while tls.wants_write() && tls.write_tls(&mut peer.sock).is_ok() {}
    }
}

/// Both ends of a connection of the mesh, in the test's hands, and what the application must be told.
pub(crate) fn both_ends(ends: &Ends) -> (Peer, TcpStream, String) {
    let set = ends.authority.issue(WEB);
    let (peer, app) = ends.connect_as(&set);
    (peer, app, told(&set, WEB))
}
