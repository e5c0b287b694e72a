//! Which CA may vouch for which names: the mesh's own for SPIFFE IDs of its trust domain, the CA of people
//! and devices for common names, DNS names and SPIFFE IDs of other trust domains.

use serde::{Deserialize, Serialize};

/// The CAs whose certificates pods accept from clients, beside the roots of their own credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Authorities {
    /// The mesh's own trust domain.
    pub trust_domain: String,
    /// The roots of the CA of people and devices, PEM.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub device_roots: String,
    /// The keys of that CA and of the CAs above it that are not above the mesh's: the SHA-256 of each
    /// SubjectPublicKeyInfo, in lower-case hexadecimal. Where both CAs share a root, only the keys tell
    /// their certificates apart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_keys: Vec<String>,
}

/// The CA that signed a peer's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The CA of the mesh's identities.
    Mesh,
    /// The CA of people and devices.
    Devices,
}

/// A CA in a mesh of some trust domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voucher<'a> {
    /// The CA.
    pub signer: Signer,
    /// The mesh's own trust domain; empty where an older operator does not name it.
    pub trust_domain: &'a str,
}

impl Voucher<'_> {
    /// Whether a SPIFFE ID counts in a certificate of this CA.
    #[must_use]
    pub fn vouches_for_id(&self, id: &str) -> bool {
        match self.signer {
            Signer::Mesh => self.trust_domain.is_empty() || self.is_own(id),
            Signer::Devices => !self.trust_domain.is_empty() && !self.is_own(id),
        }
    }

    /// Whether DNS names and common names count in a certificate of this CA.
    #[must_use]
    pub fn vouches_for_names(&self) -> bool {
        self.signer == Signer::Devices
    }

    fn is_own(&self, id: &str) -> bool {
        trust_domain(id) == Some(self.trust_domain)
    }
}

/// The trust domain of any SPIFFE ID, not only of those that name a service account.
pub(super) fn trust_domain(id: &str) -> Option<&str> {
    id.strip_prefix("spiffe://")?.split('/').next()
}

impl Authorities {
    /// The CA that a certificate is taken to be of when only its names are known: identities of the mesh are
    /// its own CA's, everything else is the CA's of people and devices, where there is one.
    #[must_use]
    pub fn presumed(&self, spiffe_id: Option<&str>) -> Voucher<'_> {
        let of = |signer| Voucher { signer, trust_domain: &self.trust_domain };
        let is_own = spiffe_id.is_some_and(|id| of(Signer::Mesh).vouches_for_id(id));
        if is_own || self.device_keys.is_empty() { of(Signer::Mesh) } else { of(Signer::Devices) }
    }

    /// Whether a URI claims the mesh's own trust domain, however it is written. The CA of people and devices
    /// never signs one, and a certificate of its that has one is refused whole.
    #[must_use]
    pub fn claims_own_domain(&self, uri: &str) -> bool {
        let lower = uri.to_ascii_lowercase();
        let Some(rest) = lower.strip_prefix("spiffe:") else { return false };
        let authority =
            rest.split(['/', '?', '#']).find(|part| !part.is_empty()).unwrap_or_default();
        self.trust_domain.is_empty()
            || authority
                .split([':', '@'])
                .any(|part| part.trim_end_matches('.') == self.trust_domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ca_vouches_for_its_own_kind_of_names() {
        let (own, foreign) = ("spiffe://d/ns/a/sa/b", "spiffe://partner.example/ns/a/sa/b");
        let cases = [
            (Signer::Mesh, "d", true, false, false),
            (Signer::Devices, "d", false, true, true),
            // An older operator does not name the trust domain.
            (Signer::Mesh, "", true, true, false),
            (Signer::Devices, "", false, false, true),
        ];
        for (signer, trust_domain, own_counts, foreign_counts, names_count) in cases {
            let voucher = Voucher { signer, trust_domain };
            let found = (
                voucher.vouches_for_id(own),
                voucher.vouches_for_id(foreign),
                voucher.vouches_for_names(),
            );
            assert_eq!(found, (own_counts, foreign_counts, names_count), "{voucher:?}");
        }
    }

    #[test]
    fn a_certificate_of_which_only_names_are_known_is_of_the_ca_that_may_vouch_for_them() {
        let with = Authorities {
            trust_domain: "d".to_owned(),
            device_keys: vec!["k".to_owned()],
            ..Authorities::default()
        };
        let without = Authorities { device_keys: Vec::new(), ..with.clone() };
        let cases = [
            (&with, Some("spiffe://d/ns/a/sa/b"), Signer::Mesh),
            (&with, Some("spiffe://partner.example/x"), Signer::Devices),
            (&with, None, Signer::Devices),
            (&without, None, Signer::Mesh),
            (&without, Some("spiffe://partner.example/x"), Signer::Mesh),
        ];
        for (authorities, id, signer) in cases {
            assert_eq!(authorities.presumed(id).signer, signer, "{id:?}");
        }
    }

    #[test]
    fn no_way_of_writing_the_own_trust_domain_is_missed() {
        let authorities =
            Authorities { trust_domain: "d.org".to_owned(), ..Authorities::default() };
        let cases = [
            ("spiffe://d.org/ns/a/sa/b", true),
            ("SPIFFE://D.ORG/ns/a/sa/b", true),
            ("spiffe://d.org./x", true),
            ("spiffe://d.org:80/x", true),
            ("spiffe://a@d.org/x", true),
            ("spiffe:///d.org/x", true),
            ("spiffe:d.org/x", true),
            ("spiffe://d.org", true),
            ("spiffe://partner.example/ns/a/sa/b", false),
            ("https://d.org/x", false),
        ];
        for (uri, expected) in cases {
            assert_eq!(authorities.claims_own_domain(uri), expected, "{uri}");
        }
        assert!(Authorities::default().claims_own_domain("spiffe://any/x"), "it is not known");
    }
}
