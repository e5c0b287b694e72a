//! What a certificate says, in the fields of an answer.

use countersign_pki::{CertificateFacts, sha256_hex};
use jiff::Timestamp;
use serde::Serialize;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateReport {
    /// Its subject; empty where only names of other kinds say whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The names that are verified.
    pub names: Names,
    /// What its key may be used for.
    pub usages: Vec<&'static str>,
    /// Whether it may sign others.
    #[serde(rename = "isCA")]
    pub is_ca: bool,
    /// How many authorities may follow below it, where it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_path_length: Option<u32>,
    /// Whether it is its own issuer.
    pub is_self_signed: bool,
    /// The kind of key; nothing for one that is not known here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_algorithm: Option<String>,
    /// The serial number, hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate, hexadecimal.
    pub fingerprint: String,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
}

/// The names in a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each name is the field's own")]
pub struct Names {
    pub dns_names: Vec<String>,
    pub ip_addresses: Vec<String>,
    pub uris: Vec<String>,
    pub email_addresses: Vec<String>,
    pub other_names: Vec<String>,
}

impl CertificateReport {
    /// What a certificate says.
    #[must_use]
    pub fn of(facts: &CertificateFacts) -> Self {
        let says = &facts.says;
        let other_names = says.other_names.iter();
        Self {
            subject: facts.subject_text(),
            issuer: facts.issuer_text(),
            names: Names {
                dns_names: says.dns_names.clone(),
                ip_addresses: says.ip_addresses.iter().map(ToString::to_string).collect(),
                uris: says.uris.clone(),
                email_addresses: says.email_addresses.clone(),
                other_names: other_names
                    .map(|name| format!("{}:{}", name.oid, name.utf8_value))
                    .collect(),
            },
            usages: says.usages.iter().map(|usage| usage.name()).collect(),
            is_ca: says.is_ca,
            max_path_length: facts.path_len.filter(|_| says.is_ca),
            is_self_signed: facts.is_self_signed(),
            key_algorithm: facts.key_algorithm.map(|algorithm| algorithm.to_string()),
            serial: facts.serial_hex(),
            fingerprint: sha256_hex(&facts.der),
            not_before: facts.validity.not_before,
            not_after: facts.validity.not_after,
        }
    }

    /// Whose it is, for people, in a few words.
    #[must_use]
    pub fn title(&self) -> String {
        let names = &self.names;
        let lists = [&names.dns_names, &names.uris, &names.ip_addresses, &names.email_addresses];
        let first = lists.into_iter().flatten().next();
        match (self.subject.as_str(), first) {
            ("", Some(name)) => name.clone(),
            ("", None) => "(nobody)".to_owned(),
            (subject, _) => subject.to_owned(),
        }
    }
}

impl Names {
    /// Each kind that there is, with its names.
    #[must_use]
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("DNS names", &self.dns_names),
            ("IP addresses", &self.ip_addresses),
            ("URIs", &self.uris),
            ("E-mail", &self.email_addresses),
            ("Other names", &self.other_names),
        ];
        let filled = all.into_iter().filter(|(_, names)| !names.is_empty());
        filled.map(|(kind, names)| (kind, names.join(", "))).collect()
    }
}
