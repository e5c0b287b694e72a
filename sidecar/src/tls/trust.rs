//! Whom we trust: roots and revocation lists, and what verified under them.

use std::sync::Arc;

use rustls::{CertificateError, Error, OtherError, RootCertStore};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::parse_x509_crl;

use super::peer::Peer;
use super::signatures::Signatures;
use super::verified::Verified;

/// Roots and revocation lists. Another set of them is another value, which remembers nothing.
#[derive(Debug)]
pub struct Trust {
    roots: Arc<RootCertStore>,
    lists: Vec<CertRevocationList<'static>>,
    clients: Verified,
    servers: Verified,
    signatures: Signatures,
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
        let mut until = u64::MAX;
        let mut parsed = Vec::new();
        for list in lists {
            let invalid = |error: &dyn std::fmt::Display| InvalidList(error.to_string());
            let owned = OwnedCertRevocationList::from_der(list).map_err(|error| invalid(&error))?;
            let (_, read) = parse_x509_crl(list).map_err(|error| invalid(&error))?;
            let next = read.next_update().map_or(i64::MAX, |next| next.timestamp());
            until = until.min(u64::try_from(next).unwrap_or(0));
            parsed.push(owned.into());
        }
        let (clients, servers) = (Verified::new(until), Verified::new(until));
        Ok(Self { roots, lists: parsed, clients, servers, signatures: Signatures::new() })
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
    /// When the chain does not verify, or is not for clients.
    pub fn client(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Arc<Peer>, Error> {
        self.clients.peer(chain, now, || self.verify(chain, now, KeyUsage::client_auth()))
    }

    /// The server whose chain this is.
    ///
    /// # Errors
    /// When the chain does not verify, or is not for servers.
    pub fn server(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Arc<Peer>, Error> {
        self.servers.peer(chain, now, || self.verify(chain, now, KeyUsage::server_auth()))
    }

    /// The path that leads to a root: what a peer sends may hold more than that.
    fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<Vec<CertificateDer<'static>>, Error> {
        let (leaf, above) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        let leaf = EndEntityCert::try_from(leaf).map_err(named)?;
        let algorithms = self.signatures.algorithms();
        let lists: Vec<_> = self.lists.iter().collect();
        let revocation = revocation(&lists);
        let roots = &self.roots.roots;
        let path = leaf
            .verify_for_usage(&algorithms, roots, above, now, usage, revocation, None)
            .map_err(named)?;
        let above = path.intermediate_certificates().map(|above| above.der());
        Ok(std::iter::once(leaf.der()).chain(above).map(CertificateDer::into_owned).collect())
    }
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
