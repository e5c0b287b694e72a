//! Makes a set of credentials of its files, and checks it before anybody uses it.

use std::path::PathBuf;
use std::sync::Arc;

use countersign_contract::access::Authorities;
use countersign_contract::names::{CERTIFICATE_FILE, KEY_FILE, REVOCATIONS_FILE, ROOTS_FILE};
use countersign_contract::pem::{Kind, PemError, Problem, sections};
use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use x509_parser::parse_x509_certificate;

use super::files::Files;
use crate::tls::{InvalidDeviceRoots, InvalidList, Peer, Trust, provider::provider, text};

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
    /// What our certificate cannot be used for, though it can be used.
    pub unfit: Option<Unfit>,
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

/// A role in a handshake in which every peer would refuse our certificate.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{CERTIFICATE_FILE} does not verify as a {role}'s: {problem}")]
pub struct Unfit {
    /// Which one.
    pub role: Role,
    problem: rustls::Error,
}

/// A role in a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Who calls.
    Client,
    /// Who is called.
    Server,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// Why a set cannot be used. No variant holds any of the key.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum Error {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{0}: swapped again and again while it was read")]
    Swapped(PathBuf),
    #[error("{file}: {source}")]
    Pem { file: &'static str, source: PemError },
    #[error("{file}: holds no X.509 certificate")]
    NoCertificate { file: &'static str },
    #[error("{ROOTS_FILE}: {0}")]
    Root(rustls::Error),
    #[error("{REVOCATIONS_FILE}: {0}")]
    Revocations(#[from] InvalidList),
    #[error("{CERTIFICATE_FILE} and {KEY_FILE} do not belong together: {0}")]
    Pair(rustls::Error),
    #[error("{CERTIFICATE_FILE} expired")]
    Expired,
    #[error("{CERTIFICATE_FILE} does not chain to a root in {ROOTS_FILE}: {}", text(.0))]
    Chain(rustls::Error),
    #[error(transparent)]
    Unfit(#[from] Unfit),
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
        let mut credentials = Self { key, trust, not_after, serial, unfit: None, trusted };
        if credentials.is_expired(now) {
            return Err(Error::Expired);
        }
        let (peer, unfit) = credentials.own(now)?;
        credentials.unfit = unfit;
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
        let unfit = self.unfit.clone();
        Ok(Self { key, trust, not_after: self.not_after, serial, unfit, trusted })
    }

    /// A chain that does not lead to our own roots would be refused by every peer of ours; better
    /// before it is used than after. It may be meant for clients, for servers, or for both.
    fn own(&self, now: UnixTime) -> Result<(Arc<Peer>, Option<Unfit>), Error> {
        let chain = &self.key.cert;
        let unfit = |role, problem| Some(Unfit { role, problem });
        match (self.trust.client(chain, now), self.trust.server(chain, now)) {
            (Ok(peer), Ok(_)) => Ok((peer, None)),
            (Ok(peer), Err(problem)) => Ok((peer, unfit(Role::Server, problem))),
            (Err(problem), Ok(peer)) => Ok((peer, unfit(Role::Client, problem))),
            (Err(_), Err(problem)) => Err(Error::Chain(problem)),
        }
    }

    /// Whether our certificate has ended.
    #[must_use]
    pub fn is_expired(&self, now: UnixTime) -> bool {
        now.as_secs() >= self.not_after
    }
}

/// A chain and its key, which belong together.
pub(super) fn pair(files: &Files) -> Result<Arc<CertifiedKey>, Error> {
    let chain = decoded(&files.certificate, Kind::Certificate, files.name)?;
    // A bundle holds both.
    let name = if files.name == CERTIFICATE_FILE { KEY_FILE } else { files.name };
    let mut keys = decoded::<PrivateKeyDer<'_>>(&files.key, Kind::PrivateKey, name)?;
    let private = keys.swap_remove(0);
    CertifiedKey::from_der(chain, private, &provider()).map(Arc::new).map_err(Error::Pair)
}

/// Every section of a kind, decoded; one at least.
fn decoded<T: PemObject>(pem: &[u8], kind: Kind, file: &'static str) -> Result<Vec<T>, Error> {
    // The file is bounded, hence their number.
    let found = sections(pem, kind, usize::MAX);
    let found = found.map_err(|source| Error::Pem { file, source })?;
    let decode = |section: countersign_contract::pem::Section| {
        // The decoder's own error is left out, since it quotes what may be of a key.
        T::from_pem_slice(&section.text).map_err(|_: rustls_pki_types::pem::Error| {
            let problem = Problem::Content { label: section.label.to_owned() };
            Error::Pem { file, source: PemError::Line { line: section.line, problem } }
        })
    };
    found.into_iter().map(decode).collect()
}

fn trust(of: &Trusted) -> Result<Trust, Error> {
    let mut roots = RootCertStore::empty();
    let certificates: Vec<CertificateDer<'static>> =
        decoded(&of.roots, Kind::Certificate, ROOTS_FILE)?;
    for root in certificates {
        roots.add(root).map_err(Error::Root)?;
    }
    let lists: Vec<CertificateRevocationListDer<'_>> = match of.revocations.as_slice() {
        [] => Vec::new(),
        revocations => decoded(revocations, Kind::RevocationList, REVOCATIONS_FILE)?,
    };
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
    let none = || Error::NoCertificate { file };
    let leaf = chain.first().ok_or_else(none)?;
    let (_, leaf) = parse_x509_certificate(leaf).map_err(|_| none())?;
    let serial = leaf.raw_serial().iter().map(|byte| format!("{byte:02X}")).collect();
    let not_after = u64::try_from(leaf.validity().not_after.timestamp()).unwrap_or(0);
    Ok((not_after, serial))
}
