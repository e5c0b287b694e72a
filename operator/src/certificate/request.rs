//! Certificates that somebody else signs, or somebody must approve: the CertificateRequest that
//! asks for one, and what became of it; pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_crds::{
    Certificate, CertificateRequest, CertificateRequestSpec, CertificateSpec, Condition,
    ConditionStatus,
};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use kube::{Resource, ResourceExt};

use super::names;
use crate::context::Context;
use crate::pki::PrivateKey;

/// The annotations that tools put on objects for themselves.
const OF_TOOLS: [&str; 3] = ["kubectl.kubernetes.io/", "fluxcd.io/", "argocd.argoproj.io/"];

/// The longest name of an object.
const LONGEST_NAME: usize = 253;

/// The request for the next revision of a Certificate.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The request.
    pub request: Arc<CertificateRequest>,
    /// The private key that it is about; `None` if it is lost.
    pub key: Option<Arc<PrivateKey>>,
    /// Whether that is in a Secret, too.
    pub is_kept: bool,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing yet.
    Pending(String),
    /// It was signed: the chain and the root, PEM.
    Signed {
        /// The leaf, then those above it.
        chain: Vec<u8>,
        /// The root, where it was given.
        ca: Option<Vec<u8>>,
    },
    /// It never will be.
    Refused {
        /// Why, in a word.
        reason: String,
        /// The same, as a sentence.
        message: String,
    },
}

impl Asked {
    /// What became of it.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let status = self.request.status.clone().unwrap_or_default();
        let holds = |type_: &str| {
            let mut conditions = status.conditions.iter();
            conditions.find(|c| c.type_ == type_ && c.status == ConditionStatus::True)
        };
        let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
        if let Some(refused) = holds("Denied").or_else(|| holds("InvalidRequest")) {
            return refusal(refused);
        }
        match ready {
            Some(ready) if ready.status == ConditionStatus::True && holds("Approved").is_none() => {
                self.pending(
                    "was signed, and not approved: what was signed is not used before it is",
                )
            }
            Some(ready) if ready.status == ConditionStatus::True => match status.certificate {
                Some(ByteString(chain)) => Answer::Signed {
                    chain,
                    ca: status.ca.map(|ca| ca.0).filter(|ca| !ca.is_empty()),
                },
                None => self.pending("is Ready and holds no certificate yet"),
            },
            Some(ready) if matches!(ready.reason.as_deref(), Some("Failed" | "Denied")) => {
                refusal(ready)
            }
            _ if holds("Approved").is_none() => self.pending("waits for approval"),
            Some(ready) => self.pending(ready.message.as_deref().unwrap_or("is not signed yet")),
            None => self.pending("is approved, and its issuer has not answered yet"),
        }
    }

    fn pending(&self, why: &str) -> Answer {
        Answer::Pending(format!("CertificateRequest {}: {why}", self.request.name_any()))
    }

    /// When it was made.
    #[must_use]
    pub fn made(&self) -> Option<Timestamp> {
        self.request.metadata.creation_timestamp.as_ref().map(|time| time.0)
    }

    /// Whether it asks for what the Certificate asks for now.
    #[must_use]
    pub fn is_current(&self, certificate: &Certificate) -> bool {
        digest_of(&self.request) == Some(digest(&certificate.spec).as_str())
    }
}

fn refusal(condition: &Condition) -> Answer {
    let word = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Answer::Refused {
        reason: word(&condition.reason).unwrap_or_else(|| condition.type_.clone()),
        message: word(&condition.message).unwrap_or_else(|| condition.type_.clone()),
    }
}

/// The digest of what a spec asks an issuer for: what is left aside concerns the Secret only, or
/// when it is done again.
#[must_use]
pub fn digest(spec: &CertificateSpec) -> String {
    let asked = CertificateSpec {
        secret_name: String::new(),
        secret_template: None,
        secret_deletion_policy: None,
        keystores: None,
        additional_output_formats: Vec::new(),
        renew_before: None,
        renew_before_percentage: None,
        renewal: None,
        revision_history_limit: None,
        ..spec.clone()
    };
    // A spec that came as JSON is written as JSON; were it not, it would be asked for once more.
    crate::pki::sha256_hex(&serde_json::to_vec(&asked).unwrap_or_default())
}

/// The digest that a request bears.
#[must_use]
pub fn digest_of(request: &CertificateRequest) -> Option<&str> {
    request.annotations().get(names::REQUEST_DIGEST).map(String::as_str)
}

/// The revision that comes next.
#[must_use]
pub fn next_revision(certificate: &Certificate) -> i64 {
    certificate.status.as_ref().and_then(|status| status.revision).unwrap_or(0).saturating_add(1)
}

/// The name of the request for a revision: `<certificate>-<revision>`.
#[must_use]
pub fn name(certificate: &Certificate, revision: i64) -> String {
    let end = format!("-{revision}");
    let mut name = certificate.name_any();
    name.truncate(LONGEST_NAME - end.len());
    name.trim_end_matches(['-', '.']).to_owned() + &end
}

/// The same request under a name that cannot be foretold: the one of before is taken. `seed` is known
/// to nobody before it is made.
#[must_use]
pub fn under_another_name(mut request: CertificateRequest, seed: &str) -> CertificateRequest {
    let end = format!("-{}", &crate::pki::sha256_hex(seed.as_bytes())[..10]);
    let mut name = request.name_any();
    name.truncate(LONGEST_NAME - end.len());
    let name = name.trim_end_matches(['-', '.']).to_owned() + &end;
    let key = (names::PRIVATE_KEY_SECRET.to_owned(), key_secret_name(&name));
    request.annotations_mut().extend([key]);
    request.metadata.name = Some(name);
    request
}

/// Whether a request was made for a Certificate, and for which revision.
#[must_use]
pub fn revision_of(certificate: &Certificate, request: &CertificateRequest) -> Option<i64> {
    let owner = certificate.uid()?;
    let is_its = request.owner_references().iter().any(|reference| reference.uid == owner);
    let revision = request.annotations().get(names::REVISION)?;
    is_its.then(|| revision.parse().ok()).flatten()
}

/// Every request that was made for a Certificate.
#[must_use]
pub fn made_for(context: &Context, certificate: &Certificate) -> Vec<Arc<CertificateRequest>> {
    let revision = |request: &CertificateRequest| revision_of(certificate, request);
    context.seen.requests.state_filter(|request| revision(request).is_some())
}

/// The Secret with the key of a request that takes its time. It goes with the request, which names
/// it, as people are used to from requests of cert-manager.
#[must_use]
pub fn key_secret_name(request: &str) -> String {
    const END: &str = "-next-private-key";
    let mut name = request.to_owned();
    name.truncate(LONGEST_NAME - END.len());
    name.trim_end_matches(['-', '.']).to_owned() + END
}

/// The request to create for a CSR, in PEM.
#[must_use]
pub fn wanted(certificate: &Certificate, csr: String) -> CertificateRequest {
    let spec = &certificate.spec;
    let revision = next_revision(certificate);
    let mut request = CertificateRequest::new(
        &name(certificate, revision),
        CertificateRequestSpec {
            duration: spec.duration,
            issuer_ref: spec.issuer_ref.clone(),
            request: ByteString(csr.into_bytes()),
            is_ca: spec.is_ca,
            usages: spec.usages.clone(),
            ..CertificateRequestSpec::default()
        },
    );
    let ours = [
        (names::CERTIFICATE_NAME, certificate.name_any()),
        (names::REVISION, revision.to_string()),
        (names::REQUEST_DIGEST, digest(spec)),
        (names::PRIVATE_KEY_SECRET, key_secret_name(&request.name_any())),
    ];
    let ours = ours.map(|(name, value)| (name.to_owned(), value));
    request.metadata.namespace = certificate.namespace();
    request.metadata.labels = Some(certificate.labels().clone());
    request.metadata.annotations = Some(carried(certificate).chain(ours).collect());
    request.metadata.owner_references = certificate.controller_owner_ref(&()).map(|o| vec![o]);
    request
}

/// A Certificate's annotations mean something to issuers of others, but for those that tools keep
/// for themselves, and our own.
fn carried(certificate: &Certificate) -> impl Iterator<Item = (String, String)> {
    let annotations: BTreeMap<_, _> = certificate.annotations().clone();
    annotations.into_iter().filter(|(name, _)| {
        !OF_TOOLS.iter().any(|prefix| name.starts_with(prefix))
            && !name.starts_with("countersign.dev/")
    })
}

/// The requests of revisions that nobody need keep any more, by their names.
#[must_use]
pub fn superseded(
    certificate: &Certificate,
    revision: i64,
    requests: &[Arc<CertificateRequest>],
) -> Vec<String> {
    let limit = i64::from(certificate.spec.revision_history_limit.unwrap_or(1).max(1));
    let is_old = |request: &&Arc<CertificateRequest>| {
        revision_of(certificate, request).is_some_and(|one| one <= revision - limit)
    };
    requests.iter().filter(is_old).map(|request| request.name_any()).collect()
}

#[cfg(test)]
mod tests;
