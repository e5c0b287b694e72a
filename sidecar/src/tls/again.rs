//! Verifies the peers of live connections again, after roots, revocation lists or CAs changed.
//!
//! A connection may outlast the certificate of its peer. Its chain is then verified for the last second in
//! which it was valid: a verifier that finds an expired leaf looks at nothing else, and would not say
//! whether its root is still trusted, or whether it was revoked.

use std::sync::Arc;
use std::time::Duration;

use rustls::{CertificateError, Error};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::parse_x509_certificate;

use super::peer::Peer;
use super::trust::Trust;

impl Trust {
    /// A client that verified before, as its chain verifies now.
    ///
    /// # Errors
    /// When it would not verify, were it not for its expiry.
    pub fn client_again(&self, peer: &Peer, now: UnixTime) -> Result<Arc<Peer>, Error> {
        let again = self.client(&peer.chain, last_valid(peer, now))?;
        self.lists_are_current(&again.chain, now)?;
        Ok(again)
    }

    /// A server that verified before, as its chain verifies now.
    ///
    /// # Errors
    /// When it would not verify, were it not for its expiry.
    pub fn server_again(&self, peer: &Peer, now: UnixTime) -> Result<Arc<Peer>, Error> {
        let again = self.server(&peer.chain, last_valid(peer, now))?;
        self.lists_are_current(&again.chain, now)?;
        Ok(again)
    }

    /// Lists end by the clock, whatever time the chain was verified for.
    fn lists_are_current(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let ended: Vec<_> =
            self.list_ends().iter().filter(|end| end.until <= now.as_secs()).collect();
        if ended.is_empty() {
            return Ok(());
        }
        for certificate in chain {
            let (_, parsed) =
                parse_x509_certificate(certificate).map_err(|_| CertificateError::BadEncoding)?;
            if ended.iter().any(|end| end.issuer == parsed.issuer().as_raw()) {
                return Err(CertificateError::ExpiredRevocationList.into());
            }
        }
        Ok(())
    }
}

fn last_valid(peer: &Peer, now: UnixTime) -> UnixTime {
    let last = peer.not_after.saturating_sub(1);
    UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().min(last)))
}
