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
    let signer = Signer {
        secret: (namespace == settings.cluster_resource_namespace).then_some(secret),
        keys: authority.public_keys().collect(),
        is_devices: devices.is_some_and(is),
    };
    let of_devices = devices.and_then(|name| known_ca(context, name)).unwrap_or_default();
    by_key(&signer, known_ca(context, identities).as_ref(), &of_devices)
}

/// An issuer that signs with the key of a CA.
#[derive(Debug)]
struct Signer<'a> {
    /// The Secret of its CA, where that is in the operator's namespace: ClusterIssuers, above all.
    secret: Option<&'a str>,
    /// The public keys of its chain, its own first.
    keys: Vec<&'a [u8]>,
    /// Whether it has the name of the issuer of people and devices.
    is_devices: bool,
}

/// While the issuer of identities does not exist, any CA of the operator's namespace may be the one that
/// sidecars trust, so that it signs neither SPIFFE IDs nor CAs.
fn by_key(signer: &Signer<'_>, of_identities: Option<&KnownCa>, of_devices: &KnownCa) -> Scope {
    let signs_with_it = |ca: &KnownCa| {
        let is_secret = signer.secret.is_some() && ca.secret.as_deref() == signer.secret;
        is_secret || signer.keys.first().is_some_and(|key| ca.is_its_key(key))
    };
    let has_one_of = |ca: &KnownCa| signer.keys.iter().any(|key| ca.has(key));
    let is_beside = match of_identities {
        Some(ca) => has_one_of(ca),
        None => signer.secret.is_some(),
    };
    if of_identities.is_some_and(signs_with_it) {
        Scope::Identities
    } else if signer.is_devices || signs_with_it(of_devices) {
        Scope::Devices
    } else if is_beside || has_one_of(of_devices) {
        Scope::BesideIdentities
    } else {
        Scope::Others
    }
}

/// As it was read last, or else as the issuer's status has it; `None` where there is no such issuer.
fn known_ca(context: &Context, name: &str) -> Option<KnownCa> {
    let issuer = context.seen.cluster_issuers.get(&ObjectRef::<ClusterIssuer>::new(name))?;
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
    Some(KnownCa { secret, keys })
}

fn keys_of(chain: &str) -> Vec<Vec<u8>> {
    let facts = CertificateFacts::all_from_pem(chain.as_bytes()).unwrap_or_default();
    facts.into_iter().map(|facts| facts.public_key_spki).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ca(secret: &str, keys: &[&[u8]]) -> KnownCa {
        KnownCa {
            secret: Some(secret.to_owned()),
            keys: keys.iter().map(|key| key.to_vec()).collect(),
        }
    }

    fn signer<'a>(secret: Option<&'a str>, keys: &[&'a [u8]]) -> Signer<'a> {
        Signer { secret, keys: keys.to_vec(), is_devices: false }
    }

    #[test]
    fn issuer_is_told_by_the_key_that_it_signs_with() {
        let identities = ca("identities", &[b"middle", b"root"]);
        let devices = ca("devices", &[b"devices", b"devices-root"]);
        let cases: [(_, &[&[u8]], _); 8] = [
            (Some("identities"), &[b"new"], Scope::Identities),
            (Some("copy"), &[b"middle", b"root"], Scope::Identities),
            (None, &[b"middle", b"root"], Scope::Identities),
            (Some("other"), &[b"other", b"root"], Scope::BesideIdentities),
            (None, &[b"root"], Scope::BesideIdentities),
            (Some("copy"), &[b"devices", b"devices-root"], Scope::Devices),
            (Some("own"), &[b"own"], Scope::Others),
            (None, &[b"own"], Scope::Others),
        ];
        for (secret, keys, expected) in cases {
            let scope = by_key(&signer(secret, keys), Some(&identities), &devices);
            assert_eq!(scope, expected, "{secret:?} {keys:?}");
        }
    }

    #[test]
    fn cluster_issuer_may_have_the_ca_of_identities_while_their_issuer_is_missing() {
        let devices = ca("devices", &[b"devices"]);
        let cases: [(_, &[&[u8]], _); 3] = [
            (Some("identities"), &[b"middle", b"root"], Scope::BesideIdentities),
            (Some("devices"), &[b"devices"], Scope::Devices),
            // An Issuer of a namespace, with a Secret that is there.
            (None, &[b"own"], Scope::Others),
        ];
        for (secret, keys, expected) in cases {
            let scope = by_key(&signer(secret, keys), None, &devices);
            assert_eq!(scope, expected, "{secret:?} {keys:?}");
        }
    }
}
