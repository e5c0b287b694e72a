//! The extensions that a request and a certificate have in common.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};

use super::template::Request;
use super::usage::{self, Usage};

/// What the extensions say, in the words of a request.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    /// Alternative names only; usages and `is_ca` stand below.
    pub(crate) names: Request,
    /// Names of kinds that have no field of ours.
    pub(crate) other_names: Vec<&'static str>,
    /// `None` if neither usage extension is there.
    pub(crate) usages: Option<BTreeSet<Usage>>,
    /// The bits alone: `None` if there is no KeyUsage extension, which allows everything.
    pub(crate) key_usage: Option<BTreeSet<Usage>>,
    pub(crate) is_ca: Option<bool>,
    pub(crate) path_len: Option<u32>,
    pub(crate) subject_key_id: Option<Vec<u8>>,
    pub(crate) limits_names: bool,
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
            read.take(parsed);
        }
        Ok(read)
    }

    fn take(&mut self, extension: &ParsedExtension<'_>) {
        match extension {
            ParsedExtension::SubjectAlternativeName(names) => {
                names.general_names.iter().for_each(|name| self.take_name(name));
            }
            ParsedExtension::KeyUsage(bits) => {
                self.key_usage = Some(usage::from_bits(bits).collect());
                self.usages.get_or_insert_default().extend(usage::from_bits(bits));
            }
            ParsedExtension::ExtendedKeyUsage(extended) => {
                self.usages.get_or_insert_default().extend(usage::from_extended(extended));
            }
            ParsedExtension::BasicConstraints(constraints) => {
                self.is_ca = Some(constraints.ca);
                self.path_len = constraints.path_len_constraint;
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0.to_vec()),
            ParsedExtension::NameConstraints(_) => self.limits_names = true,
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
                None => self.other_names.push("an IP address of a strange length"),
            },
            GeneralName::OtherName(..) => self.other_names.push("otherName"),
            GeneralName::DirectoryName(_) => self.other_names.push("directoryName"),
            GeneralName::RegisteredID(_) => self.other_names.push("registeredID"),
            GeneralName::X400Address(_) => self.other_names.push("x400Address"),
            GeneralName::EDIPartyName(_) => self.other_names.push("ediPartyName"),
            GeneralName::Invalid(..) => self.other_names.push("a damaged name"),
        }
    }
}

fn ip_address(octets: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(octets).map(|octets| Ipv4Addr::from(octets).into());
    let sixteen = <[u8; 16]>::try_from(octets).map(|octets| Ipv6Addr::from(octets).into());
    four.or(sixteen).ok()
}
