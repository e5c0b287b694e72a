//! The attributes of a signing request that ask for something: extensions, in the form of PKCS#9 and
//! in Microsoft's.

use super::csr::CsrError;
use super::{der, oid};

/// extensionRequest (RFC 2985, 5.4.2).
const PKCS9: &str = "1.2.840.113549.1.9.14";
/// The same, as Windows writes it (szOID_CERT_EXTENSIONS).
const MICROSOFT: &str = "1.3.6.1.4.1.311.2.1.14";
/// Pairs of a name and a value, by which certreq asks for names (szOID_ENROLLMENT_NAME_VALUE_PAIR).
const PAIRS: &str = "1.3.6.1.4.1.311.13.2.1";

/// What a request asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    /// Extensions, each in DER.
    pub(super) extensions: Vec<&'a [u8]>,
}

/// Reads the attributes of a CertificationRequestInfo (DER). Those that ask for nothing of the
/// certificate, such as a challenge password or the version of Windows, are passed over.
pub(super) fn read(info: &[u8]) -> Result<Asked<'_>, CsrError> {
    const ATTRIBUTES: u8 = 0xa0;
    let parts = der::elements(info).ok_or(CsrError::Malformed)?;
    let mut asked = Asked::default();
    let Some(attributes) = parts.get(3) else { return Ok(asked) };
    let attributes = der::contents(attributes).filter(|_| attributes.first() == Some(&ATTRIBUTES));
    for attribute in attributes.and_then(der::values).ok_or(CsrError::Malformed)? {
        let (oid, values) = parsed(attribute).ok_or(CsrError::Malformed)?;
        match oid.as_str() {
            PKCS9 => asked.extensions.extend(extensions(PKCS9, &values)?),
            MICROSOFT => asked.extensions.extend(extensions(MICROSOFT, &values)?),
            PAIRS if values.iter().any(|pair| asks_for_names(pair)) => {
                let problem = "asks for alternative names: ask for them in an extension";
                return Err(CsrError::Attribute { oid: PAIRS, problem });
            }
            _ => {}
        }
    }
    Ok(asked)
}

/// An attribute's object identifier and its values.
fn parsed(attribute: &[u8]) -> Option<(String, Vec<&[u8]>)> {
    const SET: u8 = 0x31;
    let [name, set] = der::exactly(attribute)?;
    let values = der::contents(set).filter(|_| set.first() == Some(&SET))?;
    Some((oid::text(der::contents(name)?)?, der::values(values)?))
}

/// Both forms hold one value, a SEQUENCE of extensions.
fn extensions<'a>(oid: &'static str, values: &[&'a [u8]]) -> Result<Vec<&'a [u8]>, CsrError> {
    let damaged = CsrError::Attribute { oid, problem: "does not hold one list of extensions" };
    match values {
        [extensions] => der::elements(extensions).ok_or(damaged),
        _ => Err(damaged),
    }
}

/// Whether a pair begins with the name SAN, in two bytes a letter.
fn asks_for_names(pair: &[u8]) -> bool {
    let parts = der::elements(pair).unwrap_or_default();
    let name = parts.first().and_then(|name| der::contents(name)).unwrap_or_default();
    name.eq_ignore_ascii_case(b"\0S\0A\0N")
}
