//! How we answer.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    SupportedProtocolVersion, version,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::provider::{provider, provider_of_both_versions};
use super::trust::Trust;

/// How a port answers.
#[derive(Debug)]
pub struct Answer {
    /// Which certificate is shown.
    pub certificates: Arc<dyn ResolvesServerCert>,
    /// Whom clients must chain to; none where they need not say who they are.
    pub clients: Option<Arc<Trust>>,
    /// Whether TLS 1.2 is spoken, too.
    pub allows_tls12: bool,
    /// What may be spoken inside; in order of preference.
    pub alpn: Vec<Vec<u8>>,
}

/// A configuration for one kind of port.
///
/// # Errors
/// Never, with our own provider.
pub fn configuration(answer: Answer) -> Result<Arc<ServerConfig>, Error> {
    const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
    let (provider, versions) = match answer.allows_tls12 {
        true => (provider_of_both_versions(), BOTH),
        false => (provider(), &BOTH[..1]),
    };
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
    let builder = match answer.clients {
        Some(trust) => builder.with_client_cert_verifier(Arc::new(Clients::of(trust))),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(answer.certificates);
    config.alpn_protocols = answer.alpn;
    // A session that is resumed would skip the check of who the client is.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    // After the handshake, records are ours to open and to seal (`record`).
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

/// Notes which name one client asks for (SNI); the certificate is chosen as ever.
#[derive(Debug)]
pub struct Asked {
    certificates: Arc<dyn ResolvesServerCert>,
    name: OnceLock<String>,
}

impl Asked {
    /// For one connection.
    #[must_use]
    pub fn of(certificates: Arc<dyn ResolvesServerCert>) -> Self {
        Self { certificates, name: OnceLock::new() }
    }

    /// The name, if one was asked for.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        self.name.get().cloned()
    }
}

impl ResolvesServerCert for Asked {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(name) = hello.server_name() {
            drop(self.name.set(name.to_owned()));
        }
        self.certificates.resolve(hello)
    }
}

/// Every client must show a chain that verifies; `Trust` knows which did a moment ago.
#[derive(Debug)]
struct Clients {
    trust: Arc<Trust>,
    hints: Vec<DistinguishedName>,
}

impl Clients {
    fn of(trust: Arc<Trust>) -> Self {
        Self { hints: trust.subjects(), trust }
    }
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
        self.trust.client(&chain, now)?;
        Ok(ClientCertVerified::assertion())
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
