//! An authority of the tests' own, and what it signs.

use std::time::Duration;

use countersign_operator::clock::Clock;
use countersign_operator::pki::{
    Authority, BACKDATE, KeyAlgorithm, KeyEncoding, PrivateKey, Request, Template, Validity,
    certificates_to_pem, clamp_lifetime, generate_key, parse_csr, self_sign, sign,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;

/// What a Secret of `kubernetes.io/tls` holds.
#[derive(Clone)]
pub(crate) struct Pems {
    pub(crate) crt: String,
    pub(crate) key: String,
    pub(crate) ca: String,
}

impl Pems {
    /// A root.
    pub(crate) fn new() -> Self {
        let key = new_key();
        let common_name = Some("a root".to_owned());
        let request = Request { common_name, is_ca: true, ..Request::default() };
        let validity = clamp_lifetime(now(), Duration::from_secs(10 * 24 * 3600), BACKDATE, None);
        let template = Template::new(request, validity).expect("a template");
        let crt = certificates_to_pem([&self_sign(&template, &key).expect("a root")]);
        Self { ca: crt.clone(), crt, key: key_pem(&key) }
    }

    /// A leaf under this root that is nearly over.
    pub(crate) fn old_leaf(&self, request: Request) -> Self {
        let (key, authority) = (new_key(), self.authority());
        let validity = Validity {
            not_before: now() - SignedDuration::from_hours(1),
            not_after: now() + SignedDuration::from_mins(2),
        };
        let template = Template::new(request, validity).expect("a template");
        let der = sign(&template, &key.public_key_spki(), &authority).expect("a leaf");
        Self { crt: authority.leaf_chain_pem(&der), key: key_pem(&key), ca: authority.ca_pem() }
    }

    /// The chain for a CSR, and the root.
    pub(crate) fn answer(&self, csr: &[u8]) -> (ByteString, ByteString) {
        let authority = self.authority();
        let csr = parse_csr(csr).expect("a CSR");
        let hour = Duration::from_secs(3600);
        let validity = clamp_lifetime(now(), hour, BACKDATE, Some(authority.validity()));
        let template = Template::new(csr.request, validity).expect("a template");
        let der = sign(&template, &csr.public_key_spki, &authority).expect("a leaf");
        let chain = ByteString(authority.leaf_chain_pem(&der).into_bytes());
        (chain, ByteString(authority.ca_pem().into_bytes()))
    }

    fn authority(&self) -> Authority {
        let ca = Some(self.ca.as_bytes());
        Authority::from_pems(self.crt.as_bytes(), self.key.as_bytes(), ca).expect("an authority")
    }
}

pub(crate) fn new_key() -> PrivateKey {
    generate_key(KeyAlgorithm::EcdsaP256).expect("a key")
}

fn key_pem(key: &PrivateKey) -> String {
    key.to_pem(KeyEncoding::Pkcs8).expect("PEM").expose().clone()
}

fn now() -> Timestamp {
    Clock::system().now()
}
