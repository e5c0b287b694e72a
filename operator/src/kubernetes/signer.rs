//! Which issuer a signer's name means; pure.

use countersign_contract::names::API_GROUP;

use crate::certificate::reference::IssuerId;

/// An issuer, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signer {
    pub(super) issuer: IssuerId,
    /// Empty for a ClusterIssuer: whoever asks is in no namespace.
    pub(super) namespace: String,
}

/// A name of ours that means no issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "spec.signerName must be issuers.{API_GROUP}/<namespace>.<name> or clusterissuers.{API_GROUP}/<name>"
)]
pub(super) struct NoIssuer;

/// The issuer that a signer's name means; `None` if it is somebody else's.
pub(super) fn signer(name: &str) -> Option<Result<Signer, NoIssuer>> {
    let (domain, path) = name.split_once('/')?;
    let kind = domain.strip_suffix(API_GROUP)?.strip_suffix('.')?;
    let issuer = |kind: &str, name: &str| IssuerId {
        kind: kind.to_owned(),
        group: API_GROUP.to_owned(),
        name: name.to_owned(),
    };
    // A namespace has no dot in its name.
    let found = match (kind, path.split_once('.')) {
        ("issuers", Some((namespace, name))) if !namespace.is_empty() && !name.is_empty() => {
            Ok(Signer { issuer: issuer("Issuer", name), namespace: namespace.to_owned() })
        }
        ("clusterissuers", _) if !path.is_empty() => {
            Ok(Signer { issuer: issuer("ClusterIssuer", path), namespace: String::new() })
        }
        ("issuers" | "clusterissuers", _) => Err(NoIssuer),
        _ => return None,
    };
    Some(found)
}

/// The name of the signer that an issuer is.
pub(crate) fn signer_name(kind: &str, namespace: Option<&str>, name: &str) -> String {
    match namespace.filter(|_| kind == "Issuer") {
        Some(namespace) => format!("issuers.{API_GROUP}/{namespace}.{name}"),
        None => format!("clusterissuers.{API_GROUP}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_a_signer_means_its_issuer() {
        for (kind, namespace) in [("Issuer", "shop"), ("ClusterIssuer", "")] {
            let name = signer_name(kind, Some(namespace).filter(|it| !it.is_empty()), "press.v2");
            let Some(Ok(found)) = signer(&name) else { panic!("{name}") };
            assert_eq!((found.issuer.kind.as_str(), found.namespace.as_str()), (kind, namespace));
            assert_eq!(found.issuer.name, "press.v2");
        }
    }

    #[test]
    fn a_signers_name_means_one_issuer() {
        let meant = |name: &str| match signer(name) {
            None => "others".to_owned(),
            Some(Err(NoIssuer)) => "none".to_owned(),
            Some(Ok(signer)) => format!("{} in {:?}", signer.issuer, signer.namespace),
        };
        let cases = [
            ("issuers.countersign.dev/shop.press", "Issuer press in \"shop\""),
            ("issuers.countersign.dev/shop.press.v2", "Issuer press.v2 in \"shop\""),
            ("clusterissuers.countersign.dev/press", "ClusterIssuer press in \"\""),
            ("clusterissuers.countersign.dev/shop.press", "ClusterIssuer shop.press in \"\""),
            ("issuers.countersign.dev/press", "none"),
            ("issuers.countersign.dev/.press", "none"),
            ("issuers.countersign.dev/shop.", "none"),
            ("clusterissuers.countersign.dev/", "none"),
            ("presses.countersign.dev/shop.press", "others"),
            ("countersign.dev/shop.press", "others"),
            ("issuersXcountersign.dev/shop.press", "others"),
            ("issuers.countersign.dev.example.org/shop.press", "others"),
            ("issuers.example.org/shop.press", "others"),
            ("kubernetes.io/kubelet-serving", "others"),
            ("issuers.countersign.dev", "others"),
        ];
        for (name, expected) in cases {
            assert_eq!(meant(name), expected, "{name}");
        }
    }
}
