//! How ports of pods speak TLS, by the policies of a namespace: found once for each set of labels and
//! port, and forgotten with the revision.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use countersign_contract::access::{Enforcement, NamespaceDocument};
use countersign_contract::policy::Mode;

use crate::pki::sha256_hex;

/// So many are remembered.
const MAX_KNOWN: usize = 4096;

/// The policies that state the mode of a port, and what was found by them.
#[derive(Debug, Default)]
pub(super) struct Modes {
    /// For each port the modes that hold, the strictest first, each with the place of its policy.
    stated: HashMap<u16, Vec<(Mode, usize)>>,
    known: Mutex<HashMap<(String, u16), Mode>>,
}

impl Modes {
    pub(super) fn of(document: &NamespaceDocument) -> Self {
        let mut stated: HashMap<u16, Vec<(Mode, usize)>> = HashMap::new();
        let policies = document.policies.iter().enumerate();
        for (place, policy) in policies.filter(|(_, it)| it.enforcement == Enforcement::Enforce) {
            for (port, rules) in &policy.ports {
                let Some(mode) = rules.mode else { continue };
                stated.entry(*port).or_default().push((mode, place));
            }
        }
        stated.values_mut().for_each(|modes| modes.sort_unstable());
        Self { stated, known: Mutex::default() }
    }

    /// The strictest mode that a policy states which selects a pod with these labels, as
    /// `access::mode` has it; and how many selectors were tried for it.
    pub(super) fn mode(
        &self,
        document: &NamespaceDocument,
        labels: &BTreeMap<String, String>,
        port: u16,
    ) -> (Mode, usize) {
        let Some(stated) = self.stated.get(&port) else { return (Mode::default(), 0) };
        let key = (digest(labels), port);
        if let Some(mode) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return (*mode, 0);
        }
        let selects = |(_, place): &&(Mode, usize)| {
            document.policies.get(*place).is_some_and(|it| it.pod_selector.selects(labels))
        };
        let found = stated.iter().position(|it| selects(&it));
        let mode = found.map_or_else(Mode::default, |place| stated[place].0);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(key, mode);
        (mode, found.map_or(stated.len(), |place| place + 1))
    }
}

/// No label holds a zero byte.
fn digest(labels: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for part in labels.iter().flat_map(|(name, value)| [name, value]) {
        text.push_str(part);
        text.push('\0');
    }
    sha256_hex(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use countersign_contract::access::mode;
    use serde_json::json;

    use super::*;
    use crate::policy::compile::compile;
    use crate::policy::support::{policy, settings};

    fn labels(app: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("app".to_owned(), app.to_owned())])
    }

    #[test]
    fn modes_are_those_of_the_document_and_are_found_once() {
        let of = |app: &str, mode: &str, enforcement: &str| {
            json!({ "podSelector": { "matchLabels": { "app": app } }, "enforcement": enforcement,
                "ports": [{ "port": 80, "mode": mode }, { "port": 81, "allow": [{}] }] })
        };
        let policies = [
            policy("a", of("web", "off", "Enforce")),
            policy("b", of("web", "permissive", "Enforce")),
            policy("c", of("api", "server", "Enforce")),
            policy("d", of("db", "off", "Audit")),
        ];
        let document = compile(&policies, &settings());
        let modes = Modes::of(&document);
        for app in ["web", "api", "db", "other"] {
            for port in [80, 81, 82] {
                let labels = labels(app);
                let (found, tried) = modes.mode(&document, &labels, port);
                assert_eq!(found, mode(&document, &labels, port), "{app} {port}");
                assert!(tried <= 3 && (port == 80 || tried == 0), "{app} {port}: {tried}");
                assert_eq!(modes.mode(&document, &labels, port), (found, 0), "{app} {port}");
            }
        }
        assert_ne!(digest(&labels("web")), digest(&labels("api")));
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let every = json!({ "ports": [{ "port": 80, "mode": "off" }] });
        let document = compile([&policy("a", every)], &settings());
        let modes = Modes::of(&document);
        for number in 0..=MAX_KNOWN {
            assert_eq!(modes.mode(&document, &labels(&number.to_string()), 80), (Mode::Off, 1));
        }
        assert_eq!(modes.known.lock().unwrap().len(), 1);
    }
}
