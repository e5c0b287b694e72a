//! How we answer.

use std::sync::Arc;

use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, version};

use super::provider::provider;

/// Both sides present certificates, and the client's must chain to `roots`.
///
/// # Errors
/// When there is no root.
pub fn mutual(
    key: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
) -> Result<Arc<ServerConfig>, rustls::server::VerifierBuilderError> {
    let provider = provider();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build()?;
    let builder = ServerConfig::builder_with_provider(provider);
    let Ok(builder) = builder.with_protocol_versions(&[&version::TLS13]) else {
        return Err(rustls::server::VerifierBuilderError::NoRootAnchors);
    };
    let resolver = Arc::new(SingleCertAndKey::from(key));
    Ok(Arc::new(without_resumption(
        builder.with_client_cert_verifier(verifier).with_cert_resolver(resolver),
    )))
}

/// Only we present a certificate.
///
/// # Errors
/// Never, with our own provider.
pub fn server_only(key: Arc<CertifiedKey>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(&[&version::TLS13])?;
    let resolver = Arc::new(SingleCertAndKey::from(key));
    Ok(Arc::new(without_resumption(builder.with_no_client_auth().with_cert_resolver(resolver))))
}

/// A session that is resumed would skip the check of who the client is.
fn without_resumption(mut config: ServerConfig) -> ServerConfig {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}
