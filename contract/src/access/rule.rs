//! Who a rule lets in.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::pattern::{matches_dns, matches_id, matches_run};
use super::voucher::{Voucher, trust_domain};
use crate::SpiffeId;

/// What a peer proved to be, as far as rules ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller<'a> {
    /// Its SPIFFE ID: the one URI of its certificate.
    pub spiffe_id: Option<&'a str>,
    /// The DNS names of its certificate.
    pub dns_names: &'a [String],
    /// The common name of its certificate's subject.
    pub common_name: Option<&'a str>,
    /// The CA that signed the certificate; absent where one CA vouches for every name, as without an
    /// operator.
    pub voucher: Option<Voucher<'a>>,
}

impl<'a> Caller<'a> {
    /// Its SPIFFE ID, where its CA may vouch for it.
    fn id(&self) -> Option<&'a str> {
        let id = self.spiffe_id?;
        self.voucher.is_none_or(|voucher| voucher.vouches_for_id(id)).then_some(id)
    }

    /// Its DNS names, where its CA may vouch for them.
    fn dns_names(&self) -> &'a [String] {
        if self.names_count() { self.dns_names } else { &[] }
    }

    /// Its common name, where its CA may vouch for it.
    fn common_name(&self) -> Option<&'a str> {
        self.common_name.filter(|_| self.names_count())
    }

    fn names_count(&self) -> bool {
        self.voucher.is_none_or(|voucher| voucher.vouches_for_names())
    }
}

/// One entry of a list of those who may pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Allow {
    /// `spiffe://...`, where a last segment `*` stands for all below, or `dns:NAME`.
    Pattern(String),
    /// Everything that it says must hold.
    Rule(Rule),
}

impl Allow {
    /// Whether it lets a caller in.
    #[must_use]
    pub fn admits(&self, caller: &Caller<'_>) -> bool {
        match self {
            Self::Rule(rule) => rule.admits(caller),
            Self::Pattern(pattern) => match pattern.strip_prefix("dns:") {
                Some(name) => caller.dns_names().iter().any(|dns| dns.eq_ignore_ascii_case(name)),
                None => caller.id().is_some_and(|id| matches_id(pattern, id)),
            },
        }
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(pattern) => f.write_str(pattern),
            Self::Rule(rule) => rule.fmt(f),
        }
    }
}

/// What must hold of a caller: of each list that is not empty, one entry. A rule with nothing in it
/// lets nobody in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Rule {
    /// Its SPIFFE ID, in which `*` stands for a run of characters of one segment, and at the end for
    /// all below.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<String>,
    /// The trust domain of its SPIFFE ID.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trust_domains: Vec<String>,
    /// The namespace in its SPIFFE ID.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// The service account in its SPIFFE ID.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service_accounts: Vec<String>,
    /// A DNS name of its certificate; `*.` in front stands for one label.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<String>,
    /// The common name of its certificate, in which `*` stands for a run of characters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub common_names: Vec<String>,
}

impl Rule {
    /// Whether it lets a caller in.
    #[must_use]
    pub fn admits(&self, caller: &Caller<'_>) -> bool {
        let text = caller.id();
        let id = text.and_then(|id| id.parse::<SpiffeId>().ok());
        let one = |list: &[String], found: &dyn Fn(&str) -> bool| {
            list.is_empty() || list.iter().any(|wanted| found(wanted))
        };
        *self != Self::default()
            && one(&self.identities, &|p| text.is_some_and(|id| matches_id(p, id)))
            && one(&self.trust_domains, &|domain| text.and_then(trust_domain) == Some(domain))
            && one(&self.namespaces, &|name| id.as_ref().is_some_and(|id| id.namespace() == name))
            && one(&self.service_accounts, &|name| {
                id.as_ref().is_some_and(|id| id.service_account() == name)
            })
            && one(&self.dns_names, &|p| caller.dns_names().iter().any(|dns| matches_dns(p, dns)))
            && one(&self.common_names, &|p| {
                caller.common_name().is_some_and(|name| matches_run(p, name))
            })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [
            ("identity", &self.identities),
            ("trust domain", &self.trust_domains),
            ("namespace", &self.namespaces),
            ("service account", &self.service_accounts),
            ("DNS name", &self.dns_names),
            ("common name", &self.common_names),
        ];
        let said: Vec<String> = lists
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| format!("{name} {}", list.join(" or ")))
            .collect();
        if said.is_empty() { f.write_str("nobody") } else { f.write_str(&said.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> Rule {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn everything_that_a_rule_says_must_hold() {
        let names = ["api.partner.example".to_owned()];
        let caller = Caller {
            spiffe_id: Some("spiffe://cluster.local/ns/shop/sa/web"),
            dns_names: &names,
            common_name: Some("till-7"),
            voucher: None,
        };
        let cases = [
            (r#"{"identities":["spiffe://cluster.local/ns/*/sa/web"]}"#, true),
            (r#"{"trustDomains":["cluster.local"]}"#, true),
            (r#"{"trustDomains":["cluster.loca"]}"#, false),
            (r#"{"namespaces":["desk","shop"]}"#, true),
            (r#"{"namespaces":["shop"],"serviceAccounts":["api"]}"#, false),
            (r#"{"namespaces":["shop"],"serviceAccounts":["api","web"]}"#, true),
            (r#"{"dnsNames":["*.partner.example"]}"#, true),
            (r#"{"dnsNames":["*.partner.example"],"commonNames":["till-8"]}"#, false),
            (r#"{"commonNames":["till-*"]}"#, true),
            ("{}", false),
        ];
        for (json, expected) in cases {
            assert_eq!(rule(json).admits(&caller), expected, "{json}");
        }
    }

    #[test]
    fn a_name_counts_only_where_its_ca_may_vouch_for_it() {
        use super::super::voucher::Signer::{Devices, Mesh};
        let names = ["api.partner.example".to_owned()];
        let (own, foreign) = ("spiffe://d/ns/a/sa/b", "spiffe://partner.example/ns/a/sa/b");
        let cases = [
            (r#"{"commonNames":["till-*"]}"#, own, Mesh, false),
            (r#"{"commonNames":["till-*"]}"#, own, Devices, true),
            (r#"{"dnsNames":["*.partner.example"]}"#, own, Mesh, false),
            (r#"{"dnsNames":["*.partner.example"]}"#, own, Devices, true),
            (r#"{"namespaces":["a"]}"#, own, Mesh, true),
            (r#"{"namespaces":["a"]}"#, own, Devices, false),
            (r#"{"identities":["spiffe://d/*"]}"#, own, Devices, false),
            (r#"{"trustDomains":["partner.example"]}"#, foreign, Mesh, false),
            (r#"{"identities":["spiffe://partner.example/*"]}"#, foreign, Mesh, false),
            (r#"{"trustDomains":["partner.example"]}"#, foreign, Devices, true),
            (r#"{"namespaces":["a"],"commonNames":["till-*"]}"#, own, Mesh, false),
            (r#"{"namespaces":["a"],"commonNames":["till-*"]}"#, own, Devices, false),
        ];
        for (json, id, signer, expected) in cases {
            let caller = Caller {
                spiffe_id: Some(id),
                dns_names: &names,
                common_name: Some("till-7"),
                voucher: Some(Voucher { signer, trust_domain: "d" }),
            };
            assert_eq!(rule(json).admits(&caller), expected, "{json} {id} {signer:?}");
        }
        let caller = Caller {
            dns_names: &names,
            voucher: Some(Voucher { signer: Mesh, trust_domain: "d" }),
            ..Caller::default()
        };
        assert!(!Allow::Pattern("dns:api.partner.example".to_owned()).admits(&caller));
    }

    #[test]
    fn who_has_no_identity_passes_no_rule_that_asks_for_one() {
        let nobody = Caller::default();
        for json in [
            r#"{"identities":["spiffe://*/*"]}"#,
            r#"{"trustDomains":[""]}"#,
            r#"{"namespaces":["shop"]}"#,
            r#"{"serviceAccounts":[""]}"#,
            r#"{"commonNames":["*"]}"#,
            r#"{"dnsNames":["*"]}"#,
        ] {
            assert!(!rule(json).admits(&nobody), "{json}");
        }
    }

    #[test]
    fn a_rule_says_what_it_asks_for() {
        let said = rule(r#"{"namespaces":["a","b"],"serviceAccounts":["c"]}"#).to_string();
        assert_eq!(said, "namespace a or b, service account c");
        assert_eq!(Rule::default().to_string(), "nobody");
    }
}
