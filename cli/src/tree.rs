//! A chain drawn as a tree: the root at the top, the leaf at the bottom; pure.

use jiff::Timestamp;

use crate::chain::{Link, Source};
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
        let authority = if certificate.is_ca { "an authority" } else { "" };
        fields = fields.maybe("May", Some(authority));
        fields = fields.maybe("Usages", Some(certificate.usages.join(", ")));
    }
    fields.with("SHA-256", &certificate.fingerprint).with("From", file)
}
