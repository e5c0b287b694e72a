use jiff::ToSpan;

use super::{
    ALGORITHMS, Workshop, authority, authority_template, ecdsa, facts, key_pem, leaf_template,
    root, signed, template, this_century,
};
use crate::{
    Authority, CertificateFacts, Pointers, Request, SignError, Subject, Usage, generate_key,
    self_sign, sign,
};

#[test]
fn openssl_verifies_a_leaf_to_the_root_for_every_kind_of_key() {
    let workshop = Workshop::new();
    for algorithm in ALGORITHMS {
        let [root_key, middle_key, key] = [(); 3].map(|()| generate_key(algorithm).expect("a key"));
        let root_pem = root(&authority_template("root"), &root_key);
        let top = authority(&root_pem, &root_key);
        let middle_pem = signed(&authority_template("middle"), &middle_key, &top);
        let middle = Authority::from_pems(
            middle_pem.as_bytes(),
            key_pem(&middle_key).as_bytes(),
            Some(root_pem.as_bytes()),
        )
        .expect("an authority");
        let spki = key.public_key_spki();
        let leaf = sign(&leaf_template("web.example"), &spki, &middle).expect("a leaf");
        let chain = middle.leaf_chain_pem(&leaf);
        assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2, "the root is not sent");
        assert!(chain.ends_with(&middle_pem));
        assert_eq!(middle.ca_pem(), root_pem);
        workshop.write("root.pem", &root_pem);
        workshop.write("tls.crt", &chain);
        let verify = "verify -x509_strict -CAfile root.pem -verify_hostname web.example";
        workshop.openssl(&format!("{verify} -untrusted tls.crt tls.crt"));
        workshop.openssl_refuses(&format!("{verify} tls.crt"));
        let leaf = facts(&chain);
        assert_eq!(leaf.key_algorithm, Some(algorithm));
        assert!(leaf.matches_key(&key) && !leaf.matches_key(&middle_key));
        assert!(middle.issued(&leaf) && !top.issued(&leaf));
    }
}

#[test]
fn the_issuer_is_the_subject_of_an_openssl_authority_byte_for_byte() {
    let subjects = [
        "/C=DE/O=One/O=Two+OU=Several/CN=Zentrale",
        "/CN=ünïcode/O=Österreich/emailAddress=ca@example.com/DC=example/DC=com",
        "/serialNumber=12/CN=last/C=AT/UID=x",
    ];
    let masks = ["utf8only", "nombstr", "MASK:0x800", "default"];
    let workshop = Workshop::new();
    for (subject, mask) in subjects.iter().flat_map(|one| masks.map(|mask| (*one, mask))) {
        // A mask of 0x800 is BMPString: two bytes a character, as old Windows authorities have.
        workshop.write(
            "req.cnf",
            format!(
                "[req]\nstring_mask={mask}\nutf8=yes\ndistinguished_name=dn\nx509_extensions=ext\n\
                 [dn]\n[ext]\nbasicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\n"
            ),
        );
        let made = "req -x509 -config req.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256";
        workshop.openssl(&format!(
            "{made} -nodes -multivalue-rdn -keyout ca.key -out ca.pem -subj {subject}"
        ));
        let ca = Authority::from_pems(&workshop.read("ca.pem"), &workshop.read("ca.key"), None)
            .expect("an authority");
        let mut template = leaf_template("web.example");
        template.validity = ca.validity();
        let leaf = signed(&template, &ecdsa(), &ca);
        assert_eq!(facts(&leaf).issuer_der, ca.certificate().subject_der);
        workshop.write("leaf.pem", leaf);
        workshop.openssl("verify -CAfile ca.pem leaf.pem");
    }
}

#[test]
fn a_certificate_says_what_was_asked_and_marks_critical_what_must_be() {
    let workshop = Workshop::new();
    let root_key = ecdsa();
    let root_pem = root(&authority_template("root"), &root_key);
    let top = authority(&root_pem, &root_key);
    let mut template = template(Request {
        common_name: Some("web".to_owned()),
        subject: Subject { organizations: vec!["A".into(), "B".into()], ..Subject::default() },
        dns_names: vec!["web.example".to_owned()],
        uris: vec!["spiffe://cluster.local/ns/a/sa/b".to_owned()],
        usages: vec![Usage::Signing, Usage::ServerAuth, Usage::ClientAuth],
        ..Request::default()
    });
    template.pointers = Pointers {
        crl_distribution_points: vec!["http://crl.example/a".to_owned()],
        ocsp_servers: vec!["http://ocsp.example".to_owned()],
        issuing_certificate_urls: vec!["http://ca.example/ca.crt".to_owned()],
    };
    workshop.write("leaf.pem", signed(&template, &ecdsa(), &top));
    let text = workshop.openssl("x509 -in leaf.pem -noout -text -nameopt RFC2253");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "Subject: CN=web,O=B,O=A",
        "X509v3 Basic Constraints: critical CA:FALSE",
        "X509v3 Key Usage: critical Digital Signature X509v3",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "X509v3 Subject Alternative Name: DNS:web.example, URI:spiffe://cluster.local/ns/a/sa/b",
        "X509v3 Subject Key Identifier:",
        "X509v3 Authority Key Identifier:",
        "URI:http://crl.example/a",
        "OCSP - URI:http://ocsp.example",
        "CA Issuers - URI:http://ca.example/ca.crt",
        "Not Before: Jan 1 00:00:00 2024 GMT",
        "Not After : Jan 1 00:00:00 2124 GMT",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn without_a_subject_the_alternative_names_are_critical() {
    let workshop = Workshop::new();
    let root_key = ecdsa();
    let root_pem = root(&authority_template("root"), &root_key);
    let leaf = signed(&leaf_template("web"), &ecdsa(), &authority(&root_pem, &root_key));
    workshop.write("root.pem", &root_pem);
    workshop.write("leaf.pem", leaf);
    let text = workshop.openssl("x509 -in leaf.pem -noout -text");
    assert!(text.contains("X509v3 Subject Alternative Name: critical"), "{text}");
    workshop.openssl("verify -x509_strict -CAfile root.pem leaf.pem");
}

#[test]
fn a_leaf_may_be_its_own_issuer() {
    let workshop = Workshop::new();
    let key = ecdsa();
    let common_name = Some("alone".to_owned());
    let pem = root(&template(Request { common_name, ..Request::default() }), &key);
    let leaf = facts(&pem);
    assert!(leaf.is_self_signed() && leaf.matches_key(&key) && !leaf.says.is_ca);
    workshop.write("leaf.pem", &pem);
    workshop.openssl("verify -CAfile leaf.pem leaf.pem");
}

#[test]
fn a_csr_keeps_its_subject_byte_for_byte() {
    let workshop = Workshop::new();
    let root_key = ecdsa();
    let top = authority(&root(&authority_template("root"), &root_key), &root_key);
    workshop.openssl("req -new -newkey ed25519 -nodes -keyout k -out csr -subj /DC=org/CN=a/O=b");
    let csr = crate::parse_csr(&workshop.read("csr")).expect("a request");
    assert_eq!(csr.other_subject_parts, ["0.9.2342.19200300.100.1.25"]);
    let mut template = template(csr.request);
    template.subject_der = Some(csr.subject_der.clone());
    let leaf = sign(&template, &csr.public_key_spki, &top).expect("a leaf");
    let leaf = CertificateFacts::from_der(leaf).expect("a certificate");
    assert_eq!((leaf.subject_der, leaf.public_key_spki), (csr.subject_der, csr.public_key_spki));
}

#[test]
fn an_authority_is_never_outlived_nor_extended_beyond_its_path_length() {
    let (root_key, key) = (ecdsa(), ecdsa());
    let mut top_template = authority_template("root");
    top_template.path_len = Some(0);
    let top = authority(&root(&top_template, &root_key), &root_key);
    let spki = key.public_key_spki();
    assert_eq!(sign(&authority_template("below"), &spki, &top), Err(SignError::PathTooLong));
    let mut longer = leaf_template("web");
    let authority = this_century().not_after;
    longer.validity.not_after = authority + 1.second();
    let not_after = longer.validity.not_after;
    assert_eq!(
        sign(&longer, &spki, &top),
        Err(SignError::OutlivesAuthority { not_after, authority })
    );
    let mut never = leaf_template("web");
    never.validity.not_after = never.validity.not_before;
    assert!(matches!(sign(&never, &spki, &top), Err(SignError::NeverValid { .. })));
    assert!(matches!(self_sign(&never, &key), Err(SignError::NeverValid { .. })));
    assert_eq!(sign(&leaf_template("web"), b"no key", &top), Err(SignError::UnsupportedKey));
}
