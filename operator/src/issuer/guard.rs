//! What the issuers that sidecars trust sign, and for which requests; pure.
//!
//! Every sidecar trusts what the issuer of identities signs. It is closed by default: for namespaces other
//! than the operator's it signs the SPIFFE ID of a service account of that namespace, names of Services of that
//! namespace, and nothing else, at the request of the operator or of that account itself. Other issuers below
//! the same root, and the issuer of people and devices, sign neither SPIFFE IDs nor CAs.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use countersign_contract::{SpiffeId, names};
use countersign_crds::Certificate;
use kube::ResourceExt;

use super::scope::Scope;
use crate::certificate::reference::IssuerId;
use crate::context::Settings;
use crate::identity::is_identity;
use crate::pki::{KeyAlgorithm, NameParts, Request, Usage};

/// As many DNS names as the schema of Certificate allows.
const MAX_DNS_NAMES: usize = 250;

/// The longest part of a value that a message repeats.
const MAX_SHOWN: usize = 200;

/// The user name of a service account, before its namespace.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// A request that is not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{issuer} does not sign {field} {value:?} for {}: {rule}", origin(namespace))]
pub struct Denied {
    issuer: String,
    field: &'static str,
    value: String,
    namespace: String,
    rule: Cow<'static, str>,
}

fn origin(namespace: &str) -> String {
    if namespace.is_empty() { "no namespace".to_owned() } else { format!("namespace {namespace}") }
}

/// The object that a request comes from.
#[derive(Clone, Copy, Debug)]
pub enum Requester<'a> {
    /// A Certificate: the operator asks, and writes the key into the Secret that it names.
    Certificate(&'a Certificate),
    /// A request with a CSR: the user who created it, where the API server recorded that.
    User(Option<&'a str>),
}

/// Everything that the guard decides by.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The issuer that is asked.
    pub issuer: &'a IssuerId,
    /// The namespace of the request; empty for a CertificateSigningRequest of Kubernetes.
    pub namespace: &'a str,
    /// The names and usages.
    pub request: &'a Request,
    /// The subject as it will be signed.
    pub subject: &'a NameParts,
    /// How long the certificate shall be valid.
    pub lifetime: Duration,
    /// The kind of key; `None` for one that we do not know.
    pub key: Option<KeyAlgorithm>,
    /// The object that the request comes from.
    pub requester: Requester<'a>,
    /// The DNS names that the operator would write into the identity of the requesting account.
    pub own_names: &'a [String],
}

impl<'a> Facts<'a> {
    /// The namespace and the name of the account that asks, where an account does.
    pub(super) fn account(requester: Requester<'a>) -> Option<(&'a str, &'a str)> {
        let Requester::User(Some(user)) = requester else { return None };
        user.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')
    }

    /// The namespace whose identity is asked for: a request without one is made by an account, if at all.
    fn home(&self) -> &'a str {
        match Self::account(self.requester) {
            Some((namespace, _)) if self.namespace.is_empty() => namespace,
            _ => self.namespace,
        }
    }

    fn denied(
        &self,
        field: &'static str,
        value: &str,
        rule: impl Into<Cow<'static, str>>,
    ) -> Denied {
        Denied {
            issuer: self.issuer.to_string(),
            field,
            value: value.chars().take(MAX_SHOWN).collect(),
            namespace: self.namespace.to_owned(),
            rule: rule.into(),
        }
    }
}

/// Whether a request may be signed.
///
/// # Errors
/// Names the field, its value and the rule.
pub fn check(settings: &Settings, scope: Scope, facts: &Facts<'_>) -> Result<(), Denied> {
    if facts.namespace == settings.cluster_resource_namespace {
        return Ok(());
    }
    match scope {
        Scope::Identities => identity(settings, facts),
        Scope::BesideIdentities | Scope::Devices => beside(settings, facts),
        Scope::Others => Ok(()),
    }
}

/// What an issuer of identities signs.
fn identity(settings: &Settings, facts: &Facts<'_>) -> Result<(), Denied> {
    nothing_else(facts)?;
    let id = spiffe_id(settings, facts)?;
    dns_names(settings, facts)?;
    usages(facts)?;
    lifetime(settings, facts)?;
    key(facts)?;
    requester(settings, facts, &id)
}

/// Fields that identities do not have.
fn nothing_else(facts: &Facts<'_>) -> Result<(), Denied> {
    // A new field of a request must be looked at here before it can be signed: hence no `..`.
    let Request {
        common_name,
        subject: _, // As it will be signed, in `facts.subject`.
        literal_subject: _,
        dns_names: _,
        ip_addresses,
        uris: _,
        email_addresses,
        other_names,
        usages: _,
        is_ca,
        path_len: _, // Of CAs only, which are refused.
        name_constraints,
    } = facts.request;
    let other_issuer = "it signs identities of workloads only; use the issuer of people and devices, or one of your own";
    if *is_ca || name_constraints.is_some() {
        return Err(facts.denied(
            "isCA",
            "true",
            "it signs leaves only; use an issuer of your own",
        ));
    }
    if let Some(name) = other_names.first() {
        return Err(facts.denied(
            "otherNames",
            &name.utf8_value,
            "it signs no names of other kinds",
        ));
    }
    if let Some(address) = ip_addresses.first() {
        return Err(facts.denied("ipAddresses", &address.to_string(), other_issuer));
    }
    if let Some(address) = email_addresses.first() {
        return Err(facts.denied("emailAddresses", address, other_issuer));
    }
    let of_subject = || facts.subject.common_names.first().map(String::as_str);
    let common_name = common_name.as_deref().or_else(of_subject);
    if let Some(name) = common_name {
        return Err(facts.denied("commonName", name, other_issuer));
    }
    match *facts.subject == NameParts::default() {
        true => Ok(()),
        false => Err(facts.denied("subject", "", "an identity has no subject; leave it empty")),
    }
}

fn spiffe_id(settings: &Settings, facts: &Facts<'_>) -> Result<SpiffeId, Denied> {
    let [uri] = facts.request.uris.as_slice() else {
        let second = facts.request.uris.get(1).map_or("", String::as_str);
        let rule = "an identity has exactly one URI, the SPIFFE ID of a service account; for names of people and devices use their issuer";
        return Err(facts.denied("uris", second, rule));
    };
    let id = uri.parse::<SpiffeId>().ok().filter(|id| id.to_string() == *uri);
    let Some(id) = id else {
        let rule = "it is not spiffe://<trust domain>/ns/<namespace>/sa/<service account>";
        return Err(facts.denied("uris", uri, rule));
    };
    if *id.trust_domain() != settings.trust_domain {
        return Err(facts.denied("uris", uri, "it is of another trust domain"));
    }
    match id.namespace() == facts.home() {
        true => Ok(id),
        false => Err(facts.denied("uris", uri, "it is the identity of another namespace")),
    }
}

/// `<service>.<namespace>.svc`, with or without the cluster's domain.
fn dns_names(settings: &Settings, facts: &Facts<'_>) -> Result<(), Denied> {
    let names = &facts.request.dns_names;
    if names.len() > MAX_DNS_NAMES {
        let count = format!("{} names", names.len());
        return Err(facts.denied("dnsNames", &count, format!("{MAX_DNS_NAMES} at most")));
    }
    let home = facts.home();
    let is_own = |name: &&String| {
        let short = name.strip_suffix(&format!(".{}", settings.cluster_domain)).unwrap_or(name);
        let service = short.strip_suffix(&format!(".{home}.svc"));
        !home.is_empty() && service.is_some_and(is_label)
    };
    match names.iter().find(|name| !is_own(name)) {
        Some(name) if is_foreign_service(settings, facts.namespace, name) => {
            Err(facts.denied("dnsNames", name, "it is a Service of another namespace"))
        }
        Some(name) => {
            let rule = format!(
                "it is no Service of the namespace, such as web.{home}.svc.{}",
                settings.cluster_domain
            );
            Err(facts.denied("dnsNames", name, rule))
        }
        None => Ok(()),
    }
}

/// The name of a Service.
fn is_label(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(legal)
}

fn usages(facts: &Facts<'_>) -> Result<(), Denied> {
    let needed = BTreeSet::from([Usage::DigitalSignature, Usage::ServerAuth, Usage::ClientAuth]);
    let asked = facts.request.effective_usages();
    let rule = "an identity is for digital signature, server auth and client auth, all three";
    // Requests that do not say have it by default; it means nothing for these keys.
    let more = asked.difference(&needed).find(|usage| **usage != Usage::KeyEncipherment);
    if let Some(usage) = more {
        return Err(facts.denied("usages", usage.name(), rule));
    }
    match needed.is_subset(&asked) {
        true => Ok(()),
        false => {
            let asked: Vec<_> = asked.iter().map(|usage| usage.name()).collect();
            Err(facts.denied("usages", &asked.join(", "), rule))
        }
    }
}

fn lifetime(settings: &Settings, facts: &Facts<'_>) -> Result<(), Denied> {
    let longest = Duration::from(settings.identity_duration);
    if facts.lifetime <= longest {
        return Ok(());
    }
    let rule =
        format!("identities are valid for {}s at most (identityDuration)", longest.as_secs());
    Err(facts.denied("duration", &format!("{}s", facts.lifetime.as_secs()), rule))
}

fn key(facts: &Facts<'_>) -> Result<(), Denied> {
    match facts.key {
        Some(KeyAlgorithm::EcdsaP256 | KeyAlgorithm::Ed25519) => Ok(()),
        other => {
            let value = other.map_or_else(|| "of a kind unknown".to_owned(), |key| key.to_string());
            Err(facts.denied(
                "privateKey",
                &value,
                "identities have keys of ECDSA P-256 or Ed25519",
            ))
        }
    }
}

/// Rights to Certificates or requests alone are no right to be a workload.
fn requester(settings: &Settings, facts: &Facts<'_>, id: &SpiffeId) -> Result<(), Denied> {
    let account = id.service_account();
    let user = match facts.requester {
        Requester::Certificate(certificate) => {
            let is_it = is_identity(settings, facts.namespace, certificate)
                && certificate.spec.uris.iter().eq([&id.to_string()]);
            let rule = format!(
                "the operator makes the Certificate of an identity itself: {}, whose key only sidecars mount",
                names::identity_name(account)
            );
            return match is_it {
                true => Ok(()),
                false => Err(facts.denied("Certificate", &certificate.name_any(), rule)),
            };
        }
        Requester::User(user) => user.unwrap_or_default(),
    };
    let itself = format!("{SERVICE_ACCOUNT}{}:{account}", id.namespace());
    if user != itself {
        return Err(facts.denied(
            "username",
            user,
            format!("only {itself} may ask for its identity"),
        ));
    }
    match facts.request.dns_names.iter().find(|name| !facts.own_names.contains(name)) {
        Some(name) => {
            let rule = format!("no pod of {account} is behind that Service");
            Err(facts.denied("dnsNames", name, rule))
        }
        None => Ok(()),
    }
}

/// What an issuer beside the one of identities signs: whatever a sidecar would not take for a workload.
fn beside(settings: &Settings, facts: &Facts<'_>) -> Result<(), Denied> {
    let request = facts.request;
    if request.is_ca {
        let rule = "sidecars would trust what that CA signs";
        return Err(facts.denied("isCA", "true", rule));
    }
    let scheme = |uri: &&String| uri.get(..7).is_some_and(|s| s.eq_ignore_ascii_case("spiffe:"));
    if let Some(uri) = request.uris.iter().find(scheme) {
        let rule = "SPIFFE IDs are signed by the issuer of identities only";
        return Err(facts.denied("uris", uri, rule));
    }
    let dns_names = request.dns_names.iter().map(|name| ("dnsNames", name));
    let common_names = facts.subject.common_names.iter().map(|name| ("commonName", name));
    let mut names = dns_names.chain(common_names);
    match names.find(|(_, name)| is_foreign_service(settings, facts.namespace, name)) {
        Some((field, name)) => {
            Err(facts.denied(field, name, "it is a Service of another namespace"))
        }
        None => Ok(()),
    }
}

/// `<service>.<namespace>.svc`, with or without the cluster's domain, or a wildcard that covers
/// such names. A request from no namespace has none of them.
fn is_foreign_service(settings: &Settings, namespace: &str, name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let labels: Vec<&str> = name.split('.').collect();
    let domain: Vec<&str> = settings.cluster_domain.split('.').collect();
    let within = labels.strip_suffix(domain.as_slice());
    match within.unwrap_or(&labels) {
        // `*.cluster.local`, or the domain itself.
        [] | ["*"] => within.is_some(),
        [.., "svc"] if labels.len() == 1 => false,
        [.., owner, "svc"] => namespace.is_empty() || *owner != namespace,
        ["svc"] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
