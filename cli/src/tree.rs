//! A chain drawn as a tree: the root at the top, the leaf at the bottom; pure.

use jiff::Timestamp;

use crate::chain::{Link, Source};
use crate::facts::CertificateReport;
use crate::text::{Fields, one_line, when};

/// Draws a chain, given from the leaf upwards.
#[must_use]
pub fn draw(chain: &[Link], now: Timestamp) -> String {
    let mut text = String::new();
    for (depth, link) in chain.iter().rev().enumerate() {
        let (indent, has_more) = (margin(depth), depth + 1 < chain.len());
        let branch =
            if depth == 0 { String::new() } else { format!("{}└─ ", margin(depth - 1)) };
        text += &format!(
            "{branch}{}{}\n",
            one_line(&link.certificate.title()),
            role(link, depth, has_more)
        );
        let bar = if has_more { "│  " } else { "   " };
        text += &details(link, !has_more, now).lines(&format!("{indent}{bar}"));
    }
    text
}

/// What stands before everything at a depth.
fn margin(depth: usize) -> String {
    "   ".repeat(depth)
}

fn role(link: &Link, depth: usize, has_more: bool) -> &'static str {
    match (link.certificate.is_self_signed, has_more) {
        (true, true) => " (root)",
        (true, false) if depth == 0 => " (signed by itself)",
        (false, true) => " (intermediate)",
        _ => " (leaf)",
    }
}

/// What an authority may sign.
fn authority(certificate: &CertificateReport) -> String {
    match (certificate.is_ca, certificate.max_path_length) {
        (false, _) => String::new(),
        (true, None) => "an authority".to_owned(),
        (true, Some(0)) => "an authority, of leaves only".to_owned(),
        (true, Some(1)) => "an authority, with one more below it".to_owned(),
        (true, Some(length)) => format!("an authority, with {length} more below it"),
    }
}

fn details(link: &Link, is_leaf: bool, now: Timestamp) -> Fields {
    let certificate = &link.certificate;
    let file = match link.source {
        Source::Certificate => "tls.crt",
        Source::Roots => "ca.crt",
    };
    let mut fields = Fields::default()
        .with(
            "Valid",
            format!("{} to {}", certificate.not_before, when(certificate.not_after, now)),
        )
        .maybe("Key", certificate.key_algorithm.as_ref())
        .with("Serial", &certificate.serial);
    if is_leaf {
        fields = fields.with("Issuer", &certificate.issuer);
        for (kind, names) in certificate.names.lines() {
            fields = fields.with(kind, names);
        }
        fields = fields.maybe("May", Some(authority(certificate)));
        fields = fields.maybe("Usages", Some(certificate.usages.join(", ")));
    }
    fields.with("SHA-256", &certificate.fingerprint).with("From", file)
}

#[cfg(test)]
mod tests {
    use countersign_pki::CertificateFacts;

    use super::*;
    use crate::support::World;

    #[test]
    fn a_certificate_says_what_it_may_sign() {
        let facts = CertificateFacts::from_der(World::new().intermediate).expect("a certificate");
        let report = CertificateReport::of(&facts);
        let cases = [
            (false, None, ""),
            (true, None, "an authority"),
            (true, Some(0), "an authority, of leaves only"),
            (true, Some(1), "an authority, with one more below it"),
            (true, Some(2), "an authority, with 2 more below it"),
        ];
        for (is_ca, max_path_length, expected) in cases {
            let report = CertificateReport { is_ca, max_path_length, ..report.clone() };
            assert_eq!(authority(&report), expected);
        }
    }
}
