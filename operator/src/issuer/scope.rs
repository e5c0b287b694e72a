//! Which of the guard's rules hold for an issuer: told by the keys of its CA, and not by its name alone.

use countersign_crds::ClusterIssuer;
use kube::runtime::reflector::ObjectRef;

use crate::certificate::reference::IssuerId;
use crate::context::Context;
use crate::pki::{Authority, CertificateFacts};

/// What sidecars think of what an issuer signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// They take it for a workload: it signs with the key of the CA of identities.
    Identities,
    /// They could take it for a workload: its CA and that of identities lead to the same root.
    BesideIdentities,
    /// They take it for a person or a device.
    Devices,
    /// They do not trust it.
    Others,
}

/// The CA of one of our ClusterIssuers, as far as it is known.
#[derive(Debug, Default)]
struct KnownCa {
    /// The Secret that it signs with.
    secret: Option<String>,
    /// The public keys of its chain, its own first.
    keys: Vec<Vec<u8>>,
}

impl KnownCa {
    fn is_its_key(&self, key: &[u8]) -> bool {
        self.keys.first().is_some_and(|own| own == key)
    }

    fn has(&self, key: &[u8]) -> bool {
        self.keys.iter().any(|known| known == key)
    }
}

/// Which rules hold for what an issuer signs; `signs_with` is the Secret of its CA, where it has one.
pub(super) fn scope(
    context: &Context,
    issuer: &IssuerId,
    signs_with: Option<(&str, &str, &Authority)>,
) -> Scope {
    let settings = &context.settings;
    let is = |name: &str| issuer.is_cluster_wide() && issuer.name == name;
    let (identities, devices) = (&settings.identity_issuer, settings.device_issuer.as_deref());
    if is(identities) {
        return Scope::Identities;
    }
    let Some((namespace, secret, authority)) = signs_with else {
        return if devices.is_some_and(is) { Scope::Devices } else { Scope::Others };
    };
    let keys: Vec<&[u8]> = authority.public_keys().collect();
    let is_at_home = namespace == settings.cluster_resource_namespace;
    let of_identities = known_ca(context, identities);
    let of_devices = devices.map(|name| known_ca(context, name)).unwrap_or_default();
    let signs_with_it = |ca: &KnownCa| {
        let is_secret = is_at_home && ca.secret.as_deref() == Some(secret);
        is_secret || keys.first().is_some_and(|key| ca.is_its_key(key))
    };
    if signs_with_it(&of_identities) {
        Scope::Identities
    } else if devices.is_some_and(is) || signs_with_it(&of_devices) {
        Scope::Devices
    } else if keys.iter().any(|key| of_identities.has(key) || of_devices.has(key)) {
        Scope::BesideIdentities
    } else {
        Scope::Others
    }
}

/// As it was read last, or else as the issuer's status has it.
fn known_ca(context: &Context, name: &str) -> KnownCa {
    let issuer = context.seen.cluster_issuers.get(&ObjectRef::<ClusterIssuer>::new(name));
    let Some(issuer) = issuer else { return KnownCa::default() };
    let secret = issuer.spec.ca.as_ref().map(|ca| ca.secret_name.clone());
    let home = &context.settings.cluster_resource_namespace;
    let key = secret.clone().map(|secret| (home.clone(), secret));
    let last = key.and_then(|key| context.authorities.last(&key));
    let keys = match &last {
        Some(authority) => authority.public_keys().map(<[u8]>::to_vec).collect(),
        None => issuer
            .status
            .iter()
            .filter_map(|status| status.ca_chain.as_deref())
            .flat_map(keys_of)
            .collect(),
    };
    KnownCa { secret, keys }
}

fn keys_of(chain: &str) -> Vec<Vec<u8>> {
    let facts = CertificateFacts::all_from_pem(chain.as_bytes()).unwrap_or_default();
    facts.into_iter().map(|facts| facts.public_key_spki).collect()
}
