//! Signs: finds the issuer, loads its authority, checks what it may do, and signs in process.

use std::time::Duration;

use countersign_crds::IssuerSpec;
use jiff::Timestamp;
use kube::Api;
use kube::runtime::reflector::ObjectRef;
use rustls_pki_types::CertificateDer;

use super::authority::{self, AuthorityUnavailable};
use super::guard::{self, Denied};
use crate::certificate::reference::IssuerId;
use crate::context::Context;
use crate::pki::{self, Pointers, PrivateKey, Request, Template};

/// How long a temporary certificate is valid.
const TEMPORARY: Duration = Duration::from_secs(90 * 24 * 3600);

/// What is to be signed.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// The namespace of whoever asks.
    pub namespace: &'a str,
    /// Who shall sign.
    pub issuer: &'a IssuerId,
    /// The names and usages.
    pub request: Request,
    /// The subject of a CSR, to be kept byte for byte.
    pub subject_der: Option<Vec<u8>>,
    /// How long it shall be valid.
    pub lifetime: Duration,
    /// The public key, a DER SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
    /// The private key, where it is ours: a self-signed certificate needs it.
    pub own_key: Option<&'a PrivateKey>,
    /// How it signs itself, where it does.
    pub signature: Option<pki::SignatureAlgorithm>,
}

/// What was signed.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The leaf, then its intermediates, PEM.
    pub chain: String,
    /// The root, PEM, where it is known.
    pub ca: Option<String>,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum SignError {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("{issuer} does not exist")]
    NotFound { issuer: String },
    #[error("reading {issuer}")]
    Read {
        issuer: String,
        #[source]
        source: kube::Error,
    },
    #[error(transparent)]
    Authority(#[from] AuthorityUnavailable),
    #[error(
        "{issuer} is selfSigned: it signs Certificates, whose keys it makes, and no CSR of others"
    )]
    NoPrivateKey { issuer: String },
    #[error("signing with {issuer}")]
    Sign {
        issuer: String,
        #[source]
        source: pki::SignError,
    },
    #[error(transparent)]
    Randomness(#[from] pki::NoRandomness),
}

impl SignError {
    /// Used as event reason, condition reason and metric label.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Denied(_) => "Denied",
            Self::NotFound { .. } => "IssuerNotFound",
            Self::Read { .. } => "IssuerReadError",
            Self::Authority(error) => error.reason(),
            Self::NoPrivateKey { .. } => "IssuerCannotSignRequests",
            Self::Sign { .. } | Self::Randomness(_) => "SigningError",
        }
    }

    /// Whether trying again later can help although nobody changed the request.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        !matches!(self, Self::Denied(_) | Self::NoPrivateKey { .. } | Self::Sign { .. })
    }
}

/// Signs.
///
/// # Errors
/// When the issuer or its authority is missing or cannot sign this.
pub async fn sign(context: &Context, job: Job<'_>) -> Result<Signed, SignError> {
    guard::check(&context.settings, job.issuer, job.namespace, &job.request)?;
    let spec = spec_of(context, &job).await?;
    match (&spec.ca, &spec.self_signed) {
        (Some(ca), _) => {
            let namespace = authority_namespace(context, &job);
            let authority = authority::load(context, namespace, &ca.secret_name).await?;
            let template =
                template(context, &job, Some(authority.validity()), &ca.crl_distribution_points)?;
            let der = pki::sign(&template, &job.public_key, &authority);
            let der =
                der.map_err(|source| SignError::Sign { issuer: job.issuer.to_string(), source })?;
            Ok(Signed { chain: authority.leaf_chain_pem(&der), ca: Some(authority.ca_pem()) })
        }
        (None, self_signed) => {
            let points = self_signed.as_ref().map(|s| s.crl_distribution_points.as_slice());
            self_sign(context, &job, points.unwrap_or_default())
        }
    }
}

fn self_sign(context: &Context, job: &Job<'_>, crl: &[String]) -> Result<Signed, SignError> {
    let issuer = || job.issuer.to_string();
    let key = job.own_key.ok_or_else(|| SignError::NoPrivateKey { issuer: issuer() })?;
    let mut template = template(context, job, None, crl)?;
    template.signature_algorithm = job.signature;
    let der: CertificateDer<'static> = pki::self_sign(&template, key)
        .map_err(|source| SignError::Sign { issuer: issuer(), source })?;
    let pem = pki::certificates_to_pem([&der]);
    Ok(Signed { chain: pem.clone(), ca: Some(pem) })
}

/// Signs for a key what nobody trusts: with an authority that is made for this once and thrown away.
///
/// # Errors
/// When the request cannot be written.
pub fn sign_temporary(
    request: &Request,
    key: &PrivateKey,
    now: Timestamp,
) -> Result<Signed, SignError> {
    let failed = |source| SignError::Sign { issuer: "a temporary authority".to_owned(), source };
    let authority = pki::throw_away_authority(now, TEMPORARY).map_err(failed)?;
    let validity = pki::clamp_lifetime(now, TEMPORARY, pki::BACKDATE, Some(authority.validity()));
    let template = Template::new(Request { is_ca: false, ..request.clone() }, validity)?;
    let der = pki::sign(&template, &key.public_key_spki(), &authority).map_err(failed)?;
    Ok(Signed { chain: pki::certificates_to_pem([&der]), ca: None })
}

fn template(
    context: &Context,
    job: &Job<'_>,
    authority: Option<pki::Validity>,
    crl: &[String],
) -> Result<Template, SignError> {
    let validity = pki::clamp_lifetime(context.clock.now(), job.lifetime, pki::BACKDATE, authority);
    let mut template = Template::new(job.request.clone(), validity)?;
    template.subject_der.clone_from(&job.subject_der);
    template.pointers = Pointers { crl_distribution_points: crl.to_vec(), ..Pointers::default() };
    Ok(template)
}

fn authority_namespace<'a>(context: &'a Context, job: &Job<'a>) -> &'a str {
    if job.issuer.is_cluster_wide() {
        &context.settings.cluster_resource_namespace
    } else {
        job.namespace
    }
}

/// The issuer's spec, from what the watches saw, or from the API where they have not yet.
async fn spec_of(context: &Context, job: &Job<'_>) -> Result<IssuerSpec, SignError> {
    let (id, issuer) = (job.issuer, job.issuer.to_string());
    let read = |source| SignError::Read { issuer: issuer.clone(), source };
    let spec = if id.is_cluster_wide() {
        let key = ObjectRef::new(&id.name);
        match context.seen.cluster_issuers.get(&key) {
            Some(found) => Some(found.spec.clone().into()),
            None => {
                let api = Api::<countersign_crds::ClusterIssuer>::all(context.client.clone());
                api.get_opt(&id.name).await.map_err(read)?.map(|found| found.spec.into())
            }
        }
    } else {
        let key = ObjectRef::new(&id.name).within(job.namespace);
        match context.seen.issuers.get(&key) {
            Some(found) => Some(found.spec.clone()),
            None => {
                let api = Api::<countersign_crds::Issuer>::namespaced(
                    context.client.clone(),
                    job.namespace,
                );
                api.get_opt(&id.name).await.map_err(read)?.map(|found| found.spec)
            }
        }
    };
    spec.ok_or(SignError::NotFound { issuer })
}
