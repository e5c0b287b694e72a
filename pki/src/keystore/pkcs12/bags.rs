//! The boxes of PKCS#12: bags in safes, and what hangs on a bag.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls_pki_types::CertificateDer;
use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, Tag};

use super::encryption::Encrypted;
use crate::der::written_sequence;

const DATA: &[u64] = &[1, 2, 840, 113549, 1, 7, 1];
const ENCRYPTED_DATA: &[u64] = &[1, 2, 840, 113549, 1, 7, 6];
const SHROUDED_KEY_BAG: &[u64] = &[1, 2, 840, 113549, 1, 12, 10, 1, 2];
const CERTIFICATE_BAG: &[u64] = &[1, 2, 840, 113549, 1, 12, 10, 1, 3];
const X509_CERTIFICATE: &[u64] = &[1, 2, 840, 113549, 1, 9, 22, 1];
const FRIENDLY_NAME: &[u64] = &[1, 2, 840, 113549, 1, 9, 20];
const LOCAL_KEY_ID: &[u64] = &[1, 2, 840, 113549, 1, 9, 21];
/// Without this attribute Java takes a certificate for part of a chain, and trusts it in nothing.
const JAVA_TRUSTED_USAGE: &[u64] = &[2, 16, 840, 1, 113894, 746875, 1, 1];
const ANY_USAGE: &[u64] = &[2, 5, 29, 37, 0];

/// A safe with nothing but the key, which is encrypted in its bag.
pub(super) fn key_safe(key: &Encrypted, attributes: &[Vec<u8>]) -> Vec<u8> {
    data(&all(&[key_bag(key, attributes)]))
}

/// A safe that is encrypted as a whole.
pub(super) fn encrypted_safe(safe: &Encrypted) -> Vec<u8> {
    content(ENCRYPTED_DATA, |writer| {
        writer.write_sequence(|writer| {
            writer.next().write_u32(0);
            writer.next().write_sequence(|writer| {
                writer.next().write_oid(&oid(DATA));
                writer.next().write_der(&safe.algorithm);
                let bytes = |writer: DERWriter<'_>| writer.write_bytes(&safe.bytes);
                writer.next().write_tagged_implicit(Tag::context(0), bytes);
            });
        });
    })
}

/// Bytes as they are.
pub(super) fn data(bytes: &[u8]) -> Vec<u8> {
    content(DATA, |writer| writer.write_bytes(bytes))
}

/// What Java takes for a certificate to trust, and under which name.
pub(super) fn trusted_bag(name: &str, authority: &CertificateDer<'static>) -> Vec<u8> {
    let name = attribute(FRIENDLY_NAME, |writer| writer.write_bmp_string(name));
    let trusted = attribute(JAVA_TRUSTED_USAGE, |writer| writer.write_oid(&oid(ANY_USAGE)));
    certificate_bag(authority, &[name, trusted])
}

fn key_bag(key: &Encrypted, attributes: &[Vec<u8>]) -> Vec<u8> {
    bag(SHROUDED_KEY_BAG, attributes, |writer| {
        writer.write_sequence(|writer| {
            writer.next().write_der(&key.algorithm);
            writer.next().write_bytes(&key.bytes);
        });
    })
}

pub(super) fn certificate_bag(
    certificate: &CertificateDer<'static>,
    attributes: &[Vec<u8>],
) -> Vec<u8> {
    bag(CERTIFICATE_BAG, attributes, |writer| {
        let bytes = |writer: DERWriter<'_>| writer.write_bytes(certificate);
        writer.write_der(&content(X509_CERTIFICATE, bytes));
    })
}

fn bag(kind: &[u64], attributes: &[Vec<u8>], value: impl FnOnce(DERWriter<'_>)) -> Vec<u8> {
    written_sequence(|writer| {
        writer.next().write_oid(&oid(kind));
        writer.next().write_tagged(Tag::context(0), value);
        if !attributes.is_empty() {
            writer.next().write_set_of(|writer| {
                attributes.iter().for_each(|attribute| writer.next().write_der(attribute));
            });
        }
    })
}

/// A type, and a value of that type.
fn content(kind: &[u64], value: impl FnOnce(DERWriter<'_>)) -> Vec<u8> {
    bag(kind, &[], value)
}

fn attribute(kind: &[u64], value: impl FnOnce(DERWriter<'_>)) -> Vec<u8> {
    written_sequence(|writer| {
        writer.next().write_oid(&oid(kind));
        writer.next().write_set_of(|writer| value(writer.next()));
    })
}

/// What the bag of a key and that of its certificate have in common.
pub(super) fn local_key_id(leaf: &CertificateDer<'static>) -> Vec<u8> {
    let fingerprint = digest(&SHA1_FOR_LEGACY_USE_ONLY, leaf);
    attribute(LOCAL_KEY_ID, |writer| writer.write_bytes(fingerprint.as_ref()))
}

/// One after the other, in a SEQUENCE.
pub(super) fn all(values: &[Vec<u8>]) -> Vec<u8> {
    written_sequence(|writer| values.iter().for_each(|value| writer.next().write_der(value)))
}

fn oid(arcs: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(arcs)
}
