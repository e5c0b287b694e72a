//! The header by which the application is told who calls: X-Forwarded-Client-Cert, in Envoy's form;
//! pure.
//!
//! `By=spiffe://...;Hash=...;Subject="CN=...";URI=spiffe://...;DNS=...`: our own URI, the SHA-256 digest
//! of the client's certificate, and its names. Names are bytes of a stranger: none of them may look
//! like an element of its own, or like another header.

use aws_lc_rs::digest::{SHA256, digest};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use rustls_pki_types::CertificateDer;

use super::subject;
use crate::tls::Peer;

/// The header.
pub(super) const NAME: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// The longest value: with its name it fits into the 8 KiB that most servers have for one line.
const MOST: usize = 8000;

/// The longest subject, so that there is room for names behind it.
const LONGEST_SUBJECT: usize = 4000;

/// What is told of a peer; nothing of one that presented no certificate.
pub(crate) fn of(own: Option<&CertificateDer<'_>>, peer: Option<&Peer>) -> Option<HeaderValue> {
    let peer = peer?;
    let by = own.and_then(|own| Peer::of(own).uris.into_iter().next());
    let leaf = peer.chain.first()?;
    HeaderValue::from_str(&value(by.as_deref(), leaf, peer)).ok()
}

/// All names where all of them fit; otherwise the first URI, and as many DNS names as do.
fn value(by: Option<&str>, leaf: &[u8], peer: &Peer) -> String {
    let by = by.and_then(|by| element("By", by)).into_iter();
    let subject = Some(subject::of(leaf)).filter(|subject| subject.len() <= LONGEST_SUBJECT);
    let subject = subject.map(|subject| format!("Subject=\"{subject}\""));
    let known = by.chain([format!("Hash={}", hexadecimal(digest(&SHA256, leaf).as_ref()))]);
    let known: Vec<_> = known.chain(subject).collect();
    let uris = || peer.uris.iter().filter_map(|uri| element("URI", uri));
    let names = || peer.dns_names.iter().filter_map(|name| element("DNS", name));
    let whole = known.iter().cloned().chain(uris()).chain(names());
    joined(whole).unwrap_or_else(|| {
        let mut value = String::new();
        let most = known.iter().cloned().chain(uris().take(1)).chain(names());
        for element in most {
            push(&mut value, &element);
        }
        value
    })
}

/// Every element, if they fit together.
fn joined(elements: impl Iterator<Item = String>) -> Option<String> {
    let mut value = String::new();
    for element in elements {
        push(&mut value, &element)?;
    }
    Some(value)
}

/// Puts an element behind the others, if it fits.
fn push(value: &mut String, element: &str) -> Option<()> {
    if value.len() + 1 + element.len() > MOST {
        return None;
    }
    if !value.is_empty() {
        value.push(';');
    }
    value.push_str(element);
    Some(())
}

/// One name. No URI and no DNS name has a space, a backslash, or anything but ASCII: one that does
/// is left out, since readers differ in what they would take it for.
fn element(key: &str, name: &str) -> Option<String> {
    let is_sound = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    if name.is_empty() || !name.bytes().all(is_sound) {
        return None;
    }
    let needs_quotes = name.contains([',', ';', '=', '"']);
    Some(match needs_quotes {
        true => format!("{key}=\"{}\"", name.replace('"', "\\\"")),
        false => format!("{key}={name}"),
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Takes away whatever the client says of this kind.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let forged: Vec<_> = headers.keys().filter(|name| is_ours(name)).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
}

/// Whether some program might take a header for ours. CGI and what followed it write every character
/// that is neither a letter nor a digit as an underscore.
fn is_ours(name: &HeaderName) -> bool {
    let folded = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'-' };
    name.as_str().bytes().map(folded).eq(NAME.as_str().bytes())
}

#[cfg(test)]
mod tests;
