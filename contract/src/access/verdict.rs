//! Whether somebody may reach a port of a pod, and by which rule.

use std::collections::BTreeMap;

use super::document::{NamespaceDocument, PodPolicy};
use super::effect::Selecting;
use super::rule::{Caller, Rule};
use crate::policy::Mode;

/// Whether somebody may reach a port, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How the port speaks TLS.
    pub mode: Mode,
    /// Whether they may.
    pub allowed: bool,
    /// The rule that lets them in; nothing where nobody asks who they are.
    pub rule: Option<Rule>,
    /// The policy of that rule; the namespace's default has no name.
    pub policy: Option<String>,
    /// The enforced policies that select the pod.
    pub policies: Vec<String>,
    /// Whether they would be refused if every audited policy held.
    pub audited_refusal: bool,
}

/// Judges somebody; nothing is known of a caller that presents no certificate.
#[must_use]
pub fn judge(
    document: &NamespaceDocument,
    labels: &BTreeMap<String, String>,
    port: u16,
    caller: Option<&Caller<'_>>,
) -> Verdict {
    let selecting = Selecting::of(document, labels);
    let mode = selecting.mode(Some(port));
    let found = |rules: Vec<(Option<&PodPolicy>, &Rule)>| {
        let admits = |rule: &Rule| caller.is_some_and(|caller| rule.admits(caller));
        let one = rules.into_iter().find(|(_, rule)| admits(rule));
        one.map(|(policy, rule)| (policy.map(|policy| policy.name.clone()), rule.clone()))
    };
    let asked = !matches!(mode, Mode::Off | Mode::Server);
    let by = found(selecting.allowed(Some(port)));
    let audited = selecting.audited(Some(port)).map(found);
    let is_anonymous = caller.is_none() && mode == Mode::Permissive && {
        let own = |policy: &&PodPolicy| policy.ports.get(&port).is_some_and(|p| p.allow.is_some());
        !selecting.enforced.iter().any(own)
    };
    Verdict {
        mode,
        allowed: !asked || by.is_some() || is_anonymous,
        policy: by.as_ref().filter(|_| asked).and_then(|(policy, _)| policy.clone()),
        rule: by.filter(|_| asked).map(|(_, rule)| rule),
        policies: selecting.enforced.iter().map(|policy| policy.name.clone()).collect(),
        audited_refusal: asked && matches!(audited, Some(None)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::effective;
    use super::*;

    const DOCUMENT: &str = r#"{
        "revision": "1",
        "defaultAllow": [{"trustDomains": ["d"]}],
        "policies": [
            {"name": "web", "podSelector": {"matchLabels": {"app": "web"}},
             "allow": [{"namespaces": ["desk"]}],
             "ports": {
                "8443": {"mode": "server"},
                "9000": {"mode": "permissive"},
                "9001": {"mode": "permissive", "allow": [{"namespaces": ["ops"]}]},
                "9002": {"mode": "off"},
                "9004": {"forwardedClientCert": true},
                "9003": {"allow": []}
             }},
            {"name": "also", "podSelector": {"matchLabels": {"app": "web"}},
             "allow": [{"serviceAccounts": ["till"]}],
             "ports": {"9002": {"mode": "mutual"}}},
            {"name": "watched", "podSelector": {"matchLabels": {"app": "api"}},
             "enforcement": "Audit", "allow": [{"namespaces": ["desk"]}],
             "ports": {"80": {"mode": "off"}}}
        ]
    }"#;

    const DESK: &str = "spiffe://d/ns/desk/sa/x";
    const OPS: &str = "spiffe://d/ns/ops/sa/x";
    const TILL: &str = "spiffe://d/ns/any/sa/till";
    const FOREIGN: &str = "spiffe://other/ns/any/sa/any";

    fn verdict(app: &str, port: u16, id: Option<&str>) -> Verdict {
        let document: NamespaceDocument = serde_json::from_str(DOCUMENT).unwrap();
        let labels = BTreeMap::from([("app".to_owned(), app.to_owned())]);
        let caller = id.map(|id| Caller { spiffe_id: Some(id), ..Caller::default() });
        let verdict = judge(&document, &labels, port, caller.as_ref());
        // What explains and what refuses must not differ.
        let policy = effective(&document, &labels);
        let enforced = policy.of_port(port).admits(caller.as_ref());
        assert_eq!(enforced, verdict.allowed, "{app}:{port} {id:?}");
        verdict
    }

    #[test]
    fn whoever_is_allowed_is_allowed_by_a_rule_of_a_policy_or_by_the_default() {
        let web = Some("web".to_owned());
        let also = Some("also".to_owned());
        let cases = [
            ("db", 80, Some(DESK), true, None),
            ("db", 80, Some(FOREIGN), false, None),
            ("db", 80, None, false, None),
            ("web", 80, Some(DESK), true, web.clone()),
            ("web", 80, Some(OPS), false, None),
            ("web", 80, Some(TILL), true, also.clone()),
            ("web", 80, None, false, None),
            // A port's own rules stand in place of its policy's, and beside those of others.
            ("web", 9003, Some(DESK), false, None),
            ("web", 9003, Some(TILL), true, also),
            // Of two modes the stricter one holds.
            ("web", 9002, None, false, None),
            ("web", 8443, None, true, None),
            ("web", 9000, None, true, None),
            ("web", 9000, Some(DESK), true, web),
            ("web", 9000, Some(OPS), false, None),
            ("web", 9001, None, false, None),
        ];
        for (app, port, id, allowed, policy) in cases {
            let verdict = verdict(app, port, id);
            assert_eq!(
                (verdict.allowed, &verdict.policy),
                (allowed, &policy),
                "{app}:{port} {id:?}"
            );
        }
    }

    #[test]
    fn a_port_that_is_off_is_not_looked_at_whatever_else_is_said_of_it() {
        let mut document: NamespaceDocument = serde_json::from_str(DOCUMENT).unwrap();
        let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        let told = |document: &NamespaceDocument| {
            effective(document, &labels).of_port(9004).forwarded_client_cert
        };
        assert!(told(&document));
        let rules = document.policies[0].ports.get_mut(&9004).unwrap();
        rules.mode = Some(Mode::Off);
        assert!(!told(&document));
    }

    #[test]
    fn an_audited_policy_tells_and_changes_nothing() {
        for (id, refused) in [(DESK, false), (OPS, true)] {
            let verdict = verdict("api", 80, Some(id));
            assert!(verdict.allowed && verdict.mode == Mode::Mutual);
            assert_eq!(verdict.audited_refusal, refused, "{id}");
        }
    }
}
