//! Distinguished names: written from a request, read into one.

use x509_parser::asn1_rs::{Any, FromDer, Tag};
use x509_parser::x509::{RelativeDistinguishedName, X509Name};
use yasna::models::ObjectIdentifier;
use yasna::tags::TAG_PRINTABLESTRING;

use super::der::{self, written_sequence};
use super::template::{Request, Subject};

/// The object identifier of a common name, as it stands among `NameParts::others`.
pub(crate) const COMMON_NAME_TEXT: &str = "2.5.4.3";

const COMMON_NAME: &[u64] = &[2, 5, 4, 3];
const SERIAL_NUMBER: &[u64] = &[2, 5, 4, 5];
const COUNTRY: &[u64] = &[2, 5, 4, 6];
const LOCALITY: &[u64] = &[2, 5, 4, 7];
const PROVINCE: &[u64] = &[2, 5, 4, 8];
const STREET: &[u64] = &[2, 5, 4, 9];
const ORGANIZATION: &[u64] = &[2, 5, 4, 10];
const UNIT: &[u64] = &[2, 5, 4, 11];
const POSTAL_CODE: &[u64] = &[2, 5, 4, 17];
const EMAIL: &[u64] = &[1, 2, 840, 113_549, 1, 9, 1];

/// A subject as a DER Name, from the widest part to the narrowest, one value a step; a literal one
/// as it is.
pub(crate) fn subject_der(request: &Request) -> Vec<u8> {
    if let Some(literal) = &request.literal_subject {
        return literal.der().to_vec();
    }
    let subject = &request.subject;
    let parts: [(&[u64], &[String]); 9] = [
        (COUNTRY, &subject.countries),
        (PROVINCE, &subject.provinces),
        (LOCALITY, &subject.localities),
        (STREET, &subject.street_addresses),
        (POSTAL_CODE, &subject.postal_codes),
        (ORGANIZATION, &subject.organizations),
        (UNIT, &subject.organizational_units),
        (COMMON_NAME, request.common_name.as_slice()),
        (SERIAL_NUMBER, subject.serial_number.as_slice()),
    ];
    written_sequence(|writer| {
        for (oid, value) in
            parts.iter().flat_map(|(oid, values)| values.iter().map(move |value| (oid, value)))
        {
            writer.next().write_set(|writer| {
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&ObjectIdentifier::from_slice(oid));
                    write_text(writer.next(), value);
                });
            });
        }
    })
}

/// PrintableString where it fits, as RFC 5280 demands of countries and serial numbers.
pub(crate) fn write_text(writer: yasna::DERWriter<'_>, text: &str) {
    if is_printable(text) {
        // The library's own function panics at a question mark, which the character set has.
        writer.write_tagged_implicit(TAG_PRINTABLESTRING, |writer| {
            writer.write_bytes(text.as_bytes());
        });
    } else {
        writer.write_utf8_string(text);
    }
}

pub(crate) fn is_printable(text: &str) -> bool {
    let printable = |byte: u8| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte);
    text.bytes().all(printable)
}

/// What a Name says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameParts {
    /// Every common name.
    pub common_names: Vec<String>,
    /// The parts that have a field of ours.
    pub subject: Subject,
    /// E-mail addresses, which stand among `others` too.
    pub emails: Vec<String>,
    /// The object identifiers of parts that have no field of ours.
    pub others: Vec<String>,
}

impl NameParts {
    /// Reads a DER Name; `None` if it is none.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        match X509Name::from_der(der) {
            // The parser passes over what follows a step that it cannot read.
            Ok(([], name)) if attributes(der) == Some(name.iter_attributes().count()) => {
                Some(Self::read(&name))
            }
            _ => None,
        }
    }

    pub(crate) fn read(name: &X509Name<'_>) -> Self {
        let mut parts = Self::default();
        for attribute in name.iter_attributes() {
            let value = text(attribute.attr_value());
            let arcs: Vec<u64> = attribute.attr_type().iter().into_iter().flatten().collect();
            if arcs == EMAIL {
                parts.emails.extend(value.clone());
            }
            let subject = &mut parts.subject;
            match (arcs.as_slice(), value) {
                (COMMON_NAME, Some(value)) => parts.common_names.push(value),
                (COUNTRY, Some(value)) => subject.countries.push(value),
                (PROVINCE, Some(value)) => subject.provinces.push(value),
                (LOCALITY, Some(value)) => subject.localities.push(value),
                (STREET, Some(value)) => subject.street_addresses.push(value),
                (POSTAL_CODE, Some(value)) => subject.postal_codes.push(value),
                (ORGANIZATION, Some(value)) => subject.organizations.push(value),
                (UNIT, Some(value)) => subject.organizational_units.push(value),
                (SERIAL_NUMBER, Some(value)) if subject.serial_number.is_none() => {
                    subject.serial_number = Some(value);
                }
                _ => parts.others.push(attribute.attr_type().to_id_string()),
            }
        }
        parts
    }
}

/// How many attributes a Name has, if it is one from its first byte to its last.
fn attributes(der: &[u8]) -> Option<usize> {
    const SET: u8 = 0x31;
    const OID: u8 = 0x06;
    let mut count = 0;
    for step in der::elements(der)? {
        let attributes = der::values(der::contents(step).filter(|_| step.first() == Some(&SET))?)?;
        for attribute in &attributes {
            let [name, _] = der::exactly(attribute)?;
            (name.first() == Some(&OID)).then_some(())?;
        }
        count += attributes.len();
    }
    Some(count)
}

/// What a DER Name says; nothing, if it is none.
pub(crate) fn read(der: &[u8]) -> NameParts {
    X509Name::from_der(der)
        .map_or_else(|_| NameParts::default(), |(_, name)| NameParts::read(&name))
}

/// The text of a value in any of the string types that are in use.
fn text(value: &Any<'_>) -> Option<String> {
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString => {
            String::from_utf8(value.data.to_vec()).ok()
        }
        // T.61 is Latin-1 wherever it is met.
        Tag::T61String => Some(value.data.iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let units =
                value.data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            String::from_utf16(&units.collect::<Vec<_>>()).ok()
        }
        _ => None,
    }
}

/// `CN=..., O=...` for people, from a DER Name.
pub(crate) fn display(der: &[u8]) -> String {
    X509Name::from_der(der).map_or_else(|_| "(unreadable)".to_owned(), |(_, name)| name.to_string())
}

/// The steps of a Name as they are compared (RFC 5280, 7.1): upper and lower case, the kind of
/// string and the number of spaces make no difference. `None` if it cannot be read.
pub(crate) fn comparable(der: &[u8]) -> Option<Vec<Vec<(String, String)>>> {
    let Ok(([], name)) = X509Name::from_der(der) else { return None };
    let step = |step: &RelativeDistinguishedName<'_>| {
        let mut attributes: Vec<_> = step
            .iter()
            .map(|attribute| (attribute.attr_type().to_id_string(), folded(attribute.attr_value())))
            .collect();
        attributes.sort();
        attributes
    };
    Some(name.iter_rdn().map(step).collect())
}

fn folded(value: &Any<'_>) -> String {
    match text(value) {
        Some(text) => text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase(),
        // No text begins like this, since spaces in front are gone.
        None => format!(" {:?} {:?}", value.header.tag(), value.data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_comes_back_as_it_was_written() {
        let request = Request {
            common_name: Some("ünïcode & more".to_owned()),
            subject: Subject {
                organizations: vec!["One".to_owned(), "Two".to_owned()],
                countries: vec!["DE".to_owned()],
                organizational_units: vec!["A".to_owned(), "B*".to_owned()],
                localities: vec!["Köln".to_owned()],
                provinces: vec!["NRW".to_owned()],
                street_addresses: vec!["Straße 1".to_owned()],
                postal_codes: vec!["50667".to_owned()],
                serial_number: Some("42".to_owned()),
            },
            ..Request::default()
        };
        let der = subject_der(&request);
        let (_, name) = X509Name::from_der(&der).expect("a name");
        let parts = NameParts::read(&name);
        assert_eq!(parts.subject, request.subject);
        assert_eq!(parts.common_names, request.common_name.as_slice());
        assert!(parts.others.is_empty());
    }

    #[test]
    fn every_character_can_stand_in_a_subject() {
        for character in (0..0x80_u8).map(char::from).chain(['ß', '€', '😀']) {
            let common_name = Some(format!("a{character}"));
            let der =
                subject_der(&Request { common_name: common_name.clone(), ..Request::default() });
            let parts = NameParts::from_der(&der).expect("a name");
            assert_eq!(parts.common_names, common_name.as_slice(), "{character:?}");
        }
    }

    #[test]
    fn what_a_reader_would_pass_over_makes_a_name_unreadable() {
        let named = Request { common_name: Some("web".to_owned()), ..Request::default() };
        let sound = subject_der(&named);
        let step = &sound[2..];
        let with = |more: &[u8]| {
            let content = [step, more].concat();
            [&[0x30, u8::try_from(content.len()).expect("short")], &content[..]].concat()
        };
        assert_eq!(NameParts::from_der(&with(step)).expect("two").common_names, ["web", "web"]);
        let cut = &step[..step.len() - 1];
        for more in [cut, &[0x31, 0x37], &[0x05, 0x00], &[0x31, 0x02, 0x05, 0x00]] {
            assert_eq!(NameParts::from_der(&with(more)), None, "{more:?}");
            assert_eq!(NameParts::from_der(&with(&[more, step].concat())), None, "{more:?}");
        }
    }

    #[test]
    fn an_empty_subject_is_an_empty_sequence() {
        assert_eq!(subject_der(&Request::default()), [0x30, 0]);
    }
}
