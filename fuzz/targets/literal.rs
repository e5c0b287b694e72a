//! A subject in the notation of RFC 4514 is refused, or it is signed byte for byte.
#![no_main]

use std::sync::LazyLock;

use countersign_pki::{
    CertificateFacts, KeyAlgorithm, LiteralSubject, NameParts, PrivateKey, Request, Template,
    Validity, generate_key, self_sign,
};
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<PrivateKey> =
    LazyLock::new(|| generate_key(KeyAlgorithm::EcdsaP256).expect("a key"));

fuzz_target!(|text: &str| {
    let subject = match LiteralSubject::parse(text) {
        Ok(subject) => subject,
        Err(error) => {
            assert!(error.to_string().len() < 4 * text.len() + 500, "{error}");
            return;
        }
    };
    assert!(subject.der().len() < 64 * text.len() + 64, "it grows");
    let parts = NameParts::from_der(subject.der()).expect("a name");
    assert!(parts.common_names.len() <= 1);
    assert_eq!(parts.common_names.first().map(String::as_str), subject.common_name());
    let at = |text: &str| text.parse().expect("a time");
    let validity =
        Validity { not_before: at("2024-01-01T00:00:00Z"), not_after: at("2124-01-01T00:00:00Z") };
    let request = Request { literal_subject: Some(subject.clone()), ..Request::default() };
    let template = Template::new(request.clone(), validity).expect("random bytes");
    let signed = self_sign(&template, &KEY).expect("a certificate");
    let facts = CertificateFacts::from_der(signed).expect("our own is read");
    assert_eq!(facts.subject_der, subject.der());
    assert!(!facts.differences(&request).contains(&"literalSubject"));
});
