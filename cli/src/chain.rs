//! From a leaf up to the root: what stands above each other in `tls.crt` and `ca.crt`, and what is
//! wrong with it; pure.

use countersign_pki::path::{BestPath, best_path};
use countersign_pki::{
    CertificateError, CertificateFacts, PrivateKey, Redacted, certificates_from_pem,
};
use jiff::Timestamp;
use serde::Serialize;

use crate::error::story;
use crate::facts::CertificateReport;

/// Three texts that belong together.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    /// The leaf, then those above it.
    pub certificate: Option<Vec<u8>>,
    /// The leaf's key.
    pub key: Option<Redacted<Vec<u8>>>,
    /// The roots.
    pub roots: Option<Vec<u8>>,
}

/// What was found out about them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Findings {
    /// From the leaf upwards, each signed by the next.
    pub chain: Vec<Link>,
    /// Whether the key is the leaf's.
    pub key: KeyState,
    /// Whether the chain ends where it should.
    pub chain_state: ChainState,
    /// What is wrong, in the order in which it should be looked at.
    pub warnings: Vec<Warning>,
}

/// A certificate of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// Where it stands.
    pub source: Source,
    /// What it says.
    #[serde(flatten)]
    pub certificate: CertificateReport,
}

/// Where a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Source {
    /// In `tls.crt`.
    #[serde(rename = "tls.crt")]
    Certificate,
    /// In `ca.crt`.
    #[serde(rename = "ca.crt")]
    Roots,
}

/// Whether the key is the leaf's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum KeyState {
    /// It is.
    Matches,
    /// It is another's, or that of a certificate further on.
    Mismatch,
    /// There is none.
    Missing,
    /// It cannot be read.
    Unreadable,
    /// There is no certificate whose key it could be.
    Alone,
}

/// Whether a chain ends where it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ChainState {
    /// At a certificate of `ca.crt`.
    Verified,
    /// Elsewhere, or nowhere.
    Broken,
    /// There is no `ca.crt` to say so.
    NoRoots,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// The certificates, as they stand there.
struct Given {
    leaf: Vec<CertificateFacts>,
    roots: Vec<CertificateFacts>,
}

/// Finds out.
#[must_use]
pub fn examine(bundle: &Bundle, now: Timestamp) -> Findings {
    let mut warnings = Vec::new();
    let mut warn = |code, message: String| warnings.push(Warning { code, message });
    let leaf = read("tls.crt", bundle.certificate.as_deref());
    let leaf = leaf.unwrap_or_else(|(code, message)| {
        warn(code, message);
        Vec::new()
    });
    let roots = read("ca.crt", bundle.roots.as_deref());
    let roots = roots.unwrap_or_else(|(code, message)| {
        warn(code, message);
        Vec::new()
    });
    let key = bundle.key.as_ref().map(Redacted::expose).filter(|key| !key.is_empty());
    let key = key.map(|key| PrivateKey::from_pem(key));
    let given = Given { leaf, roots };
    let (state, own) = key_state(key.as_ref(), &given.leaf);
    about_key(&state, key.as_ref(), own, &mut warnings);
    let (path, strangers) = climb(&given, own.unwrap_or(0));
    about_chain(&given, &path, &strangers, &mut warnings);
    about_time(&path, now, &mut warnings);
    about_authorities(&path, &mut warnings);
    let chain_state = match path.last() {
        Some((_, top)) if is_trusted(&given, top) => ChainState::Verified,
        Some(_) if given.roots.is_empty() => ChainState::NoRoots,
        _ => ChainState::Broken,
    };
    let chain = path
        .into_iter()
        .map(|(source, facts)| Link { source, certificate: CertificateReport::of(facts) });
    Findings { chain: chain.collect(), key: state, chain_state, warnings }
}

fn read(
    name: &'static str,
    text: Option<&[u8]>,
) -> Result<Vec<CertificateFacts>, (&'static str, String)> {
    let is_leaf = name == "tls.crt";
    let missing = if is_leaf { "certificateMissing" } else { "caMissing" };
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        let use_of_it = if is_leaf { "" } else { ": whoever verifies must have the root already" };
        return Err((missing, format!("{name} is missing{use_of_it}")));
    };
    let unreadable = if is_leaf { "certificateUnreadable" } else { "caUnreadable" };
    let read = certificates_from_pem(text).map_err(CertificateError::from);
    let read = read.and_then(|all| all.into_iter().map(CertificateFacts::from_der).collect());
    let mut found: Vec<CertificateFacts> =
        read.map_err(|error| (unreadable, format!("{name}: {}", story(&error))))?;
    let mut seen = std::collections::HashSet::new();
    found.retain(|facts| seen.insert(facts.der.clone()));
    Ok(found)
}

/// Whether the key is that of the first certificate, and of which one it is. Servers take the first
/// for their own.
fn key_state(
    key: Option<&Result<PrivateKey, countersign_pki::KeyError>>,
    leaf: &[CertificateFacts],
) -> (KeyState, Option<usize>) {
    match key {
        None => (KeyState::Missing, None),
        Some(Err(_)) => (KeyState::Unreadable, None),
        Some(Ok(_)) if leaf.is_empty() => (KeyState::Alone, None),
        Some(Ok(key)) => match leaf.iter().position(|facts| facts.matches_key(key)) {
            Some(0) => (KeyState::Matches, Some(0)),
            place => (KeyState::Mismatch, place),
        },
    }
}

fn about_key(
    state: &KeyState,
    key: Option<&Result<PrivateKey, countersign_pki::KeyError>>,
    own: Option<usize>,
    warnings: &mut Vec<Warning>,
) {
    let mut warn =
        |code, message: &str| warnings.push(Warning { code, message: message.to_owned() });
    match (state, key) {
        (KeyState::Mismatch, _) if own.is_some() => warn(
            "leafNotFirst",
            "tls.key is the key of a certificate that is not the first in tls.crt: servers take the first for their own",
        ),
        (KeyState::Mismatch, _) => {
            warn("keyMismatch", "tls.key is not the key of any certificate in tls.crt");
        }
        (KeyState::Missing, _) => warn("keyMissing", "tls.key is missing"),
        (KeyState::Unreadable, Some(Err(error))) => {
            warn("keyUnreadable", &format!("tls.key: {}", story(error)));
        }
        _ => {}
    }
}

type Path<'a> = Vec<(Source, &'a CertificateFacts)>;

/// The way from a leaf upwards, through `tls.crt` and then `ca.crt`, and what of `tls.crt` is no
/// part of it.
fn climb(given: &Given, own: usize) -> (Path<'_>, Vec<&CertificateFacts>) {
    if given.leaf.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let pool: Vec<_> = given.leaf.iter().chain(&given.roots).cloned().collect();
    // Where there are too many to try, the certificate stands alone, and the chain is broken.
    let found = best_path(&pool, &[own])
        .unwrap_or_else(|_| BestPath { path: vec![own], ..BestPath::default() });
    let link = |at: &usize| match given.leaf.get(*at) {
        Some(facts) => Some((Source::Certificate, facts)),
        None => given.roots.get(at - given.leaf.len()).map(|facts| (Source::Roots, facts)),
    };
    let path = found.path.iter().filter_map(link).collect();
    let leaf = given.leaf.iter().enumerate();
    let strangers = leaf.filter(|(at, _)| !found.related.contains(at)).map(|(_, facts)| facts);
    (path, strangers.collect())
}

fn is_trusted(given: &Given, top: &CertificateFacts) -> bool {
    given.roots.iter().any(|root| root.der == top.der)
}

fn about_chain(
    given: &Given,
    path: &Path<'_>,
    strangers: &[&CertificateFacts],
    warnings: &mut Vec<Warning>,
) {
    let Some((_, top)) = path.last() else { return };
    if !given.roots.is_empty() && !is_trusted(given, top) {
        let title = CertificateReport::of(top).title();
        let message = if top.is_self_signed() {
            format!("the chain ends at {title}, which is not in ca.crt")
        } else {
            let issuer = top.issuer_text();
            format!(
                "the chain breaks off at {title}: {issuer}, who signed it, is neither in tls.crt nor in ca.crt"
            )
        };
        warnings.push(Warning { code: "chainBroken", message });
    }
    for stranger in strangers {
        let title = CertificateReport::of(stranger).title();
        let message = format!("{title} stands in tls.crt and is no part of the chain");
        warnings.push(Warning { code: "notInChain", message });
    }
}

fn about_time(path: &Path<'_>, now: Timestamp, warnings: &mut Vec<Warning>) {
    for (_, facts) in path {
        let (title, validity) = (CertificateReport::of(facts).title(), facts.validity);
        if validity.not_after <= now {
            let message = format!("{title} expired at {}", validity.not_after);
            warnings.push(Warning { code: "expired", message });
        } else if now < validity.not_before {
            let message = format!("{title} is not valid before {}", validity.not_before);
            warnings.push(Warning { code: "notYetValid", message });
        }
    }
}

fn about_authorities(path: &Path<'_>, warnings: &mut Vec<Warning>) {
    for (below, (_, facts)) in path.iter().skip(1).enumerate() {
        let title = CertificateReport::of(facts).title();
        if !facts.may_sign() {
            let message = format!(
                "{title} signs others and may not: it is no authority, or lacks the usage cert sign"
            );
            warnings.push(Warning { code: "notAnAuthority", message });
        }
        if facts.path_len.is_some_and(|allowed| (allowed as usize) < below) {
            let message =
                format!("the path length of {title} does not allow the authorities below it");
            warnings.push(Warning { code: "pathTooLong", message });
        }
    }
    if let Some((_, leaf)) = path.first() {
        let report = CertificateReport::of(leaf);
        if !report.is_ca && report.names.lines().is_empty() {
            let message =
                "the certificate has no name but its subject, at which clients do not look";
            warnings.push(Warning { code: "noNames", message: message.to_owned() });
        }
    }
}

#[cfg(test)]
mod tests;
