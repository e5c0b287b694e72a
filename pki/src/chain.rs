//! An authority: the key that signs, and the certificates above it.

use std::collections::HashSet;

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;

use super::digest::sha256_hex;
use super::key::{KeyError, PrivateKey};
use super::leaf::{CertificateError, CertificateFacts};
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
}

impl Authority {
    /// Reads an authority as it stands in a Secret.
    ///
    /// `tls.crt` may be in any order and hold a certificate twice. `ca.crt` is used where it
    /// completes the chain, and otherwise left alone.
    pub fn from_pems(
        tls_crt: &[u8],
        tls_key: &[u8],
        ca_crt: Option<&[u8]>,
    ) -> Result<Self, AuthorityError> {
        let given = CertificateFacts::all_from_pem(tls_crt).map_err(AuthorityError::Certificate)?;
        let key = PrivateKey::from_pem(tls_key).map_err(AuthorityError::Key)?;
        let roots = match ca_crt.filter(|text| !text.is_empty()) {
            Some(text) => CertificateFacts::all_from_pem(text).map_err(AuthorityError::Roots)?,
            None => Vec::new(),
        };
        Self::assemble(key, deduplicated(given), deduplicated(roots))
    }

    fn assemble(
        key: PrivateKey,
        mut given: Vec<CertificateFacts>,
        mut roots: Vec<CertificateFacts>,
    ) -> Result<Self, AuthorityError> {
        let Some(own) = given.iter().position(|certificate| certificate.matches_key(&key)) else {
            let subject = given.first().map(CertificateFacts::subject_text).unwrap_or_default();
            return Err(AuthorityError::KeyMismatch { subject });
        };
        let mut path = vec![given.remove(own)];
        let mut ends_in_root = climb(&mut path, &mut given);
        if let Some(stranger) = given.first() {
            return Err(AuthorityError::BrokenChain { subject: stranger.subject_text() });
        }
        ends_in_root = ends_in_root || climb(&mut path, &mut roots);
        path.iter().try_for_each(may_sign)?;
        let path_len = path_len(&path)?;
        Ok(Self { key, path, ends_in_root, path_len })
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

/// Moves from `pool` to `path` whatever signed its last certificate, as far up as it goes; true if
/// that is up to a root.
fn climb(path: &mut Vec<CertificateFacts>, pool: &mut Vec<CertificateFacts>) -> bool {
    while let Some(top) = path.last() {
        // A root has nothing above it. What else bears its name and key is another form of it.
        if top.is_self_signed() {
            return true;
        }
        let signed_it = |above: &CertificateFacts| top.verify_issued_by(above);
        let Some(next) = pool.iter().position(signed_it) else { return false };
        path.push(pool.remove(next));
    }
    false
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
