//! How an older sidecar reads the document of a newer operator. What it does not understand is taken in the
//! stricter direction: an unknown rule admits no peer, and the policies beside it are as they were.
//!
//! An unknown part of a port or of a policy closes the port, or the pods of the policy, whatever other policies
//! say: it may state what makes their peers admissible, such as the mode, or a header that tells the application
//! who calls.

use std::collections::BTreeMap;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny};

use super::document::{Enforcement, PodPolicy, PortRules};
use super::rule::Rule;
use super::selector::Selector;
use crate::policy::{Mode, Unmeshed};

/// A value that is understood whole, or not at all.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Whole<T> {
    Understood(T),
    Unknown(IgnoredAny),
}

impl<T> Whole<T> {
    fn or(self, stricter: T) -> T {
        match self {
            Self::Understood(value) => value,
            Self::Unknown(_) => stricter,
        }
    }
}

/// An unknown rule admits no peer.
pub(super) fn rules<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Rule>, D::Error> {
    let rules = Vec::<Whole<Rule>>::deserialize(from)?;
    Ok(rules.into_iter().map(|rule| rule.or(Rule::default())).collect())
}

/// The same, where a list may be absent.
pub(super) fn some_rules<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Vec<Rule>>, D::Error> {
    let rules = Option::<Vec<Whole<Rule>>>::deserialize(from)?;
    Ok(rules.map(|rules| rules.into_iter().map(|rule| rule.or(Rule::default())).collect()))
}

/// A port with an unknown part is closed.
pub(super) fn ports<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<u16, PortRules>, D::Error> {
    // JSON writes numbers that are keys as texts, which serde reads as numbers only where it does not
    // buffer them.
    let ports = BTreeMap::<String, Whole<PortRules>>::deserialize(from)?;
    let closed = || PortRules {
        mode: Some(Mode::Mutual),
        allow: Some(Vec::new()),
        has_unknown_part: true,
        ..PortRules::default()
    };
    let one = |(port, rules): (String, Whole<PortRules>)| {
        let number = port.parse().map_err(|_| D::Error::custom(format!("{port:?} is no port")))?;
        Ok((number, rules.or(closed())))
    };
    ports.into_iter().map(one).collect()
}

/// An unknown word forbids calls to what is not in the mesh.
pub(super) fn unmeshed<'de, D: Deserializer<'de>>(from: D) -> Result<Unmeshed, D::Error> {
    Ok(Whole::<Unmeshed>::deserialize(from)?.or(Unmeshed::Deny))
}

/// The same, where a policy need not say.
pub(super) fn some_unmeshed<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Unmeshed>, D::Error> {
    Ok(Whole::<Option<Unmeshed>>::deserialize(from)?.or(Some(Unmeshed::Deny)))
}

/// An unknown word enforces.
pub(super) fn enforcement<'de, D: Deserializer<'de>>(from: D) -> Result<Enforcement, D::Error> {
    Ok(Whole::<Enforcement>::deserialize(from)?.or(Enforcement::Enforce))
}

/// A policy of which at least the pods can be understood, or not even those.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum AnyPolicy {
    Understood(PodPolicy),
    Partly(PartOfPolicy),
    Unknown(IgnoredAny),
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartOfPolicy {
    name: String,
    #[serde(default = "every_pod")]
    pod_selector: Whole<Selector>,
    #[serde(default, deserialize_with = "enforcement")]
    enforcement: Enforcement,
}

fn every_pod() -> Whole<Selector> {
    Whole::Understood(Selector::default())
}

/// A policy with an unknown part closes its pods, or all where its selector is unknown.
pub(super) fn policies<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PodPolicy>, D::Error> {
    let closed = |name: String| PodPolicy {
        name,
        unmeshed: Some(Unmeshed::Deny),
        has_unknown_part: true,
        ..PodPolicy::default()
    };
    let one = |policy: AnyPolicy| match policy {
        AnyPolicy::Understood(policy) => policy,
        AnyPolicy::Partly(PartOfPolicy { name, pod_selector, enforcement }) => PodPolicy {
            pod_selector: pod_selector.or(Selector::default()),
            enforcement,
            ..closed(name)
        },
        AnyPolicy::Unknown(_) => closed("(unknown)".to_owned()),
    };
    Ok(Vec::<AnyPolicy>::deserialize(from)?.into_iter().map(one).collect())
}

#[cfg(test)]
mod pairs;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Caller, NamespaceDocument, Verdict, effective, judge};
    use crate::policy::{Mode, Unmeshed};

    const WEB: &str = "spiffe://d/ns/shop/sa/web";

    fn document(policies: &str) -> NamespaceDocument {
        let text = format!(
            r#"{{"version":7,"revision":"r","news":{{"a":[1]}},"defaultAllow":[{{"trustDomains":["d"]}}],"policies":{policies}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn verdict(policies: &str, app: &str, port: u16) -> Verdict {
        let labels = BTreeMap::from([("app".to_owned(), app.to_owned())]);
        let caller = Caller { spiffe_id: Some(WEB), ..Caller::default() };
        judge(&document(policies), &labels, port, Some(&caller))
    }

    #[test]
    fn an_unknown_part_of_a_newer_document_never_admits_more() {
        let selects = r#""podSelector":{"matchLabels":{"app":"web"}}"#;
        let good = r#"{"namespaces":["shop"]}"#;
        // What stands beside the selector; then whether web passes on port 80, on 81, and whether db does,
        // which the policy does not select.
        let cases = [
            (format!(r#"{selects},"allow":[{good}]"#), [true, true, true]),
            (format!(r#"{selects},"allow":[{{"namespaces":["shop"],"new":["x"]}}]"#), [false, false, true]),
            (format!(r#"{selects},"allow":[{{"new":["x"]}},{good}]"#), [true, true, true]),
            (format!(r#"{selects},"allow":["text",7]"#), [false, false, true]),
            (format!(r#"{selects},"allow":[{good}],"deny":[{{}}]"#), [false, false, true]),
            (format!(r#"{selects},"allow":[{good}],"enforcement":"Dream"#) + "\"", [true, true, true]),
            (format!(r#"{selects},"allow":[{good}],"ports":{{"80":{{"new":1}}}}"#), [false, true, true]),
            (format!(r#"{selects},"allow":[{good}],"ports":{{"80":{{"mode":"new"}}}}"#), [false, true, true]),
            (format!(r#"{selects},"allow":[{good}],"ports":{{"80":{{"minVersion":"1.4"}}}}"#), [false, true, true]),
            (format!(r#""podSelector":{{"matchNew":[]}},"allow":[{good}]"#), [false, false, false]),
            (
                r#""podSelector":{"matchExpressions":[{"key":"app","operator":"Like","values":["w"]}]}"#.to_owned(),
                [false, false, false],
            ),
        ];
        for (policy, expected) in cases {
            let policies = format!(r#"[{{"name":"p",{policy}}}]"#);
            let found = [("web", 80), ("web", 81), ("db", 80)];
            let found = found.map(|(app, port)| verdict(&policies, app, port).allowed);
            assert_eq!(found, expected, "{policies}");
        }
        assert!(!verdict("[7]", "db", 80).allowed, "a policy of which nothing is known");
    }

    #[test]
    fn an_unknown_word_takes_the_stricter_way() {
        let of = |json: &str| {
            let policies = format!(r#"[{{"name":"p",{json}}}]"#);
            effective(&document(&policies), &BTreeMap::new())
        };
        assert_eq!(of(r#""unmeshed":"Sometimes""#).unmeshed, Unmeshed::Deny);
        assert_eq!(of(r#""unmeshed":"Allow""#).unmeshed, Unmeshed::Allow);
        assert_eq!(of(r#""new":1"#).unmeshed, Unmeshed::Deny);
        assert_eq!(of(r#""ports":{"80":{"mode":"soft"}}"#).of_port(80).mode, Mode::Mutual);
        let audited = of(r#""enforcement":"Audit","new":1,"allow":[]"#);
        assert!(audited.default.policies.is_empty(), "an audited policy still refuses nothing");
        let whole = r#"{"revision":"r","defaultAllow":[{"new":1}],"defaultUnmeshed":"Maybe"}"#;
        let whole: NamespaceDocument = serde_json::from_str(whole).unwrap();
        assert_eq!(whole.default_unmeshed, Unmeshed::Deny);
        let caller = Caller { spiffe_id: Some(WEB), ..Caller::default() };
        assert!(!judge(&whole, &BTreeMap::new(), 80, Some(&caller)).allowed);
    }

    #[test]
    fn an_older_document_is_understood() {
        let older = r#"{"revision":"r","defaultAllow":[{"trustDomains":["d"]}],"defaultUnmeshed":"Allow",
            "policies":[{"name":"p","podSelector":{},"enforcement":"Enforce",
            "allow":[{"namespaces":["shop"]}],"ports":{"80":{"mode":"off"}}}]}"#;
        let read: NamespaceDocument = serde_json::from_str(older).unwrap();
        assert_eq!((read.version, read.needs, read.authorities.clone()), (1, 1, None));
        assert_eq!(effective(&read, &BTreeMap::new()).of_port(80).mode, Mode::Off);
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<NamespaceDocument>(&written).unwrap(), read);
    }
}
