//! One rule of a policy, and what of a request is outside it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use countersign_crds::{
    KeyAlgorithm as RuleAlgorithm, KeyRule, OtherNameRule, SigningRule, SubjectRule,
};

use super::Facts;
use super::pattern::{self, Placeholders};
use crate::certificate::wanted::usages_of;
use crate::pki::{KeyAlgorithm, NameParts, OtherName, Request, Subject, Usage};

/// As many as the schema of Certificate lets pass; a CSR could hold far more.
const MOST_VALUES: usize = 250;

/// More than a message needs.
const LONGEST_VALUE: usize = 200;
const MOST_LISTED: usize = 8;

/// A value that a rule does not allow.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) field: &'static str,
    pub(super) value: String,
    pub(super) allowed: String,
}

/// Everything of a request that is outside a rule; nothing if the rule allows it.
///
/// A new field of a request must be looked at here before it can be signed under a policy: hence
/// no `..` below.
pub(super) fn violations(
    rule: &SigningRule,
    facts: &Facts<'_>,
    placeholders: &Placeholders<'_>,
) -> Vec<Violation> {
    let Request {
        common_name: _, // Stands in `subject`, as it will be signed.
        subject: _,
        literal_subject: _,
        dns_names,
        ip_addresses,
        uris,
        email_addresses,
        other_names,
        usages: _, // With its defaults filled in.
        is_ca,
        path_len: _,         // It only takes away, as
        name_constraints: _, // they only take away from what an authority may sign.
    } = facts.request;
    let mut found = Found { placeholders, violations: Vec::new() };
    found.texts("dnsNames", dns_names, &rule.dns_names, pattern::dns_name);
    found.texts("uris", uris, &rule.uris, pattern::uri);
    found.addresses(ip_addresses, &rule.ip_addresses);
    found.texts("emailAddresses", email_addresses, &rule.email_addresses, pattern::email_address);
    found.other_names(other_names, &rule.other_names);
    found.common_names(&facts.subject.common_names, dns_names, &rule.common_names);
    found.subject(facts.subject, rule.subject.as_ref());
    found.authority(*is_ca, rule);
    found.usages(&facts.request.effective_usages(), *is_ca, rule);
    found.lifetime(facts.lifetime, rule);
    found.key(facts.key, &rule.keys);
    found.violations
}

struct Found<'a> {
    placeholders: &'a Placeholders<'a>,
    violations: Vec<Violation>,
}

impl Found<'_> {
    fn add(&mut self, field: &'static str, value: &str, allowed: String) {
        let shown: String = value.chars().take(LONGEST_VALUE).collect();
        self.violations.push(Violation { field, value: shown, allowed });
    }

    /// Every value must fit one of the patterns.
    fn texts(
        &mut self,
        field: &'static str,
        values: &[String],
        patterns: &[String],
        fits: fn(&str, &str) -> bool,
    ) {
        if values.len() > MOST_VALUES {
            return self.too_many(field, values.len());
        }
        let patterns: Vec<_> = patterns.iter().map(|one| self.placeholders.fill(one)).collect();
        for value in values {
            if !patterns.iter().any(|pattern| fits(pattern, value)) {
                self.add(field, value, listed(patterns.iter().cloned()));
            }
        }
    }

    fn too_many(&mut self, field: &'static str, count: usize) {
        self.add(field, &format!("{count} values"), format!("{MOST_VALUES} at most"));
    }

    fn addresses(&mut self, addresses: &[IpAddr], blocks: &[String]) {
        if addresses.len() > MOST_VALUES {
            return self.too_many("ipAddresses", addresses.len());
        }
        for address in addresses {
            if !blocks.iter().any(|block| pattern::ip_address(block, *address)) {
                self.add("ipAddresses", &address.to_string(), listed(blocks.iter().cloned()));
            }
        }
    }

    /// Each is shown as `oid:name`, as openssl writes them.
    fn other_names(&mut self, names: &[OtherName], rules: &[OtherNameRule]) {
        if names.len() > MOST_VALUES {
            return self.too_many("otherNames", names.len());
        }
        let of_rule = |rule: &OtherNameRule| {
            let (oid, values) = (rule.oid.clone(), rule.values.iter());
            let filled = values.map(|value| (oid.clone(), self.placeholders.fill(value)));
            filled.collect::<Vec<_>>()
        };
        let patterns: Vec<(String, String)> = rules.iter().flat_map(of_rule).collect();
        for OtherName { oid, utf8_value } in names {
            let fits = |(kind, pattern): &(String, String)| {
                kind == oid && pattern::text(pattern, utf8_value)
            };
            if !patterns.iter().any(fits) {
                let allowed = patterns.iter().map(|(oid, pattern)| format!("{oid}:{pattern}"));
                self.add("otherNames", &format!("{oid}:{utf8_value}"), listed(allowed));
            }
        }
    }

    /// A common name that is one of the DNS names says nothing beyond them.
    fn common_names(&mut self, names: &[String], dns_names: &[String], patterns: &[String]) {
        let of_its_own = |name: &&String| !dns_names.iter().any(|dns| dns == *name);
        let names: Vec<_> = names.iter().filter(of_its_own).cloned().collect();
        self.texts("commonName", &names, patterns, pattern::text);
    }

    fn subject(&mut self, subject: &NameParts, rule: Option<&SubjectRule>) {
        let none = SubjectRule::default();
        let rule = rule.unwrap_or(&none);
        let Subject {
            organizations,
            countries,
            organizational_units,
            localities,
            provinces,
            street_addresses,
            postal_codes,
            serial_number,
        } = &subject.subject;
        let parts: [(_, &[String], _); 8] = [
            ("subject.organizations", organizations, &rule.organizations),
            ("subject.countries", countries, &rule.countries),
            ("subject.organizationalUnits", organizational_units, &rule.organizational_units),
            ("subject.localities", localities, &rule.localities),
            ("subject.provinces", provinces, &rule.provinces),
            ("subject.streetAddresses", street_addresses, &rule.street_addresses),
            ("subject.postalCodes", postal_codes, &rule.postal_codes),
            ("subject.serialNumber", serial_number.as_slice(), &rule.serial_numbers),
        ];
        for (field, values, patterns) in parts {
            self.texts(field, values, patterns, pattern::text);
        }
        // No rule can speak of them.
        self.texts("subject", &subject.others, &[], pattern::text);
    }

    fn authority(&mut self, is_ca: bool, rule: &SigningRule) {
        if is_ca && rule.is_ca != Some(true) {
            self.add("isCA", "true", "no authority".to_owned());
        }
    }

    fn usages(&mut self, usages: &BTreeSet<Usage>, is_ca: bool, rule: &SigningRule) {
        let mut allowed: BTreeSet<Usage> = match rule.usages.as_slice() {
            [] => [
                Usage::DigitalSignature,
                Usage::KeyEncipherment,
                Usage::ServerAuth,
                Usage::ClientAuth,
            ]
            .into(),
            usages => usages_of(usages).into_iter().map(Usage::canonical).collect(),
        };
        if is_ca && rule.is_ca == Some(true) {
            allowed.extend([Usage::CertSign, Usage::CrlSign]);
        }
        for usage in usages.difference(&allowed) {
            self.add("usages", usage.name(), listed(allowed.iter().map(ToString::to_string)));
        }
    }

    /// What is asked for counts, and not what the authority's own end would leave of it.
    fn lifetime(&mut self, lifetime: Duration, rule: &SigningRule) {
        let longest = rule.max_duration.map(Duration::from);
        if let Some(longest) = longest.filter(|longest| lifetime > *longest) {
            self.add("duration", &hours(lifetime), format!("{} at most", hours(longest)));
        }
    }

    fn key(&mut self, key: Option<KeyAlgorithm>, rules: &[KeyRule]) {
        let allows = |rule: &KeyRule| key.is_some_and(|key| is_of_kind(key, rule));
        if rules.is_empty() || rules.iter().any(allows) {
            return;
        }
        let value = key.map_or_else(|| "of a kind unknown".to_owned(), |key| key.to_string());
        self.add("privateKey", &value, listed(rules.iter().map(key_story)));
    }
}

fn is_of_kind(key: KeyAlgorithm, rule: &KeyRule) -> bool {
    let (algorithm, size) = match key {
        KeyAlgorithm::Rsa { bits } => (RuleAlgorithm::RSA, bits),
        KeyAlgorithm::EcdsaP256 => (RuleAlgorithm::ECDSA, 256),
        KeyAlgorithm::EcdsaP384 => (RuleAlgorithm::ECDSA, 384),
        KeyAlgorithm::EcdsaP521 => (RuleAlgorithm::ECDSA, 521),
        KeyAlgorithm::Ed25519 => return rule.algorithm == RuleAlgorithm::Ed25519,
    };
    let size = i32::try_from(size).unwrap_or(i32::MAX);
    rule.algorithm == algorithm
        && rule.min_size.is_none_or(|least| least <= size)
        && rule.max_size.is_none_or(|most| size <= most)
}

fn key_story(rule: &KeyRule) -> String {
    let algorithm = match rule.algorithm {
        RuleAlgorithm::RSA => "RSA",
        RuleAlgorithm::ECDSA => "ECDSA",
        RuleAlgorithm::Ed25519 => "Ed25519",
    };
    match (rule.min_size, rule.max_size) {
        (None, None) => algorithm.to_owned(),
        (Some(least), None) => format!("{algorithm} of {least} bits or more"),
        (None, Some(most)) => format!("{algorithm} of {most} bits or less"),
        (Some(least), Some(most)) => format!("{algorithm} of {least} to {most} bits"),
    }
}

/// The first few of what is allowed.
pub(super) fn listed(all: impl ExactSizeIterator<Item = String>) -> String {
    let left = all.len().saturating_sub(MOST_LISTED);
    let first: Vec<_> = all.take(MOST_LISTED).collect();
    match (first.is_empty(), left) {
        (true, _) => "none".to_owned(),
        (false, 0) => first.join(", "),
        (false, left) => format!("{} and {left} more", first.join(", ")),
    }
}

/// A duration as it is written in a manifest.
fn hours(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let written: String = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if written.is_empty() { "0s".to_owned() } else { written }
}
