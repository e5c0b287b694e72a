//! Peers that present too many certificates, or such with too many paths, are refused before any of them is
//! verified.

use std::sync::Arc;

use countersign_contract::chain::{Link, Unverified, check_length, check_paths};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::EndEntityCert;

/// A verifier of chains that have no more certificates than real ones.
#[derive(Debug)]
pub(crate) struct ShortChains<V: ?Sized>(pub(crate) Arc<V>);

/// Refuses a leaf with these certificates above it.
fn check(leaf: &CertificateDer<'_>, above: &[CertificateDer<'_>]) -> Result<(), Error> {
    let checked = check_length(1 + above.len()).and_then(|()| paths_have_an_end(leaf, above));
    let unverified = |problem: Unverified| CertificateError::Other(OtherError(Arc::new(problem)));
    Ok(checked.map_err(unverified)?)
}

/// A certificate that cannot be read is on no path.
fn paths_have_an_end(
    leaf: &CertificateDer<'_>,
    above: &[CertificateDer<'_>],
) -> Result<(), Unverified> {
    let chain = std::iter::once(leaf).chain(above);
    let read = chain.filter_map(|certificate| EndEntityCert::try_from(certificate).ok());
    let read: Vec<_> = read.map(|one| (one.subject_public_key_info(), one)).collect();
    let links =
        read.iter().map(|(key, one)| Link { subject: one.subject(), issuer: one.issuer(), key });
    check_paths(&links.collect::<Vec<_>>())
}

impl ClientCertVerifier for ShortChains<dyn ClientCertVerifier> {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        check(end_entity, intermediates)?;
        self.0.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

impl ServerCertVerifier for ShortChains<dyn ServerCertVerifier> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        check(end_entity, intermediates)?;
        self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
