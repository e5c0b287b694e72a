//! What the targets share: credentials that were made for them and open nothing (`throwaway`).

use std::sync::{Arc, LazyLock};

use countersign_sidecar::credentials::{Credentials, Files};
use countersign_sidecar::tls::{self, Answer};
use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;
use rustls_pki_types::UnixTime;

/// Whose the throw-away certificate is.
pub const WHO: &str = "spiffe://fuzz.test/ns/throw/sa/away";

/// The whole set, with a revocation list.
#[must_use]
pub fn files() -> Files {
    Files {
        certificate: include_bytes!("../throwaway/tls.crt").to_vec(),
        key: include_bytes!("../throwaway/tls.key").to_vec(),
        roots: include_bytes!("../throwaway/ca.crt").to_vec(),
        revocations: include_bytes!("../throwaway/ca.crl").to_vec(),
        name: "tls.crt",
    }
}

/// A moment at which all of it is valid, and always the same.
#[must_use]
pub fn now() -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_800_000_000))
}

/// The set, checked.
pub fn credentials() -> &'static Credentials {
    static CREDENTIALS: LazyLock<Credentials> = LazyLock::new(|| {
        Credentials::of(&files(), Some(WHO), None, None, now()).expect("they are good")
    });
    &CREDENTIALS
}

/// How a port of ours answers.
#[must_use]
pub fn port(is_mutual: bool, allows_tls12: bool) -> Arc<ServerConfig> {
    let set = credentials();
    let answer = Answer {
        certificates: Arc::new(SingleCertAndKey::from(set.key.clone())),
        clients: is_mutual.then(|| set.trust.clone()),
        allows_tls12,
        alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    tls::server_configuration(answer).expect("it is ours")
}
