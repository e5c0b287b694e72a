//! From a namespace's document and a pod's labels to what its sidecar does.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{Enforcement, NamespaceDocument, PodPolicy, PortRules};
use super::rule::{Allow, Rule};
use crate::policy::{Mode, PolicyDocument, PortPolicy, Unmeshed};

/// What holds for a pod with these labels.
#[must_use]
pub fn effective(
    document: &NamespaceDocument,
    labels: &BTreeMap<String, String>,
) -> PolicyDocument {
    let selecting = Selecting::of(document, labels);
    let ports: BTreeSet<u16> =
        selecting.all().flat_map(|policy| policy.ports.keys().copied()).collect();
    PolicyDocument {
        revision: Some(document.revision.clone()),
        default: selecting.of_port(None),
        ports: ports.into_iter().map(|port| (port, selecting.of_port(Some(port)))).collect(),
        unmeshed: selecting.unmeshed(),
        // Of a document that does not say, no CA vouches for more than SPIFFE IDs.
        authorities: Some(document.authorities.clone().unwrap_or_default()),
    }
}

/// How a port of a pod with these labels speaks TLS.
#[must_use]
pub fn mode(document: &NamespaceDocument, labels: &BTreeMap<String, String>, port: u16) -> Mode {
    Selecting::of(document, labels).mode(Some(port))
}

/// The policies that select one pod.
pub(super) struct Selecting<'a> {
    document: &'a NamespaceDocument,
    pub(super) enforced: Vec<&'a PodPolicy>,
    audited: Vec<&'a PodPolicy>,
}

impl<'a> Selecting<'a> {
    pub(super) fn of(document: &'a NamespaceDocument, labels: &BTreeMap<String, String>) -> Self {
        let mut selecting: Vec<_> =
            document.policies.iter().filter(|policy| policy.pod_selector.selects(labels)).collect();
        selecting.sort_by(|one, other| one.name.cmp(&other.name));
        let (enforced, audited) =
            selecting.into_iter().partition(|policy| policy.enforcement == Enforcement::Enforce);
        Self { document, enforced, audited }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &'a PodPolicy> {
        self.enforced.iter().chain(&self.audited).copied()
    }

    /// Whether an enforced policy says something of a port that this version does not know.
    fn is_closed(&self, port: Option<u16>) -> bool {
        self.enforced.iter().any(|policy| policy.has_unknown_part)
            || self.stated(port).any(|(_, rules)| rules.has_unknown_part)
    }

    /// The strictest mode that an enforced policy states for a port.
    pub(super) fn mode(&self, port: Option<u16>) -> Mode {
        if self.is_closed(port) {
            return Mode::Mutual;
        }
        self.stated(port).filter_map(|(_, rules)| rules.mode).min().unwrap_or_default()
    }

    /// Who may reach a port, each with the policy that says so; the default has no policy.
    pub(super) fn allowed(&self, port: Option<u16>) -> Vec<(Option<&'a PodPolicy>, &'a Rule)> {
        if self.enforced.is_empty() {
            return self.document.default_allow.iter().map(|rule| (None, rule)).collect();
        }
        if self.is_closed(port) {
            return Vec::new();
        }
        named(self.enforced.iter().copied(), port)
    }

    /// Who may reach a port if every audited policy held; nothing where none is audited.
    pub(super) fn audited(
        &self,
        port: Option<u16>,
    ) -> Option<Vec<(Option<&'a PodPolicy>, &'a Rule)>> {
        (!self.audited.is_empty()).then(|| named(self.all(), port))
    }

    fn of_port(&self, port: Option<u16>) -> PortPolicy {
        let mode = self.mode(port);
        let list = |rules: Vec<(Option<&PodPolicy>, &Rule)>| {
            rules.into_iter().map(|(_, rule)| Allow::Rule(rule.clone())).collect()
        };
        let names = |policies: &[&PodPolicy]| policies.iter().map(|p| p.name.clone()).collect();
        let says = |said: fn(&PortRules) -> bool| {
            self.stated(port).map(|(_, rules)| rules).find(|rules| said(rules))
        };
        // Customers present no certificate, so that nothing can be asked of it; and a port that is off
        // is not looked at, whatever another policy says of it.
        let asks = !matches!(mode, Mode::Server | Mode::Off);
        let tells = mode != Mode::Off;
        PortPolicy {
            mode,
            allow: asks.then(|| list(self.allowed(port))),
            audit: self.audited(port).filter(|_| asks).map(list),
            policies: names(&self.enforced),
            audited_policies: names(&self.audited),
            anonymous: (mode == Mode::Permissive)
                .then(|| self.stated(port).all(|(_, rules)| rules.allow.is_none())),
            alpn: says(|rules| !rules.alpn.is_empty()).map_or_else(Vec::new, |r| r.alpn.clone()),
            min_version: says(|rules| rules.min_version.is_some())
                .and_then(|rules| rules.min_version)
                .unwrap_or_default(),
            certificates: Vec::new(),
            proxy_protocol: says(|rules| rules.proxy_protocol.is_some())
                .filter(|_| tells)
                .and_then(|rules| rules.proxy_protocol),
            forwarded_client_cert: tells && says(|rules| rules.forwarded_client_cert).is_some(),
        }
    }

    /// What enforced policies say of a port by its number.
    fn stated(&self, port: Option<u16>) -> impl Iterator<Item = (&'a PodPolicy, &'a PortRules)> {
        let of_port = move |policy: &&'a PodPolicy| {
            let policy: &'a PodPolicy = policy;
            port.and_then(|port| policy.ports.get(&port)).map(|rules| (policy, rules))
        };
        self.enforced.iter().filter_map(of_port)
    }

    fn unmeshed(&self) -> Unmeshed {
        let stated = self.enforced.iter().filter_map(|policy| policy.unmeshed).max();
        stated.unwrap_or(self.document.default_unmeshed)
    }
}

fn named<'a>(
    policies: impl Iterator<Item = &'a PodPolicy>,
    port: Option<u16>,
) -> Vec<(Option<&'a PodPolicy>, &'a Rule)> {
    let of_one = |policy: &'a PodPolicy| {
        let own = port.and_then(|port| policy.ports.get(&port)?.allow.as_ref());
        own.unwrap_or(&policy.allow).iter().map(move |rule| (Some(policy), rule))
    };
    policies.flat_map(of_one).collect()
}
