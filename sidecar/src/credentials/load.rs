//! Makes a set of credentials of its files, and checks it before anybody uses it.

use std::path::PathBuf;
use std::sync::Arc;

use countersign_contract::access::Authorities;
use countersign_contract::names::{CERTIFICATE_FILE, KEY_FILE, REVOCATIONS_FILE, ROOTS_FILE};
use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use x509_parser::parse_x509_certificate;

use super::files::Files;
use crate::tls::{InvalidDeviceRoots, InvalidList, Peer, Trust, provider::provider};

/// A whole set, checked.
#[derive(Debug)]
pub struct Credentials {
    /// Our chain and key.
    pub key: Arc<CertifiedKey>,
    /// Whom peers must chain to, and who of them was revoked.
    pub trust: Arc<Trust>,
    /// When our certificate ends, in seconds since 1970.
    pub not_after: u64,
    /// Our certificate's serial number, for people.
    pub serial: String,
    /// What `trust` was made of, so that it is kept while that stays the same.
    trusted: Trusted,
}

/// What a `Trust` is made of: roots, revocation lists, and which CAs vouch for which names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trusted {
    roots: Vec<u8>,
    revocations: Vec<u8>,
    authorities: Option<Authorities>,
}

/// Why a set cannot be used. No variant holds any of the key.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum Error {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{0}: swapped again and again while it was read")]
    Swapped(PathBuf),
    #[error("{file}: holds no {what} in PEM")]
    Pem { file: &'static str, what: &'static str },
    #[error("{ROOTS_FILE}: {0}")]
    Root(rustls::Error),
    #[error("{REVOCATIONS_FILE}: {0}")]
    Revocations(#[from] InvalidList),
    #[error("{CERTIFICATE_FILE} and {KEY_FILE} do not belong together: {0}")]
    Pair(rustls::Error),
    #[error("{CERTIFICATE_FILE} expired")]
    Expired,
    #[error("{CERTIFICATE_FILE} does not chain to a root in {ROOTS_FILE}: {0}")]
    Chain(rustls::Error),
    #[error("{CERTIFICATE_FILE} is of {found}, and not of --identity {wanted}")]
    Identity { found: String, wanted: String },
    #[error("--certificates: {name}: {source}")]
    Other { name: String, source: Box<Self> },
    #[error("--policy: certificates names {0:?}, of which --certificates has no folder")]
    NoSuchCertificate(String),
    #[error("--policy: {0}")]
    Policy(String),
    #[error("--policy: {0}")]
    DeviceRoots(#[from] InvalidDeviceRoots),
    #[error("setting up TLS: {0}")]
    Tls(rustls::Error),
}

impl Error {
    /// Whether only the policy is wrong: the credentials beside it are in use.
    pub(super) fn is_of_policy(&self) -> bool {
        matches!(self, Self::Policy(_) | Self::NoSuchCertificate(_) | Self::DeviceRoots(_))
    }
}

impl Credentials {
    /// Checks a set. What `before` trusted is kept, with what it remembers, if nothing changed in it.
    ///
    /// # Errors
    /// Names the file, and what is wrong with it.
    pub fn of(
        files: &Files,
        identity: Option<&str>,
        authorities: Option<&Authorities>,
        before: Option<&Self>,
        now: UnixTime,
    ) -> Result<Self, Error> {
        let key = pair(files)?;
        let (not_after, serial) = end_and_serial(&key.cert, files.name)?;
        let trusted = Trusted {
            roots: files.roots.clone(),
            revocations: files.revocations.clone(),
            authorities: authorities.cloned(),
        };
        let trust = match before.filter(|before| before.trusted == trusted) {
            Some(before) => before.trust.clone(),
            None => Arc::new(trust(&trusted)?),
        };
        let credentials = Self { key, trust, not_after, serial, trusted };
        if credentials.is_expired(now) {
            return Err(Error::Expired);
        }
        let peer = credentials.own(now)?;
        match identity.filter(|wanted| peer.spiffe_id() != Some(wanted)) {
            Some(wanted) => {
                Err(Error::Identity { found: peer.to_string(), wanted: wanted.to_owned() })
            }
            None => Ok(credentials),
        }
    }

    /// The same credentials, where another policy says which CAs vouch for which names.
    ///
    /// # Errors
    /// When the roots that it names cannot be read.
    pub(super) fn with(&self, authorities: Option<&Authorities>) -> Result<Self, Error> {
        let trusted = Trusted { authorities: authorities.cloned(), ..self.trusted.clone() };
        let trust = match trusted == self.trusted {
            true => self.trust.clone(),
            false => Arc::new(trust(&trusted)?),
        };
        let (key, serial) = (self.key.clone(), self.serial.clone());
        Ok(Self { key, trust, not_after: self.not_after, serial, trusted })
    }

    /// A chain that does not lead to our own roots would be refused by every peer of ours; better
    /// before it is used than after. It may be meant for clients, for servers, or for both.
    fn own(&self, now: UnixTime) -> Result<Arc<Peer>, Error> {
        let chain = &self.key.cert;
        let found = self.trust.client(chain, now).or_else(|_| self.trust.server(chain, now));
        found.map_err(Error::Chain)
    }

    /// Whether our certificate has ended.
    #[must_use]
    pub fn is_expired(&self, now: UnixTime) -> bool {
        now.as_secs() >= self.not_after
    }
}

/// A chain and its key, which belong together.
pub(super) fn pair(files: &Files) -> Result<Arc<CertifiedKey>, Error> {
    let none = |what| Error::Pem { file: files.name, what };
    let chain = certificates(&files.certificate).ok_or_else(|| none("certificate"))?;
    let private = PrivateKeyDer::from_pem_slice(&files.key)
        .map_err(|_: rustls_pki_types::pem::Error| none("private key"))?;
    CertifiedKey::from_der(chain, private, &provider()).map(Arc::new).map_err(Error::Pair)
}

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| !found.is_empty())
}

fn trust(of: &Trusted) -> Result<Trust, Error> {
    let none = || Error::Pem { file: ROOTS_FILE, what: "certificate" };
    let mut roots = RootCertStore::empty();
    for root in certificates(&of.roots).ok_or_else(none)? {
        roots.add(root).map_err(Error::Root)?;
    }
    let lists: Result<Vec<_>, _> =
        CertificateRevocationListDer::pem_slice_iter(&of.revocations).collect();
    let lists = lists.ok().filter(|lists| lists.is_empty() == of.revocations.is_empty());
    let lists =
        lists.ok_or(Error::Pem { file: REVOCATIONS_FILE, what: "certificate revocation list" })?;
    let trust = Trust::new(Arc::new(roots), &lists)?;
    Ok(match &of.authorities {
        Some(authorities) => trust.with_authorities(authorities)?,
        None => trust,
    })
}

/// When our own certificate ends, and its serial number.
fn end_and_serial(
    chain: &[CertificateDer<'_>],
    file: &'static str,
) -> Result<(u64, String), Error> {
    let none = || Error::Pem { file, what: "X.509 certificate" };
    let leaf = chain.first().ok_or_else(none)?;
    let (_, leaf) = parse_x509_certificate(leaf).map_err(|_| none())?;
    let serial = leaf.raw_serial().iter().map(|byte| format!("{byte:02X}")).collect();
    let not_after = u64::try_from(leaf.validity().not_after.timestamp()).unwrap_or(0);
    Ok((not_after, serial))
}
