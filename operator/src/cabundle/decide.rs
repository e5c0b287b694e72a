//! What to write into an object's bundles; pure.

use super::source::{ALLOWS_DIRECT, FROM_API_SERVER, FROM_CERTIFICATE, FROM_SECRET, Source};
use super::targets::Bundle;
use crate::certificate::names::CERTIFICATE_NAME;
use crate::pki::{PemError, certificates_from_pem, certificates_to_pem};
use crate::watch::Key;

/// What was found where the source points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The Certificate that was named does not exist.
    NoCertificate,
    /// The Secret, if there is one, with what decides about it.
    Secret { key: Key, secret: Option<Offered> },
    /// The authority that the operator trusts the API server by, if it is known.
    ApiServer(Option<Vec<u8>>),
}

/// What a Secret offers. Its key is not among it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offered {
    /// The Certificate that it says it belongs to.
    pub(super) certificate: Option<String>,
    /// Whether it may be read for whoever names it.
    pub(super) allows_direct: bool,
    /// `ca.crt`.
    pub(super) ca: Option<Vec<u8>>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Everything is as it should be.
    Keep,
    /// Write this into the bundles at these paths.
    Fill { paths: Vec<String>, authority: String },
}

/// Why a bundle is not filled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error(
        "more than one of the annotations {FROM_CERTIFICATE}, {FROM_SECRET} and {FROM_API_SERVER} is set: keep one of them"
    )]
    SeveralSources,
    #[error("the annotation {annotation} is {value:?}: write <namespace>/<name>")]
    BadReference { annotation: &'static str, value: String },
    #[error("the annotation {FROM_API_SERVER} is {value:?}: write \"true\", or take it away")]
    BadSwitch { value: String },
    #[error("Certificate {} does not exist", named(certificate))]
    NoCertificate { certificate: Key },
    #[error("Secret {} does not exist", named(secret))]
    NoSecret { secret: Key },
    #[error(
        "Secret {} is not that of Certificate {}: its annotation {CERTIFICATE_NAME} {}",
        named(secret),
        named(certificate),
        named_by(found.as_deref())
    )]
    NotOfCertificate { secret: Key, certificate: Key, found: Option<String> },
    #[error(
        "Secret {} does not allow it: annotate it with {ALLOWS_DIRECT}: \"true\"",
        named(secret)
    )]
    NotAllowed { secret: Key },
    #[error("Secret {} has no ca.crt", named(secret))]
    NoAuthority { secret: Key },
    #[error("{of} holds no certificates: {source}")]
    BadAuthority {
        of: String,
        #[source]
        source: PemError,
    },
    #[error("the operator was told no authority of the API server")]
    NoApiServerAuthority,
    #[error("{obstacle}")]
    Obstacle { obstacle: &'static str },
}

impl Problem {
    /// Used as the reason of Events.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::SeveralSources | Self::BadReference { .. } | Self::BadSwitch { .. } => {
                "InvalidAnnotation"
            }
            Self::NoCertificate { .. } => "CertificateNotFound",
            Self::NoSecret { .. } => "SecretNotFound",
            Self::NotOfCertificate { .. } | Self::NotAllowed { .. } => "InjectionNotAllowed",
            Self::NoAuthority { .. } | Self::BadAuthority { .. } | Self::NoApiServerAuthority => {
                "NoAuthority"
            }
            Self::Obstacle { .. } => "InjectionNotPossible",
        }
    }

    /// Whether it can go away although nobody changes the object itself.
    pub(super) fn is_passing(&self) -> bool {
        !matches!(self.reason(), "InvalidAnnotation" | "InjectionNotPossible")
    }
}

fn named((namespace, name): &Key) -> String {
    format!("{namespace}/{name}")
}

fn named_by(annotation: Option<&str>) -> String {
    annotation.map_or_else(|| "is missing".to_owned(), |name| format!("is {name:?}"))
}

/// What to write, given what was found at the source.
pub(super) fn decide(
    source: &Source,
    found: &Found,
    bundles: &[Bundle],
) -> Result<Decision, Problem> {
    if let Some(obstacle) = bundles.iter().find_map(|bundle| bundle.obstacle) {
        return Err(Problem::Obstacle { obstacle });
    }
    let authority = authority(source, found)?;
    let differs = |bundle: &&Bundle| bundle.holds.as_deref() != Some(authority.as_bytes());
    let paths: Vec<_> = bundles.iter().filter(differs).map(|bundle| bundle.path.clone()).collect();
    Ok(if paths.is_empty() { Decision::Keep } else { Decision::Fill { paths, authority } })
}

/// The authority, if it may be had from there.
fn authority(source: &Source, found: &Found) -> Result<String, Problem> {
    match (source, found) {
        (_, Found::ApiServer(authority)) => {
            let authority = authority.as_ref().ok_or(Problem::NoApiServerAuthority)?;
            certificates("the authority of the API server".to_owned(), authority)
        }
        (Source::Certificate(certificate), Found::Secret { key, secret }) => {
            let secret = exists(key, secret.as_ref())?;
            if secret.certificate.as_ref() != Some(&certificate.1) {
                return Err(Problem::NotOfCertificate {
                    secret: key.clone(),
                    certificate: certificate.clone(),
                    found: secret.certificate.clone(),
                });
            }
            offered(key, secret)
        }
        (_, Found::Secret { key, secret }) => {
            let secret = exists(key, secret.as_ref())?;
            if !secret.allows_direct {
                return Err(Problem::NotAllowed { secret: key.clone() });
            }
            offered(key, secret)
        }
        (Source::Certificate(certificate) | Source::Secret(certificate), Found::NoCertificate) => {
            Err(Problem::NoCertificate { certificate: certificate.clone() })
        }
        (Source::ApiServer, Found::NoCertificate) => Err(Problem::NoApiServerAuthority),
    }
}

fn exists<'a>(key: &Key, secret: Option<&'a Offered>) -> Result<&'a Offered, Problem> {
    secret.ok_or_else(|| Problem::NoSecret { secret: key.clone() })
}

fn offered(key: &Key, secret: &Offered) -> Result<String, Problem> {
    let ca = secret.ca.as_ref().ok_or_else(|| Problem::NoAuthority { secret: key.clone() })?;
    certificates(format!("ca.crt of Secret {}", named(key)), ca)
}

/// The certificates and nothing else: many may read a caBundle, and a key that stands beside them
/// by mistake must not be told.
fn certificates(of: String, pem: &[u8]) -> Result<String, Problem> {
    let found = certificates_from_pem(pem);
    let found = found.map_err(|source| Problem::BadAuthority { of, source })?;
    Ok(certificates_to_pem(&found))
}

#[cfg(test)]
mod tests;
