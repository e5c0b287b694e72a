//! What is told, and what is taken away.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

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
        (&["spiffe://d/a"], &["a.test", "*.b.test"], ";URI=spiffe://d/a;DNS=a.test;DNS=*.b.test"),
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
    let forged = ["x-forwarded-client-cert", "x_forwarded_client_cert", "x-forwarded_client.cert"];
    let kept = ["x-forwarded-client", "x-forwarded-client-cert-2", "x-forwarded-for", "forwarded"];
    let mut headers = HeaderMap::new();
    for name in forged.iter().chain(&kept).chain(&forged) {
        let name = HeaderName::from_static(name);
        headers.append(name, HeaderValue::from_static("Hash=0"));
    }
    strip(&mut headers);
    assert_eq!(headers.keys_len(), kept.len());
    assert!(kept.iter().all(|name| headers.contains_key(*name)), "{headers:?}");
}

/// Reads a value as Envoy's documentation has it: elements, each a key and a value.
fn read(told: &str) -> Vec<(String, String)> {
    let (mut elements, mut is_quoted, mut is_value) = (Vec::new(), false, false);
    let (mut key, mut value) = (String::new(), String::new());
    let mut left = told.chars().peekable();
    while let Some(next) = left.next() {
        match next {
            '"' => is_quoted = !is_quoted,
            '\\' if is_quoted && left.next_if_eq(&'"').is_some() => value.push('"'),
            ';' if !is_quoted => {
                elements.push((std::mem::take(&mut key), std::mem::take(&mut value)));
                is_value = false;
            }
            '=' if !is_value => is_value = true,
            next if is_value => value.push(next),
            next => key.push(next),
        }
    }
    assert!(!is_quoted, "{told}");
    elements.push((key, value));
    elements
}

#[test]
fn whatever_a_name_is_made_of_it_is_read_as_that_name_or_not_told() {
    let parts = ["a", ",", ";", "=", "\"", "\\", " ", "\r\n", "\u{e9}", ";DNS=b", "%22"];
    for first in parts {
        for second in parts {
            for third in parts {
                let name = [first, second, third].concat();
                let told = value(None, b"", &peer(&["u:a"], &[&name]));
                assert!(told.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{told:?}");
                let elements = read(&told);
                let keys: Vec<_> = elements.iter().map(|(key, _)| key.as_str()).collect();
                match keys[..] {
                    ["Hash", "Subject", "URI", "DNS"] => assert_eq!(elements[3].1, name),
                    ["Hash", "Subject", "URI"] => {
                        let is_odd = |char: char| !char.is_ascii_graphic() || char == '\\';
                        assert!(name.contains(is_odd), "{name:?}");
                    }
                    _ => panic!("{told:?}"),
                }
            }
        }
    }
}
