//! The subject of a certificate as text: RFC 4514, in the dress that OpenSSL and Envoy give it; pure.
//!
//! The last part goes first. Whatever is not a plain character of ASCII is two hexadecimal digits, a
//! quote and a backslash among them: between quotes in a header, nobody can read it in two ways.

use x509_parser::oid_registry::{Oid, asn1_rs::oid};
use x509_parser::parse_x509_certificate;
use x509_parser::x509::AttributeTypeAndValue;

/// The subject of a certificate; empty if it has none, or cannot be read.
pub(super) fn of(certificate: &[u8]) -> String {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return String::new() };
    let mut sets: Vec<_> = parsed
        .subject()
        .iter()
        .map(|set| set.iter().map(attribute).collect::<Vec<_>>().join("+"))
        .collect();
    sets.reverse();
    sets.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type();
    match (short(oid), attribute.as_str()) {
        (Some(name), Ok(text)) => format!("{name}={}", escaped(text)),
        // What has no name, or is no text, is told as the bytes that it is (2.4).
        (name, _) => {
            let name = name.map_or_else(|| oid.to_id_string(), str::to_owned);
            let value = attribute.attr_value();
            let bytes: String = value.data.iter().map(|byte| format!("{byte:02X}")).collect();
            format!("{name}=#{bytes}")
        }
    }
}

/// The names that a reader must know (section 3), and two more that OpenSSL has.
fn short(wanted: &Oid<'_>) -> Option<&'static str> {
    let known = [
        (oid!(2.5.4.3), "CN"),
        (oid!(2.5.4.7), "L"),
        (oid!(2.5.4.8), "ST"),
        (oid!(2.5.4.10), "O"),
        (oid!(2.5.4.11), "OU"),
        (oid!(2.5.4.6), "C"),
        (oid!(2.5.4.9), "street"),
        (oid!(0.9.2342.19200300.100.1.25), "DC"),
        (oid!(0.9.2342.19200300.100.1.1), "UID"),
        (oid!(2.5.4.5), "serialNumber"),
        (oid!(1.2.840.113549.1.9.1), "emailAddress"),
    ];
    known.iter().find(|(oid, _)| oid == wanted).map(|(_, name)| *name)
}

fn escaped(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for (place, byte) in text.bytes().enumerate() {
        let is_at_end = place == 0 || place + 1 == text.len();
        match byte {
            b',' | b'+' | b'<' | b'>' | b';' => all.extend(['\\', char::from(byte)]),
            b'#' if place == 0 => all.push_str("\\#"),
            b' ' if is_at_end => all.push_str("\\ "),
            b'"' | b'\\' => all.push_str(&format!("\\{byte:02X}")),
            b' '..=b'~' => all.push(char::from(byte)),
            _ => all.push_str(&format!("\\{byte:02X}")),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn subject(parts: &[(DnType, &str)]) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, text) in parts {
            params.distinguished_name.push(kind.clone(), *text);
        }
        of(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }

    #[test]
    fn a_subject_is_told_from_its_end_and_nothing_in_it_can_be_misread() {
        let name = |text| subject(&[(DnType::CommonName, text)]);
        let organization = (DnType::OrganizationName, "Partner, Inc.");
        let both = subject(&[organization, (DnType::CommonName, "terminal 7")]);
        assert_eq!(both, "CN=terminal 7,O=Partner\\, Inc.");
        let cases = [
            ("a=b", "CN=a=b"),
            ("a\";URI=\"spiffe://d/b", "CN=a\\22\\;URI=\\22spiffe://d/b"),
            ("a\\", "CN=a\\5C"),
            ("#a ", "CN=\\#a\\ "),
            ("a\r\nX: b", "CN=a\\0D\\0AX: b"),
            ("M\u{fc}ller\0", "CN=M\\C3\\BCller\\00"),
            ("a+b<c>", "CN=a\\+b\\<c\\>"),
        ];
        for (text, expected) in cases {
            assert_eq!(name(text), expected);
        }
        let unknown = DnType::CustomDnType(vec![1, 2, 3, 4]);
        assert_eq!(subject(&[(unknown, "ab")]), "1.2.3.4=#6162");
        assert_eq!(subject(&[]), "");
        assert_eq!(of(b"no certificate"), "");
    }
}
