//! Reads what is at the source: the Certificate from the watch, its Secret from the API.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Secret;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};

use super::decide::{Found, Offered};
use super::source::{ALLOWS_DIRECT, Source};
use crate::certificate::names::{CA_CRT, CERTIFICATE_NAME};
use crate::context::Context;
use crate::watch::Key;

/// The authority that the operator trusts the API server by.
#[derive(Clone, Debug, Default)]
pub enum ApiServerAuthority {
    /// It was told none.
    #[default]
    Unknown,
    /// Certificates in PEM, from a kubeconfig.
    Pem(Vec<u8>),
    /// A file of a pod's service account, which changes when the authority does.
    File(PathBuf),
}

impl ApiServerAuthority {
    /// What a client's configuration trusts.
    #[must_use]
    pub fn of(config: &kube::Config) -> Self {
        if let Some(file) = &config.root_cert_file {
            return Self::File(file.clone());
        }
        let Some(roots) = &config.root_cert else { return Self::Unknown };
        let roots: Vec<_> = roots.iter().cloned().map(crate::pki::CertificateDer::from).collect();
        Self::Pem(crate::pki::certificates_to_pem(&roots).into_bytes())
    }

    async fn read(&self) -> Result<Option<Vec<u8>>, ObserveError> {
        match self {
            Self::Unknown => Ok(None),
            Self::Pem(pem) => Ok(Some(pem.clone())),
            Self::File(path) => {
                let read = tokio::fs::read(path).await;
                let failed = |source| ObserveError::File { path: path.clone(), source };
                read.map(Some).map_err(failed)
            }
        }
    }
}

/// Why it is not known what is at the source.
#[derive(Debug, thiserror::Error)]
pub(super) enum ObserveError {
    #[error("reading {secret}")]
    Secret {
        secret: Box<ObjectRef<Secret>>,
        #[source]
        source: kube::Error,
    },
    #[error("reading the authority of the API server in {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Looks at the source.
pub(super) async fn observe(context: &Context, source: &Source) -> Result<Found, ObserveError> {
    match source {
        Source::ApiServer => {
            context.settings.api_server_authority.read().await.map(Found::ApiServer)
        }
        Source::Certificate(certificate) => match secret_of(context, certificate) {
            Some(key) => offered_by(context, key).await,
            None => Ok(Found::NoCertificate),
        },
        Source::Secret(key) => offered_by(context, key.clone()).await,
    }
}

/// The Secret that a source points at, as far as is known.
pub(super) fn points_at(context: &Context, source: &Source) -> Option<Key> {
    match source {
        Source::ApiServer => None,
        Source::Certificate(certificate) => secret_of(context, certificate),
        Source::Secret(key) => Some(key.clone()),
    }
}

fn secret_of(context: &Context, (namespace, name): &Key) -> Option<Key> {
    let found = context.seen.certificates.get(&ObjectRef::new(name).within(namespace))?;
    Some((namespace.clone(), found.spec.secret_name.clone()))
}

async fn offered_by(context: &Context, key: Key) -> Result<Found, ObserveError> {
    let (namespace, name) = &key;
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let read = api.get_opt(name).await;
    let secret = read.map_err(|source| ObserveError::Secret {
        secret: Box::new(ObjectRef::new(name).within(namespace)),
        source,
    })?;
    let secret = secret.map(offered);
    Ok(Found::Secret { key, secret })
}

fn offered(mut secret: Secret) -> Offered {
    let ca = secret.data.as_mut().and_then(|data| data.remove(CA_CRT));
    Offered {
        certificate: secret.annotations().get(CERTIFICATE_NAME).cloned(),
        allows_direct: secret.annotations().get(ALLOWS_DIRECT).is_some_and(|it| it == "true"),
        ca: ca.map(|bytes| bytes.0).filter(|bytes| !bytes.is_empty()),
    }
}
