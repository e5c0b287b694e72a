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
pub(super) fn strip(headers: &mut HeaderMap) {
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
mod tests {
    use super::*;

    fn peer(uris: &[&str], names: &[&str]) -> Peer {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Peer { uris: owned(uris), dns_names: owned(names), ..Peer::default() }
    }

    /// What is told beside the digest and the subject, which are of no bytes and nobody here.
    fn told(by: Option<&str>, uris: &[&str], names: &[&str]) -> String {
        let hash = "Hash=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let told = value(by, b"", &peer(uris, names));
        assert!(told.contains(hash), "{told}");
        told.replace(hash, "H").replace(";Subject=\"\"", "")
    }

    #[test]
    fn names_are_quoted_so_that_none_looks_like_two() {
        let cases: &[(&[&str], &[&str], &str)] = &[
            (
                &["spiffe://d/a"],
                &["a.test", "*.b.test"],
                ";URI=spiffe://d/a;DNS=a.test;DNS=*.b.test",
            ),
            (&[], &[], ""),
            (&["u:a,By=b"], &[], ";URI=\"u:a,By=b\""),
            (&["u:a;URI=u:b"], &[], ";URI=\"u:a;URI=u:b\""),
            (&["u:?a=b"], &[], ";URI=\"u:?a=b\""),
            (&[], &["a\";URI=\"b"], ";DNS=\"a\\\";URI=\\\"b\""),
            // What no name holds is not told.
            (
                &["u:a\r\nX-Other: b", "u:b"],
                &["a\\", "b c", "c\u{e9}", "d\0", "", "e"],
                ";URI=u:b;DNS=e",
            ),
        ];
        for (uris, names, expected) in cases {
            assert_eq!(told(Some("u:own"), uris, names), format!("By=u:own;H{expected}"));
        }
        assert_eq!(told(None, &[], &[]), "H");
    }

    #[test]
    fn of_more_names_than_fit_the_first_uri_is_told_and_dns_names_as_far_as_they_go() {
        let names: Vec<_> = (0..5000).map(|name| format!("n{name}.example.org")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        for uris in [&["u:a", "u:b"][..], &names] {
            let told = told(Some("u:own"), uris, &names);
            assert!((7900..=MOST).contains(&(told.len() + 63 + 13)), "{}", told.len());
            assert!(told.starts_with(&format!("By=u:own;H;URI={};DNS=n0", uris[0])), "{told}");
            assert_eq!(told.matches("URI=").count(), 1);
        }
    }

    #[test]
    fn whatever_might_be_taken_for_the_header_is_stripped_and_nothing_else() {
        let forged =
            ["x-forwarded-client-cert", "x_forwarded_client_cert", "x-forwarded_client.cert"];
        let kept =
            ["x-forwarded-client", "x-forwarded-client-cert-2", "x-forwarded-for", "forwarded"];
        let mut headers = HeaderMap::new();
        for name in forged.iter().chain(&kept).chain(&forged) {
            let name = HeaderName::from_static(name);
            headers.append(name, HeaderValue::from_static("Hash=0"));
        }
        strip(&mut headers);
        assert_eq!(headers.keys_len(), kept.len());
        assert!(kept.iter().all(|name| headers.contains_key(*name)), "{headers:?}");
    }
}
