use std::error::Error;

use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};

use super::{ALGORITHMS, Workshop, authority_template, ecdsa, facts, key_pem, root};
use crate::pem::section;
use crate::{
    Authority, CertificateFacts, CsrError, KeyEncoding, KeyError, OtherName, PemError, PrivateKey,
    Request, generate_key, make_csr, parse_csr, parse_csr_der,
};

/// The bytes cut off at each place, and with each byte turned over.
fn spoilt(der: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let cut = (0..der.len()).map(|end| der[..end].to_vec());
    let turned = (0..der.len()).flat_map(|at| {
        [0x01, 0x80, 0xff].map(|mask| {
            let mut bytes = der.to_vec();
            bytes[at] ^= mask;
            bytes
        })
    });
    cut.chain(turned)
}

#[test]
fn a_spoilt_certificate_is_read_or_refused_and_never_verified() {
    let key = ecdsa();
    let mut says_all = authority_template("root");
    says_all.request.name_constraints = Some(super::constraints::full());
    says_all.request.other_names =
        vec![OtherName { oid: "1.2.3".to_owned(), utf8_value: "x".to_owned() }];
    let sound = facts(&root(&says_all, &key));
    for bytes in spoilt(&sound.der) {
        let Ok(read) = CertificateFacts::from_der(CertificateDer::from(bytes.clone())) else {
            continue;
        };
        assert!(!read.verify_issued_by(&sound), "altered, and still verified: {read:?}");
        let pem = section("CERTIFICATE", bytes);
        let read_as_authority =
            Authority::from_pems(pem.as_bytes(), key_pem(&key).as_bytes(), None);
        let _ = read_as_authority.map(|authority| authority.permits(&says_all.request));
        let _ = (read.subject_text(), read.serial_hex(), read.differences(&Request::default()));
    }
}

#[test]
fn a_spoilt_request_is_refused() {
    let request = Request { dns_names: vec!["web".to_owned()], ..Request::default() };
    let pem = make_csr(&request, &ecdsa()).expect("a request");
    let found = crate::pem::sections(pem.as_bytes(), crate::pem::Kind::Request, 1);
    let (_, der) = found.expect("PEM").remove(0);
    for bytes in spoilt(&der) {
        let read = parse_csr_der(&CertificateSigningRequestDer::from(bytes));
        assert!(read.is_err(), "{read:?}");
    }
}

#[test]
fn a_spoilt_key_never_panics() {
    for algorithm in ALGORITHMS {
        let key = generate_key(algorithm).expect("a key");
        for encoding in [KeyEncoding::Pkcs1, KeyEncoding::Pkcs8] {
            let pem = key.to_pem(encoding).expect("PEM");
            let text = pem.expose().trim_end().as_bytes();
            for end in (0..text.len()).step_by(7) {
                let text = &text[..end];
                assert!(PrivateKey::from_pem(text).is_err(), "{algorithm} cut at {end}");
            }
        }
    }
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
        for der in [vec![0x30], vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff], vec![7; 5000]] {
            let refused = PrivateKey::from_pem(section(label, der).as_bytes());
            assert_eq!(refused.map(|_| ()), Err(KeyError::Unsupported), "{label}");
        }
    }
}

#[test]
fn what_bears_the_wrong_label_is_missing() {
    let key = ecdsa();
    let certificate = root(&authority_template("root"), &key);
    let other = || Some("CERTIFICATE".to_owned());
    let missing = |label| PemError::Missing { label, other: other() };
    let no_key = PrivateKey::from_pem(certificate.as_bytes()).map(|_| ());
    assert_eq!(no_key, Err(KeyError::Pem(missing("PRIVATE KEY"))));
    let no_request = parse_csr(certificate.as_bytes());
    assert_eq!(no_request, Err(CsrError::Pem(missing("CERTIFICATE REQUEST"))));
    assert!(CertificateFacts::from_pem(key_pem(&key).as_bytes()).is_err());
    let huge = vec![b'a'; 2 << 20];
    assert!(matches!(PrivateKey::from_pem(&huge), Err(KeyError::Pem(PemError::TooLong { .. }))));
    assert!(matches!(parse_csr(&huge), Err(CsrError::Pem(PemError::TooLong { .. }))));
}

#[test]
fn an_encrypted_key_is_no_key_of_ours() {
    let workshop = Workshop::new();
    workshop.openssl("genpkey -algorithm ED25519 -aes256 -pass pass:secret -out key.pem");
    let refused = PrivateKey::from_pem(&workshop.read("key.pem")).map(|_| ());
    let said = refused.expect_err("it is encrypted").source().expect("a cause").to_string();
    assert!(said.starts_with("line 1: section ENCRYPTED PRIVATE KEY is encrypted"), "{said}");
}
