//! Which CAs vouch for which names, as sidecars are told: from the chains on the status of two ClusterIssuers,
//! which every replica that publishes watches; pure but for that.

use std::collections::BTreeSet;

use countersign_contract::access::Authorities;
use countersign_crds::ClusterIssuer;
use kube::runtime::reflector::{ObjectRef, Store};

use crate::context::Settings;
use crate::pki::{CertificateFacts, certificates_to_pem, sha256_hex};

/// What stands on the status of the issuers of identities and of people and devices now.
pub(super) fn authorities(issuers: &Store<ClusterIssuer>, settings: &Settings) -> Authorities {
    let chain = |name: &str| issuers.get(&ObjectRef::new(name))?.status.as_ref()?.ca_chain.clone();
    let identities = chain(&settings.identity_issuer);
    let devices = settings.device_issuer.as_deref().and_then(chain);
    of_chains(settings.trust_domain.as_str(), identities.as_deref(), devices.as_deref())
}

/// Keys that stand above the CA of identities, too, tell nothing apart. Where its chain is not known yet, no
/// certificate is a device's: a key of its own could be among them.
fn of_chains(trust_domain: &str, identities: Option<&str>, devices: Option<&str>) -> Authorities {
    let nothing = Authorities { trust_domain: trust_domain.to_owned(), ..Authorities::default() };
    let read = |chain: &str| CertificateFacts::all_from_pem(chain.as_bytes()).ok();
    let (Some(identities), Some(devices)) = (identities.and_then(read), devices.and_then(read))
    else {
        return nothing;
    };
    let key = |facts: &CertificateFacts| sha256_hex(&facts.public_key_spki);
    let of_identities: BTreeSet<String> = identities.iter().map(key).collect();
    let keys = devices.iter().map(key).filter(|key| !of_identities.contains(key));
    let device_keys: Vec<String> = keys.collect();
    if device_keys.is_empty() {
        return nothing;
    }
    let root = devices.last().map(|facts| &facts.der);
    Authorities { device_roots: certificates_to_pem(root), device_keys, ..nothing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::support::Press;

    #[test]
    fn a_device_is_told_by_keys_that_are_not_above_identities() {
        let (mesh, other) = (Press::new().into_inner(), Press::new().into_inner());
        let (mesh, other) = (mesh.chain_pem(), other.chain_pem());
        let found = of_chains("d", Some(&mesh), Some(&other));
        assert_eq!(found.trust_domain, "d");
        assert_eq!(found.device_keys.len(), 2, "the CA, and its root");
        let root = CertificateFacts::from_pem(found.device_roots.as_bytes()).unwrap();
        assert_eq!(found.device_keys.last(), Some(&sha256_hex(&root.public_key_spki)));
        // The same root above both: only the CA's own key is left.
        let root_of_mesh = CertificateFacts::all_from_pem(mesh.as_bytes()).unwrap().pop().unwrap();
        let shared = of_chains("d", Some(&certificates_to_pem([&root_of_mesh.der])), Some(&mesh));
        assert_eq!(shared.device_keys.len(), 1);
        for (identities, devices) in [
            (None, None),
            (Some(mesh.as_str()), None),
            (None, Some(other.as_str())),
            (Some(mesh.as_str()), Some(mesh.as_str())),
            (Some("garbage"), Some(other.as_str())),
            (Some(mesh.as_str()), Some("garbage")),
        ] {
            let found = of_chains("d", identities, devices);
            assert!(found.device_keys.is_empty() && found.device_roots.is_empty(), "{found:?}");
        }
    }
}
