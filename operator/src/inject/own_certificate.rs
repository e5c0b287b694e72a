//! The webhook's own certificate, and the caBundle by which the API server knows it.
//!
//! Each rotation makes an authority that signs this one certificate and whose key is then
//! forgotten. The caBundle trusts the new authority before anybody serves its certificate, and the
//! old ones until they expire, so that no admission fails meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::certificate::names::{CA_CRT, TLS_CRT, TLS_KEY};
use crate::pki::{
    self, Authority, CertificateFacts, KeyAlgorithm, KeyEncoding, PrivateKey, Request, Template,
    Usage, generate_key,
};

/// The Secret that the replicas share.
pub(super) const SECRET: &str = "countersign-webhook";

/// How long a certificate of the webhook is valid; it is renewed with a third of that left.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Clocks differ.
const BACKDATE: Duration = Duration::from_secs(300);

/// Why the webhook's certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum MakeError {
    #[error("making the webhook's key")]
    Key(#[from] pki::KeyError),
    #[error("signing the webhook's certificate")]
    Sign(#[from] pki::SignError),
    #[error("reading back the webhook's authority")]
    Authority(#[from] pki::AuthorityError),
    #[error(transparent)]
    Randomness(#[from] pki::NoRandomness),
}

/// What is in the Secret, if it can be served now and for a while.
#[derive(Clone, Debug)]
pub(super) struct Served {
    /// The certificate, PEM.
    pub(super) chain: Vec<u8>,
    /// Its key, PEM.
    pub(super) key: pki::Redacted<Vec<u8>>,
    /// The authorities that verify it, and its predecessors, PEM.
    pub(super) authorities: String,
}

/// Reads the Secret; nothing if there is none, or it is damaged, for another name, or nearly over.
pub(super) fn usable(secret: Option<&Secret>, names: &[String], now: Timestamp) -> Option<Served> {
    let data = secret?.data.as_ref()?;
    let value = |key: &str| data.get(key).map(|bytes| bytes.0.as_slice());
    let (chain, key_pem, ca) = (value(TLS_CRT)?, value(TLS_KEY)?, value(CA_CRT)?);
    let leaf = CertificateFacts::from_pem(chain).ok()?;
    let key = PrivateKey::from_pem(key_pem).ok()?;
    let authorities = CertificateFacts::all_from_pem(ca).ok()?;
    let left = leaf.validity.not_after.duration_since(now);
    let third = SignedDuration::try_from(LIFETIME / 3).ok()?;
    let is_good = leaf.matches_key(&key)
        && authorities.iter().any(|authority| leaf.verify_issued_by(authority))
        && names.iter().all(|name| leaf.says.dns_names.contains(name))
        && left > third;
    is_good.then(|| Served {
        chain: chain.to_vec(),
        key: pki::Redacted::new(key_pem.to_vec()),
        authorities: String::from_utf8_lossy(ca).into_owned(),
    })
}

/// A new Secret, which keeps the authorities of the one before that are still valid.
pub(super) fn made(
    before: Option<&Secret>,
    namespace: &str,
    names: &[String],
    now: Timestamp,
) -> Result<Secret, MakeError> {
    let validity = pki::clamp_lifetime(now, LIFETIME, BACKDATE, None);
    let ca_key = generate_key(KeyAlgorithm::EcdsaP256)?;
    let ca = Request {
        common_name: Some("Countersign webhook".to_owned()),
        is_ca: true,
        ..Request::default()
    };
    let ca_der = pki::self_sign(&Template::new(ca, validity)?, &ca_key)?;
    let ca_pem = pki::certificates_to_pem([&ca_der]);
    let ca_key_pem = ca_key.to_pem(KeyEncoding::Pkcs8)?;
    let authority = Authority::from_pems(ca_pem.as_bytes(), ca_key_pem.expose().as_bytes(), None)?;
    let leaf = Request {
        dns_names: names.to_vec(),
        usages: vec![Usage::DigitalSignature, Usage::ServerAuth],
        ..Request::default()
    };
    let key = generate_key(KeyAlgorithm::EcdsaP256)?;
    let der = pki::sign(&Template::new(leaf, validity)?, &key.public_key_spki(), &authority)?;
    let authorities = ca_pem + &still_valid(before, now);
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let key_pem = key.to_pem(KeyEncoding::Pkcs8)?;
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(SECRET.to_owned()),
            namespace: Some(namespace.to_owned()),
            resource_version: before.and_then(|secret| secret.metadata.resource_version.clone()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(BTreeMap::from([
            (TLS_CRT.to_owned(), bytes(&pki::certificates_to_pem([&der]))),
            (TLS_KEY.to_owned(), bytes(key_pem.expose())),
            (CA_CRT.to_owned(), bytes(&authorities)),
        ])),
        ..Secret::default()
    })
}

fn still_valid(before: Option<&Secret>, now: Timestamp) -> String {
    let data = before.and_then(|secret| secret.data.as_ref());
    let ca = data.and_then(|data| data.get(CA_CRT)).map(|bytes| bytes.0.as_slice());
    let old = CertificateFacts::all_from_pem(ca.unwrap_or_default()).unwrap_or_default();
    let valid: Vec<_> = old.iter().filter(|ca| ca.validity.not_after > now).take(3).collect();
    pki::certificates_to_pem(valid.into_iter().map(|ca| &ca.der))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn names() -> Vec<String> {
        vec!["countersign-webhook.countersign-system.svc".to_owned()]
    }

    #[test]
    fn a_certificate_of_the_webhook_is_used_until_a_third_of_its_life_is_left() {
        let secret = made(None, "ns", &names(), at("2026-01-01T00:00:00Z")).unwrap();
        let usable_at = |now| usable(Some(&secret), &names(), at(now)).is_some();
        assert!(usable_at("2026-01-01T00:00:00Z"));
        assert!(usable_at("2026-01-20T00:00:00Z"));
        assert!(!usable_at("2026-01-22T00:00:00Z"));
        assert!(
            usable(Some(&secret), &["other.svc".to_owned()], at("2026-01-01T00:00:00Z")).is_none()
        );
        assert!(usable(None, &names(), at("2026-01-01T00:00:00Z")).is_none());
    }

    #[test]
    fn a_rotation_keeps_the_authority_before_until_it_expires() {
        let first = made(None, "ns", &names(), at("2026-01-01T00:00:00Z")).unwrap();
        let count = |now| {
            let second = made(Some(&first), "ns", &names(), at(now)).unwrap();
            let ca = second.data.unwrap()[CA_CRT].0.clone();
            CertificateFacts::all_from_pem(&ca).unwrap().len()
        };
        assert_eq!(count("2026-01-22T00:00:00Z"), 2);
        assert_eq!(count("2026-02-22T00:00:00Z"), 1);
    }

    #[test]
    fn a_damaged_secret_is_made_anew() {
        let mut secret = made(None, "ns", &names(), at("2026-01-01T00:00:00Z")).unwrap();
        let other = made(None, "ns", &names(), at("2026-01-01T00:00:00Z")).unwrap();
        let key = other.data.unwrap()[TLS_KEY].clone();
        secret.data.as_mut().unwrap().insert(TLS_KEY.to_owned(), key);
        assert!(usable(Some(&secret), &names(), at("2026-01-01T00:00:00Z")).is_none());
    }
}
