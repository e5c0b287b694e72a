//! The little DER that neither the writer nor the reader of certificates offers.
//!
//! rcgen writes a distinguished name with one value an attribute only, and copies the name of an
//! authority by parsing and writing it again. We need several organizations in a subject, and an
//! issuer that is the authority's subject byte for byte: verifiers compare bytes. So rcgen writes
//! the whole object, and `resigned` puts our names into it and signs it.

use x509_parser::asn1_rs::{Any, FromDer};

use super::key::{KeyError, PrivateKey};
use super::signature::SignatureAlgorithm;

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// The elements of a SEQUENCE, each with its own header; `None` if it is none.
pub(crate) fn elements(sequence: &[u8]) -> Option<Vec<&[u8]>> {
    values(inside_sequence(sequence)?)
}

/// Values that follow one another, each with its own header.
pub(crate) fn values(mut rest: &[u8]) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (after, _) = Any::from_der(rest).ok()?;
        found.push(rest.get(..rest.len() - after.len())?);
        rest = after;
    }
    Some(found)
}

/// The elements, if there are exactly as many as wanted.
pub(crate) fn exactly<const N: usize>(sequence: &[u8]) -> Option<[&[u8]; N]> {
    elements(sequence)?.try_into().ok()
}

/// What stands behind the header of a SEQUENCE, undivided.
pub(crate) fn inside_sequence(sequence: &[u8]) -> Option<&[u8]> {
    if *sequence.first()? == SEQUENCE { contents(sequence) } else { None }
}

/// The bytes of a BIT STRING of whole bytes, as keys and signatures are.
pub(crate) fn whole_bytes(bit_string: &[u8]) -> Option<&[u8]> {
    let (BIT_STRING, [0, bytes @ ..]) = (*bit_string.first()?, contents(bit_string)?) else {
        return None;
    };
    Some(bytes)
}

/// What stands behind the header of exactly one value.
pub(crate) fn contents(value: &[u8]) -> Option<&[u8]> {
    let (rest, any) = Any::from_der(value).ok()?;
    rest.is_empty().then_some(any.data)
}

/// A signed object (certificate or request) with some elements of its signed part replaced, and
/// signed anew. An algorithm identifier within the signed part is for the caller to replace.
pub(crate) fn resigned(
    signed: &[u8],
    replacements: &[(usize, &[u8])],
    key: &PrivateKey,
    algorithm: SignatureAlgorithm,
) -> Result<Vec<u8>, KeyError> {
    let [to_be_signed, ..] = exactly::<3>(signed).ok_or(KeyError::Signing)?;
    let mut parts = elements(to_be_signed).ok_or(KeyError::Signing)?;
    for (index, replacement) in replacements {
        *parts.get_mut(*index).ok_or(KeyError::Signing)? = replacement;
    }
    let to_be_signed = sequence(&parts);
    let signature = bit_string(&key.signature(&to_be_signed, algorithm)?);
    Ok(sequence(&[&to_be_signed, &algorithm.identifier(), &signature]))
}

/// A SEQUENCE of values that are DER already.
pub(crate) fn sequence(values: &[&[u8]]) -> Vec<u8> {
    written_sequence(|writer| values.iter().for_each(|der| writer.next().write_der(der)))
}

/// A SEQUENCE of whatever `write` writes.
pub(crate) fn written_sequence(write: impl FnOnce(&mut yasna::DERWriterSeq<'_>)) -> Vec<u8> {
    yasna::construct_der(|writer| writer.write_sequence(write))
}

fn bit_string(bytes: &[u8]) -> Vec<u8> {
    yasna::construct_der(|writer| writer.write_bitvec_bytes(bytes, bytes.len() * 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_put_together_again_are_the_same_bytes() {
        let value = sequence(&[&[2, 1, 5], &[4, 2, 7, 7], &[0x30, 0]]);
        let parts = elements(&value).expect("a sequence");
        assert_eq!(parts, [&[2, 1, 5][..], &[4, 2, 7, 7], &[0x30, 0]]);
        assert_eq!(sequence(&parts), value);
    }

    #[test]
    fn what_is_cut_off_or_followed_by_more_is_no_value() {
        let value = sequence(&[&[2, 1, 5]]);
        assert_eq!(elements(&value[..value.len() - 1]), None);
        assert_eq!(contents(&[&value[..], &[0]].concat()), None);
        assert_eq!(elements(&[0x30, 2, 4, 9]), None);
        assert_eq!(contents(&[]), None);
    }
}
