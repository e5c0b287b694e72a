//! The Secret as it should be; pure.

use std::collections::BTreeMap;

use countersign_contract::names::IDENTITY_LABEL;
use countersign_crds::{Certificate, SecretDeletionPolicy, SecretTemplate};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

use super::extras::{self, ExtrasError, Passwords};
use super::names;
use super::observe::{Observed, SecretData, Stored};
use super::reference::IssuerId;
use super::request;
use super::successor;
use super::wanted::Wanted;
use crate::issuer::Signed;
use crate::pki::{CertificateFacts, KeyError, PrivateKey};

/// The type of a Secret of ours, where it is new.
pub const TYPE: &str = "kubernetes.io/tls";

/// Whether labels or annotations are not what they should be, or some are left of a template that
/// no longer has them. What somebody else wrote is not ours although it is the same: it would go
/// when they take it away.
#[must_use]
pub fn is_untidy(seen: &Observed) -> bool {
    let Some((stored, pair)) = seen.secret.as_ref().and_then(|s| s.pair().map(|pair| (s, pair)))
    else {
        return false;
    };
    let (labels, annotations) = metadata(&seen.certificate, &pair.leaf, noted(stored));
    let owner = owner(&seen.certificate, Some(stored));
    let no_passwords = Passwords::default();
    let passwords = seen.passwords.as_ref().unwrap_or(&no_passwords);
    let applied = |key: &str| stored.applied.data.contains(key);
    lacks(&stored.labels, &labels)
        || lacks(&stored.annotations, &annotations)
        || labels.keys().any(|name| !stored.applied.labels.contains(name))
        || annotations.keys().any(|name| !stored.applied.annotations.contains(name))
        || stored.applied.labels.iter().any(|name| !labels.contains_key(name))
        || stored.applied.annotations.iter().any(|name| !annotations.contains_key(name))
        || successor::is_joined(&seen.certificate, stored)
        || names::THREE.iter().any(|key| stored.data.0.contains_key(*key) && !applied(key))
        || owner.as_ref().is_some_and(|owner| !stored.owners.contains(&owner.uid))
        || (owner.is_none() && stored.applied.owner)
        || !extras::are_current(&seen.certificate.spec, &stored.data.0, applied, passwords)
}

/// What the Secret says of the certificate in it that the certificate itself does not.
fn noted(stored: &Stored) -> Noted {
    Noted {
        lifetime: stored.annotations.get(names::REQUESTED_SECONDS).cloned(),
        path_len: stored.annotations.get(names::REQUESTED_PATH_LENGTH).cloned(),
        is_temporary: stored.annotations.contains_key(names::TEMPORARY),
        revision: stored.annotations.get(names::REVISION).cloned(),
    }
}

/// What the Secret says of the certificate in it that the certificate itself does not.
#[derive(Clone, Debug, Default)]
struct Noted {
    /// The lifetime that was asked for, in seconds.
    lifetime: Option<String>,
    /// The path length that was asked for, where one was.
    path_len: Option<String>,
    /// Whether nobody trusts it.
    is_temporary: bool,
    /// Which revision of its Certificate it is.
    revision: Option<String>,
}

fn lacks(found: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().any(|(name, value)| found.get(name) != Some(value))
}

/// The Secret with the certificate that it has, and all else as it should be.
///
/// # Errors
/// When another form of key and certificate cannot be made.
pub fn tidied(
    certificate: &Certificate,
    stored: &Stored,
    passwords: &Passwords,
    now: Timestamp,
) -> Result<Option<Secret>, ExtrasError> {
    let Some(pair) = stored.pair() else { return Ok(None) };
    let data = extras::added(&certificate.spec, stored.data.0.clone(), passwords, now)?;
    let noted = noted(stored);
    Ok(Some(assembled(certificate, &pair.leaf, noted, SecretData(data), Some(stored))))
}

/// What a Secret holds of a new certificate.
///
/// # Errors
/// When the key cannot be written as it is asked for.
pub fn data(
    signed: &Signed,
    key: &PrivateKey,
    wanted: &Wanted,
) -> Result<BTreeMap<String, ByteString>, KeyError> {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let key_pem = key.to_pem(wanted.encoding)?;
    let mut data = BTreeMap::from([
        (names::TLS_CRT.to_owned(), bytes(&signed.chain)),
        (names::TLS_KEY.to_owned(), bytes(key_pem.expose())),
    ]);
    if let Some(ca) = &signed.ca {
        data.insert(names::CA_CRT.to_owned(), bytes(ca));
    }
    Ok(data)
}

/// The Secret of a new certificate.
#[must_use]
pub fn issued(
    certificate: &Certificate,
    wanted: &Wanted,
    leaf: &CertificateFacts,
    data: BTreeMap<String, ByteString>,
    before: Option<&Stored>,
) -> Secret {
    let lifetime = Some(wanted.lifetime.as_secs().to_string());
    let revision = Some(request::next_revision(certificate).to_string());
    let path_len = wanted.request.path_len.map(|length| length.to_string());
    let noted = Noted { lifetime, path_len, revision, ..Noted::default() };
    assembled(certificate, leaf, noted, SecretData(data), before)
}

/// The Secret of a certificate that nobody trusts, until there is a better one.
#[must_use]
pub fn temporary(
    certificate: &Certificate,
    leaf: &CertificateFacts,
    data: BTreeMap<String, ByteString>,
    before: Option<&Stored>,
) -> Secret {
    let noted = Noted { is_temporary: true, ..Noted::default() };
    assembled(certificate, leaf, noted, SecretData(data), before)
}

fn assembled(
    certificate: &Certificate,
    leaf: &CertificateFacts,
    noted: Noted,
    data: SecretData,
    before: Option<&Stored>,
) -> Secret {
    let (labels, annotations) = metadata(certificate, leaf, noted);
    Secret {
        metadata: ObjectMeta {
            name: Some(certificate.spec.secret_name.clone()),
            namespace: certificate.namespace(),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: owner(certificate, before).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(data.0),
        type_: Some(TYPE.to_owned()),
        ..Secret::default()
    }
}

/// A Secret outlives its Certificate, so that deleting the one by mistake takes down nothing, unless
/// the spec says otherwise. An identity goes with its Certificate, which the operator made itself.
/// A Secret that the operator did not make (`before` it was written to) never goes with anything.
fn owner(certificate: &Certificate, before: Option<&Stored>) -> Option<OwnerReference> {
    let goes_too = certificate.spec.secret_deletion_policy == Some(SecretDeletionPolicy::Delete)
        || certificate.labels().contains_key(IDENTITY_LABEL);
    if !goes_too || before.is_some_and(|stored| !stored.applied.made) {
        return None;
    }
    // An object has one controller at most.
    match before.and_then(|stored| stored.controller.as_ref()) {
        Some(controller) if certificate.metadata.uid.as_ref() != Some(controller) => {
            certificate.owner_ref(&())
        }
        _ => certificate.controller_owner_ref(&()),
    }
}

type Strings = BTreeMap<String, String>;

/// The labels and annotations that the Secret should have.
fn metadata(
    certificate: &Certificate,
    leaf: &CertificateFacts,
    noted: Noted,
) -> (Strings, Strings) {
    let SecretTemplate { mut labels, mut annotations } =
        certificate.spec.secret_template.clone().unwrap_or_default();
    labels.insert(names::OURS_LABEL.to_owned(), "true".to_owned());
    let issuer = IssuerId::of(&certificate.spec.issuer_ref);
    let ours = [
        (names::CERTIFICATE_NAME, certificate.name_any()),
        (names::ISSUER_NAME, issuer.name),
        (names::ISSUER_KIND, issuer.kind),
        (names::ISSUER_GROUP, issuer.group),
        (names::COMMON_NAME, leaf.says.common_name.clone().unwrap_or_default()),
        (names::ALT_NAMES, joined(&leaf.says.dns_names)),
        (names::IP_SANS, joined(&leaf.says.ip_addresses)),
        (names::URI_SANS, joined(&leaf.says.uris)),
    ];
    let ours = ours.into_iter().chain(where_any(leaf));
    annotations.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    let asked = [
        (names::REQUESTED_SECONDS, noted.lifetime),
        (names::REQUESTED_PATH_LENGTH, noted.path_len),
        (names::REVISION, noted.revision),
    ];
    let asked = asked.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    annotations.extend(asked);
    if noted.is_temporary {
        annotations.insert(names::TEMPORARY.to_owned(), "true".to_owned());
    }
    (labels, annotations)
}

/// The annotations of what a certificate seldom has.
fn where_any(leaf: &CertificateFacts) -> impl Iterator<Item = (&'static str, String)> {
    let subject = &leaf.says.subject;
    let lists = [
        (names::EMAIL_SANS, &leaf.says.email_addresses),
        (names::SUBJECT_ORGANIZATIONS, &subject.organizations),
        (names::SUBJECT_UNITS, &subject.organizational_units),
        (names::SUBJECT_COUNTRIES, &subject.countries),
        (names::SUBJECT_PROVINCES, &subject.provinces),
        (names::SUBJECT_LOCALITIES, &subject.localities),
        (names::SUBJECT_POSTAL_CODES, &subject.postal_codes),
        (names::SUBJECT_STREETS, &subject.street_addresses),
    ];
    let lists = lists.into_iter().filter(|(_, values)| !values.is_empty());
    let number = subject.serial_number.clone().map(|text| (names::SUBJECT_SERIAL_NUMBER, text));
    lists.map(|(name, values)| (name, joined(values))).chain(number)
}

/// One line of CSV (RFC 4180): a value with a comma in it stays one value.
fn joined(values: &[impl ToString]) -> String {
    let quoted = |value: &dyn ToString| {
        let text = value.to_string();
        if text.contains([',', '"', '\r', '\n']) || text.starts_with(char::is_whitespace) {
            return format!("\"{}\"", text.replace('"', "\"\""));
        }
        text
    };
    let mut line = String::new();
    for (place, value) in values.iter().enumerate() {
        let value = quoted(value);
        if line.len() + value.len() > LONGEST_LIST {
            return format!("{line},(and {} more)", values.len() - place);
        }
        if place > 0 {
            line.push(',');
        }
        line.push_str(&value);
    }
    line
}

/// All annotations of an object share 256 KiB. What is cut here stands in the certificate.
const LONGEST_LIST: usize = 12 * 1024;

#[cfg(test)]
mod tests;
