//! Who may have what signed: `spec.ca.policy` and `spec.selfSigned.policy`; pure.
//!
//! One rule must allow the whole request: a name by one rule and a usage by another would be more
//! than either says. Whoever is denied is told by which rule, what of theirs is outside it, and
//! what would be inside.

mod namespaces;
mod pattern;
mod rule;

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_contract::TrustDomain;
use countersign_crds::SigningPolicy;

use self::pattern::Placeholders;
use self::rule::Violation;
use crate::certificate::reference::IssuerId;
use crate::pki::{KeyAlgorithm, NameParts, Request};

/// All that a policy may be about.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Whose policy it is.
    pub issuer: &'a IssuerId,
    /// The namespace of whoever asks.
    pub namespace: &'a str,
    /// Its labels; needed where the policy selects namespaces by them.
    pub labels: &'a BTreeMap<String, String>,
    /// What is asked for.
    pub request: &'a Request,
    /// The subject as it will be signed.
    pub subject: &'a NameParts,
    /// How long it shall be valid, as it is asked for.
    pub lifetime: Duration,
    /// The kind of key; `None` for one that we do not know.
    pub key: Option<KeyAlgorithm>,
    /// The DNS domain of Services.
    pub cluster_domain: &'a str,
    /// The trust domain of identities.
    pub trust_domain: &'a TrustDomain,
}

/// A request that is outside a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{issuer} does not sign {what} for namespace {namespace}: {why}")]
pub struct Denied {
    issuer: String,
    what: String,
    namespace: String,
    why: String,
}

/// Whether a policy asks for the labels of the namespace.
#[must_use]
pub fn needs_labels(policy: &SigningPolicy) -> bool {
    policy.namespaces.as_ref().is_some_and(|selector| {
        !selector.match_labels.is_empty() || !selector.match_expressions.is_empty()
    })
}

/// Whether a request is inside a policy.
///
/// # Errors
/// Names the rule, the field, its value, and what would be allowed.
pub fn check(policy: &SigningPolicy, facts: &Facts<'_>) -> Result<(), Denied> {
    let denied = |what: String, why: String| Denied {
        issuer: facts.issuer.to_string(),
        what,
        namespace: facts.namespace.to_owned(),
        why,
    };
    if let Some(selector) = &policy.namespaces
        && !namespaces::selects(selector, facts.namespace, facts.labels)
    {
        let why = format!("its policy is for {}", namespaces::story(selector));
        return Err(denied("anything".to_owned(), why));
    }
    let Some(rules) = &policy.allow else {
        let why = "its policy has no rule with isCA: true".to_owned();
        let leaf = !facts.request.is_ca;
        return if leaf { Ok(()) } else { Err(denied("isCA \"true\"".to_owned(), why)) };
    };
    let placeholders = Placeholders {
        namespace: facts.namespace,
        cluster_domain: facts.cluster_domain,
        trust_domain: facts.trust_domain.as_str(),
    };
    let mut nearest: Option<(&str, Vec<Violation>)> = None;
    for rule in rules {
        let violations = rule::violations(rule, facts, &placeholders);
        if violations.is_empty() {
            return Ok(());
        }
        if nearest.as_ref().is_none_or(|(_, fewest)| violations.len() < fewest.len()) {
            nearest = Some((&rule.name, violations));
        }
    }
    let Some((name, violations)) = nearest else {
        return Err(denied("anything".to_owned(), "its policy has no rule".to_owned()));
    };
    let (what, why) = story(name, rules.len(), &violations);
    Err(denied(what, why))
}

/// What was asked for, and what the rule would have allowed.
fn story(rule: &str, rules: usize, violations: &[Violation]) -> (String, String) {
    let rule = match rules {
        1 => format!("rule {rule} allows"),
        rules => format!("of {rules} rules, {rule} is the nearest, and allows"),
    };
    let Some(first) = violations.first() else { return (String::new(), rule) };
    let more = match violations.len() - 1 {
        0 => String::new(),
        more => format!(" ({more} more of what is asked for is outside it)"),
    };
    (format!("{} {:?}", first.field, first.value), format!("{rule} {}{more}", first.allowed))
}

#[cfg(test)]
mod tests;
