//! SPIFFE identities (SPIFFE-ID and X.509-SVID standards) in the one form that Countersign issues.

use std::fmt;
use std::str::FromStr;

/// Longest SPIFFE ID that an implementation must support, in bytes (SPIFFE-ID, section 2.3).
const MAX_ID_BYTES: usize = 2048;

/// Longest trust domain name, in bytes (SPIFFE-ID, section 2.3).
const MAX_TRUST_DOMAIN_BYTES: usize = 255;

/// The authority part of a SPIFFE ID: lower-case letters, digits, dots, dashes and underscores.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// The name, as it stands in a SPIFFE ID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let legal = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_')
        };
        if text.is_empty() || text.len() > MAX_TRUST_DOMAIN_BYTES || !text.bytes().all(legal) {
            return Err(InvalidIdentity(text.to_owned(), "is not a trust domain name"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`, and no other form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    trust_domain: TrustDomain,
    namespace: String,
    service_account: String,
}

impl SpiffeId {
    /// The identity of a service account.
    ///
    /// # Errors
    /// When `namespace` or `service_account` is not a Kubernetes name.
    pub fn of_service_account(
        trust_domain: TrustDomain,
        namespace: &str,
        service_account: &str,
    ) -> Result<Self, InvalidIdentity> {
        Ok(Self {
            trust_domain,
            namespace: segment(namespace)?,
            service_account: segment(service_account)?,
        })
    }

    /// The trust domain that vouches for the identity.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The Kubernetes namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The Kubernetes service account.
    #[must_use]
    pub fn service_account(&self) -> &str {
        &self.service_account
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trust_domain, namespace, service_account } = self;
        write!(f, "spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}")
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let invalid = |why| InvalidIdentity(text.to_owned(), why);
        if text.len() > MAX_ID_BYTES {
            return Err(InvalidIdentity(
                text.chars().take(64).collect(),
                "is longer than 2048 bytes",
            ));
        }
        let form = "is not of the form spiffe://<trust domain>/ns/<namespace>/sa/<service account>";
        let rest = text.strip_prefix("spiffe://").ok_or_else(|| invalid(form))?;
        let parts: Vec<&str> = rest.split('/').collect();
        let [domain, "ns", namespace, "sa", account] = parts[..] else {
            return Err(invalid(form));
        };
        Self::of_service_account(domain.parse()?, namespace, account)
    }
}

/// One path segment: a Kubernetes name, which is also a legal SPIFFE path segment.
fn segment(text: &str) -> Result<String, InvalidIdentity> {
    let legal = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-')
    };
    let ends_well = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let bytes = text.as_bytes();
    let well_formed = bytes.len() <= 253
        && bytes.iter().all(|byte| legal(*byte))
        && ends_well(bytes.first())
        && ends_well(bytes.last());
    if !well_formed {
        return Err(InvalidIdentity(text.to_owned(), "is not a Kubernetes name"));
    }
    Ok(text.to_owned())
}

/// Who must answer a call: the chain alone is never enough.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExpectedPeer {
    /// The peer's certificate must have exactly one URI, this one. Any SPIFFE ID may be expected,
    /// not only those that Countersign issues.
    Spiffe(String),
    /// The peer's certificate must be valid for this DNS name (RFC 6125, subjectAltName only).
    Dns(String),
}

impl fmt::Display for ExpectedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spiffe(id) => f.write_str(id),
            Self::Dns(name) => write!(f, "dns:{name}"),
        }
    }
}

impl FromStr for ExpectedPeer {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        if let Some(rest) = text.strip_prefix("spiffe://") {
            let (domain, path) = rest.split_once('/').unwrap_or((rest, ""));
            let _: TrustDomain = domain.parse()?;
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            let segment_is_legal = |part: &str| {
                !part.is_empty() && part != "." && part != ".." && part.bytes().all(legal)
            };
            if text.len() > MAX_ID_BYTES || !path.split('/').all(segment_is_legal) {
                return Err(InvalidIdentity(text.to_owned(), "is not a SPIFFE ID of a workload"));
            }
            return Ok(Self::Spiffe(text.to_owned()));
        }
        match text.strip_prefix("dns:") {
            Some(name) if is_dns_name(name) => Ok(Self::Dns(name.to_ascii_lowercase())),
            Some(_) => Err(InvalidIdentity(text.to_owned(), "does not hold a DNS name after dns:")),
            None => Err(InvalidIdentity(text.to_owned(), "is neither spiffe://... nor dns:NAME")),
        }
    }
}

/// A host name of letters, digits, dashes and dots (RFC 1123), at most 253 bytes.
pub(crate) fn is_dns_name(name: &str) -> bool {
    let label_is_legal = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (1..=253).contains(&name.len()) && name.split('.').all(label_is_legal)
}

/// A text that should name an identity and does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} {1}")]
pub struct InvalidIdentity(String, &'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_as_it_was_written() {
        let text = "spiffe://cluster.local/ns/shop/sa/web";
        let id: SpiffeId = text.parse().unwrap();
        assert_eq!((id.namespace(), id.service_account()), ("shop", "web"));
        assert_eq!(id.to_string(), text);
    }

    #[test]
    fn only_the_one_form_is_an_identity() {
        for bad in [
            "",
            "spiffe://",
            "spiffe:///ns/shop/sa/web",
            "spiffe://Cluster.local/ns/shop/sa/web",
            "spiffe://cluster.local/ns/shop/sa/web/",
            "spiffe://cluster.local/ns/shop/sa/",
            "spiffe://cluster.local/ns/../sa/web",
            "spiffe://cluster.local/ns/shop/sa/we b",
            "spiffe://cluster.local/ns/shop/sa/web?x=1",
            "spiffe://cluster.local:80/ns/shop/sa/web",
            "https://cluster.local/ns/shop/sa/web",
        ] {
            assert!(bad.parse::<SpiffeId>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn an_expected_peer_is_a_spiffe_id_or_a_dns_name() {
        for good in ["spiffe://example.org/payments/api", "dns:web.shop.svc.cluster.local"] {
            assert_eq!(good.parse::<ExpectedPeer>().unwrap().to_string(), good);
        }
        for bad in ["", "web", "dns:", "dns:-x", "spiffe://example.org", "spiffe://e/../x"] {
            assert!(bad.parse::<ExpectedPeer>().is_err(), "{bad:?} was taken");
        }
    }
}
