//! What the sidecar does in the place of the kubelet: the probes and lifecycle handlers of a pod,
//! which could not reach the application themselves where its ports are mutual. One JSON value.
//!
//! `{"token":"…","probes":{"/probe/app/liveness":{"timeoutSeconds":1,
//!   "check":{"http":{"port":8080,"path":"/healthz"}}}}}`
//!
//! Whoever asks must know the token: the kubelet has it from the pod's own spec. Nobody else may
//! have an application stopped through its `preStop` handler, or learn how it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The longest document, in bytes: it is one environment variable, of which Linux takes 128 KiB.
pub const LONGEST: usize = 64 * 1024;

/// So many probes one sidecar answers.
pub const MOST: usize = 256;

/// The header that bears the token.
pub const TOKEN_HEADER: &str = "Countersign-Probe";

/// How long a handler may take that has no time of its own, in seconds.
pub const LONGEST_HANDLER: u32 = 3600;

/// Every probe of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProbeDocument {
    /// What whoever asks must know.
    pub token: String,
    /// By the path that is asked for, see [`path`].
    #[serde(default)]
    pub probes: BTreeMap<String, Probe>,
}

/// What is done, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Probe {
    /// How long the kubelet waits for the answer.
    pub timeout_seconds: u32,
    /// Whether the application is called on loopback, as the sidecar calls it, and not at the pod's
    /// address, as the kubelet does.
    #[serde(default, skip_serializing_if = "is_false")]
    pub loopback: bool,
    /// Whether any answer will do, as for lifecycle handlers.
    #[serde(default, skip_serializing_if = "is_false")]
    pub any_status: bool,
    /// What is done.
    pub check: Check,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Check {
    /// `httpGet`
    Http(HttpCheck),
    /// `tcpSocket`
    Tcp(TcpCheck),
    /// `grpc`
    Grpc(GrpcCheck),
}

/// A GET that must be answered with 200 to 399.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HttpCheck {
    /// The application's port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Whether TLS is spoken.
    #[serde(default, skip_serializing_if = "is_false")]
    pub https: bool,
    /// Headers that are sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Header>,
}

/// One header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(missing_docs, reason = "each name says what it is")]
pub struct Header {
    pub name: String,
    pub value: String,
}

/// A connection that must come about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TcpCheck {
    /// The application's port.
    pub port: u16,
}

/// A call of `grpc.health.v1.Health/Check` that must be answered with `SERVING`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GrpcCheck {
    /// The application's port.
    pub port: u16,
    /// Which service is asked about; the whole server, if empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
}

impl Check {
    /// The application's port.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Http(HttpCheck { port, .. })
            | Self::Tcp(TcpCheck { port })
            | Self::Grpc(GrpcCheck { port, .. }) => *port,
        }
    }
}

/// Which probe of a container, or which handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name is the field's own")]
pub enum Kind {
    Liveness,
    Readiness,
    Startup,
    PostStart,
    PreStop,
}

/// The path by which a probe is asked for.
#[must_use]
pub fn path(container: &str, kind: Kind) -> String {
    let (room, name) = match kind {
        Kind::Liveness => ("probe", "liveness"),
        Kind::Readiness => ("probe", "readiness"),
        Kind::Startup => ("probe", "startup"),
        Kind::PostStart => ("lifecycle", "postStart"),
        Kind::PreStop => ("lifecycle", "preStop"),
    };
    format!("/{room}/{container}/{name}")
}

/// Why a document cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum InvalidProbes {
    #[error("the token has fewer than 16 characters")]
    Token,
    #[error("{0} probes are more than {MOST}")]
    TooMany(usize),
    #[error("{0}: no such path is asked for")]
    Path(String),
    #[error("{0}: the timeout must be between 1 and 86400 seconds")]
    Timeout(String),
    #[error("{0}: the port must not be 0")]
    Port(String),
}

impl ProbeDocument {
    /// Whether it can be used.
    ///
    /// # Errors
    /// Says what is wrong in it.
    pub fn check(&self) -> Result<(), InvalidProbes> {
        if self.token.len() < 16 {
            return Err(InvalidProbes::Token);
        }
        if self.probes.len() > MOST {
            return Err(InvalidProbes::TooMany(self.probes.len()));
        }
        self.probes.iter().try_for_each(|(path, probe)| probe.check_at(path))
    }
}

impl Probe {
    fn check_at(&self, path: &str) -> Result<(), InvalidProbes> {
        if !path.starts_with("/probe/") && !path.starts_with("/lifecycle/") {
            return Err(InvalidProbes::Path(path.to_owned()));
        }
        if !(1..=86400).contains(&self.timeout_seconds) {
            return Err(InvalidProbes::Timeout(path.to_owned()));
        }
        if self.check.port() == 0 {
            return Err(InvalidProbes::Port(path.to_owned()));
        }
        Ok(())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn tcp(port: u16, timeout_seconds: u32) -> Probe {
        let check = Check::Tcp(TcpCheck { port });
        Probe { timeout_seconds, loopback: false, any_status: false, check }
    }

    fn of(token: &str, path: &str, probe: Probe) -> ProbeDocument {
        ProbeDocument {
            token: token.to_owned(),
            probes: BTreeMap::from([(path.to_owned(), probe)]),
        }
    }

    #[test]
    fn a_document_reads_as_it_was_written() {
        let header = Header { name: "Host".to_owned(), value: "shop".to_owned() };
        let http = HttpCheck {
            port: 8080,
            path: "/healthz?full".to_owned(),
            https: true,
            headers: vec![header],
        };
        let grpc = GrpcCheck { port: 9000, service: String::new() };
        for check in [Check::Http(http), Check::Grpc(grpc), Check::Tcp(TcpCheck { port: 1 })] {
            let probe = Probe { timeout_seconds: 1, loopback: true, any_status: true, check };
            let document = of(TOKEN, &path("app", Kind::Startup), probe);
            assert_eq!(document.check(), Ok(()));
            let text = serde_json::to_string(&document).unwrap();
            assert_eq!(serde_json::from_str::<ProbeDocument>(&text).unwrap(), document, "{text}");
        }
    }

    #[test]
    fn each_probe_has_a_path_of_its_own() {
        let cases = [
            (Kind::Liveness, "/probe/app/liveness"),
            (Kind::Readiness, "/probe/app/readiness"),
            (Kind::Startup, "/probe/app/startup"),
            (Kind::PostStart, "/lifecycle/app/postStart"),
            (Kind::PreStop, "/lifecycle/app/preStop"),
        ];
        for (kind, expected) in cases {
            assert_eq!(path("app", kind), expected);
        }
    }

    #[test]
    fn what_is_no_document_is_refused_by_name() {
        let at = "/probe/app/liveness";
        let cases = [
            (of("short", at, tcp(1, 1)), "token"),
            (of(TOKEN, "/metrics", tcp(1, 1)), "/metrics"),
            (of(TOKEN, at, tcp(0, 1)), "port"),
            (of(TOKEN, at, tcp(1, 0)), "timeout"),
            (of(TOKEN, at, tcp(1, 86401)), "timeout"),
        ];
        for (document, named) in cases {
            let error = document.check().expect_err(named).to_string();
            assert!(error.contains(named), "{error}");
        }
        let many = (0..=MOST).map(|number| (format!("/probe/{number}/liveness"), tcp(1, 1)));
        let many = ProbeDocument { token: TOKEN.to_owned(), probes: many.collect() };
        assert_eq!(many.check(), Err(InvalidProbes::TooMany(257)));
        for text in [r#"{"token":"t","prob":{}}"#, r#"{"probes":{}}"#] {
            assert!(serde_json::from_str::<ProbeDocument>(text).is_err(), "{text}");
        }
    }
}
