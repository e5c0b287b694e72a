//! Where two policies that hold say different things of one port of one pod; pure.

use std::collections::BTreeMap;

use countersign_contract::access::{Enforcement, NamespaceDocument, PodPolicy, PortRules};
use countersign_contract::policy::{Mode, TlsVersion};
use kube::ResourceExt;

use crate::kept::MeshPod;

/// For each policy that another one contradicts, the first contradiction.
pub(super) fn conflicts(
    document: &NamespaceDocument,
    pods: &[impl AsRef<MeshPod>],
) -> BTreeMap<String, String> {
    let held = |policy: &&PodPolicy| policy.enforcement == Enforcement::Enforce;
    let policies: Vec<_> = document.policies.iter().filter(held).collect();
    let mut found = BTreeMap::new();
    for (place, one) in policies.iter().enumerate() {
        for other in &policies[place + 1..] {
            let Some((port, difference)) = contradiction(one, other) else { continue };
            let Some(pod) = common(one, other, pods) else { continue };
            for (own, another, said) in [
                (one, other, [&difference.one, &difference.other]),
                (other, one, [&difference.other, &difference.one]),
            ] {
                let Difference { field, holds, .. } = &difference;
                let message = format!(
                    "port {port} of pod {pod}: {field} is {} here and {} in policy {}; {holds}",
                    said[0], said[1], another.name
                );
                found.entry(own.name.clone()).or_insert(message);
            }
        }
    }
    found
}

/// A pod that both select.
fn common(one: &PodPolicy, other: &PodPolicy, pods: &[impl AsRef<MeshPod>]) -> Option<String> {
    let selects = |policy: &PodPolicy, pod: &MeshPod| policy.pod_selector.selects(pod.labels());
    let mut both = pods.iter().map(AsRef::as_ref).filter(|p| selects(one, p) && selects(other, p));
    both.next().map(ResourceExt::name_any)
}

/// What two policies say differently, and what then holds.
struct Difference {
    field: &'static str,
    one: String,
    other: String,
    holds: String,
}

fn contradiction(one: &PodPolicy, other: &PodPolicy) -> Option<(u16, Difference)> {
    one.ports.iter().find_map(|(port, rules)| {
        let others = other.ports.get(port)?;
        let first = one.name.as_str().min(&other.name);
        difference(rules, others, first).map(|difference| (*port, difference))
    })
}

fn difference(one: &PortRules, other: &PortRules, first: &str) -> Option<Difference> {
    let of_first = || format!("that of policy {first} holds, the first by name");
    let strictest = || match one.mode.min(other.mode) {
        Some(mode) => format!("the strictest holds, {}", mode_word(mode)),
        None => String::new(),
    };
    let both = || "the application is told in both ways".to_owned();
    let modes = [one, other].map(|rules| rules.mode.map(|mode| mode_word(mode).to_owned()));
    let versions = [one, other].map(|rules| rules.min_version.map(version_word));
    let protocols = [one, other].map(|rules| Some(rules.alpn.join(" ")));
    let protocols = protocols.map(|list| list.filter(|list| !list.is_empty()));
    let identities = [one, other].map(identity_word);
    differ("mode", modes, strictest)
        .or_else(|| differ("minTLSVersion", versions, of_first))
        .or_else(|| differ("alpn", protocols, of_first))
        .or_else(|| differ("clientIdentity", identities, both))
}

/// Who says nothing contradicts nobody.
fn differ(
    field: &'static str,
    said: [Option<String>; 2],
    holds: impl Fn() -> String,
) -> Option<Difference> {
    let [Some(one), Some(other)] = said else { return None };
    (one != other).then(|| Difference { field, one, other, holds: holds() })
}

fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Mutual => "mutual",
        Mode::Server => "server",
        Mode::Permissive => "permissive",
        Mode::Off => "off",
    }
}

fn version_word(version: TlsVersion) -> String {
    match version {
        TlsVersion::V1_2 => "1.2".to_owned(),
        TlsVersion::V1_3 => "1.3".to_owned(),
    }
}

fn identity_word(rules: &PortRules) -> Option<String> {
    let proxied = rules.proxy_protocol.map(|_| "ProxyProtocolV2");
    let forwarded = rules.forwarded_client_cert.then_some("ForwardedClientCert");
    proxied.or(forwarded).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::policy::compile::compile;
    use crate::policy::support::{pod, policy, settings};

    fn found(one: Value, other: Value) -> BTreeMap<String, String> {
        let policies = [policy("one", one), policy("other", other)];
        let pods = [Arc::new(pod("web-0", "web")), Arc::new(pod("api-0", "api"))];
        conflicts(&compile(&policies, &settings()), &pods)
    }

    fn of(app: &str, port: Value) -> Value {
        let mut port = port;
        port["port"] = 80.into();
        json!({ "podSelector": { "matchLabels": { "app": app } }, "ports": [port] })
    }

    #[test]
    fn both_are_told_what_the_other_says_and_what_holds() {
        let cases = [
            (
                (json!({ "mode": "off" }), json!({ "mode": "mutual" })),
                "mode is off here and mutual in policy other; the strictest holds, mutual",
                "mode is mutual here and off in policy one; the strictest holds, mutual",
            ),
            (
                (json!({ "minTLSVersion": "1.2" }), json!({ "minTLSVersion": "1.3" })),
                "minTLSVersion is 1.2 here and 1.3 in policy other; that of policy one holds, the first by name",
                "minTLSVersion is 1.3 here and 1.2 in policy one; that of policy one holds, the first by name",
            ),
            (
                (json!({ "alpn": ["h2"] }), json!({ "alpn": ["h2", "http/1.1"] })),
                "alpn is h2 here and h2 http/1.1 in policy other; that of policy one holds, the first by name",
                "alpn is h2 http/1.1 here and h2 in policy one; that of policy one holds, the first by name",
            ),
            (
                (
                    json!({ "clientIdentity": "ProxyProtocolV2" }),
                    json!({ "clientIdentity": "ForwardedClientCert" }),
                ),
                "clientIdentity is ProxyProtocolV2 here and ForwardedClientCert in policy other; the application is told in both ways",
                "clientIdentity is ForwardedClientCert here and ProxyProtocolV2 in policy one; the application is told in both ways",
            ),
        ];
        for ((one, other), first, second) in cases {
            let found = found(of("web", one), of("web", other));
            assert_eq!(found["one"], format!("port 80 of pod web-0: {first}"));
            assert_eq!(found["other"], format!("port 80 of pod web-0: {second}"));
        }
    }

    #[test]
    fn who_says_the_same_or_nothing_or_selects_others_contradicts_nobody() {
        let mut audited = of("web", json!({ "mode": "off" }));
        audited["enforcement"] = "Audit".into();
        let mutual = || of("web", json!({ "mode": "mutual" }));
        let cases = [
            (mutual(), mutual()),
            (mutual(), of("web", json!({ "allow": [{}] }))),
            (mutual(), of("api", json!({ "mode": "off" }))),
            (of("none", json!({ "mode": "off" })), of("none", json!({ "mode": "mutual" }))),
            (mutual(), audited),
            (mutual(), json!({ "ports": [{ "port": 81, "mode": "off" }] })),
        ];
        for (one, other) in cases {
            assert!(found(one.clone(), other.clone()).is_empty(), "{one} {other}");
        }
    }
}
