//! Which Secrets a Certificate may write to: those that the operator made, and those that were handed
//! over on the Secret itself; pure.
//!
//! Creating a Certificate takes no right to Secrets. The operator has that right, and must not lend it:
//! a Secret of another owner is written to only once an account with rights to Secrets has said so on
//! the Secret.

use countersign_crds::Certificate;
use kube::ResourceExt;

use super::names;
use super::observe::Stored;
use super::secret::TYPE;

/// The annotation by which cert-manager notes the Certificate of a Secret.
const OF_CERT_MANAGER: &str = "cert-manager.io/certificate-name";

/// The reason given where a Secret was not made by the operator, nor handed over.
pub(super) const NOT_ADOPTED: &str = "SecretNotAdopted";

/// Whether the Certificate may write to a Secret that exists.
///
/// - The operator applied it for a Certificate (which one is decided elsewhere), or
/// - it names this Certificate, in our annotation or in the one for adoption, or
/// - cert-manager issued it for a Certificate of this name.
///
/// Nobody can write any of these without a right to Secrets: a `secretTemplate` cannot set annotations
/// of ours, and it reaches only Secrets that are the Certificate's already.
#[must_use]
pub(super) fn may_write(stored: &Stored, certificate: &Certificate) -> bool {
    let name = certificate.name_any();
    let says = |annotation: &str| stored.annotations.get(annotation) == Some(&name);
    stored.applied.annotations.contains(names::CERTIFICATE_NAME)
        || says(names::CERTIFICATE_NAME)
        || says(names::ADOPT)
        || (says(OF_CERT_MANAGER) && stored.type_.as_deref() == Some(TYPE))
}

/// What to do about a Secret that is not the Certificate's.
#[must_use]
pub(super) fn advice(certificate: &Certificate) -> String {
    let (name, secret) = (certificate.name_any(), &certificate.spec.secret_name);
    format!(
        "Secret {secret} exists and was not made for this Certificate: it is left as it is. Name another in spec.secretName, or hand it over: kubectl annotate secret {secret} {}={name}",
        names::ADOPT
    )
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;

    use super::*;
    use crate::certificate::support::{SecretProse, certificate, secret_of};

    fn foreign(type_: &str) -> Secret {
        let mut secret = Secret { type_: Some(type_.to_owned()), ..Secret::default() };
        secret.metadata.name = Some("web-tls".to_owned());
        secret
    }

    #[test]
    fn only_a_secret_of_ours_or_one_that_was_handed_over_is_written_to() {
        let web = certificate("web");
        let other = secret_of(&certificate("other")).made();
        let restored = |mut secret: Secret| {
            secret.metadata.managed_fields = None;
            secret
        };
        let cases = [
            ("ours", secret_of(&web).made(), true),
            ("ours, of a Certificate before", other.clone(), true),
            ("ours, restored from a backup", restored(secret_of(&web).made()), true),
            ("of another, restored from a backup", restored(other), false),
            ("foreign", foreign("Opaque"), false),
            ("foreign, of our type", foreign(TYPE), false),
            ("adopted", foreign("Opaque").annotated(names::ADOPT, "web"), true),
            ("adopted by another", foreign("Opaque").annotated(names::ADOPT, "api"), false),
            ("cert-manager's", foreign(TYPE).annotated(OF_CERT_MANAGER, "web"), true),
            ("cert-manager's, of another", foreign(TYPE).annotated(OF_CERT_MANAGER, "api"), false),
            ("no TLS Secret", foreign("Opaque").annotated(OF_CERT_MANAGER, "web"), false),
        ];
        for (what, secret, expected) in cases {
            assert_eq!(may_write(&Stored::of(&secret), &web), expected, "{what}");
        }
    }
}
