//! The other forms of key and certificate in a Secret: DER, one combined PEM text, key stores. All
//! follow from `tls.key`, `tls.crt` and `ca.crt`, and are put right without issuing again; pure.

use std::collections::BTreeMap;

use countersign_crds::{CertificateSpec, JksKeystore, OutputFormat, Pkcs12Keystore, Pkcs12Profile};
use jiff::Timestamp;
use k8s_openapi::ByteString;

use super::names;
use crate::pki::CertificateDer;
use crate::pki::keystore::{
    self, DEFAULT_ALIAS, KeyEntry, KeystoreError, Password, Profile, jks_is_current,
    jks_truststore_is_current, pkcs12_is_current, pkcs12_truststore_is_current,
};
use crate::pki::{KeyError, PemError, PrivateKey, certificates_from_pem, private_key_der};

/// Keys of a Secret beside `tls.crt`, `tls.key` and `ca.crt` that are ours to write.
pub const KEYS: [&str; 6] =
    [KEY_DER, COMBINED, KEYSTORE_P12, TRUSTSTORE_P12, KEYSTORE_JKS, TRUSTSTORE_JKS];
const KEY_DER: &str = "key.der";
const COMBINED: &str = "tls-combined.pem";
const KEYSTORE_P12: &str = "keystore.p12";
const TRUSTSTORE_P12: &str = "truststore.p12";
const KEYSTORE_JKS: &str = "keystore.jks";
const TRUSTSTORE_JKS: &str = "truststore.jks";

/// What a Secret holds.
pub type Data = BTreeMap<String, ByteString>;

/// The passwords of the key stores that a spec asks for.
#[derive(Clone, Debug, Default)]
pub struct Passwords {
    /// Of keystore.jks.
    pub jks: Option<Password>,
    /// Of keystore.p12.
    pub pkcs12: Option<Password>,
}

/// Why another form could not be made.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum ExtrasError {
    #[error("reading tls.key for spec.{field}")]
    Key {
        field: &'static str,
        #[source]
        source: KeyError,
    },
    #[error("reading {key} for spec.{field}")]
    Pem {
        key: &'static str,
        field: &'static str,
        #[source]
        source: PemError,
    },
    #[error("making spec.keystores.{kind}")]
    Keystore {
        kind: &'static str,
        #[source]
        source: KeystoreError,
    },
}

/// The key stores that a spec asks for.
#[must_use]
pub fn stores(spec: &CertificateSpec) -> (Option<&JksKeystore>, Option<&Pkcs12Keystore>) {
    let stores = spec.keystores.as_ref();
    let jks = stores.and_then(|stores| stores.jks.as_ref()).filter(|jks| jks.create);
    let pkcs12 = stores.and_then(|stores| stores.pkcs12.as_ref()).filter(|p12| p12.create);
    (jks, pkcs12)
}

/// Adds to the three what a spec asks for beside them; a key store that is as it should be stays.
///
/// # Errors
/// When one of the three cannot be read, or a key store not be made.
pub fn added(
    spec: &CertificateSpec,
    mut data: Data,
    passwords: &Passwords,
    now: Timestamp,
) -> Result<Data, ExtrasError> {
    let stored = data.clone();
    data.retain(|key, _| names::THREE.contains(&key.as_str()));
    let mut more = formats(spec, &data)?;
    let (jks, pkcs12) = stores(spec);
    if jks.is_none() && pkcs12.is_none() {
        data.extend(more);
        return Ok(data);
    }
    let parts = Parts::of(&data)?;
    if let Some((jks, password)) = jks.zip(passwords.jks.as_ref()) {
        let files = if jks_stands(jks, &stored, &parts, password) {
            only(&stored, [KEYSTORE_JKS, TRUSTSTORE_JKS])
        } else {
            jks_files(jks, &parts, password, now).map_err(|source| failed("jks", source))?
        };
        more.extend(files);
    }
    if let Some((pkcs12, password)) = pkcs12.zip(passwords.pkcs12.as_ref()) {
        let files = if pkcs12_stands(pkcs12, &stored, &parts, password) {
            only(&stored, [KEYSTORE_P12, TRUSTSTORE_P12])
        } else {
            pkcs12_files(pkcs12, &parts, password).map_err(|source| failed("pkcs12", source))?
        };
        more.extend(files);
    }
    data.extend(more);
    Ok(data)
}

fn failed(kind: &'static str, source: KeystoreError) -> ExtrasError {
    ExtrasError::Keystore { kind, source }
}

/// Whether a Secret holds what its spec asks for beside the three, and nothing of ours that it no
/// longer asks for. What is ours is what the operator `applied`.
#[must_use]
pub fn are_current(
    spec: &CertificateSpec,
    data: &Data,
    applied: impl Fn(&str) -> bool,
    passwords: &Passwords,
) -> bool {
    let Ok(formats) = formats(spec, data) else { return true };
    let (jks, pkcs12) = stores(spec);
    let has_ca = data.contains_key(names::CA_CRT);
    let wanted = |key: &str| match key {
        KEYSTORE_JKS => jks.is_some(),
        TRUSTSTORE_JKS => jks.is_some() && has_ca,
        KEYSTORE_P12 => pkcs12.is_some(),
        TRUSTSTORE_P12 => pkcs12.is_some() && has_ca,
        key => formats.contains_key(key),
    };
    let left_over = KEYS.iter().any(|key| !wanted(key) && data.contains_key(*key) && applied(key));
    // What another client wrote first goes when that client lets go, although it is the same.
    let not_ours = KEYS.iter().any(|key| wanted(key) && data.contains_key(*key) && !applied(key));
    let differs = formats.iter().any(|(key, value)| data.get(key) != Some(value));
    !left_over && !not_ours && !differs && stores_are_current(spec, data, passwords)
}

fn stores_are_current(spec: &CertificateSpec, data: &Data, passwords: &Passwords) -> bool {
    let (jks, pkcs12) = stores(spec);
    if jks.is_none() && pkcs12.is_none() {
        return true;
    }
    let Ok(parts) = Parts::of(data) else { return true };
    let jks = jks.zip(passwords.jks.as_ref());
    let pkcs12 = pkcs12.zip(passwords.pkcs12.as_ref());
    jks.is_none_or(|(jks, password)| jks_stands(jks, data, &parts, password))
        && pkcs12.is_none_or(|(pkcs12, password)| pkcs12_stands(pkcs12, data, &parts, password))
}

fn file<'a>(data: &'a Data, key: &str) -> &'a [u8] {
    data.get(key).map_or(&[][..], |bytes| &bytes.0)
}

fn only(data: &Data, keys: [&str; 2]) -> Data {
    let is_one = |(key, _): &(&String, &ByteString)| keys.contains(&key.as_str());
    data.iter().filter(is_one).map(|(key, bytes)| (key.clone(), bytes.clone())).collect()
}

fn jks_stands(jks: &JksKeystore, data: &Data, parts: &Parts, password: &Password) -> bool {
    let alias = jks.alias.as_deref().unwrap_or(DEFAULT_ALIAS);
    let trust = file(data, TRUSTSTORE_JKS);
    jks_is_current(file(data, KEYSTORE_JKS), &parts.entry(), alias, password)
        && (parts.authorities.is_empty()
            || jks_truststore_is_current(trust, &parts.authorities, password))
}

fn pkcs12_stands(pkcs12: &Pkcs12Keystore, data: &Data, parts: &Parts, password: &Password) -> bool {
    let (profile, trust) = (profile(pkcs12), file(data, TRUSTSTORE_P12));
    pkcs12_is_current(file(data, KEYSTORE_P12), profile, &parts.entry(), password)
        && (parts.authorities.is_empty()
            || pkcs12_truststore_is_current(trust, profile, &parts.authorities, password))
}

fn formats(spec: &CertificateSpec, data: &Data) -> Result<Data, ExtrasError> {
    let bytes = |key: &str| data.get(key).map_or(&[][..], |bytes| &bytes.0);
    let (key, chain) = (bytes(names::TLS_KEY), bytes(names::TLS_CRT));
    let field = "additionalOutputFormats";
    let written = spec.additional_output_formats.iter().map(|format| match format.type_ {
        OutputFormat::DER => {
            let der = private_key_der(key).map_err(|source| ExtrasError::Key { field, source })?;
            Ok((KEY_DER.to_owned(), ByteString(der.expose().clone())))
        }
        OutputFormat::CombinedPEM => {
            Ok((COMBINED.to_owned(), ByteString([key, b"\n", chain].concat())))
        }
    });
    written.collect()
}

/// What key stores are made of.
struct Parts {
    key: PrivateKey,
    chain: Vec<CertificateDer<'static>>,
    authorities: Vec<CertificateDer<'static>>,
}

impl Parts {
    fn of(data: &Data) -> Result<Self, ExtrasError> {
        let field = "keystores";
        let bytes = |key: &str| data.get(key).map_or(&[][..], |bytes| &bytes.0);
        let key = PrivateKey::from_pem(bytes(names::TLS_KEY));
        let certificates = |key: &'static str| {
            let read = certificates_from_pem(bytes(key));
            read.map_err(|source| ExtrasError::Pem { key, field, source })
        };
        let has_ca = data.contains_key(names::CA_CRT);
        Ok(Self {
            key: key.map_err(|source| ExtrasError::Key { field, source })?,
            chain: certificates(names::TLS_CRT)?,
            authorities: if has_ca { certificates(names::CA_CRT)? } else { Vec::new() },
        })
    }

    fn entry(&self) -> KeyEntry<'_> {
        let Self { key, chain, authorities } = self;
        KeyEntry { key, chain, authorities }
    }
}

fn jks_files(
    jks: &JksKeystore,
    parts: &Parts,
    password: &Password,
    now: Timestamp,
) -> Result<Data, KeystoreError> {
    let alias = jks.alias.as_deref().unwrap_or(DEFAULT_ALIAS);
    let keys = keystore::jks(&parts.entry(), alias, password, now)?;
    let mut files = Data::from([(KEYSTORE_JKS.to_owned(), ByteString(keys))]);
    if !parts.authorities.is_empty() {
        let trust = keystore::jks_truststore(&parts.authorities, password, now)?;
        files.insert(TRUSTSTORE_JKS.to_owned(), ByteString(trust));
    }
    Ok(files)
}

fn pkcs12_files(
    pkcs12: &Pkcs12Keystore,
    parts: &Parts,
    password: &Password,
) -> Result<Data, KeystoreError> {
    let keys = keystore::pkcs12(profile(pkcs12), &parts.entry(), password)?;
    let mut files = Data::from([(KEYSTORE_P12.to_owned(), ByteString(keys))]);
    if !parts.authorities.is_empty() {
        let trust = keystore::pkcs12_truststore(profile(pkcs12), &parts.authorities, password)?;
        files.insert(TRUSTSTORE_P12.to_owned(), ByteString(trust));
    }
    Ok(files)
}

fn profile(pkcs12: &Pkcs12Keystore) -> Profile {
    match pkcs12.profile.unwrap_or_default() {
        Pkcs12Profile::LegacyRC2 => Profile::LegacyRc2,
        Pkcs12Profile::LegacyDES => Profile::LegacyDes,
        Pkcs12Profile::Modern2023 => Profile::Modern2023,
        Pkcs12Profile::Modern2026 => Profile::Modern2026,
    }
}

#[cfg(test)]
mod tests;
