use super::{ALGORITHMS, Workshop, ecdsa, template};
use crate::{
    ComposeError, CsrOptions, KeyAlgorithm, Request, SignError, SignatureAlgorithm, Usage,
    certificates_to_pem, generate_key, make_csr_with, parse_csr, self_sign,
};

const EVERY: [(SignatureAlgorithm, &str); 7] = [
    (SignatureAlgorithm::Sha256WithRsa, "sha256WithRSAEncryption"),
    (SignatureAlgorithm::Sha384WithRsa, "sha384WithRSAEncryption"),
    (SignatureAlgorithm::Sha512WithRsa, "sha512WithRSAEncryption"),
    (SignatureAlgorithm::EcdsaWithSha256, "ecdsa-with-SHA256"),
    (SignatureAlgorithm::EcdsaWithSha384, "ecdsa-with-SHA384"),
    (SignatureAlgorithm::EcdsaWithSha512, "ecdsa-with-SHA512"),
    (SignatureAlgorithm::PureEd25519, "ED25519"),
];

fn named() -> Request {
    Request { common_name: Some("web".to_owned()), ..Request::default() }
}

#[test]
fn openssl_verifies_every_signature_that_can_be_made_and_the_others_are_refused() {
    let workshop = Workshop::new();
    let mut made = 0;
    for key_algorithm in ALGORITHMS {
        let key = generate_key(key_algorithm).expect("a key");
        for (algorithm, name) in EVERY {
            let case = format!("{key_algorithm} {algorithm}");
            let options =
                CsrOptions { signature_algorithm: Some(algorithm), ..CsrOptions::default() };
            let mut asked = template(named());
            asked.signature_algorithm = Some(algorithm);
            let (csr, own) = (make_csr_with(&named(), &key, &options), self_sign(&asked, &key));
            if let Err(unfit) = algorithm.fits(key_algorithm) {
                assert_eq!(csr, Err(ComposeError::Signature(unfit.clone())), "{case}");
                assert_eq!(own, Err(SignError::Compose(ComposeError::Signature(unfit))), "{case}");
                continue;
            }
            made += 1;
            let csr = csr.expect(&case);
            parse_csr(csr.as_bytes()).expect(&case);
            workshop.write("csr.pem", csr);
            let said = workshop.openssl("req -in csr.pem -noout -verify -text");
            assert!(said.contains(&format!("Signature Algorithm: {name}")), "{case}: {said}");
            workshop.write("own.pem", certificates_to_pem([&own.expect(&case)]));
            workshop.openssl("verify -check_ss_sig -CAfile own.pem own.pem");
            let said = workshop.openssl("x509 -in own.pem -noout -text");
            // Within what is signed, and outside of it.
            let both = said.matches(&format!("Signature Algorithm: {name}")).count();
            assert_eq!(both, 2, "{case}: {said}");
        }
    }
    assert_eq!(made, 3 + 1 + 1 + 3 + 1);
}

#[test]
fn a_signature_that_cannot_be_made_names_what_can() {
    let refused = SignatureAlgorithm::EcdsaWithSha512.fits(KeyAlgorithm::EcdsaP256);
    let said = refused.expect_err("no such thing").to_string();
    assert_eq!(said, "a key ECDSA 256 cannot sign with ECDSAWithSHA512, only with ECDSAWithSHA256");
    for algorithm in ALGORITHMS {
        assert_eq!(SignatureAlgorithm::natural(algorithm).fits(algorithm), Ok(()));
    }
}

#[test]
fn a_request_says_its_usages_and_that_it_is_an_authority_only_if_it_shall() {
    let asked = Request { is_ca: true, usages: vec![Usage::ServerAuth], ..named() };
    for (encode_usages, encode_is_ca) in
        [(true, true), (true, false), (false, true), (false, false)]
    {
        let options = CsrOptions { encode_usages, encode_is_ca, signature_algorithm: None };
        let csr = make_csr_with(&asked, &ecdsa(), &options).expect("a request");
        let parsed = parse_csr(csr.as_bytes()).expect("our own");
        assert_eq!(parsed.encodes_usages, encode_usages);
        assert_eq!(parsed.encodes_is_ca, encode_is_ca.then_some(true));
    }
}
