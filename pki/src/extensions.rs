//! The extensions that a request and a certificate have in common.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_parser::asn1_rs::Oid;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};

use super::constraints::NameConstraints;
use super::der::contents;
use super::oid;
use super::template::{OtherName, Request};
use super::usage::{self, Usage};

/// What the extensions say, in the words of a request.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    /// Alternative names and name constraints only; usages and `is_ca` stand below.
    pub(crate) names: Request,
    /// Names of kinds that have no field of ours.
    pub(crate) strange_names: Vec<&'static str>,
    /// `None` if neither usage extension is there.
    pub(crate) usages: Option<BTreeSet<Usage>>,
    /// The bits alone: `None` if there is no KeyUsage extension, which allows everything.
    pub(crate) key_usage: Option<BTreeSet<Usage>>,
    pub(crate) is_ca: Option<bool>,
    pub(crate) path_len: Option<u32>,
    pub(crate) subject_key_id: Option<Vec<u8>>,
    pub(crate) authority_key_id: Option<Vec<u8>>,
    /// Object identifiers of critical extensions without a meaning here.
    pub(crate) unknown_critical: Vec<String>,
    /// Extended key usages that have no name.
    pub(crate) unknown_purposes: Vec<String>,
}

/// An extension that stands twice, or does not hold what its identifier promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the extension {oid} is damaged, or stands there twice")]
pub struct DamagedExtension {
    /// Its object identifier.
    pub oid: String,
}

impl Extensions {
    pub(crate) fn read<'a>(
        extensions: impl Iterator<Item = &'a X509Extension<'a>>,
    ) -> Result<Self, DamagedExtension> {
        let mut read = Self::default();
        let mut seen = BTreeSet::new();
        for extension in extensions {
            let oid = extension.oid.to_id_string();
            let parsed = extension.parsed_extension();
            let damaged = matches!(parsed, ParsedExtension::ParseError { .. });
            if damaged || !seen.insert(oid.clone()) {
                return Err(DamagedExtension { oid });
            }
            if matches!(parsed, ParsedExtension::NameConstraints(_)) {
                let constraints = NameConstraints::read(extension.value, extension.critical);
                read.names.name_constraints = Some(constraints.ok_or(DamagedExtension { oid })?);
            }
            read.take(parsed, extension);
        }
        Ok(read)
    }

    fn take(&mut self, parsed: &ParsedExtension<'_>, extension: &X509Extension<'_>) {
        match parsed {
            ParsedExtension::SubjectAlternativeName(names) => {
                names.general_names.iter().for_each(|name| self.take_name(name));
            }
            ParsedExtension::KeyUsage(bits) => {
                self.key_usage = Some(usage::from_bits(bits).collect());
                self.usages.get_or_insert_default().extend(usage::from_bits(bits));
            }
            ParsedExtension::ExtendedKeyUsage(extended) => {
                self.usages.get_or_insert_default().extend(usage::from_extended(extended));
                self.unknown_purposes.extend(usage::unknown_purposes(extended));
            }
            ParsedExtension::BasicConstraints(constraints) => {
                self.is_ca = Some(constraints.ca);
                self.path_len = constraints.path_len_constraint;
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(issuer) => {
                self.authority_key_id = issuer.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            ParsedExtension::NameConstraints(_) => {}
            _ if extension.critical => self.unknown_critical.push(extension.oid.to_id_string()),
            _ => {}
        }
    }

    fn take_name(&mut self, name: &GeneralName<'_>) {
        let names = &mut self.names;
        match name {
            GeneralName::DNSName(name) => names.dns_names.push((*name).to_owned()),
            GeneralName::URI(uri) => names.uris.push((*uri).to_owned()),
            GeneralName::RFC822Name(email) => names.email_addresses.push((*email).to_owned()),
            GeneralName::IPAddress(octets) => match ip_address(octets) {
                Some(address) => names.ip_addresses.push(address),
                None => self.strange_names.push("an IP address of a strange length"),
            },
            GeneralName::OtherName(oid, value) => match other_name(oid, value) {
                Some(name) => names.other_names.push(name),
                None => self.strange_names.push("an otherName that is no UTF8String"),
            },
            GeneralName::DirectoryName(_) => self.strange_names.push("directoryName"),
            GeneralName::RegisteredID(_) => self.strange_names.push("registeredID"),
            GeneralName::X400Address(_) => self.strange_names.push("x400Address"),
            GeneralName::EDIPartyName(_) => self.strange_names.push("ediPartyName"),
            GeneralName::Invalid(..) => self.strange_names.push("a damaged name"),
        }
    }
}

/// An otherName with a text, which stands in an explicit tag 0.
fn other_name(oid: &Oid<'_>, tagged: &[u8]) -> Option<OtherName> {
    const EXPLICIT_0: u8 = 0xa0;
    const UTF8_STRING: u8 = 0x0c;
    let inner = contents(tagged).filter(|_| tagged.first() == Some(&EXPLICIT_0))?;
    let text = contents(inner).filter(|_| inner.first() == Some(&UTF8_STRING))?;
    // The parser's own text is wrong where the second number is 48 or more.
    Some(OtherName {
        oid: oid::text(oid.as_bytes())?,
        utf8_value: String::from_utf8(text.to_vec()).ok()?,
    })
}

fn ip_address(octets: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(octets).map(|octets| Ipv4Addr::from(octets).into());
    let sixteen = <[u8; 16]>::try_from(octets).map(|octets| Ipv6Addr::from(octets).into());
    four.or(sixteen).ok()
}
