//! Which clients the webhook answers, where the API server has a certificate for it: those whose
//! certificate verifies to a CA, and has an allowed name. The handshake of all others fails.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::fs;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::discovery::short_chains::ShortChains;
use crate::pki::{CertificateFacts, PemError, certificates_from_pem};

/// How often the file is read.
const PERIOD: Duration = Duration::from_secs(2);

/// The largest file that is read.
const MAX_BYTES: u64 = 1024 * 1024;

/// The CA of clients cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientAuthorityError {
    /// The file cannot be read.
    #[error("reading --webhook-client-ca {0}")]
    Read(PathBuf, #[source] std::io::Error),
    /// It is too large.
    #[error("--webhook-client-ca {0} is larger than {MAX_BYTES} bytes")]
    TooLarge(PathBuf),
    /// It is no PEM.
    #[error("--webhook-client-ca {0}: PEM certificates of one or more CAs are needed")]
    Pem(PathBuf, #[source] PemError),
    /// A certificate in it is none.
    #[error("--webhook-client-ca {0}: a certificate cannot be used")]
    Certificate(PathBuf, #[source] rustls::Error),
    /// It has no certificate.
    #[error("--webhook-client-ca {0}: PEM certificates of one or more CAs are needed")]
    Verifier(PathBuf, #[source] rustls::server::VerifierBuilderError),
}

/// Verifies clients; the CA may change while it is used.
#[derive(Debug)]
pub(super) struct ClientAuthority {
    file: PathBuf,
    names: Vec<String>,
    provider: Arc<CryptoProvider>,
    algorithms: WebPkiSupportedAlgorithms,
    current: RwLock<Arc<dyn ClientCertVerifier>>,
}

impl ClientAuthority {
    /// Reads the file. Without names, every certificate of the CA is allowed.
    pub(super) async fn read(
        file: &Path,
        names: &[String],
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<Self>, ClientAuthorityError> {
        let pem = contents(file).await?;
        Ok(Arc::new(Self {
            file: file.to_owned(),
            names: names.to_owned(),
            algorithms: provider.signature_verification_algorithms,
            current: RwLock::new(verifier(file, &pem, &provider)?),
            provider,
        }))
    }

    /// Takes up what the file becomes, for as long as it is polled. A file that cannot be used leaves the
    /// CA before in use.
    pub(super) async fn follow(self: Arc<Self>) {
        let mut last = None;
        loop {
            let pem = contents(&self.file).await;
            let is_same = pem.as_ref().is_ok_and(|pem| last.as_ref() == Some(pem));
            if !is_same {
                self.take(pem.as_deref());
            }
            // What could not be read is tried, and logged, again.
            last = pem.ok();
            sleep(PERIOD).await;
        }
    }

    /// Uses another CA from now on, if it can be used.
    pub(super) fn take(&self, pem: Result<&[u8], &ClientAuthorityError>) {
        let made = pem.map(|pem| verifier(&self.file, pem, &self.provider));
        match made {
            Ok(Ok(verifier)) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = verifier;
                info!(file = %self.file.display(), "webhook: CA of clients read");
            }
            Ok(Err(error)) => self.keep(&error),
            Err(error) => self.keep(error),
        }
    }

    fn keep(&self, error: &ClientAuthorityError) {
        let cause = crate::story::cause(error);
        warn!(%error, cause, "webhook: the CA of clients stays as it was");
    }

    fn current(&self) -> Arc<dyn ClientCertVerifier> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn contents(file: &Path) -> Result<Vec<u8>, ClientAuthorityError> {
    let failed = |source| ClientAuthorityError::Read(file.to_owned(), source);
    let size = fs::metadata(file).await.map_err(failed)?.len();
    if size > MAX_BYTES {
        return Err(ClientAuthorityError::TooLarge(file.to_owned()));
    }
    fs::read(file).await.map_err(failed)
}

fn verifier(
    file: &Path,
    pem: &[u8],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, ClientAuthorityError> {
    use ClientAuthorityError::{Certificate, Pem, Verifier};
    let mut roots = RootCertStore::empty();
    let all = certificates_from_pem(pem).map_err(|source| Pem(file.to_owned(), source))?;
    for root in all {
        roots.add(root).map_err(|source| Certificate(file.to_owned(), source))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let built = builder.build().map_err(|source| Verifier(file.to_owned(), source))?;
    Ok(Arc::new(ShortChains(built)))
}

/// Whether a certificate has one of these as its common name or as a DNS name, exactly; pure.
fn has_name(names: &[String], certificate: &CertificateDer<'_>) -> bool {
    let Ok(facts) = CertificateFacts::from_der(certificate.clone().into_owned()) else {
        return false;
    };
    let mut all = facts.says.common_name.iter().chain(&facts.says.dns_names);
    names.is_empty() || all.any(|name| names.contains(name))
}

impl ClientCertVerifier for ClientAuthority {
    /// None are named, since the CA may change: a client has one certificate for this server.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.current().verify_client_cert(end_entity, intermediates, now)?;
        if has_name(&self.names, end_entity) {
            return Ok(verified);
        }
        debug!("webhook: a client's certificate has no name of --webhook-client-names");
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
