//! Of a PEM text all is read, or it is refused; a bundle of authorities makes the same chain in any
//! order.
//!
//! The input: tls.crt, a line of dashes, ca.crt. A line `@` and a number is a certificate of a
//! hierarchy with cross-signed roots, whose key of the authority below is known.
#![no_main]

use std::sync::LazyLock;

use countersign_pki::{
    Authority, CertificateFacts, KeyAlgorithm, KeyEncoding, PrivateKey, Request, Template,
    Validity, certificates_from_pem, certificates_to_pem, generate_key, parse_csr, self_sign, sign,
};
use libfuzzer_sys::fuzz_target;

/// Old root, new root, new root signed by the old one, the authority signed by each, a stranger.
struct Hierarchy {
    certificates: [String; 6],
    key: String,
}

static HIERARCHY: LazyLock<Hierarchy> = LazyLock::new(|| {
    let [old_key, new_key, key] =
        [(); 3].map(|()| generate_key(KeyAlgorithm::EcdsaP256).expect("a key"));
    let old = root("Root 1", &old_key);
    let new = root("Root 2", &new_key);
    let (by_old, by_new) = (authority(&old, &old_key), authority(&new, &new_key));
    let cross = below("Root 2", &new_key, &by_old);
    let own = below("Issuing", &key, &by_new);
    let own_by_old = below("Issuing", &key, &by_old);
    let stranger = root("Stranger", &generate_key(KeyAlgorithm::EcdsaP256).expect("a key"));
    Hierarchy { certificates: [old, new, cross, own, own_by_old, stranger], key: pem(&key) }
});

fn template(name: &str) -> Template {
    let at = |text: &str| text.parse().expect("a time");
    let validity =
        Validity { not_before: at("2024-01-01T00:00:00Z"), not_after: at("2124-01-01T00:00:00Z") };
    let common_name = Some(name.to_owned());
    let request = Request { common_name, is_ca: true, ..Request::default() };
    Template::new(request, validity).expect("random bytes")
}

fn root(name: &str, key: &PrivateKey) -> String {
    certificates_to_pem([&self_sign(&template(name), key).expect("a root")])
}

fn below(name: &str, key: &PrivateKey, above: &Authority) -> String {
    let signed = sign(&template(name), &key.public_key_spki(), above).expect("a certificate");
    certificates_to_pem([&signed])
}

fn authority(certificate: &str, key: &PrivateKey) -> Authority {
    Authority::from_pems(certificate.as_bytes(), pem(key).as_bytes(), None).expect("an authority")
}

fn pem(key: &PrivateKey) -> String {
    key.to_pem(KeyEncoding::Pkcs8).expect("PEM").expose().clone()
}

/// The text with each `@N` replaced.
fn filled(text: &[u8]) -> Vec<u8> {
    let mut filled = Vec::new();
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let number =
            after.first().filter(|_| *byte == b'@').and_then(|digit| digit.checked_sub(b'0'));
        let known = number.and_then(|number| HIERARCHY.certificates.get(usize::from(number)));
        match known.filter(|_| filled.len() < 1 << 19) {
            Some(certificate) => {
                filled.extend(certificate.trim_end().bytes());
                rest = &after[1..];
            }
            None => filled.push(*byte),
        }
    }
    filled
}

fn marks(text: &[u8], label: &str) -> usize {
    let mark = format!("-----BEGIN {label}-----");
    text.windows(mark.len()).filter(|window| *window == mark.as_bytes()).count()
}

fn is_read_whole(text: &[u8]) {
    let _ = parse_csr(text);
    if let Err(error) = PrivateKey::from_pem(text) {
        assert!(error.to_string().len() < 500, "{error}");
    }
    let Ok(read) = certificates_from_pem(text) else { return };
    let wanted = marks(text, "CERTIFICATE") + marks(text, "X509 CERTIFICATE");
    assert_eq!(read.len(), wanted, "a certificate was passed over");
    let written = certificates_to_pem(&read);
    assert_eq!(certificates_from_pem(written.as_bytes()).as_ref(), Ok(&read));
}

fuzz_target!(|input: &[u8]| {
    const END: &[u8] = b"\n----\n";
    let end = input.windows(END.len()).position(|window| window == END);
    let (crt, ca) = match end {
        Some(end) => (&input[..end], Some(&input[end + END.len()..])),
        None => (input, None),
    };
    let (crt, ca) = (filled(crt), ca.map(filled));
    is_read_whole(&crt);
    ca.as_deref().into_iter().for_each(is_read_whole);
    let key = HIERARCHY.key.as_bytes();
    let made = match Authority::from_pems(&crt, key, ca.as_deref()) {
        Ok(made) => made,
        Err(error) => {
            assert!(!format!("{error:?}").contains("PRIVATE KEY-----"), "{error:?}");
            return;
        }
    };
    // Turned round, it is the same authority.
    let turned = |text: &[u8]| {
        let mut all = certificates_from_pem(text).ok()?;
        all.reverse();
        Some(certificates_to_pem(&all))
    };
    let Some(crt) = turned(&crt) else { panic!("it was read") };
    let ca = ca.as_deref().and_then(turned);
    let again = Authority::from_pems(crt.as_bytes(), key, ca.as_ref().map(String::as_bytes));
    let again = again.expect("it was one");
    if made.unread_roots().is_none() {
        assert_eq!(again.fingerprint(), made.fingerprint());
    }
    let top = CertificateFacts::from_pem(made.ca_pem().as_bytes()).expect("a certificate");
    let chain = made.leaf_chain_pem(&made.certificate().der);
    let chain = CertificateFacts::all_from_pem(chain.as_bytes()).expect("a chain");
    for pair in chain.windows(2).skip(1) {
        assert!(pair[0].verify_issued_by(&pair[1]));
    }
    let last = chain.last().expect("the certificate itself");
    assert!(last.der == top.der || last.verify_issued_by(&top));
});
