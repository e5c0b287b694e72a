//! A door for the fuzz targets, to what only the holder of a key can send.

use super::key::PrivateKey;
use super::pem::{Kind, sections};
use super::signature::SignatureAlgorithm;
use super::template::Request;
use super::{csr, der};

/// A request (DER) that is sound but for its subject and its attributes, which are these bytes.
#[must_use]
pub fn request(subject: &[u8], attributes: &[u8], key: &PrivateKey) -> Option<Vec<u8>> {
    let named = Request { common_name: Some("replaced".to_owned()), ..Request::default() };
    let pem = csr::make_csr(&named, key).ok()?;
    let (_, sound) = sections(pem.as_bytes(), Kind::Request, 1).ok()?.pop()?;
    let algorithm = SignatureAlgorithm::natural(key.algorithm());
    der::resigned(&sound, &[(1, subject), (3, attributes)], key, algorithm).ok()
}
