//! How we call, and how we make sure who answers.

use std::sync::Arc;

use countersign_contract::ExpectedPeer;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    version,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::peer::Peer;
use super::provider::provider;

/// A configuration that presents `key` and accepts nobody but `expected`.
///
/// # Errors
/// Never, with our own provider.
pub fn configuration(
    key: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
    expected: ExpectedPeer,
) -> Result<Arc<ClientConfig>, Error> {
    let provider = provider();
    let verifier = IdentityVerifier { provider: provider.clone(), roots, expected };
    let builder = ClientConfig::builder_with_provider(provider);
    let mut config = builder
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The chain as WebPKI checks it, and then the identity: a SPIFFE certificate need not bear the
/// name that was dialled, and a certificate that bears it need not be the one that is expected.
#[derive(Debug)]
struct IdentityVerifier {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    expected: ExpectedPeer,
}

impl ServerCertVerifier for IdentityVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        match &self.expected {
            ExpectedPeer::Spiffe(id) if Peer::of(end_entity).spiffe_id() == Some(id) => {}
            ExpectedPeer::Spiffe(_) => {
                return Err(CertificateError::ApplicationVerificationFailure.into());
            }
            ExpectedPeer::Dns(name) => {
                let name = ServerName::try_from(name.as_str())
                    .map_err(|_| Error::from(CertificateError::ApplicationVerificationFailure))?;
                verify_server_name(&parsed, &name)?;
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
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
