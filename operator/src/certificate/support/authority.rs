//! The authority `press`: a root, and an intermediate that signs.

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;

use crate::issuer::Signed;
use crate::pki::{
    Authority, KeyAlgorithm, KeyEncoding, PrivateKey, Request, Template, Validity,
    certificates_to_pem, generate_key, self_sign, sign,
};

/// An authority, ready to sign.
pub(crate) struct Press(Authority);

impl Press {
    /// A new one.
    pub(crate) fn new() -> Self {
        let (root_key, key) = (ecdsa(), ecdsa());
        let root_pem = pem(&self_sign(&authority("root"), &root_key).unwrap());
        let root = read(&root_pem, &root_key, None);
        let middle = sign(&authority("press"), &key.public_key_spki(), &root).unwrap();
        Self(read(&pem(&middle), &key, Some(&root_pem)))
    }

    /// The authority itself.
    pub(crate) fn into_inner(self) -> Authority {
        self.0
    }

    /// What is asked for, for this key.
    pub(crate) fn print(&self, request: &Request, key: &PrivateKey, validity: Validity) -> Signed {
        let template = Template::new(request.clone(), validity).unwrap();
        let leaf = sign(&template, &key.public_key_spki(), &self.0).unwrap();
        Signed { chain: self.0.leaf_chain_pem(&leaf), ca: Some(self.0.ca_pem()) }
    }
}

fn ecdsa() -> PrivateKey {
    generate_key(KeyAlgorithm::EcdsaP256).unwrap()
}

fn pem(certificate: &CertificateDer<'static>) -> String {
    certificates_to_pem([certificate])
}

/// Valid far longer than any leaf of a case.
fn authority(name: &str) -> Template {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let validity =
        Validity { not_before: at("2020-01-01T00:00:00Z"), not_after: at("2120-01-01T00:00:00Z") };
    let common_name = Some(name.to_owned());
    Template::new(Request { common_name, is_ca: true, ..Request::default() }, validity).unwrap()
}

fn read(tls_crt: &str, key: &PrivateKey, ca_crt: Option<&str>) -> Authority {
    let tls_key = key.to_pem(KeyEncoding::Pkcs8).unwrap();
    let ca_crt = ca_crt.map(str::as_bytes);
    Authority::from_pems(tls_crt.as_bytes(), tls_key.expose().as_bytes(), ca_crt).unwrap()
}
