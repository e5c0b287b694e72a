//! Certificates for tests: a root, an intermediate, and leaves, made when they run.

use countersign_pki::{
    Authority, CertificateDer, KeyAlgorithm, KeyEncoding, PrivateKey, Redacted, Request, Template,
    Validity, certificates_to_pem, generate_key, self_sign, sign,
};
use jiff::Timestamp;

use crate::chain::Bundle;

/// When the tests take place.
pub(crate) fn now() -> Timestamp {
    at("2026-05-05T12:00:00Z")
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

pub(crate) fn key() -> PrivateKey {
    generate_key(KeyAlgorithm::EcdsaP256).expect("a key")
}

pub(crate) fn pem(key: &PrivateKey) -> Vec<u8> {
    key.to_pem(KeyEncoding::Pkcs8).expect("PEM").expose().clone().into_bytes()
}

/// A root `CN=root`, `CN=intermediate` under it, and the key of that.
pub(crate) struct World {
    pub(crate) root: CertificateDer<'static>,
    pub(crate) intermediate: CertificateDer<'static>,
    authority: Authority,
}

fn named(name: &str, is_ca: bool) -> Request {
    let dns_names = if is_ca { Vec::new() } else { vec![format!("{name}.test")] };
    Request { common_name: Some(name.to_owned()), is_ca, dns_names, ..Request::default() }
}

fn template(request: Request, end: &str) -> Template {
    let validity = Validity { not_before: at("2026-01-01T00:00:00Z"), not_after: at(end) };
    Template::new(request, validity).expect("a template")
}

impl World {
    pub(crate) fn new() -> Self {
        let (root_key, own) = (key(), key());
        let own_root = template(named("root", true), "2036-01-01T00:00:00Z");
        let root = self_sign(&own_root, &root_key).expect("a root");
        let above =
            Authority::from_pems(certificates_to_pem([&root]).as_bytes(), &pem(&root_key), None);
        let wanted = template(named("intermediate", true), "2027-01-01T00:00:00Z");
        let above = above.expect("an authority");
        let intermediate = sign(&wanted, &own.public_key_spki(), &above).expect("an intermediate");
        let chain = certificates_to_pem([&intermediate, &root]);
        let authority = Authority::from_pems(chain.as_bytes(), &pem(&own), None);
        Self { root, intermediate, authority: authority.expect("an authority") }
    }

    /// A certificate that is valid until then.
    pub(crate) fn leaf(&self, name: &str, end: &str, key: &PrivateKey) -> CertificateDer<'static> {
        let wanted = template(named(name, false), end);
        sign(&wanted, &key.public_key_spki(), &self.authority).expect("a leaf")
    }

    /// What a Secret holds for `web`, whose certificate is valid until then.
    pub(crate) fn bundle(&self, end: &str) -> Bundle {
        let key = key();
        let leaf = self.leaf("web", end, &key);
        Bundle {
            certificate: Some(text(&[&leaf, &self.intermediate])),
            key: Some(Redacted::new(pem(&key))),
            roots: Some(text(&[&self.root])),
        }
    }
}

/// Certificates one after the other.
pub(crate) fn text(certificates: &[&CertificateDer<'static>]) -> Vec<u8> {
    certificates_to_pem(certificates.iter().copied()).into_bytes()
}
