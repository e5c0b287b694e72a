//! How we call, and how we make sure who answers.

use std::sync::Arc;

use countersign_contract::ExpectedPeer;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme, version,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::provider::provider;
use super::trust::Trust;

/// A configuration that presents `key` and accepts nobody but `expected`.
///
/// # Errors
/// Never, with our own provider.
pub fn configuration(
    key: Arc<CertifiedKey>,
    trust: Arc<Trust>,
    expected: ExpectedPeer,
    alpn: Vec<Vec<u8>>,
) -> Result<Arc<ClientConfig>, Error> {
    let builder = ClientConfig::builder_with_provider(provider());
    let mut config = builder
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Server { trust, expected }))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpn;
    // After the handshake, records are ours to open and to seal (`record`).
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

/// The chain as WebPKI checks it, and then the identity: a SPIFFE certificate need not bear the
/// name that was dialled, and a certificate that bears it need not be the one that is expected.
#[derive(Debug)]
struct Server {
    trust: Arc<Trust>,
    expected: ExpectedPeer,
}

impl ServerCertVerifier for Server {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
        let peer = self.trust.server(&chain, now)?;
        let unexpected = || Error::from(CertificateError::ApplicationVerificationFailure);
        match &self.expected {
            ExpectedPeer::Spiffe(id) if peer.spiffe_id() == Some(id) => {}
            ExpectedPeer::Spiffe(_) => return Err(unexpected()),
            ExpectedPeer::Dns(name) => {
                let name = ServerName::try_from(name.as_str()).map_err(|_| unexpected())?;
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, &name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
