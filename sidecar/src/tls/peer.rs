//! Who a certificate says that its holder is.

use std::fmt;
use std::sync::Arc;

use countersign_contract::access::{Caller, Signer, Voucher};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// The tag of a URI among the alternative names (RFC 5280, 4.2.1.6).
const URI: u32 = 6;

/// A peer whose chain was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its URIs; a SPIFFE certificate has exactly one.
    pub uris: Vec<String>,
    /// Its DNS names.
    pub dns_names: Vec<String>,
    /// Its subject.
    pub subject: String,
    /// Its subject's common name, if it has one.
    pub common_name: Option<String>,
    /// When the first certificate ends of those that lead to the root, in seconds since 1970.
    pub not_after: u64,
    /// The certificates that lead to a root, itself first: verified again when the roots change. What it
    /// sent along beside them is not kept.
    pub chain: Vec<CertificateDer<'static>>,
    /// The CA that signed it, where the mesh's is told from that of people and devices.
    pub signed_by: Option<SignedBy>,
}

/// The CA that signed a certificate, in a mesh of some trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBy {
    /// The CA.
    pub signer: Signer,
    /// The mesh's own trust domain.
    pub trust_domain: Arc<str>,
}

impl Peer {
    /// Reads the names of a certificate; what cannot be read has none.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return Self::default() };
        let subject = parsed.subject();
        let common_name = subject.iter_common_name().next().and_then(|name| name.as_str().ok());
        let common_name = common_name.map(str::to_owned);
        let mut peer = Self { subject: subject.to_string(), common_name, ..Self::default() };
        let names = parsed.subject_alternative_name().ok().flatten();
        for name in names.into_iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::URI(uri) => peer.uris.push((*uri).to_owned()),
                GeneralName::DNSName(dns) => peer.dns_names.push((*dns).to_owned()),
                // A URI that is not UTF-8 is one all the same: beside it, no other is the only one.
                // What stands in front keeps it from being taken for an identity itself.
                GeneralName::Invalid(tag, bytes) if tag.0 == URI => {
                    peer.uris.push(format!("\u{fffd}{}", String::from_utf8_lossy(bytes)));
                }
                _ => {}
            }
        }
        peer
    }

    /// What rules ask of it.
    #[must_use]
    pub fn caller(&self) -> Caller<'_> {
        Caller {
            spiffe_id: self.spiffe_id(),
            dns_names: &self.dns_names,
            common_name: self.common_name.as_deref(),
            voucher: self.voucher(),
        }
    }

    fn voucher(&self) -> Option<Voucher<'_>> {
        let by = self.signed_by.as_ref()?;
        Some(Voucher { signer: by.signer, trust_domain: &by.trust_domain })
    }

    /// Its SPIFFE ID: the one URI that there is (X.509-SVID, section 2), where its CA may vouch for it.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<&str> {
        match self.uris.as_slice() {
            [uri] if uri.starts_with("spiffe://") => {
                let counts = self.voucher().is_none_or(|voucher| voucher.vouches_for_id(uri));
                counts.then_some(uri.as_str())
            }
            _ => None,
        }
    }
}

impl fmt::Display for Peer {
    /// The best name that there is: what a log line needs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.spiffe_id(), self.dns_names.first()) {
            (Some(id), _) => f.write_str(id),
            (None, Some(dns)) => write!(f, "dns:{dns}"),
            (None, None) => f.write_str(&self.subject),
        }
    }
}

/// When every certificate of a chain is valid: from and until, in seconds since 1970; nothing of a
/// chain that cannot be read.
pub(super) fn validity(chain: &[CertificateDer<'_>]) -> Option<(u64, u64)> {
    let mut all = (0, u64::MAX);
    for certificate in chain {
        let (_, parsed) = parse_x509_certificate(certificate).ok()?;
        let validity = parsed.validity();
        // Before 1970 is before everything.
        let from = u64::try_from(validity.not_before.timestamp()).unwrap_or(0);
        let until = u64::try_from(validity.not_after.timestamp()).unwrap_or(0);
        all = (all.0.max(from), all.1.min(until));
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, KeyPair};

    use super::*;

    /// A certificate with these URIs, whatever bytes they are.
    fn with_uris(uris: &[&[u8]]) -> CertificateDer<'static> {
        let names: Vec<u8> = uris
            .iter()
            .flat_map(|uri| [&[0x86, u8::try_from(uri.len()).expect("short")], *uri].concat())
            .collect();
        let content = [&[0x30, u8::try_from(names.len()).expect("short")], &names[..]].concat();
        let mut params = CertificateParams::default();
        params.custom_extensions =
            vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], content)];
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().clone()
    }

    #[test]
    fn uri_that_is_not_utf8_counts_as_a_uri() {
        let id: &[u8] = b"spiffe://a/ns/b/sa/c";
        let cases: [(&[&[u8]], Option<&str>); 4] = [
            (&[id], Some("spiffe://a/ns/b/sa/c")),
            (&[id, b"\xff"], None),
            (&[b"spiffe://a/ns/b/sa/\xff", id], None),
            (&[b"spiffe://a/ns/b/sa/\xff"], None),
        ];
        for (uris, wanted) in cases {
            let peer = Peer::of(&with_uris(uris));
            assert_eq!((peer.uris.len(), peer.spiffe_id()), (uris.len(), wanted), "{peer:?}");
        }
    }
}
