//! Whether sidecars could verify what a CA signs: a certificate is signed and checked as they check it; pure but
//! for making a key.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::context::Settings;
use crate::pki::{self, Authority, KeyAlgorithm, Request, Template, Usage, certificates_from_pem};

/// How long the certificate would be valid that is tried.
const LIFETIME: Duration = Duration::from_secs(3600);

/// The Service of the identity that is tried.
const SERVICE: &str = "countersign-check";

/// Sidecars cannot verify what a CA signs.
#[derive(Debug, thiserror::Error)]
pub enum Unverifiable {
    /// No identity could be signed.
    #[error("it signs no identity")]
    Sign(#[from] pki::SignError),
    /// Its chain cannot be read back.
    #[error("its chain cannot be read")]
    Pem(#[from] pki::PemError),
    /// There is no randomness, or no key.
    #[error("no identity can be tried: {0}")]
    Try(String),
    /// The verifier refuses it.
    #[error(
        "sidecars cannot verify what it signs for {end}: {source}; use a CA without the constraint or extension that is named"
    )]
    Verify {
        /// The end of a connection: clients or servers.
        end: &'static str,
        /// What the verifier says.
        #[source]
        source: rustls::Error,
    },
}

/// Signs an identity that nobody gets, and verifies it for both ends of a connection.
///
/// # Errors
/// Says which end would refuse it, and why.
pub(super) fn check(
    authority: &Authority,
    settings: &Settings,
    now: Timestamp,
) -> Result<(), Unverifiable> {
    let unable = |error: &dyn std::fmt::Display| Unverifiable::Try(error.to_string());
    let name = format!("{SERVICE}.{SERVICE}.svc");
    let request = Request {
        uris: vec![format!("spiffe://{}/ns/{SERVICE}/sa/{SERVICE}", settings.trust_domain)],
        dns_names: vec![name.clone()],
        usages: vec![Usage::DigitalSignature, Usage::ServerAuth, Usage::ClientAuth],
        ..Request::default()
    };
    let key = pki::generate_key(KeyAlgorithm::EcdsaP256).map_err(|error| unable(&error))?;
    let validity = pki::clamp_lifetime(now, LIFETIME, pki::BACKDATE, Some(authority.validity()));
    let template = Template::new(request, validity).map_err(|error| unable(&error))?;
    let leaf = pki::sign(&template, &key.public_key_spki(), authority)?;
    let chain = certificates_from_pem(authority.leaf_chain_pem(&leaf).as_bytes())?;
    let roots = certificates_from_pem(authority.ca_pem().as_bytes())?;
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    verify(&chain, &roots, &name, at)
}

fn verify(
    chain: &[CertificateDer<'static>],
    roots: &[CertificateDer<'static>],
    name: &str,
    at: UnixTime,
) -> Result<(), Unverifiable> {
    let unable = |error: &dyn std::fmt::Display| Unverifiable::Try(error.to_string());
    let mut store = RootCertStore::empty();
    for root in roots {
        let added = store.add(root.clone());
        added.map_err(|source| Unverifiable::Verify { end: "clients", source })?;
    }
    let (leaf, above) = chain.split_first().ok_or_else(|| unable(&"its chain is empty"))?;
    let (store, provider) =
        (Arc::new(store), Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let clients =
        WebPkiClientVerifier::builder_with_provider(store.clone(), provider.clone()).build();
    let clients = clients.map_err(|error| unable(&error))?;
    let servers = WebPkiServerVerifier::builder_with_provider(store, provider).build();
    let servers = servers.map_err(|error| unable(&error))?;
    let name = ServerName::try_from(name).map_err(|error| unable(&error))?;
    let as_client = clients.verify_client_cert(leaf, above, at).map(|_| ());
    as_client.map_err(|source| Unverifiable::Verify { end: "clients", source })?;
    let as_server = servers.verify_server_cert(leaf, above, &name, &[], at).map(|_| ());
    as_server.map_err(|source| Unverifiable::Verify { end: "servers", source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::support::Press;
    use crate::pki::{KeyEncoding, NameConstraints, NameSet, certificates_to_pem, self_sign};
    use crate::policy::settings_for_tests as settings;

    fn now() -> Timestamp {
        "2026-05-05T12:00:00Z".parse().unwrap()
    }

    /// An intermediate CA that asks for this, below a root that asks for nothing.
    fn ca(intermediate: Request) -> Authority {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let validity = pki::Validity {
            not_before: at("2020-01-01T00:00:00Z"),
            not_after: at("2120-01-01T00:00:00Z"),
        };
        let keys = [(); 2].map(|()| pki::generate_key(KeyAlgorithm::EcdsaP256).unwrap());
        let root =
            Request { common_name: Some("root".to_owned()), is_ca: true, ..Request::default() };
        let root = self_sign(&Template::new(root, validity).unwrap(), &keys[0]).unwrap();
        let root_pem = certificates_to_pem([&root]);
        let read = |crt: &str, key: &pki::PrivateKey, ca: Option<&str>| {
            let key = key.to_pem(KeyEncoding::Pkcs8).unwrap();
            let ca = ca.map(str::as_bytes);
            Authority::from_pems(crt.as_bytes(), key.expose().as_bytes(), ca).unwrap()
        };
        let above = read(&root_pem, &keys[0], None);
        let template = Template::new(intermediate, validity).unwrap();
        let der = pki::sign(&template, &keys[1].public_key_spki(), &above).unwrap();
        read(&certificates_to_pem([&der]), &keys[1], Some(&root_pem))
    }

    fn named() -> Request {
        Request { common_name: Some("mesh".to_owned()), is_ca: true, ..Request::default() }
    }

    #[test]
    fn what_a_plain_ca_signs_is_verified() {
        check(&Press::new().into_inner(), &settings(), now()).unwrap();
        check(&ca(named()), &settings(), now()).unwrap();
    }

    #[test]
    fn a_ca_whose_identities_sidecars_refuse_is_told_before_pods_hang() {
        let of_uris =
            NameSet { uri_domains: vec!["prod.example".to_owned()], ..NameSet::default() };
        let constraints = NameConstraints { permitted: of_uris, ..NameConstraints::default() };
        let constrained = ca(Request { name_constraints: Some(constraints), ..named() });
        let servers_only = ca(Request { usages: vec![Usage::ServerAuth], ..named() });
        for authority in [constrained, servers_only] {
            let problem = check(&authority, &settings(), now()).unwrap_err().to_string();
            assert!(problem.contains("sidecars cannot verify"), "{problem}");
        }
    }
}
