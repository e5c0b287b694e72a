//! What the issuer of workload identities never signs, whoever asks; pure.
//!
//! Every sidecar trusts what the identity issuer signs, so that whoever may create a Certificate
//! in one namespace could otherwise answer for the services of another, or make an authority of
//! their own. Issuers of users' own are not touched by this.

use countersign_contract::SpiffeId;

use crate::certificate::reference::IssuerId;
use crate::context::Settings;
use crate::pki::Request;

/// A request that the identity issuer does not sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{issuer} does not sign {field} {value:?} for {}: {rule}", whom(namespace))]
pub struct Denied {
    issuer: String,
    field: &'static str,
    value: String,
    namespace: String,
    rule: &'static str,
}

fn whom(namespace: &str) -> String {
    if namespace.is_empty() { "no namespace".to_owned() } else { format!("namespace {namespace}") }
}

/// Whether a request from `namespace` may be signed; it is empty for a request that stands in none.
///
/// # Errors
/// Names the field, its value and the rule.
pub fn check(
    settings: &Settings,
    issuer: &IssuerId,
    namespace: &str,
    request: &Request,
) -> Result<(), Denied> {
    let signs_identities = issuer.is_cluster_wide() && issuer.name == settings.identity_issuer;
    let of_the_operator = namespace == settings.cluster_resource_namespace;
    if !signs_identities || of_the_operator {
        return Ok(());
    }
    let denied = |field, value: &str, rule| Denied {
        issuer: issuer.to_string(),
        field,
        value: value.to_owned(),
        namespace: namespace.to_owned(),
        rule,
    };
    if request.is_ca {
        return Err(denied("isCA", "true", "it signs leaves only; use an issuer of your own"));
    }
    // Nothing says to whom such a name belongs.
    if let Some(name) = request.other_names.first() {
        return Err(denied("otherNames", &name.utf8_value, "it signs no names of other kinds"));
    }
    let foreign_uri = request.uris.iter().find(|uri| is_foreign_identity(settings, namespace, uri));
    if let Some(uri) = foreign_uri {
        return Err(denied("uris", uri, "it is the identity of another namespace"));
    }
    let dns_names = request.dns_names.iter().map(|name| ("dnsNames", name));
    let common_name = request.effective_common_name().map(str::to_owned);
    let common_name = common_name.iter().map(|name| ("commonName", name));
    let mut names = dns_names.chain(common_name);
    match names.find(|(_, name)| is_foreign_service(settings, namespace, name)) {
        Some((field, name)) => Err(denied(field, name, "it is a Service of another namespace")),
        None => Ok(()),
    }
}

/// Anything in our trust domain that is not an identity of this namespace. An authority with a
/// user or a port, or with a dot at its end, is in no trust domain (SPIFFE-ID, 2.1); not everybody
/// who verifies reads it that strictly.
fn is_foreign_identity(settings: &Settings, namespace: &str, uri: &str) -> bool {
    let domain = settings.trust_domain.as_str();
    let lower = uri.to_ascii_lowercase();
    let in_domain = lower
        .strip_prefix("spiffe://")
        .and_then(|rest| rest.split(['/', '?', '#']).find(|part| !part.is_empty()))
        .is_some_and(|authority| {
            authority.split([':', '@']).any(|part| part.trim_end_matches('.') == domain)
        });
    in_domain && uri.parse::<SpiffeId>().map_or(true, |id| id.namespace() != namespace)
}

/// `<service>.<namespace>.svc`, with or without the cluster's domain, or a wildcard that covers
/// such names. Whoever asks from no namespace has none of them.
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
