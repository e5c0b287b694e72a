//! Every unknown part of one policy, beside every other policy of the same pod.

use std::collections::BTreeMap;

use super::super::{Caller, NamespaceDocument, effective, judge};
use crate::policy::PortPolicy;

const IDS: [&str; 3] =
    ["spiffe://d/ns/shop/sa/web", "spiffe://d/ns/ops/sa/x", "spiffe://e/ns/a/sa/b"];

/// Parts of one policy: as an older sidecar finds them, and as what they could mean, or without them.
const PARTS: [(&str, &[&str]); 9] = [
    (r#""new":1,"ports":{"80":{"mode":"mutual"}}"#, &[r#""ports":{"80":{"mode":"mutual"}}"#]),
    (
        r#""new":1,"allow":[{"namespaces":["shop"]}],"ports":{"80":{"forwardedClientCert":true}}"#,
        &[
            r#""allow":[{"namespaces":["shop"]}],"ports":{"80":{"forwardedClientCert":true}}"#,
            r#""allow":[{"namespaces":["shop"]}],"ports":{"80":{"forwardedClientCert":true,"proxyProtocol":"v2"}}"#,
        ],
    ),
    (r#""new":1,"unmeshed":"Deny""#, &[r#""unmeshed":"Deny""#]),
    (
        r#""ports":{"80":{"new":1,"forwardedClientCert":true}}"#,
        &[
            r#""ports":{"80":{"forwardedClientCert":true}}"#,
            r#""ports":{"80":{"forwardedClientCert":true,"mode":"mutual"}}"#,
        ],
    ),
    (
        r#""ports":{"80":{"new":1,"proxyProtocol":"v2","mode":"permissive","allow":[]}}"#,
        &[r#""ports":{"80":{"proxyProtocol":"v2","mode":"permissive","allow":[]}}"#],
    ),
    (
        r#""ports":{"80":{"mode":"new"}}"#,
        &[r#""ports":{"80":{"mode":"mutual"}}"#, r#""ports":{"80":{"mode":"permissive"}}"#],
    ),
    (r#""ports":{"80":{"proxyProtocol":"v3"}}"#, &[r#""ports":{"80":{"proxyProtocol":"v2"}}"#]),
    (r#""ports":{"80":{"minVersion":"1.4"}}"#, &[r#""ports":{"80":{"minVersion":"1.3"}}"#]),
    (
        r#""podSelector":{"new":1},"allow":[{"namespaces":["shop"]}]"#,
        &[r#""podSelector":{},"allow":[{"namespaces":["shop"]}]"#],
    ),
];

/// Policies that could stand beside it.
const OTHERS: [&str; 10] = [
    r#""allow":[{"namespaces":["shop"]}]"#,
    r#""allow":[{"trustDomains":["d","e"]}]"#,
    r#""allow":[{"namespaces":["ops"]}],"ports":{"80":{"mode":"permissive"}}"#,
    r#""ports":{"80":{"mode":"permissive","allow":[{"namespaces":["ops"]}]}}"#,
    r#""ports":{"80":{"mode":"off"},"81":{"mode":"off"}}"#,
    r#""ports":{"80":{"mode":"server"},"81":{"mode":"server"}}"#,
    r#""allow":[{"namespaces":["shop"]}],"ports":{"80":{"forwardedClientCert":true}}"#,
    r#""allow":[{"namespaces":["shop"]}],"ports":{"80":{"minVersion":"1.2","proxyProtocol":"v2"}}"#,
    r#""allow":[{"namespaces":["shop"]}],"ports":{"80":{"new":2}}"#,
    r#""enforcement":"Audit","allow":[{"namespaces":["shop"]}],"ports":{"80":{"mode":"off"}}"#,
];

fn document(one: &str, other: &str, is_first: bool) -> NamespaceDocument {
    // Policies are looked at by name.
    let names = if is_first { ["a", "b"] } else { ["b", "a"] };
    let text = format!(
        r#"{{"revision":"r","defaultAllow":[{{"trustDomains":["d"]}}],"policies":[
            {{"name":"{}",{one}}},{{"name":"{}",{other}}}]}}"#,
        names[0], names[1]
    );
    serde_json::from_str(&text).unwrap()
}

/// What the application is told of its callers.
fn claims(policy: &PortPolicy) -> [bool; 2] {
    [policy.forwarded_client_cert, policy.proxy_protocol.is_some()]
}

/// Nobody passes by `unknown` who would not by `known`, and whoever passes is told of at least as well.
fn admits_no_more(unknown: &NamespaceDocument, known: &NamespaceDocument, case: &str) {
    let labels = BTreeMap::new();
    let (strict, meant) = (effective(unknown, &labels), effective(known, &labels));
    assert!(strict.unmeshed >= meant.unmeshed, "{case}");
    for port in [80, 81] {
        let callers = IDS.map(|id| Some(Caller { spiffe_id: Some(id), ..Caller::default() }));
        for caller in callers.iter().map(Option::as_ref).chain([None]) {
            let [found, wanted] = [&strict, &meant].map(|policy| policy.of_port(port));
            let admits = found.admits(caller);
            assert!(!admits || wanted.admits(caller), "{case}: {port} {caller:?}");
            assert_eq!(
                judge(unknown, &labels, port, caller).allowed,
                admits,
                "{case}: {port} {caller:?}"
            );
            let tells =
                claims(found).iter().zip(claims(wanted)).all(|(found, wanted)| *found || !wanted);
            assert!(!admits || tells, "{case}: {port} {caller:?} {found:?}");
        }
    }
}

#[test]
fn unknown_part_of_one_policy_never_admits_more_beside_any_other() {
    for (unknown, meanings) in PARTS {
        for meaning in meanings {
            for other in OTHERS {
                for is_first in [true, false] {
                    let found = document(unknown, other, is_first);
                    let known = document(meaning, other, is_first);
                    admits_no_more(
                        &found,
                        &known,
                        &format!("{unknown} as {meaning} beside {other}"),
                    );
                }
            }
        }
    }
}
