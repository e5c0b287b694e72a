//! A sidecar whose two ends are both in the test's hands: the application's and the peer's.

use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::Value;

use crate::authority::{Authority, Folder, Set, WEB};
use crate::peer::{client_side, connect, server_side};
use crate::program::{PATIENCE, Port, Sidecar, until};
use crate::stream::Peer;

/// What lies between the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The peer is a client of TLS, the application a server.
    Inbound,
    /// The peer is a server of TLS, the application a client.
    Outbound,
    /// The peer is a client that does not speak TLS, on a port that allows that.
    Permissive,
    /// The same, on a port that is left as it is.
    Off,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Inbound, Self::Outbound, Self::Permissive, Self::Off];
    pub(crate) const TLS: [Self; 2] = [Self::Inbound, Self::Outbound];

    pub(crate) fn speaks_tls(self) -> bool {
        Self::TLS.contains(&self)
    }

    fn policy(self) -> &'static str {
        match self {
            Self::Permissive => r#"{"default":{"mode":"permissive"}}"#,
            Self::Off => r#"{"default":{"mode":"off"}}"#,
            Self::Inbound | Self::Outbound => "{}",
        }
    }
}

/// A sidecar, and where the connections that it makes arrive.
pub(crate) struct Ends {
    pub(crate) kind: Kind,
    pub(crate) sidecar: Sidecar,
    pub(crate) authority: Authority,
    pub(crate) at: SocketAddr,
    pub(crate) folder: Folder,
    pub(crate) behind: TcpListener,
    idle: usize,
    _port: Port,
}

impl Ends {
    pub(crate) fn of(kind: Kind) -> Self {
        Self::with(kind, &[])
    }

    pub(crate) fn with(kind: Kind, more: &[&str]) -> Self {
        let authority = Authority::new("root");
        Self::before(authority, kind, kind.policy(), more)
    }

    /// An inbound sidecar with this policy.
    pub(crate) fn with_policy(policy: &str, more: &[&str]) -> Self {
        Self::before(Authority::new("root"), Kind::Inbound, policy, more)
    }

    fn before(authority: Authority, kind: Kind, policy: &str, more: &[&str]) -> Self {
        let folder = Folder::new();
        folder.swap("first", &authority.issue(WEB));
        let policy_file = folder.path().join("policy.json");
        std::fs::write(&policy_file, policy).unwrap();
        let behind = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, admin) = (Port::new(), Port::new());
        let (at, to) = (port.address.to_string(), behind.local_addr().unwrap().to_string());
        let credentials = folder.path().to_str().unwrap();
        let mut args = match kind {
            Kind::Outbound => vec!["outbound", "--peer", WEB],
            _ => vec!["inbound", "--policy", policy_file.to_str().unwrap()],
        };
        args.extend(["--listen", &at, "--to", &to, "--credentials", credentials]);
        // A client that does not speak TLS and says nothing is let through once this is over.
        if !more.contains(&"--workers") {
            args.extend(["--workers", "1"]);
        }
        args.extend(["--first-byte-timeout", "200ms"].iter().filter(|_| kind == Kind::Permissive));
        args.extend(more);
        let sidecar = Sidecar::start(&args, admin.address).ready();
        let mut ends = Self {
            kind,
            sidecar,
            authority,
            at: port.address,
            folder,
            behind,
            idle: 0,
            _port: port,
        };
        ends.idle = ends.sidecar.descriptors();
        ends
    }

    /// A connection through the sidecar: its peer's end, and its application's.
    pub(crate) fn connect(&self) -> (Peer, TcpStream) {
        self.connect_as(&self.authority.issue(WEB))
    }

    /// The same, of a peer that presents `set`.
    pub(crate) fn connect_as(&self, set: &Set) -> (Peer, TcpStream) {
        match self.kind {
            Kind::Inbound => {
                let tls = client_side(&self.authority.pem(), Some(set));
                let peer = Peer::shaken(connect(self.at), tls);
                (peer, self.accept())
            }
            Kind::Outbound => {
                let app = connect(self.at);
                let tls = server_side(set, &self.authority.pem());
                (Peer::shaken(self.accept(), tls), app)
            }
            Kind::Permissive | Kind::Off => (Peer::plain(connect(self.at)), self.accept()),
        }
    }

    pub(crate) fn accept(&self) -> TcpStream {
        let (stream, _) = self.behind.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Connects as somebody who must be refused for `reason`.
    pub(crate) fn refuses(&mut self, set: &Set, reason: &str) {
        let tls = client_side(&self.authority.pem(), Some(set));
        // In TLS 1.3 a client learns only after its handshake that it is refused.
        if let Ok(mut peer) = Peer::try_shaken(connect(self.at), tls) {
            assert!(peer.rest().is_err(), "{reason}");
        }
        let line = self.sidecar.line("message", "refused");
        assert_eq!(line["reason"], reason, "{line}");
    }

    /// Waits until a connection has ended, and checks how; its line.
    pub(crate) fn ended(&mut self, how: &str) -> Value {
        let line = self.sidecar.line("message", "connection");
        assert_eq!(line["end"], how, "{:?}: {line}", self.kind);
        let direction = if self.kind == Kind::Outbound { "outbound" } else { "inbound" };
        assert_eq!(line["direction"], direction);
        line
    }

    /// Nothing that was opened for a connection is open any longer.
    pub(crate) fn leaks_nothing(&self) {
        self.leaks_at_most(0);
    }

    /// The same, but for so many.
    pub(crate) fn leaks_at_most(&self, others: usize) {
        until("every descriptor is closed", || {
            (self.sidecar.descriptors() <= self.idle + others).then_some(())
        });
    }
}
