//! An authority: the key that signs, and the certificates above it.

use std::collections::HashSet;

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;

use super::digest::sha256_hex;
use super::key::{KeyError, PrivateKey};
use super::leaf::{CertificateError, CertificateFacts};
use super::path::{BestPath, TooManyPaths, best_path};
use super::pem::{certificates_from_pem, certificates_to_pem};
use super::template::Validity;
use super::usage::Usage;

/// Why a Secret is no authority.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// `tls.crt` cannot be read.
    #[error("reading tls.crt of the authority")]
    Certificate(#[source] CertificateError),
    /// `tls.key` cannot be read.
    #[error("reading tls.key of the authority")]
    Key(#[source] KeyError),
    /// `ca.crt` cannot be read.
    #[error("reading ca.crt of the authority")]
    Roots(#[source] CertificateError),
    /// The key is of none of the certificates.
    #[error("tls.key does not match the certificate of {subject} in tls.crt")]
    KeyMismatch {
        /// The subject of the first certificate.
        subject: String,
    },
    /// A certificate that signs others, or would have to, is no authority's.
    #[error("the certificate of {subject} is not a CA (basicConstraints CA:TRUE is missing)")]
    NotAnAuthority {
        /// Its subject.
        subject: String,
    },
    /// A certificate whose key usage leaves out signing certificates.
    #[error("the certificate of {subject} is a CA without the key usage \"cert sign\"")]
    MayNotSign {
        /// Its subject.
        subject: String,
    },
    /// A certificate in `tls.crt` that did not sign the one below it.
    #[error("the certificate of {subject} in tls.crt is no part of the chain")]
    BrokenChain {
        /// Its subject.
        subject: String,
    },
    /// A signature that cannot be checked, where the chain would go on.
    #[error("the chain ends at the certificate of {subject}: {why} is not accepted")]
    Unchecked {
        /// Its subject.
        subject: String,
        /// The algorithm, or the key above it.
        why: String,
    },
    /// More than can be tried.
    #[error("reading tls.crt and ca.crt")]
    TooManyPaths(#[from] TooManyPaths),
    /// An authority further up forbids the one that signs.
    #[error("the path length of {subject} does not allow the authorities below it")]
    PathTooLong {
        /// The subject of the one that forbids it.
        subject: String,
    },
    /// Too early.
    #[error("the authority is not valid before {not_before}")]
    NotYetValid {
        /// When it will be.
        not_before: Timestamp,
    },
    /// Too late.
    #[error("the authority was valid until {not_after}")]
    Expired {
        /// When it ended.
        not_after: Timestamp,
    },
}

/// An authority that may sign, with its chain in order. Whether its time has come is asked apart:
/// `usable_at`.
#[derive(Debug)]
pub struct Authority {
    key: PrivateKey,
    /// From the certificate of `key` upwards, each signed by the next; the last may be a root.
    path: Vec<CertificateFacts>,
    ends_in_root: bool,
    path_len: Option<u32>,
    /// Why `ca.crt`, or some of it, was left alone although it could not be read.
    unread_roots: Option<CertificateError>,
}

impl Authority {
    /// Reads an authority as it stands in a Secret.
    ///
    /// `tls.crt` may be in any order and hold a certificate twice, or several forms of it. `ca.crt`
    /// is used where it completes the chain, and otherwise left alone, even if it cannot be read.
    pub fn from_pems(
        tls_crt: &[u8],
        tls_key: &[u8],
        ca_crt: Option<&[u8]>,
    ) -> Result<Self, AuthorityError> {
        let given = CertificateFacts::all_from_pem(tls_crt).map_err(AuthorityError::Certificate)?;
        let key = PrivateKey::from_pem(tls_key).map_err(AuthorityError::Key)?;
        let (roots, unread) = roots(ca_crt.filter(|text| !text.is_empty()));
        let authority = Self::assemble(key, deduplicated(given), roots)?;
        match unread {
            Some(error) if !authority.ends_in_root => Err(AuthorityError::Roots(error)),
            unread_roots => Ok(Self { unread_roots, ..authority }),
        }
    }

    fn assemble(
        key: PrivateKey,
        given: Vec<CertificateFacts>,
        roots: Vec<CertificateFacts>,
    ) -> Result<Self, AuthorityError> {
        if !given.iter().any(|certificate| certificate.matches_key(&key)) {
            let subject = given.first().map(CertificateFacts::subject_text).unwrap_or_default();
            return Err(AuthorityError::KeyMismatch { subject });
        }
        let count = given.len();
        let (pool, found) = search(given, roots, &key)?;
        let subject = |at: usize| pool[at].subject_text();
        let stranger = (0..count).find(|at| !found.related.contains(at));
        match (&found.unchecked, stranger) {
            // It may well have signed: nobody can tell.
            (Some((at, why)), _) if stranger.is_some() || !found.ends_in_root => {
                return Err(AuthorityError::Unchecked { subject: subject(*at), why: why.clone() });
            }
            (_, Some(at)) => return Err(AuthorityError::BrokenChain { subject: subject(at) }),
            _ => {}
        }
        let path: Vec<_> = found.path.iter().map(|at| pool[*at].clone()).collect();
        path.iter().try_for_each(may_sign)?;
        let path_len = path_len(&path)?;
        let ends_in_root = found.ends_in_root;
        Ok(Self { key, path, ends_in_root, path_len, unread_roots: None })
    }

    /// Why `ca.crt`, or some of it, was left alone although it could not be read: the chain is
    /// complete without it.
    pub fn unread_roots(&self) -> Option<&CertificateError> {
        self.unread_roots.as_ref()
    }

    /// Whether it can sign now.
    pub fn usable_at(&self, now: Timestamp) -> Result<(), AuthorityError> {
        let Validity { not_before, not_after } = self.validity();
        if now < not_before {
            return Err(AuthorityError::NotYetValid { not_before });
        }
        if not_after <= now {
            return Err(AuthorityError::Expired { not_after });
        }
        Ok(())
    }

    /// When its whole chain is valid: a leaf is worth nothing without any part of it.
    pub fn validity(&self) -> Validity {
        let spans = self.path.iter().map(|certificate| certificate.validity);
        let whole = |one: Validity, other: Validity| Validity {
            not_before: one.not_before.max(other.not_before),
            not_after: one.not_after.min(other.not_after),
        };
        spans.fold(self.certificate().validity, whole)
    }

    /// The end of its validity.
    pub fn not_after(&self) -> Timestamp {
        self.validity().not_after
    }

    /// How many authorities may follow below this one; `None` if there is no limit.
    pub fn path_len(&self) -> Option<u32> {
        self.path_len
    }

    /// From the certificate of the key that signs upwards.
    pub(crate) fn path(&self) -> &[CertificateFacts] {
        &self.path
    }

    /// The certificate of the key that signs.
    pub fn certificate(&self) -> &CertificateFacts {
        &self.path[0]
    }

    /// The key that signs.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// Which authority this is, in one word: see `fingerprint_of`.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.path.iter().map(|certificate| &certificate.der))
    }

    /// True if `leaf` was signed by this authority's key, under its name.
    pub fn issued(&self, leaf: &CertificateFacts) -> bool {
        leaf.verify_issued_by(self.certificate())
    }

    /// `tls.crt` for a leaf: the leaf, then the certificates above it, but never a root, which
    /// whoever verifies must have already.
    pub fn leaf_chain_pem(&self, leaf: &CertificateDer<'static>) -> String {
        let sent = self.path.len() - usize::from(self.ends_in_root);
        let above = self.path.iter().take(sent).map(|certificate| &certificate.der);
        certificates_to_pem(std::iter::once(leaf).chain(above))
    }

    /// The public keys of the chain, each a DER SubjectPublicKeyInfo: its own, then those above it.
    pub fn public_keys(&self) -> impl Iterator<Item = &[u8]> {
        self.path.iter().map(|certificate| certificate.public_key_spki.as_slice())
    }

    /// The certificate of the key that signs, then those above it, PEM.
    pub fn chain_pem(&self) -> String {
        certificates_to_pem(self.path.iter().map(|certificate| &certificate.der))
    }

    /// `ca.crt` for a leaf: the root if it is known, else the highest certificate that is.
    pub fn ca_pem(&self) -> String {
        certificates_to_pem(self.path.last().map(|certificate| &certificate.der))
    }
}

/// Which authority signed the certificate in a `tls.crt`, in one word: the SHA-256 of the
/// certificates above it, those in `ca.crt` too, from the one that signed it upwards. It is another
/// one where any of them was replaced, even by one with the same name and key. `None` where nothing
/// stands above it, or one of the texts cannot be read.
#[must_use]
pub fn fingerprint_of(tls_crt: &[u8], ca_crt: Option<&[u8]>) -> Option<String> {
    let sent = certificates_from_pem(tls_crt).ok()?;
    let roots = match ca_crt.filter(|text| !text.is_empty()) {
        Some(text) => certificates_from_pem(text).ok()?,
        None => Vec::new(),
    };
    let mut above: Vec<_> = sent.iter().skip(1).chain(&roots).collect();
    let mut seen = HashSet::new();
    above.retain(|certificate| seen.insert(*certificate));
    (!above.is_empty()).then(|| fingerprint(above))
}

fn fingerprint<'a>(path: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> String {
    let bytes: Vec<u8> = path.into_iter().flat_map(|der| der.iter().copied()).collect();
    sha256_hex(&bytes)
}

/// Without what stands there a second time; a bundle put together by hand often has that.
fn deduplicated(mut certificates: Vec<CertificateFacts>) -> Vec<CertificateFacts> {
    let mut seen = HashSet::new();
    certificates.retain(|certificate| seen.insert(certificate.der.clone()));
    certificates
}

/// What `ca.crt` holds, and why some of it cannot be read.
fn roots(ca_crt: Option<&[u8]>) -> (Vec<CertificateFacts>, Option<CertificateError>) {
    let ders = match ca_crt.map(certificates_from_pem).transpose() {
        Ok(ders) => ders.unwrap_or_default(),
        Err(error) => return (Vec::new(), Some(error.into())),
    };
    let (mut read, mut unread) = (Vec::new(), None);
    for der in ders {
        match CertificateFacts::from_der(der) {
            Ok(facts) => read.push(facts),
            Err(error) => unread = unread.or(Some(error)),
        }
    }
    (read, unread)
}

/// The best path through `tls.crt` alone, if that leads to a root, or else with the help of `ca.crt`.
fn search(
    given: Vec<CertificateFacts>,
    roots: Vec<CertificateFacts>,
    key: &PrivateKey,
) -> Result<(Vec<CertificateFacts>, BestPath), AuthorityError> {
    let own = |pool: &[CertificateFacts]| -> Vec<usize> {
        (0..pool.len()).filter(|at| pool[*at].matches_key(key)).collect()
    };
    let alone = best_path(&given, &own(&given))?;
    if alone.ends_in_root || roots.is_empty() {
        return Ok((given, alone));
    }
    let pool = deduplicated(given.into_iter().chain(roots).collect());
    let found = best_path(&pool, &own(&pool))?;
    Ok((pool, found))
}

fn may_sign(certificate: &CertificateFacts) -> Result<(), AuthorityError> {
    if !certificate.says.is_ca {
        return Err(AuthorityError::NotAnAuthority { subject: certificate.subject_text() });
    }
    match &certificate.key_usage {
        Some(usages) if !usages.contains(&Usage::CertSign) => {
            Err(AuthorityError::MayNotSign { subject: certificate.subject_text() })
        }
        _ => Ok(()),
    }
}

/// The strictest of the path lengths, each less the authorities that already stand below it.
fn path_len(path: &[CertificateFacts]) -> Result<Option<u32>, AuthorityError> {
    let mut strictest = None;
    for (below, certificate) in (0u32..).zip(path) {
        let Some(allowed) = certificate.path_len else { continue };
        let left = allowed
            .checked_sub(below)
            .ok_or_else(|| AuthorityError::PathTooLong { subject: certificate.subject_text() })?;
        strictest = Some(strictest.map_or(left, |known: u32| known.min(left)));
    }
    Ok(strictest)
}
