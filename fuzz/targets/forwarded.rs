//! The application is told of a caller's own names and of no others, and of no headers that the
//! caller sent.
//!
//! The input: the certificate's common name, its URIs and DNS names in turn, one a line; a name that
//! is asked for in the header's place is among them, too. All lines are names of headers as well.
#![no_main]

use countersign_fuzz::credentials;
use countersign_sidecar::fuzzing::{forwarded, stripped};
use countersign_sidecar::tls::Peer;
use libfuzzer_sys::fuzz_target;

/// The elements of a value: at semicolons that are not within quotes.
fn elements(value: &str) -> Vec<(String, String)> {
    let (mut all, mut element, mut is_quoted, mut is_escaped) =
        (Vec::new(), String::new(), false, false);
    for character in value.chars().chain([';']) {
        match character {
            ';' if !is_quoted => {
                let (key, value) = element.split_once('=').expect("a key and a value");
                all.push((key.to_owned(), value.to_owned()));
                element.clear();
                continue;
            }
            '"' if !is_escaped => is_quoted = !is_quoted,
            ',' => assert!(is_quoted, "it would begin another value: {value}"),
            _ => {}
        }
        is_escaped = character == '\\' && !is_escaped;
        element.push(character);
    }
    assert!(!is_quoted && element.is_empty(), "a quote without an end: {value}");
    all
}

fn unquoted(value: &str) -> String {
    match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
        Some(value) => value.replace("\\\"", "\""),
        None => value.to_owned(),
    }
}

fuzz_target!(|input: &[u8]| {
    let lines = || input.split(|byte| *byte == b'\n');
    for name in stripped(lines()) {
        let folded = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        assert_ne!(folded, "x_forwarded_client_cert", "{name}");
    }
    let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
    let names: Vec<String> = lines().skip(1).map(text).collect();
    let each = |from: usize| names.iter().skip(from).step_by(2).cloned().collect();
    let own = &credentials().key.cert[0];
    let peer = Peer {
        common_name: lines().next().map(text),
        uris: each(0),
        dns_names: each(1),
        chain: vec![own.clone()],
        ..Peer::default()
    };
    let Some(value) = forwarded(Some(own), &peer) else {
        panic!("a caller that nobody is told of")
    };
    assert!(value.len() <= 8000 && value.iter().all(|byte| (0x20..0x7f).contains(byte)));
    let value = String::from_utf8(value).expect("ASCII");
    let (mut hashes, mut owns) = (0, 0);
    for (key, value) in elements(&value) {
        let value = unquoted(&value);
        match key.as_str() {
            "URI" => assert!(peer.uris.contains(&value), "{value}"),
            "DNS" => assert!(peer.dns_names.contains(&value), "{value}"),
            "Hash" => hashes += 1,
            "By" => owns += 1,
            "Subject" => {}
            other => panic!("{other} is no element of ours"),
        }
    }
    assert_eq!((hashes, owns), (1, 1));
});
