//! Whom we trust: roots and revocation lists, and what verified under them.

use std::sync::Arc;

use countersign_contract::access::{Authorities, Signer};
use countersign_contract::chain::{Link, Unverified, check_length, check_paths};
use rustls::{CertificateError, DistinguishedName, Error, OtherError, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy, spki_for_anchor,
};
use x509_parser::parse_x509_crl;

use super::digest::spki_digest;
use super::peer::{Peer, SignedBy};
use super::signatures::Signatures;
use super::verified::{Proven, Verified};

/// Roots and revocation lists. Another set of them is another value, which remembers nothing.
#[derive(Debug)]
pub struct Trust {
    roots: Arc<RootCertStore>,
    devices: Option<Devices>,
    lists: Vec<CertRevocationList<'static>>,
    list_ends: Vec<ListEnd>,
    clients: Verified,
    servers: Verified,
    signatures: Signatures,
}

/// When the revocation list of a CA ends.
#[derive(Debug)]
pub(super) struct ListEnd {
    /// The CA's subject, DER.
    pub(super) issuer: Vec<u8>,
    /// In seconds since 1970.
    pub(super) until: u64,
}

/// The CA of people and devices, whose certificates clients may show and servers may not.
#[derive(Debug)]
struct Devices {
    roots: RootCertStore,
    authorities: Authorities,
    trust_domain: Arc<str>,
}

/// The roots of the CA of people and devices cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("authorities.deviceRoots is no list of certificates in PEM")]
pub struct InvalidDeviceRoots;

/// A certificate of the CA of people and devices, where that CA may not vouch for it.
#[derive(Debug, thiserror::Error)]
enum NotVouched {
    #[error("a certificate of the CA of people and devices claims a workload's SPIFFE ID")]
    Identity,
    #[error("a server shows a certificate of the CA of people and devices")]
    Server,
    #[error("no key of the CA of people and devices is in the chain to its root")]
    Key,
}

impl From<NotVouched> for Error {
    fn from(problem: NotVouched) -> Self {
        CertificateError::Other(OtherError(Arc::new(problem))).into()
    }
}

fn unverified(problem: Unverified) -> Error {
    CertificateError::Other(OtherError(Arc::new(problem))).into()
}

/// A revocation list that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidList(String);

impl Trust {
    /// Trusts what chains to `roots` and is in none of `lists`.
    ///
    /// A list speaks for the authority that signed it, to the end of the chain; of authorities
    /// without a list nothing is revoked. A list that is past its next update vouches for nobody:
    /// chains of its authority are refused until there is a newer one.
    ///
    /// # Errors
    /// When a list cannot be read.
    pub fn new(
        roots: Arc<RootCertStore>,
        lists: &[CertificateRevocationListDer<'_>],
    ) -> Result<Self, InvalidList> {
        let (mut parsed, mut list_ends) = (Vec::new(), Vec::new());
        for list in lists {
            let invalid = |error: &dyn std::fmt::Display| InvalidList(error.to_string());
            let owned = OwnedCertRevocationList::from_der(list).map_err(|error| invalid(&error))?;
            let (_, read) = parse_x509_crl(list).map_err(|error| invalid(&error))?;
            let next = read.next_update().map_or(i64::MAX, |next| next.timestamp());
            let until = u64::try_from(next).unwrap_or(0);
            list_ends.push(ListEnd { issuer: read.issuer().as_raw().to_vec(), until });
            parsed.push(owned.into());
        }
        let until = list_ends.iter().map(|end| end.until).min().unwrap_or(u64::MAX);
        let (clients, servers) = (Verified::new(until), Verified::new(until));
        let (devices, signatures) = (None, Signatures::new());
        Ok(Self { roots, devices, lists: parsed, list_ends, clients, servers, signatures })
    }

    /// Tells the mesh's own CA from that of people and devices: clients may chain to either, and what
    /// their certificates say counts as far as their CA may vouch for it.
    ///
    /// # Errors
    /// When the roots of that CA cannot be read.
    pub fn with_authorities(self, authorities: &Authorities) -> Result<Self, InvalidDeviceRoots> {
        let roots = device_roots(authorities)?;
        let trust_domain = authorities.trust_domain.as_str().into();
        let devices = Some(Devices { roots, authorities: authorities.clone(), trust_domain });
        Ok(Self { devices, ..self })
    }

    /// The subjects of all roots that clients may chain to.
    pub(super) fn subjects(&self) -> Vec<DistinguishedName> {
        let devices = self.devices.iter().flat_map(|devices| devices.roots.subjects());
        self.roots.subjects().into_iter().chain(devices).collect()
    }

    /// When each revocation list ends.
    pub(super) fn list_ends(&self) -> &[ListEnd] {
        &self.list_ends
    }

    /// The roots.
    #[must_use]
    pub fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }

    /// How many clients' chains are remembered.
    #[cfg(test)]
    pub(super) fn remembers(&self) -> usize {
        self.clients.len()
    }

    /// The client whose chain this is.
    ///
    /// # Errors
    /// When the chain does not verify, is not for clients, or claims what its CA may not vouch for.
    pub fn client(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Arc<Peer>, Error> {
        self.clients.peer(chain, now, || {
            let proven = self.verify(chain, now, KeyUsage::client_auth())?;
            self.claims_nothing_foreign(chain, &proven)?;
            Ok(proven)
        })
    }

    /// The server whose chain this is: the CA of people and devices vouches for none.
    ///
    /// # Errors
    /// When the chain does not verify, or is not for servers.
    pub fn server(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Arc<Peer>, Error> {
        self.servers.peer(chain, now, || {
            let proven = self.verify(chain, now, KeyUsage::server_auth())?;
            if proven.is_of_devices() { Err(NotVouched::Server.into()) } else { Ok(proven) }
        })
    }

    fn claims_nothing_foreign(
        &self,
        chain: &[CertificateDer<'_>],
        proven: &Proven,
    ) -> Result<(), Error> {
        let Some(devices) = self.devices.as_ref().filter(|_| proven.is_of_devices()) else {
            return Ok(());
        };
        let uris = chain.first().map(|leaf| Peer::of(leaf).uris).unwrap_or_default();
        match uris.iter().any(|uri| devices.authorities.claims_own_domain(uri)) {
            true => Err(NotVouched::Identity.into()),
            false => Ok(()),
        }
    }

    /// By the mesh's roots, or else by those of people and devices. Where both share a root, the keys in
    /// the chain tell whose certificate it is.
    fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<Proven, Error> {
        check_length(chain.len()).and_then(|()| paths_have_an_end(chain)).map_err(unverified)?;
        let by_mesh = self.path(&self.roots, chain, now, usage);
        let Some(devices) = &self.devices else {
            return by_mesh.map(|(path, _)| Proven { path, signed_by: None });
        };
        let has_key =
            |keys: &[String]| keys.iter().any(|key| devices.authorities.device_keys.contains(key));
        let (path, signer) = match by_mesh {
            Ok((path, keys)) if has_key(&keys) => (path, Signer::Devices),
            Ok((path, _)) => (path, Signer::Mesh),
            Err(error) if devices.roots.is_empty() => return Err(error),
            Err(error) => match self.path(&devices.roots, chain, now, usage) {
                Ok((path, keys)) if has_key(&keys) => (path, Signer::Devices),
                Ok(_) => return Err(NotVouched::Key.into()),
                // The mesh's roots may know it, and say what is wrong with it.
                Err(of_devices) => return Err(if is_unknown(&error) { of_devices } else { error }),
            },
        };
        let trust_domain = devices.trust_domain.clone();
        Ok(Proven { path, signed_by: Some(SignedBy { signer, trust_domain }) })
    }

    /// The path that leads to a root, and the keys of the CAs in it: what a peer sends may hold more
    /// than that.
    fn path(
        &self,
        roots: &RootCertStore,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(Vec<CertificateDer<'static>>, Vec<String>), Error> {
        let (leaf, above) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        let leaf = EndEntityCert::try_from(leaf).map_err(named)?;
        let signatures = self.signatures.of_one_chain();
        let algorithms = signatures.algorithms();
        let lists: Vec<_> = self.lists.iter().collect();
        let revocation = revocation(&lists);
        let path = leaf
            .verify_for_usage(&algorithms, &roots.roots, above, now, usage, revocation, None)
            .map_err(named)?;
        let keys = path.intermediate_certificates().map(|above| above.subject_public_key_info());
        let keys = keys.chain([spki_for_anchor(path.anchor())]);
        let keys = keys.map(|key| spki_digest(&key)).collect();
        let above = path.intermediate_certificates().map(|above| above.der());
        let path = std::iter::once(leaf.der()).chain(above);
        Ok((path.map(CertificateDer::into_owned).collect(), keys))
    }
}

/// A certificate that cannot be read is on no path.
fn paths_have_an_end(chain: &[CertificateDer<'_>]) -> Result<(), Unverified> {
    let read = chain.iter().filter_map(|certificate| EndEntityCert::try_from(certificate).ok());
    let read: Vec<_> = read.map(|one| (one.subject_public_key_info(), one)).collect();
    let links =
        read.iter().map(|(key, one)| Link { subject: one.subject(), issuer: one.issuer(), key });
    check_paths(&links.collect::<Vec<_>>())
}

fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer))
}

/// The roots of people and devices; none where there is no such CA.
///
/// # Errors
/// When they are no certificates.
pub(crate) fn device_roots(authorities: &Authorities) -> Result<RootCertStore, InvalidDeviceRoots> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(authorities.device_roots.as_bytes()) {
        let root = root.map_err(|_| InvalidDeviceRoots)?;
        roots.add(root).map_err(|_| InvalidDeviceRoots)?;
    }
    let is_whole = roots.is_empty() == authorities.device_roots.trim().is_empty();
    is_whole.then_some(roots).ok_or(InvalidDeviceRoots)
}

/// None where there are no lists.
fn revocation<'a>(lists: &'a [&'a CertRevocationList<'a>]) -> Option<RevocationOptions<'a>> {
    let builder = RevocationOptionsBuilder::new(lists).ok()?;
    let builder = builder.with_status_policy(UnknownStatusPolicy::Allow);
    Some(builder.with_expiration_policy(ExpirationPolicy::Enforce).build())
}

/// The error by which rustls knows what to tell the peer.
fn named(error: webpki::Error) -> Error {
    use webpki::Error as E;
    let named = match error {
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding,
        E::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }
        }
        E::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        E::InvalidCertValidity => CertificateError::Expired,
        E::UnknownIssuer => CertificateError::UnknownIssuer,
        E::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        E::CertRevoked => CertificateError::Revoked,
        E::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus,
        E::CrlExpired { time, next_update } => {
            CertificateError::ExpiredRevocationListContext { time, next_update }
        }
        E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    };
    named.into()
}
