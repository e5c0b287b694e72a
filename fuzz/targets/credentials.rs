//! Whatever is in the files of a set, it is taken or refused; what is taken can be used.
//!
//! The input is the four files, a line of dashes after each. One that is no PEM is the DER of what
//! belongs there; one that is empty stays as it was made, so that each can be changed alone.
#![no_main]

use countersign_fuzz::{WHO, credentials, files, now};
use countersign_sidecar::credentials::{Credentials, Files};
use countersign_sidecar::tls::Peer;
use libfuzzer_sys::fuzz_target;
use pem::Pem;

const END: &[u8] = b"\n----\n";

fn parts(mut text: &[u8]) -> [&[u8]; 4] {
    let mut parts: [&[u8]; 4] = [&[]; 4];
    for part in &mut parts {
        let end = text.windows(END.len()).position(|window| window == END);
        *part = &text[..end.unwrap_or(text.len())];
        text = end.map_or(&[], |end| &text[end + END.len()..]);
    }
    parts
}

fn file(part: &[u8], label: &str, made: Vec<u8>) -> Vec<u8> {
    match part {
        [] => made,
        _ if part.windows(5).any(|window| window == b"-----") => part.to_vec(),
        der => pem::encode(&Pem::new(label, der)).into_bytes(),
    }
}

fuzz_target!(|input: &[u8]| {
    let [certificate, key, roots, revocations] = parts(input);
    let made = files();
    let set = Files {
        certificate: file(certificate, "CERTIFICATE", made.certificate),
        key: file(key, "PRIVATE KEY", made.key),
        roots: file(roots, "CERTIFICATE", made.roots),
        revocations: file(revocations, "X509 CRL", made.revocations),
        name: "tls.crt",
    };
    drop(Peer::of(&certificate.into()).to_string());
    let taken = Credentials::of(&set, None, None, None, now());
    if let Err(error) = &taken {
        let said = error.to_string();
        let lines = String::from_utf8_lossy(&set.key).into_owned();
        let mut lines = lines.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
        assert!(!lines.any(|line| line.len() >= 24 && said.contains(line)), "{said}");
    }
    let Ok(taken) = taken else { return };
    assert!(!taken.is_expired(now()) && !taken.key.cert.is_empty());
    let named = Credentials::of(&set, Some(WHO), None, Some(&taken), now());
    let again =
        Credentials::of(&set, None, None, Some(credentials()), now()).expect("it was taken");
    assert_eq!(again.serial, taken.serial);
    if let Ok(named) = named {
        assert_eq!(Peer::of(&named.key.cert[0]).spiffe_id(), Some(WHO));
    }
});
