//! Where two policies that hold say different things of one port of one pod; pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use countersign_contract::access::{Enforcement, NamespaceDocument, PodPolicy, PortRules};
use countersign_contract::policy::{Mode, TlsVersion};
use kube::ResourceExt;

use crate::kept::MeshPod;

/// Selectors and statements that are compared at most. Contradictions that are found later than that are
/// not reported; what holds does not depend on them.
const MAX_STEPS: usize = 2_000_000;

/// A field of a port: the port, and the field's place in `words`.
type Place = (u16, usize);

/// For each policy that another one contradicts, the first contradiction.
pub(super) fn conflicts(
    document: &NamespaceDocument,
    pods: &[impl AsRef<MeshPod>],
) -> BTreeMap<String, String> {
    let held = |policy: &&PodPolicy| policy.enforcement == Enforcement::Enforce;
    let policies: Vec<_> = document.policies.iter().filter(held).collect();
    let (found, _) = contradictions(&policies, pods, MAX_STEPS);
    let message = |(policy, found): (usize, Contradiction)| {
        let (own, other) = (policies[policy], policies[found.with]);
        let (port, pod) = (found.place.0, pods[found.pod].as_ref().name_any());
        let first = own.name.as_str().min(&other.name);
        let Difference { field, one, other: others, holds } =
            difference(own.ports.get(&port)?, other.ports.get(&port)?, first)?;
        let message = format!(
            "port {port} of pod {pod}: {field} is {one} here and {others} in policy {}; {holds}",
            other.name
        );
        Some((own.name.clone(), message))
    };
    found.into_iter().filter_map(message).collect()
}

/// The other policy, the field, and a pod that both select; the first in this order is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Contradiction {
    with: usize,
    place: Place,
    pod: usize,
}

/// The first contradiction of each policy, and how many selectors and statements were compared. Each
/// pod's policies are gone through once: pairs of policies are never formed.
fn contradictions(
    policies: &[&PodPolicy],
    pods: &[impl AsRef<MeshPod>],
    most: usize,
) -> (BTreeMap<usize, Contradiction>, usize) {
    let disputed = disputed(policies);
    let (mut found, mut labels_seen, mut steps) = (BTreeMap::new(), HashSet::new(), 0);
    for (pod, labels) in pods.iter().map(|pod| pod.as_ref().labels()).enumerate() {
        if steps > most || disputed.is_empty() {
            break;
        }
        // Pods with the same labels are under the same policies.
        if !labels_seen.insert(labels) {
            continue;
        }
        steps += disputed.len();
        let selecting: Vec<_> = disputed
            .iter()
            .filter(|(policy, _)| policies[*policy].pod_selector.selects(labels))
            .collect();
        let mut stated: HashMap<Place, Stated> = HashMap::new();
        for (policy, statements) in &selecting {
            steps += 2 * statements.len();
            for (place, value) in statements {
                stated.entry(*place).or_default().note(*policy, *value);
            }
        }
        for (policy, statements) in &selecting {
            for (place, value) in statements {
                let Some(with) = stated[place].other_than(*value) else { continue };
                let new = Contradiction { with, place: *place, pod };
                let first = found.entry(*policy).or_insert(new);
                *first = new.min(*first);
            }
        }
    }
    (found, steps)
}

/// Each policy's statements about fields of which not all policies say the same, as numbers that are
/// equal where the values are; policies without such statements are left out.
fn disputed(policies: &[&PodPolicy]) -> Vec<(usize, Vec<(Place, usize)>)> {
    let mut values: HashMap<Place, HashMap<String, usize>> = HashMap::new();
    let mut all = Vec::new();
    for (policy, statements) in policies.iter().map(|policy| statements(policy)).enumerate() {
        let numbered = statements.into_iter().map(|(place, word)| {
            let known = values.entry(place).or_default();
            let next = known.len();
            (place, *known.entry(word).or_insert(next))
        });
        all.push((policy, numbered.collect::<Vec<_>>()));
    }
    all.iter_mut().for_each(|(_, own)| own.retain(|(place, _)| values[place].len() > 1));
    all.retain(|(_, own)| !own.is_empty());
    all
}

fn statements(policy: &PodPolicy) -> Vec<(Place, String)> {
    let of_port = |(port, rules): (&u16, &PortRules)| {
        let port = *port;
        let words = words(rules).into_iter().enumerate();
        words.filter_map(move |(field, word)| Some(((port, field), word?)))
    };
    policy.ports.iter().flat_map(of_port).collect()
}

/// Who states a field of a port of one pod: the first policy, and the first that says something else.
#[derive(Default)]
struct Stated {
    first: Option<(usize, usize)>,
    other: Option<usize>,
}

impl Stated {
    fn note(&mut self, policy: usize, value: usize) {
        let (_, first) = *self.first.get_or_insert((policy, value));
        if first != value {
            self.other.get_or_insert(policy);
        }
    }

    /// The first policy that says something else.
    fn other_than(&self, value: usize) -> Option<usize> {
        let (policy, first) = self.first?;
        if first == value { self.other } else { Some(policy) }
    }
}

/// What two policies say differently, and what then holds.
struct Difference {
    field: &'static str,
    one: String,
    other: String,
    holds: String,
}

/// The fields that can contradict each other, in the order in which they are reported.
const FIELDS: [&str; 4] = ["mode", "minTLSVersion", "alpn", "clientIdentity"];

/// What is said of each of them; a field that is not said contradicts none.
fn words(rules: &PortRules) -> [Option<String>; 4] {
    let protocols = rules.alpn.join(" ");
    [
        rules.mode.map(|mode| mode_word(mode).to_owned()),
        rules.min_version.map(version_word),
        (!protocols.is_empty()).then_some(protocols),
        identity_word(rules),
    ]
}

fn difference(one: &PortRules, other: &PortRules, first: &str) -> Option<Difference> {
    let said = words(one).into_iter().zip(words(other));
    let mut fields = FIELDS.into_iter().zip(said);
    fields.find_map(|(field, said)| {
        let (Some(own), Some(others)) = said else { return None };
        let holds = || match field {
            "mode" => match one.mode.min(other.mode) {
                Some(mode) => format!("the strictest holds, {}", mode_word(mode)),
                None => String::new(),
            },
            "clientIdentity" => "the application is told in both ways".to_owned(),
            _ => format!("that of policy {first} holds, the first by name"),
        };
        (own != others).then(|| Difference { field, one: own, other: others, holds: holds() })
    })
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

    /// Policies with one port each; every second one says something else of it.
    fn many(count: usize, app: impl Fn(usize) -> String) -> Vec<PodPolicy> {
        let made = |number: usize| {
            let mode = if number.is_multiple_of(2) { "off" } else { "mutual" };
            policy(&format!("p{number:04}"), of(&app(number), json!({ "mode": mode })))
        };
        let policies: Vec<_> = (0..count).map(made).collect();
        compile(&policies, &settings()).policies
    }

    #[test]
    fn cost_grows_with_policies_and_pods_and_never_with_pairs_of_policies() {
        let pods: Vec<_> = (0..200)
            .map(|number| Arc::new(pod(&format!("web-{number}"), &format!("a{}", number % 100))))
            .collect();
        // Nothing is selected; everything contradicts everything; each pod has its own policies.
        let nothing = many(2000, |_| "none".to_owned());
        let everything = many(2000, |_| "a7".to_owned());
        let apart = many(2000, |number| format!("a{}", number / 20));
        for (policies, expected) in [(&nothing, 0), (&everything, 2000), (&apart, 2000)] {
            let policies: Vec<_> = policies.iter().collect();
            let (found, steps) = contradictions(&policies, &pods, MAX_STEPS);
            assert_eq!(found.len(), expected);
            // 100 sets of labels; a statement is noted once and compared once.
            assert!(steps <= 100 * 2000 + 2 * 2000, "{steps}");
            let (_, bounded) = contradictions(&policies, &pods, 1000);
            assert!(bounded <= 3 * 2000, "no more than one set of labels beyond the bound");
        }
    }

    #[test]
    fn policies_that_agree_are_compared_with_no_pod() {
        let same = |number| policy(&format!("p{number}"), of("web", json!({ "mode": "mutual" })));
        let policies: Vec<_> = (0..50).map(same).collect();
        let compiled = compile(&policies, &settings());
        let policies: Vec<_> = compiled.policies.iter().collect();
        assert_eq!(contradictions(&policies, &[Arc::new(pod("web-0", "web"))], 10).1, 0);
    }

    #[test]
    fn of_several_contradictions_the_one_with_the_first_policy_at_the_lowest_port_is_reported() {
        let ports = |one: &str, other: &str| json!({ "ports": [{ "port": 81, "mode": one }, { "port": 80, "mode": other }] });
        let policies = [
            policy("a", ports("off", "mutual")),
            policy("b", ports("off", "mutual")),
            policy("c", ports("mutual", "off")),
            policy("d", ports("server", "server")),
        ];
        let pods = [Arc::new(pod("web-0", "web")), Arc::new(pod("web-1", "web"))];
        let found = conflicts(&compile(&policies, &settings()), &pods);
        let starts = [
            ("a", "port 80 of pod web-0: mode is mutual here and off in policy c"),
            ("b", "port 80 of pod web-0: mode is mutual here and off in policy c"),
            ("c", "port 80 of pod web-0: mode is off here and mutual in policy a"),
            ("d", "port 80 of pod web-0: mode is server here and mutual in policy a"),
        ];
        for (name, start) in starts {
            assert!(found[name].starts_with(start), "{found:?}");
        }
    }
}
