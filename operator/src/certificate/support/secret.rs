//! The Secret of a Certificate, as the operator would have written it, and what may become of it.

use std::collections::BTreeMap;

use countersign_crds::Certificate;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, Time};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{Press, now, wanted};
use crate::certificate::{names, secret};
use crate::context::FIELD_MANAGER;
use crate::pki::{BACKDATE, CertificateFacts, Validity, clamp_lifetime, generate_key};

/// A Secret that is yet to be made.
pub(crate) struct SecretOf<'a> {
    certificate: &'a Certificate,
    validity: Validity,
    revision: Option<i64>,
}

/// The Secret that a Certificate asks for, issued now.
pub(crate) fn secret_of(certificate: &Certificate) -> SecretOf<'_> {
    let lifetime = wanted(certificate).lifetime;
    let validity = clamp_lifetime(now(), lifetime, BACKDATE, None);
    SecretOf { certificate, validity, revision: None }
}

impl SecretOf<'_> {
    /// Valid until so long from now; where that is past, it expired so long ago.
    pub(crate) fn expiring_in(mut self, left: SignedDuration) -> Self {
        let ninety_days = SignedDuration::from_hours(90 * 24);
        let not_after = now() + left;
        self.validity = Validity { not_before: not_after - ninety_days, not_after };
        self
    }

    /// Valid from one time until another.
    pub(crate) fn valid(mut self, not_before: Timestamp, not_after: Timestamp) -> Self {
        self.validity = Validity { not_before, not_after };
        self
    }

    /// Of this revision; otherwise it says of none, as Secrets once did.
    pub(crate) fn of_revision(mut self, revision: i64) -> Self {
        self.revision = Some(revision);
        self
    }

    /// The Secret, as the API server gives it back.
    pub(crate) fn made(self) -> Secret {
        let wanted = wanted(self.certificate);
        let key = generate_key(wanted.algorithm).unwrap();
        let signed = Press::new().print(&wanted.request, &key, self.validity);
        let leaf = CertificateFacts::from_pem(signed.chain.as_bytes()).unwrap();
        let data = secret::data(&signed, &key, &wanted).unwrap();
        let mut secret = secret::issued(self.certificate, &wanted, &leaf, data, None);
        let revision = self.revision.map(|number| (names::REVISION.to_owned(), number.to_string()));
        secret.annotations_mut().remove(names::REVISION);
        secret.annotations_mut().extend(revision);
        applied(secret)
    }
}

/// With the managed fields of an apply by the operator.
pub(crate) fn applied(mut secret: Secret) -> Secret {
    let fields = |names: &BTreeMap<String, String>| -> Value {
        names.keys().map(|name| (format!("f:{name}"), json!({}))).collect()
    };
    let metadata = json!({
        "f:labels": fields(secret.labels()),
        "f:annotations": fields(secret.annotations()),
    });
    let data = secret.data.iter().flatten().map(|(key, _)| (format!("f:{key}"), json!({})));
    let data: Value = data.collect();
    let entry = ManagedFieldsEntry {
        manager: Some(FIELD_MANAGER.to_owned()),
        operation: Some("Apply".to_owned()),
        fields_v1: Some(FieldsV1(json!({ "f:metadata": metadata, "f:type": {}, "f:data": data }))),
        time: Some(Time(now())),
        ..ManagedFieldsEntry::default()
    };
    secret.metadata.managed_fields = Some(vec![entry]);
    secret
}

/// What others do to a Secret.
pub(crate) trait SecretProse: Sized {
    /// With other bytes under a key.
    fn holding(self, key: &str, bytes: impl Into<Vec<u8>>) -> Self;
    /// Without a key.
    fn without(self, key: &str) -> Self;
    /// With another annotation.
    fn annotated(self, name: &str, value: &str) -> Self;
    /// Without an annotation.
    fn unannotated(self, name: &str) -> Self;
    /// Without any label.
    fn without_labels(self) -> Self;
    /// Made by another client: its type is that client's, too.
    fn made_by(self, client: &str) -> Self;
    /// Last written to by somebody else.
    fn written_by(self, client: &str) -> Self;
    /// What is under a key.
    fn text(&self, key: &str) -> String;
}

impl SecretProse for Secret {
    fn holding(mut self, key: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.data.get_or_insert_default().insert(key.to_owned(), ByteString(bytes.into()));
        self
    }

    fn without(mut self, key: &str) -> Self {
        self.data.get_or_insert_default().remove(key);
        self
    }

    fn annotated(mut self, name: &str, value: &str) -> Self {
        self.annotations_mut().insert(name.to_owned(), value.to_owned());
        self
    }

    fn unannotated(mut self, name: &str) -> Self {
        self.annotations_mut().remove(name);
        self
    }

    fn without_labels(mut self) -> Self {
        self.labels_mut().clear();
        self
    }

    fn made_by(mut self, client: &str) -> Self {
        let entry = ManagedFieldsEntry {
            manager: Some(client.to_owned()),
            operation: Some("Update".to_owned()),
            fields_v1: Some(FieldsV1(json!({ "f:type": {} }))),
            ..ManagedFieldsEntry::default()
        };
        self.metadata.managed_fields.get_or_insert_default().push(entry);
        self
    }

    fn written_by(mut self, client: &str) -> Self {
        let manager = Some(client.to_owned());
        let entry = ManagedFieldsEntry { manager, ..ManagedFieldsEntry::default() };
        self.metadata.managed_fields.get_or_insert_default().push(entry);
        self
    }

    fn text(&self, key: &str) -> String {
        let bytes = &self.data.as_ref().unwrap()[key].0;
        String::from_utf8(bytes.clone()).unwrap()
    }
}
