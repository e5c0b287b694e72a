//! What must hold of all that was ever to be seen in a namespace, wherever the operator was killed.

use std::collections::{BTreeMap, BTreeSet};

use countersign_crds::{CertificateRequest, CertificateStatus};
use countersign_operator::certificate::names::NEXT_KEY_LABEL;
use countersign_operator::pki::{CertificateFacts, PrivateKey};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use crate::history::{Happened, History};
use crate::space::{Space, text};

/// What came of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// How many certificates each Secret ever held.
    issued: BTreeMap<String, usize>,
    /// What each Certificate says of how often it was issued.
    revisions: BTreeMap<String, Option<i64>>,
    /// The requests that are there at the end.
    requests: BTreeSet<String>,
}

impl Outcome {
    /// Looks at all that happened; an error says what must never be.
    pub(crate) fn of(space: &Space) -> Result<Self, String> {
        let seen = &space.history;
        let secrets = seen.secrets.versions();
        let others_key = space.authority.key.as_bytes();
        let is_ours = |secret: &&Secret| text(secret, "tls.key") != others_key;
        none(secrets.iter().filter(is_ours), is_whole, "has a key and a certificate apart")?;
        let belongs = |secret: &Secret| belongs_to_something(secret, seen);
        none(&seen.secrets.now(), belongs, "belongs to nothing")?;
        let has_owner = |request: &CertificateRequest| has_its_owner(request, seen);
        none(&seen.requests.now(), has_owner, "belongs to nothing")?;
        nothing_is_signed_twice(seen)?;
        let certificates = seen.certificates.now().into_iter();
        let revision = |status: Option<CertificateStatus>| status?.revision;
        Ok(Self {
            issued: issued(&secrets),
            revisions: certificates.map(|it| (it.name_any(), revision(it.status))).collect(),
            requests: seen.requests.now().iter().map(ResourceExt::name_any).collect(),
        })
    }
}

/// No object is without what all should have.
fn none<'a, K: ResourceExt + 'a>(
    all: impl IntoIterator<Item = &'a K>,
    is_well: impl Fn(&K) -> bool,
    fault: &str,
) -> Result<(), String> {
    let found = all.into_iter().find(|object| !is_well(object));
    found.map_or(Ok(()), |object| Err(format!("{} {fault}", object.name_any())))
}

/// How many requests there were at once, at the most.
pub(crate) fn most_requests(seen: &History) -> usize {
    let (mut there, mut most) = (BTreeSet::new(), 0);
    for happened in seen.requests.all() {
        match happened {
            Happened::Is(request) => there.insert(request.name_any()),
            Happened::Gone(request) => there.remove(&request.name_any()),
        };
        most = most.max(there.len());
    }
    most
}

/// A certificate with its own key, or no certificate at all.
fn is_whole(secret: &Secret) -> bool {
    if text(secret, "tls.crt").is_empty() {
        return secret.labels().contains_key(NEXT_KEY_LABEL) || secret.data.is_none() || {
            secret.data.iter().flatten().all(|(key, _)| !key.starts_with("tls."))
        };
    }
    let leaf = CertificateFacts::from_pem(text(secret, "tls.crt"));
    let key = PrivateKey::from_pem(text(secret, "tls.key"));
    matches!((leaf, key), (Ok(leaf), Ok(key)) if leaf.matches_key(&key))
}

/// The Secret of a Certificate, or one of the test's, or one of a request that the garbage collector
/// takes away with it. The key of a request that is over is kept nowhere.
fn belongs_to_something(secret: &Secret, seen: &History) -> bool {
    if !secret.labels().contains_key(NEXT_KEY_LABEL) {
        let name = secret.name_any();
        let certificates = seen.certificates.now();
        return ["authority", "passwords"].contains(&name.as_str())
            || certificates.iter().any(|certificate| certificate.spec.secret_name == name);
    }
    let [owner] = secret.owner_references() else { return false };
    let requests = seen.requests.now();
    let is_there = requests.iter().any(|request| request.uid().as_ref() == Some(&owner.uid));
    owner.kind == "CertificateRequest" && (!is_there || text(secret, "tls.key").is_empty())
}

/// A request of the test's, or one that goes with its Certificate.
fn has_its_owner(request: &CertificateRequest, seen: &History) -> bool {
    let certificates = seen.certificates.now();
    let is_there = |uid: &String| {
        certificates.iter().any(|certificate| certificate.uid().as_ref() == Some(uid))
    };
    let mut owners = request.owner_references().iter();
    request.name_any() == "laptop" || owners.any(|owner| is_there(&owner.uid))
}

fn nothing_is_signed_twice(seen: &History) -> Result<(), String> {
    let mut signed: BTreeMap<Option<String>, Vec<u8>> = BTreeMap::new();
    let requests = seen.requests.versions().into_iter();
    let requests = requests.map(|it| (it.uid(), it.status.and_then(|status| status.certificate)));
    let signing_requests = seen.signing_requests.versions().into_iter();
    let signing_requests =
        signing_requests.map(|it| (it.uid(), it.status.and_then(|status| status.certificate)));
    for (uid, certificate) in requests.chain(signing_requests) {
        let Some(certificate) = certificate else { continue };
        let first = signed.entry(uid).or_insert_with(|| certificate.0.clone());
        if *first != certificate.0 {
            return Err("a request was signed twice".to_owned());
        }
    }
    Ok(())
}

fn issued(secrets: &[Secret]) -> BTreeMap<String, usize> {
    let mut serials: BTreeMap<String, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for secret in secrets {
        if let Ok(leaf) = CertificateFacts::from_pem(text(secret, "tls.crt")) {
            serials.entry(secret.name_any()).or_default().insert(leaf.serial);
        }
    }
    serials.into_iter().map(|(name, serials)| (name, serials.len())).collect()
}
