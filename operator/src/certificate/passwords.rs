//! Reads the passwords of the key stores that a spec asks for.

use std::collections::BTreeSet;

use countersign_crds::{Certificate, SecretKeySelector};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};

use super::adoption;
use super::error::Error;
use super::extras::{self, Passwords};
use crate::context::Context;
use crate::pki::Redacted;
use crate::pki::keystore::{KeystoreError, Password};

/// The key of a Secret that holds a password, where none is named.
const KEY: &str = "password";

/// A password that is not there. The text never holds any of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordMissing {
    #[error(
        "spec.keystores.{store}.passwordSecretRef: Secret {secret} has no key {key}, or does not exist"
    )]
    NotFound { store: &'static str, secret: String, key: String },
    #[error("spec.keystores.{store}.passwordSecretRef: key {key} of Secret {secret} is no text")]
    NotText { store: &'static str, secret: String, key: String },
    #[error("spec.keystores.{store}: {source}")]
    Unusable {
        store: &'static str,
        #[source]
        source: KeystoreError,
    },
    #[error("spec.keystores.{store} has neither passwordSecretRef nor password")]
    NotNamed { store: &'static str },
}

/// The passwords, or the first that is missing.
pub(super) async fn read(
    context: &Context,
    certificate: &Certificate,
) -> Result<Result<Passwords, PasswordMissing>, Error> {
    let (jks, pkcs12) = extras::stores(&certificate.spec);
    let mut passwords = Passwords::default();
    if let Some(jks) = jks {
        let source = Source { store: "jks", literal: jks.password.as_deref() };
        match source.read(context, certificate, jks.password_secret_ref.as_ref()).await? {
            Ok(password) => passwords.jks = Some(password),
            Err(missing) => return Ok(Err(missing)),
        }
    }
    if let Some(pkcs12) = pkcs12 {
        let source = Source { store: "pkcs12", literal: pkcs12.password.as_deref() };
        match source.read(context, certificate, pkcs12.password_secret_ref.as_ref()).await? {
            Ok(password) => passwords.pkcs12 = Some(password),
            Err(missing) => return Ok(Err(missing)),
        }
    }
    Ok(Ok(passwords))
}

/// The Secrets of others that a Certificate reads, or waits for.
#[must_use]
pub fn inputs(certificate: &Certificate) -> BTreeSet<String> {
    let (jks, pkcs12) = extras::stores(&certificate.spec);
    let of_jks = jks.filter(|jks| jks.password.is_none());
    let of_pkcs12 = pkcs12.filter(|pkcs12| pkcs12.password.is_none());
    let named = [
        of_jks.and_then(|jks| jks.password_secret_ref.as_ref()),
        of_pkcs12.and_then(|pkcs12| pkcs12.password_secret_ref.as_ref()),
    ];
    let conditions = certificate.status.iter().flat_map(|status| &status.conditions);
    let waits = conditions.filter(|it| it.reason.as_deref() == Some(adoption::NOT_ADOPTED)).count();
    let own = (waits > 0).then(|| certificate.spec.secret_name.clone());
    named.into_iter().flatten().map(|reference| reference.name.clone()).chain(own).collect()
}

struct Source<'a> {
    store: &'static str,
    literal: Option<&'a str>,
}

impl Source<'_> {
    async fn read(
        &self,
        context: &Context,
        certificate: &Certificate,
        reference: Option<&SecretKeySelector>,
    ) -> Result<Result<Password, PasswordMissing>, Error> {
        let store = self.store;
        if let Some(literal) = self.literal {
            return Ok(self.usable(literal.to_owned()));
        }
        let Some(SecretKeySelector { name, key }) = reference else {
            return Ok(Err(PasswordMissing::NotNamed { store }));
        };
        let key = key.as_deref().unwrap_or(KEY);
        let namespace = certificate.namespace().unwrap_or_default();
        let api: Api<Secret> = Api::namespaced(context.client.clone(), &namespace);
        let found = api.get_opt(name).await.map_err(|source| Error::ReadSecret {
            secret: Box::new(ObjectRef::new(name).within(&namespace)),
            source,
        })?;
        let bytes = found.and_then(|secret| secret.data).and_then(|mut data| data.remove(key));
        let (secret, key) = (name.clone(), key.to_owned());
        let Some(bytes) = bytes else {
            return Ok(Err(PasswordMissing::NotFound { store, secret, key }));
        };
        match String::from_utf8(bytes.0) {
            Ok(text) => Ok(self.usable(text)),
            Err(_) => Ok(Err(PasswordMissing::NotText { store, secret, key })),
        }
    }

    fn usable(&self, text: String) -> Result<Password, PasswordMissing> {
        let store = self.store;
        let password = Password::new(Redacted::new(text));
        password.map_err(|source| PasswordMissing::Unusable { store, source })
    }
}
