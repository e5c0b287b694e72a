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
#[error("{issuer} does not sign {field} {value:?} for namespace {namespace}: {rule}")]
pub struct Denied {
    issuer: String,
    field: &'static str,
    value: String,
    namespace: String,
    rule: &'static str,
}

/// Whether a request from `namespace` may be signed.
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
    let foreign_uri = request.uris.iter().find(|uri| is_foreign_identity(settings, namespace, uri));
    if let Some(uri) = foreign_uri {
        return Err(denied("uris", uri, "it is the identity of another namespace"));
    }
    let common_name = request.common_name.iter();
    let mut names = request.dns_names.iter().chain(common_name);
    match names.find(|name| is_foreign_service(settings, namespace, name)) {
        Some(name) => Err(denied("dnsNames", name, "it is a Service of another namespace")),
        None => Ok(()),
    }
}

/// Anything in our trust domain that is not an identity of this namespace.
fn is_foreign_identity(settings: &Settings, namespace: &str, uri: &str) -> bool {
    let domain = settings.trust_domain.as_str();
    let lower = uri.to_ascii_lowercase();
    let in_domain = lower
        .strip_prefix("spiffe://")
        .and_then(|rest| rest.split(['/', '?', '#', ':', '@']).find(|part| !part.is_empty()))
        .is_some_and(|authority| authority == domain);
    in_domain && uri.parse::<SpiffeId>().map_or(true, |id| id.namespace() != namespace)
}

/// `<service>.<namespace>.svc`, with or without the cluster's domain, or a wildcard that covers
/// such names.
fn is_foreign_service(settings: &Settings, namespace: &str, name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let labels: Vec<&str> = name.split('.').collect();
    let domain: Vec<&str> = settings.cluster_domain.split('.').collect();
    let within = labels.strip_suffix(domain.as_slice());
    match within.unwrap_or(&labels) {
        // `*.cluster.local`, or the domain itself.
        [] | ["*"] => within.is_some(),
        [.., "svc"] if labels.len() == 1 => false,
        [.., owner, "svc"] => *owner != namespace,
        ["svc"] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            trust_domain: "cluster.local".parse().unwrap(),
            cluster_domain: "cluster.local".to_owned(),
            cluster_resource_namespace: "countersign-system".to_owned(),
            identity_issuer: "countersign".to_owned(),
            identity_duration: std::time::Duration::from_secs(86_400).into(),
        }
    }

    fn issuer(kind: &str) -> IssuerId {
        IssuerId {
            kind: kind.to_owned(),
            group: "countersign.dev".to_owned(),
            name: "countersign".to_owned(),
        }
    }

    fn asks(uris: &[&str], dns_names: &[&str], is_ca: bool) -> Request {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Request { uris: owned(uris), dns_names: owned(dns_names), is_ca, ..Request::default() }
    }

    #[test]
    fn nobody_gets_the_identity_of_another_namespace_or_an_authority() {
        let cases = [
            (asks(&["spiffe://cluster.local/ns/shop/sa/web"], &[], false), true),
            (asks(&["spiffe://cluster.local/ns/bank/sa/web"], &[], false), false),
            (asks(&["SPIFFE://cluster.local/ns/bank/sa/web"], &[], false), false),
            (asks(&["spiffe://cluster.local/anything"], &[], false), false),
            (asks(&["spiffe://cluster.local:8/ns/shop/sa/web"], &[], false), false),
            (asks(&["spiffe://partner.example/ns/bank/sa/web"], &[], false), true),
            (asks(&[], &["web.shop.svc.cluster.local", "web.shop.svc"], false), true),
            (asks(&[], &["web.bank.svc.cluster.local"], false), false),
            (asks(&[], &["web.bank.svc"], false), false),
            (asks(&[], &["WEB.BANK.SVC."], false), false),
            (asks(&[], &["*.bank.svc"], false), false),
            (asks(&[], &["*.shop.svc.cluster.local"], false), true),
            (asks(&[], &["*.svc.cluster.local"], false), false),
            (asks(&[], &["*.cluster.local"], false), false),
            (asks(&[], &["www.example.org", "localhost"], false), true),
            (asks(&[], &["www.example.org"], true), false),
        ];
        for (request, allowed) in cases {
            let verdict = check(&settings(), &issuer("ClusterIssuer"), "shop", &request);
            assert_eq!(verdict.is_ok(), allowed, "{request:?}: {verdict:?}");
            let own = check(&settings(), &issuer("Issuer"), "shop", &request);
            assert_eq!(own, Ok(()), "an issuer of the namespace's own is not touched");
        }
    }
}
