//! A signing request is refused, or it is signed as it asks: what stands in the certificate is what
//! was read of the request.
//!
//! The input: the length of the subject in two bytes, the subject, and the attributes, all in DER.
//! They are signed with a key of ours, since a fuzzer cannot. The whole input is read as a request
//! in DER and in PEM, too.
#![no_main]

use std::sync::LazyLock;

use countersign_pki::{
    Authority, CertificateFacts, ComposeError, KeyAlgorithm, KeyEncoding, PrivateKey, Request,
    SignError, Template, Validity, certificates_to_pem, fuzzing, generate_key, parse_csr,
    parse_csr_der, self_sign, sign,
};
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::CertificateSigningRequestDer;

static KEY: LazyLock<PrivateKey> =
    LazyLock::new(|| generate_key(KeyAlgorithm::EcdsaP256).expect("a key"));

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| {
    let request =
        Request { common_name: Some("fuzz".to_owned()), is_ca: true, ..Request::default() };
    let root = self_sign(&template(request), &KEY).expect("a root");
    let key = KEY.to_pem(KeyEncoding::Pkcs8).expect("PEM");
    Authority::from_pems(certificates_to_pem([&root]).as_bytes(), key.expose().as_bytes(), None)
        .expect("an authority")
});

fn template(request: Request) -> Template {
    let at = |text: &str| text.parse().expect("a time");
    let validity =
        Validity { not_before: at("2024-01-01T00:00:00Z"), not_after: at("2124-01-01T00:00:00Z") };
    Template::new(request, validity).expect("random bytes")
}

fuzz_target!(|input: &[u8]| {
    let _ = parse_csr(input);
    let _ = parse_csr_der(&CertificateSigningRequestDer::from(input));
    let Some((length, rest)) = input.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    let (subject, attributes) = rest.split_at(length);
    let Some(der) = fuzzing::request(subject, attributes, &KEY) else { return };
    let parsed = match parse_csr_der(&CertificateSigningRequestDer::from(der)) {
        Ok(parsed) => parsed,
        Err(error) => {
            assert!(error.to_string().len() < 1000, "{error}");
            return;
        }
    };
    let mut asked = template(parsed.request.clone());
    asked.subject_der = Some(parsed.subject_der.clone());
    let signed = match sign(&asked, &parsed.public_key_spki, &AUTHORITY) {
        Ok(signed) => signed,
        // Names that no certificate may have.
        Err(SignError::Compose(ComposeError::Writing(error))) => panic!("not written: {error}"),
        Err(_) => return,
    };
    let leaf = CertificateFacts::from_der(signed).expect("our own is read");
    assert!(leaf.verify_issued_by(AUTHORITY.certificate()));
    assert_eq!(leaf.subject_der, parsed.subject_der);
    assert_eq!(leaf.differences(&parsed.request), [""; 0], "{:?}", parsed.request);
    assert_eq!(leaf.path_len, parsed.request.path_len.filter(|_| leaf.says.is_ca).map(u32::from));
});
