//! Who a certificate says that its holder is.

use std::fmt;

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// The names in a peer's certificate, whose chain was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its URIs; a SPIFFE certificate has exactly one.
    pub uris: Vec<String>,
    /// Its DNS names.
    pub dns_names: Vec<String>,
    /// Its subject.
    pub subject: String,
}

impl Peer {
    /// Reads the names of a certificate; what cannot be read has none.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return Self::default() };
        let mut peer = Self { subject: parsed.subject().to_string(), ..Self::default() };
        let names = parsed.subject_alternative_name().ok().flatten();
        for name in names.into_iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::URI(uri) => peer.uris.push((*uri).to_owned()),
                GeneralName::DNSName(dns) => peer.dns_names.push((*dns).to_owned()),
                _ => {}
            }
        }
        peer
    }

    /// Its SPIFFE ID: the one URI that there is (X.509-SVID, section 2).
    #[must_use]
    pub fn spiffe_id(&self) -> Option<&str> {
        match self.uris.as_slice() {
            [uri] if uri.starts_with("spiffe://") => Some(uri),
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
