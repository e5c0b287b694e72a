use rustls_pki_types::CertificateSigningRequestDer;

use super::{ALGORITHMS, Workshop, ecdsa};
use crate::pem::{Kind, sections};
use crate::{
    ComposeError, CsrError, KeyAlgorithm, Request, SignatureAlgorithm, Subject, Usage, der,
    generate_key, make_csr, parse_csr, parse_csr_der,
};

fn full_request() -> Request {
    Request {
        common_name: Some("web".to_owned()),
        subject: Subject {
            organizations: vec!["One".to_owned(), "Two".to_owned()],
            countries: vec!["DE".to_owned()],
            ..Subject::default()
        },
        dns_names: vec!["a.example".to_owned(), "*.b.example".to_owned()],
        ip_addresses: vec!["192.0.2.1".parse().expect("v4"), "2001:db8::1".parse().expect("v6")],
        uris: vec!["spiffe://cluster.local/ns/a/sa/b".to_owned()],
        email_addresses: vec!["who@example.com".to_owned()],
        usages: vec![Usage::DigitalSignature, Usage::ServerAuth, Usage::IpsecUser],
        ..Request::default()
    }
}

#[test]
fn a_request_of_ours_is_verified_by_openssl_and_comes_back_the_same() {
    let workshop = Workshop::new();
    for algorithm in ALGORITHMS {
        let key = generate_key(algorithm).expect("a key");
        let pem = make_csr(&full_request(), &key).expect("a request");
        workshop.write("csr.pem", &pem);
        let text = workshop.openssl("req -in csr.pem -noout -verify -text -nameopt RFC2253");
        assert!(text.contains("Subject: CN=web,O=Two,O=One,C=DE"), "{text}");
        let parsed = parse_csr(pem.as_bytes()).expect("our own");
        assert_eq!(parsed.request, full_request());
        assert_eq!(parsed.key_algorithm, algorithm);
        assert_eq!(parsed.public_key_spki, key.public_key_spki());
        assert_eq!((parsed.encodes_usages, parsed.encodes_is_ca), (true, None));
    }
}

#[test]
fn a_request_for_an_authority_says_so() {
    let request = Request { is_ca: true, common_name: Some("ca".to_owned()), ..Request::default() };
    let parsed = parse_csr(make_csr(&request, &ecdsa()).expect("a request").as_bytes());
    let parsed = parsed.expect("our own");
    assert_eq!(parsed.encodes_is_ca, Some(true));
    assert!(parsed.request.is_ca && parsed.request.usages.contains(&Usage::CertSign));
}

#[test]
fn requests_made_by_openssl_are_read() {
    let keys = [
        ("rsa:2048", KeyAlgorithm::Rsa { bits: 2048 }),
        ("ec -pkeyopt ec_paramgen_curve:P-256", KeyAlgorithm::EcdsaP256),
        ("ec -pkeyopt ec_paramgen_curve:P-521", KeyAlgorithm::EcdsaP521),
        ("ed25519", KeyAlgorithm::Ed25519),
    ];
    let workshop = Workshop::new();
    for (key, algorithm) in keys {
        workshop.openssl(&format!(
            "req -new -newkey {key} -nodes -keyout key.pem -out csr.pem -subj /O=Acme/O=Bolt/CN=desk \
             -addext subjectAltName=DNS:desk.example,IP:192.0.2.7,URI:spiffe://x/y,email:a@b.example \
             -addext extendedKeyUsage=clientAuth,ipsecEndSystem"
        ));
        let parsed = parse_csr(&workshop.read("csr.pem")).expect(key);
        assert_eq!(parsed.key_algorithm, algorithm);
        let request = parsed.request;
        assert_eq!(request.common_name.as_deref(), Some("desk"));
        assert_eq!(request.subject.organizations, ["Acme", "Bolt"]);
        assert_eq!(request.dns_names, ["desk.example"]);
        assert_eq!(request.ip_addresses, ["192.0.2.7".parse::<std::net::IpAddr>().expect("an IP")]);
        assert_eq!(request.uris, ["spiffe://x/y"]);
        assert_eq!(request.email_addresses, ["a@b.example"]);
        assert_eq!(request.usages, [Usage::ClientAuth, Usage::IpsecEndSystem]);
    }
}

#[test]
fn a_request_without_extensions_asks_for_its_subject_only() {
    let workshop = Workshop::new();
    workshop.openssl("req -new -newkey ed25519 -nodes -keyout k -out csr.pem -subj /CN=desk");
    let parsed = parse_csr(&workshop.read("csr.pem")).expect("plain");
    let wanted = Request { common_name: Some("desk".to_owned()), ..Request::default() };
    assert_eq!(parsed.request, wanted);
    assert_eq!((parsed.encodes_usages, parsed.encodes_is_ca), (false, None));
}

#[test]
fn a_request_that_was_altered_is_refused() {
    let pem = make_csr(&full_request(), &ecdsa()).expect("a request");
    let found = sections(pem.as_bytes(), Kind::Request, 1);
    let (_, der) = found.expect("PEM").remove(0);
    let at = der.windows(9).position(|bytes| bytes == b"a.example").expect("the name");
    let mut altered = der;
    altered[at] = b'x';
    let pem = crate::pem::section("CERTIFICATE REQUEST", altered);
    assert_eq!(parse_csr(pem.as_bytes()), Err(CsrError::NotSignedByItsKey));
}

#[test]
fn what_openssl_asks_for_and_nobody_can_check_is_refused() {
    let new = "req -new -nodes -keyout k -out csr.pem";
    let unsupported = |found: &str| CsrError::UnsupportedKey { found: found.to_owned() };
    let cases = [
        (
            "-newkey ed25519 -subj /CN=a -addext subjectAltName=otherName:1.2.3;IA5STRING:x",
            CsrError::UnsupportedName { kind: "an otherName that is no UTF8String" },
        ),
        ("-newkey ed25519 -subj /CN=a/CN=b", CsrError::SeveralCommonNames),
        ("-newkey rsa:1024 -subj /CN=a", unsupported("an RSA key of 1024 bits")),
        (
            "-newkey ec -pkeyopt ec_paramgen_curve:secp256k1 -subj /CN=a",
            unsupported("an ECDSA key on curve secp256k1"),
        ),
        (
            "-newkey rsa-pss -pkeyopt rsa_keygen_bits:2048 -subj /CN=a",
            unsupported("an RSA-PSS key"),
        ),
        ("-newkey ed448 -subj /CN=a", unsupported("an Ed448 key")),
        (
            "-newkey rsa:2048 -sha1 -subj /CN=a",
            CsrError::UnacceptedSignature { algorithm: "SHA-1 with RSA".to_owned() },
        ),
        (
            "-newkey rsa:2048 -md5 -subj /CN=a",
            CsrError::UnacceptedSignature { algorithm: "MD5 with RSA".to_owned() },
        ),
        (
            "-newkey ed25519 -subj /CN=a -addext extendedKeyUsage=clientAuth,msSmartcardLogin",
            CsrError::UnsupportedPurpose {
                purpose: "1.3.6.1.4.1.311.20.2.2 (Microsoft smart card logon)".to_owned(),
            },
        ),
        (
            "-newkey ed25519 -subj /CN=a -addext 1.2.3.4=critical,ASN1:NULL",
            CsrError::UnsupportedExtension { oid: "1.2.3.4".to_owned() },
        ),
        (
            "-newkey ed25519 -subj /CN=a -addext policyConstraints=critical,requireExplicitPolicy:0",
            CsrError::UnsupportedExtension { oid: "2.5.29.36".to_owned() },
        ),
    ];
    let workshop = Workshop::new();
    for (arguments, wanted) in cases {
        workshop.openssl(&format!("{new} {arguments}"));
        assert_eq!(parse_csr(&workshop.read("csr.pem")), Err(wanted), "{arguments}");
    }
}

#[test]
fn a_request_that_cannot_be_written_names_the_field() {
    let with_name = |name: &str| Request { dns_names: vec![name.to_owned()], ..Request::default() };
    for name in ["bücher.example", "", "a.example\0.b.example", "a b"] {
        let refused = make_csr(&with_name(name), &ecdsa()).expect_err(name);
        let wanted = ComposeError::NotAscii { field: "dnsNames", name: name.to_owned() };
        assert_eq!(refused, wanted);
    }
    assert_eq!(make_csr(&Request::default(), &ecdsa()), Err(ComposeError::NamesNobody));
}

/// The public key of an RSA key of so many bits, which is not worth making.
fn rsa_spki(bits: usize) -> Vec<u8> {
    let value = |tag: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).expect("short").to_be_bytes();
        [&[tag, 0x82], length.as_slice(), content].concat()
    };
    let modulus = [vec![0; usize::from(bits.is_multiple_of(8))], vec![0xff; bits / 8]].concat();
    let modulus = match bits % 8 {
        0 => modulus,
        rest => [vec![(1u8 << rest) - 1], modulus].concat(),
    };
    let numbers = [value(2, &modulus), vec![2, 3, 1, 0, 1]].concat();
    let key = value(3, &[vec![0], value(0x30, &numbers)].concat());
    let algorithm = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    value(0x30, &[algorithm.as_slice(), &key].concat())
}

#[test]
fn an_rsa_key_of_more_than_8192_bits_is_not_verified_with() {
    let key = ecdsa();
    let names = Request { common_name: Some("a".to_owned()), ..Request::default() };
    let pem = make_csr(&names, &key).expect("a request");
    let (_, csr) = sections(pem.as_bytes(), Kind::Request, 1).expect("PEM").remove(0);
    for (bits, is_accepted) in
        [(2047, false), (2048, true), (8192, true), (8193, false), (16_384, false)]
    {
        let spki = rsa_spki(bits);
        let algorithm = SignatureAlgorithm::EcdsaWithSha256;
        let csr = der::resigned(&csr, &[(2, &spki)], &key, algorithm).expect("a request");
        let refused = parse_csr_der(&CertificateSigningRequestDer::from(csr));
        let found = format!("an RSA key of {bits} bits");
        let of_size = refused == Err(CsrError::UnsupportedKey { found });
        assert_eq!(of_size, !is_accepted, "{bits}: {refused:?}");
    }
}
