//! From the AccessPolicies of a namespace to the one document that its sidecars read; pure.

use countersign_contract::access::{
    Authorities, Enforcement, NamespaceDocument, Operator, PodPolicy, PortRules, Requirement, Rule,
    Selector,
};
use countersign_contract::policy::{Mode, ProxyProtocol, TlsVersion, Unmeshed};
use countersign_crds::{
    AccessEnforcement, AccessPolicy, AccessPort, AccessRule, ClientIdentity, LabelExpression,
    LabelOperator, MinTlsVersion, PodSelector, PortMode, UnmeshedEgress,
};
use kube::ResourceExt;

use super::bounds::{Excess, MAX_BYTES, MAX_POLICIES, within};
use super::defaults::{DefaultAccess, Defaults};
use crate::context::Settings;
use crate::pki::sha256_hex;

/// So many characters tell one state of the policies from another.
const REVISION: usize = 16;

/// The document, whatever order the policies come in, where only the mesh's own CA is known.
#[must_use]
pub fn compile<'a>(
    policies: impl IntoIterator<Item = &'a AccessPolicy>,
    settings: &Settings,
) -> NamespaceDocument {
    let trust_domain = settings.trust_domain.to_string();
    compile_for(policies, settings, Authorities { trust_domain, ..Authorities::default() })
}

/// The document, with the CAs that vouch for names.
pub(super) fn compile_for<'a>(
    policies: impl IntoIterator<Item = &'a AccessPolicy>,
    settings: &Settings,
    authorities: Authorities,
) -> NamespaceDocument {
    let own = settings.trust_domain.as_str();
    let policies = policies.into_iter().map(|one| pod_policy(one, own)).collect();
    assembled(policies, settings, authorities)
}

/// The same, where the policies are not too many and not too large: more are neither compiled nor hashed.
pub(super) fn compile_within(
    mut policies: Vec<&AccessPolicy>,
    settings: &Settings,
    authorities: Authorities,
) -> Result<NamespaceDocument, Excess> {
    if policies.len() > MAX_POLICIES {
        return Err(Excess::Policies);
    }
    // In this order, so that it is always the same one that no longer fits.
    policies.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
    let own = settings.trust_domain.as_str();
    let policies = within(policies.into_iter().map(|one| pod_policy(one, own)), MAX_BYTES)?;
    Ok(assembled(policies, settings, authorities))
}

fn assembled(
    mut policies: Vec<PodPolicy>,
    settings: &Settings,
    authorities: Authorities,
) -> NamespaceDocument {
    let own = settings.trust_domain.as_str();
    let Defaults { allow, unmeshed } = settings.access;
    policies.sort_by(|one, other| one.name.cmp(&other.name));
    let default_allow = match allow {
        DefaultAccess::Mesh => vec![everybody(own)],
        DefaultAccess::None => Vec::new(),
    };
    revised(NamespaceDocument {
        default_allow,
        default_unmeshed: unmeshed,
        authorities: Some(authorities),
        policies,
        ..NamespaceDocument::default()
    })
}

/// What stands in for policies that cannot be told: nobody may reach anything.
#[must_use]
pub(super) fn closed() -> NamespaceDocument {
    revised(NamespaceDocument { default_unmeshed: Unmeshed::Deny, ..NamespaceDocument::default() })
}

fn revised(document: NamespaceDocument) -> NamespaceDocument {
    let document = NamespaceDocument { revision: String::new(), ..document };
    let text = text(&document);
    let mut revision = sha256_hex(text.as_bytes());
    revision.truncate(REVISION);
    NamespaceDocument { revision, ..document }
}

/// The document as it is written, always the same for the same document.
#[must_use]
pub(super) fn text(document: &NamespaceDocument) -> String {
    // The document has nothing that JSON has not.
    serde_json::to_string(document).unwrap_or_default()
}

fn pod_policy(policy: &AccessPolicy, own: &str) -> PodPolicy {
    let spec = &policy.spec;
    PodPolicy {
        name: policy.name_any(),
        pod_selector: pod_selector(policy),
        enforcement: match spec.enforcement {
            AccessEnforcement::Enforce => Enforcement::Enforce,
            AccessEnforcement::Audit => Enforcement::Audit,
        },
        allow: rules(&spec.allow, own),
        ports: spec.ports.iter().map(|port| (port.port, port_rules(port, own))).collect(),
        unmeshed: spec.egress.as_ref().and_then(|egress| egress.unmeshed).map(|unmeshed| {
            match unmeshed {
                UnmeshedEgress::Allow => Unmeshed::Allow,
                UnmeshedEgress::Deny => Unmeshed::Deny,
            }
        }),
        has_unknown_part: false,
    }
}

/// The pods that a policy is about.
pub(super) fn pod_selector(policy: &AccessPolicy) -> Selector {
    policy.spec.pod_selector.as_ref().map(selector).unwrap_or_default()
}

fn selector(selector: &PodSelector) -> Selector {
    Selector {
        match_labels: selector.match_labels.clone(),
        match_expressions: selector.match_expressions.iter().map(requirement).collect(),
    }
}

fn requirement(expression: &LabelExpression) -> Requirement {
    Requirement {
        key: expression.key.clone(),
        operator: match expression.operator {
            LabelOperator::In => Operator::In,
            LabelOperator::NotIn => Operator::NotIn,
            LabelOperator::Exists => Operator::Exists,
            LabelOperator::DoesNotExist => Operator::DoesNotExist,
        },
        values: expression.values.clone(),
    }
}

fn port_rules(port: &AccessPort, own: &str) -> PortRules {
    PortRules {
        mode: port.mode.map(|mode| match mode {
            PortMode::Mutual => Mode::Mutual,
            PortMode::Server => Mode::Server,
            PortMode::Permissive => Mode::Permissive,
            PortMode::Off => Mode::Off,
        }),
        allow: port.allow.as_ref().map(|allow| rules(allow, own)),
        alpn: port.alpn.clone(),
        min_version: port.min_tls_version.map(|version| match version {
            MinTlsVersion::V1_2 => TlsVersion::V1_2,
            MinTlsVersion::V1_3 => TlsVersion::V1_3,
        }),
        proxy_protocol: (port.client_identity == Some(ClientIdentity::ProxyProtocolV2))
            .then_some(ProxyProtocol::V2),
        forwarded_client_cert: port.client_identity == Some(ClientIdentity::ForwardedClientCert),
        has_unknown_part: false,
    }
}

fn rules(rules: &[AccessRule], own: &str) -> Vec<Rule> {
    rules.iter().map(|given| rule(given, own)).collect()
}

/// A namespace or an account of that name in a federated trust domain is somebody else's, and is
/// never meant unless it says so.
fn rule(given: &AccessRule, own: &str) -> Rule {
    let names_trust = !given.trust_domains.is_empty() || !given.identities.is_empty();
    let names_workloads = !given.namespaces.is_empty() || !given.service_accounts.is_empty();
    let is_own = !names_trust && (names_workloads || *given == AccessRule::default());
    Rule {
        identities: given.identities.clone(),
        trust_domains: if is_own { vec![own.to_owned()] } else { given.trust_domains.clone() },
        namespaces: given.namespaces.clone(),
        service_accounts: given.service_accounts.clone(),
        dns_names: given.dns_names.clone(),
        common_names: given.common_names.clone(),
    }
}

/// Every identity of a trust domain.
fn everybody(own: &str) -> Rule {
    rule(&AccessRule::default(), own)
}

#[cfg(test)]
mod tests;
