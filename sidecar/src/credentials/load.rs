//! Reads a whole set of credentials from one folder, and checks it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_contract::names::{CERTIFICATE_FILE, KEY_FILE, ROOTS_FILE};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use x509_parser::parse_x509_certificate;

use crate::file;
use crate::tls::{self, provider::provider};

/// A whole set, checked.
#[derive(Debug)]
pub struct Credentials {
    /// Our chain and key.
    pub key: Arc<CertifiedKey>,
    /// Whom peers must chain to.
    pub roots: Arc<RootCertStore>,
    /// For ports where both sides present certificates.
    pub mutual: Arc<ServerConfig>,
    /// For ports where only we do.
    pub server_only: Arc<ServerConfig>,
    /// When our certificate ends, in seconds since 1970.
    pub not_after: i64,
    /// Our certificate's serial number, for people.
    pub serial: String,
    /// The files themselves, so that an unchanged set is not published again.
    fingerprint: [Vec<u8>; 2],
}

/// Why a set cannot be used. No variant holds any of the key.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum Error {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: holds no {what} in PEM")]
    Pem { path: PathBuf, what: &'static str },
    #[error("{path}: {source}")]
    Root { path: PathBuf, source: rustls::Error },
    #[error("{CERTIFICATE_FILE} and {KEY_FILE} do not belong together: {0}")]
    Pair(rustls::Error),
    #[error("{CERTIFICATE_FILE} expired")]
    Expired,
    #[error("{CERTIFICATE_FILE} does not chain to a root in {ROOTS_FILE}: {0}")]
    Chain(rustls::Error),
    #[error("{ROOTS_FILE}: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    #[error("setting up TLS: {0}")]
    Tls(rustls::Error),
}

impl Credentials {
    /// Whether two sets are the same.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }

    /// Whether our certificate has ended.
    #[must_use]
    pub fn is_expired(&self, now: UnixTime) -> bool {
        i64::try_from(now.as_secs()).is_ok_and(|now| now >= self.not_after)
    }
}

/// Reads a set. The kubelet mounts files as links through `..data`, which it swaps at once: the
/// link is followed a single time, so that all three files are of one set.
///
/// # Errors
/// Names the file, and what is wrong with it.
pub fn load(folder: &Path, now: UnixTime) -> Result<Credentials, Error> {
    let data = folder.join("..data");
    let folder = data.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let (crt_path, ca_path) = (folder.join(CERTIFICATE_FILE), folder.join(ROOTS_FILE));
    let (crt, ca) = (read(&crt_path)?, read(&ca_path)?);
    let chain = certificates(&crt, &crt_path)?;
    let private = private_key(&folder.join(KEY_FILE))?;
    let roots = Arc::new(roots(&ca, &ca_path)?);
    let (not_after, serial) = end_and_serial(&chain, &crt_path)?;
    let provider = provider();
    let key = CertifiedKey::from_der(chain, private, &provider).map_err(Error::Pair)?;
    let key = Arc::new(key);
    let credentials = Credentials {
        mutual: tls::mutual(key.clone(), roots.clone())?,
        server_only: tls::server_only(key.clone()).map_err(Error::Tls)?,
        key,
        roots,
        not_after,
        serial,
        fingerprint: [crt, ca],
    };
    if credentials.is_expired(now) {
        return Err(Error::Expired);
    }
    verify_own_chain(&credentials, now)?;
    Ok(credentials)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    file::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let none = || Error::Pem { path: path.to_owned(), what: "certificate" };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(none)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let pem = read(path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_: rustls_pki_types::pem::Error| Error::Pem {
        path: path.to_owned(),
        what: "private key",
    })
}

fn roots(pem: &[u8], path: &Path) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for root in certificates(pem, path)? {
        store.add(root).map_err(|source| Error::Root { path: path.to_owned(), source })?;
    }
    Ok(store)
}

/// When our own certificate ends, and its serial number.
fn end_and_serial(chain: &[CertificateDer<'_>], path: &Path) -> Result<(i64, String), Error> {
    let none = || Error::Pem { path: path.to_owned(), what: "X.509 certificate" };
    let leaf = chain.first().ok_or_else(none)?;
    let (_, leaf) = parse_x509_certificate(leaf).map_err(|_| none())?;
    let serial = leaf.raw_serial().iter().map(|byte| format!("{byte:02X}")).collect();
    Ok((leaf.validity().not_after.timestamp(), serial))
}

/// A chain that does not lead to our own roots would be refused by every peer of ours; better
/// before it is used than after. It may be meant for clients, for servers, or for both.
fn verify_own_chain(credentials: &Credentials, now: UnixTime) -> Result<(), Error> {
    let Some((leaf, intermediates)) = credentials.key.cert.split_first() else {
        return Err(Error::Chain(rustls::Error::NoCertificatesPresented));
    };
    let provider = provider();
    let roots = credentials.roots.clone();
    let clients = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build()?;
    if clients.verify_client_cert(leaf, intermediates, now).is_ok() {
        return Ok(());
    }
    let parsed = ParsedCertificate::try_from(leaf).map_err(Error::Chain)?;
    let algorithms = provider.signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(
        &parsed,
        &credentials.roots,
        intermediates,
        now,
        algorithms,
    )
    .map_err(Error::Chain)
}
