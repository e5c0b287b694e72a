//! Requests as Windows makes them, and what is asked for in odd places.

use rustls_pki_types::CertificateSigningRequestDer;

use super::ecdsa;
use crate::pem::{Kind, sections};
use crate::{
    CsrError, ParsedCsr, Request, SignatureAlgorithm, Usage, der, make_csr, parse_csr_der,
};

const PKCS9: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e";
const MICROSOFT: &[u8] = b"\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x01\x0e";
const PAIRS: &[u8] = b"\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x0d\x02\x01";
const WINDOWS_VERSION: &[u8] = b"\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x0d\x02\x03";

fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u8::try_from(content.len()).expect("short");
    let header = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
    [header, content].concat()
}

fn attribute(oid: &[u8], values: &[&[u8]]) -> Vec<u8> {
    value(0x30, &[oid, &value(0x31, values)])
}

/// A list of extensions with one alternative name.
fn names(dns: &str) -> Vec<u8> {
    let names = value(0x30, &[&value(0x82, &[dns.as_bytes()])]);
    value(0x30, &[&value(0x30, &[b"\x06\x03\x55\x1d\x11", &value(4, &[&names])])])
}

/// A list of extensions with the purpose clientAuth.
fn purposes() -> Vec<u8> {
    let purposes = value(0x30, &[b"\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02"]);
    value(0x30, &[&value(0x30, &[b"\x06\x03\x55\x1d\x25", &value(4, &[&purposes])])])
}

fn pair(name: &str) -> Vec<u8> {
    let wide = |text: &str| text.bytes().flat_map(|byte| [0, byte]).collect::<Vec<_>>();
    value(0x30, &[&value(0x1e, &[&wide(name)]), &value(0x1e, &[&wide("dns=a.example")])])
}

/// A request that is sound but for its attributes, which are these.
fn parsed(attributes: &[&[u8]]) -> Result<ParsedCsr, CsrError> {
    let key = ecdsa();
    let plain = Request { common_name: Some("desk".to_owned()), ..Request::default() };
    let pem = make_csr(&plain, &key).expect("a request");
    let (_, csr) = sections(pem.as_bytes(), Kind::Request, 1).expect("PEM").remove(0);
    let attributes = value(0xa0, attributes);
    let algorithm = SignatureAlgorithm::EcdsaWithSha256;
    let csr = der::resigned(&csr, &[(3, &attributes)], &key, algorithm).expect("a request");
    parse_csr_der(&CertificateSigningRequestDer::from(csr))
}

#[test]
fn extensions_are_read_in_both_forms() {
    let of = |oid, list: &[u8]| attribute(oid, &[list]);
    let version = of(WINDOWS_VERSION, &value(0x16, &[b"10.0.20348.2"]));
    let (microsoft, pkcs9) = (of(MICROSOFT, &names("a.example")), of(PKCS9, &purposes()));
    let asked = parsed(&[&version, &microsoft, &pkcs9]).expect("both are read").request;
    assert_eq!(asked.dns_names, ["a.example"]);
    assert_eq!(asked.usages, [Usage::ClientAuth]);
    let twice = parsed(&[&microsoft, &of(PKCS9, &names("b.example"))]);
    assert!(matches!(twice, Err(CsrError::Extension(_))), "{twice:?}");
}

#[test]
fn names_in_an_attribute_that_is_not_read_are_refused() {
    let asks = parsed(&[&attribute(PAIRS, &[&pair("SAN")])]);
    assert!(matches!(asks, Err(CsrError::Attribute { .. })), "{asks:?}");
    let asks_not = parsed(&[&attribute(PAIRS, &[&pair("CertificateTemplate")])]);
    assert!(asks_not.is_ok(), "{asks_not:?}");
}

#[test]
fn an_attribute_that_does_not_hold_one_list_of_extensions_is_refused() {
    for oid in [PKCS9, MICROSOFT] {
        let two: [&[u8]; 2] = [&names("a.example"), &purposes()];
        let refused = parsed(&[&attribute(oid, &two)]);
        assert!(matches!(refused, Err(CsrError::Attribute { .. })), "{refused:?}");
    }
    let refused = parsed(&[&attribute(MICROSOFT, &[b"\x05\x00"])]);
    assert!(matches!(refused, Err(CsrError::Attribute { .. })), "{refused:?}");
}
