//! Java's own format, as every Java reads it.
//!
//! ```text
//! FEEDFEED 2 count   tag alias date (key, chain | certificate)...   SHA-1(password, words, all)
//! ```
//!
//! The key is encrypted with a stream of SHA-1 hashes of the password: weak, and the only way that
//! the format has. Whoever can choose takes PKCS#12.

use aws_lc_rs::digest::{Context, Digest, SHA1_FOR_LEGACY_USE_ONLY};
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use yasna::models::ObjectIdentifier;
use zeroize::Zeroizing;

use crate::der;

use super::{KeyEntry, KeystoreError, MAX_BYTES, Password, named, of_bearable_size, random};

const MAGIC: u32 = 0xFEED_FEED;
const VERSION: u32 = 2;
const PRIVATE_KEY: u32 = 1;
const TRUSTED_CERTIFICATE: u32 = 2;
/// Magic number, version, and how many entries there are.
const HEADER: usize = 12;
const SALT: usize = 20;
/// The algorithm of the encrypted key, which is Sun's own.
const KEY_PROTECTOR: &[u64] = &[1, 3, 6, 1, 4, 1, 42, 2, 17, 1, 1];
/// The words with which Java seals a key store.
const SEAL: &[u8] = b"Mighty Aphrodite";

/// `keystore.jks`: the key with its chain under `alias`, and the authorities under `ca`.
pub fn jks(
    entry: &KeyEntry<'_>,
    alias: &str,
    password: &Password,
    now: Timestamp,
) -> Result<Vec<u8>, KeystoreError> {
    write_keystore(entry, alias, password, now.as_millisecond(), &random(SALT)?)
}

/// `truststore.jks`: the authorities, the first of them under `ca`.
pub fn jks_truststore(
    authorities: &[CertificateDer<'static>],
    password: &Password,
    now: Timestamp,
) -> Result<Vec<u8>, KeystoreError> {
    write_truststore(authorities, password, now.as_millisecond())
}

/// True if `file` is what `jks` wrote for the same entry, alias and password.
pub fn jks_is_current(file: &[u8], entry: &KeyEntry<'_>, alias: &str, password: &Password) -> bool {
    let written = || {
        let date = date_of(file)?;
        let salt = salt_of(file)?;
        write_keystore(entry, alias, password, date, salt).ok()
    };
    file.len() <= MAX_BYTES && written().is_some_and(|written| written == file)
}

/// True if `file` is what `jks_truststore` wrote for the same authorities and password.
pub fn jks_truststore_is_current(
    file: &[u8],
    authorities: &[CertificateDer<'static>],
    password: &Password,
) -> bool {
    let written = || write_truststore(authorities, password, date_of(file)?).ok();
    file.len() <= MAX_BYTES && written().is_some_and(|written| written == file)
}

fn write_keystore(
    entry: &KeyEntry<'_>,
    alias: &str,
    password: &Password,
    date: i64,
    salt: &[u8],
) -> Result<Vec<u8>, KeystoreError> {
    entry.leaf()?;
    let alias = as_java_looks_for_it(alias, entry.authorities)?;
    let mut file = header(1 + entry.authorities.len());
    begin_entry(&mut file, PRIVATE_KEY, &alias, date);
    write_bytes(&mut file, &encrypted(&entry.key.pkcs8()?, password, salt));
    write_number(&mut file, entry.chain.len());
    entry.chain.iter().for_each(|certificate| write_certificate(&mut file, certificate));
    write_authorities(&mut file, entry.authorities, date);
    sealed(file, password)
}

fn write_truststore(
    authorities: &[CertificateDer<'static>],
    password: &Password,
    date: i64,
) -> Result<Vec<u8>, KeystoreError> {
    if authorities.is_empty() {
        return Err(KeystoreError::NoCertificate);
    }
    let mut file = header(authorities.len());
    write_authorities(&mut file, authorities, date);
    sealed(file, password)
}

/// Java looks for an alias in small letters, wherever it is asked for it. It writes texts in a UTF-8
/// of its own, which differs from ours for NUL and beyond U+FFFF.
fn as_java_looks_for_it(
    alias: &str,
    authorities: &[CertificateDer<'static>],
) -> Result<String, KeystoreError> {
    let strange = |letter: char| letter.is_control() || letter > '\u{FFFF}';
    let small = alias.to_lowercase();
    if !(1..=255).contains(&small.len()) || small.contains(strange) {
        return Err(KeystoreError::Alias { alias: alias.to_owned() });
    }
    if named(authorities).any(|(name, _)| name == small) {
        return Err(KeystoreError::AliasTaken { alias: small });
    }
    Ok(small)
}

fn header(entries: usize) -> Vec<u8> {
    let mut file = [MAGIC.to_be_bytes(), VERSION.to_be_bytes()].concat();
    write_number(&mut file, entries);
    file
}

fn write_authorities(file: &mut Vec<u8>, authorities: &[CertificateDer<'static>], date: i64) {
    for (name, authority) in named(authorities) {
        begin_entry(file, TRUSTED_CERTIFICATE, &name, date);
        write_certificate(file, authority);
    }
}

fn begin_entry(file: &mut Vec<u8>, tag: u32, alias: &str, date: i64) {
    file.extend(tag.to_be_bytes());
    write_text(file, alias);
    file.extend(date.to_be_bytes());
}

fn write_certificate(file: &mut Vec<u8>, certificate: &CertificateDer<'static>) {
    write_text(file, "X.509");
    write_bytes(file, certificate);
}

/// At most 255 bytes: an alias is checked before.
fn write_text(file: &mut Vec<u8>, text: &str) {
    file.extend([0, u8::try_from(text.len()).unwrap_or(u8::MAX)]);
    file.extend(text.as_bytes());
}

fn write_bytes(file: &mut Vec<u8>, bytes: &[u8]) {
    write_number(file, bytes.len());
    file.extend(bytes);
}

/// What is too large for four bytes is too large for a key store, which is refused in the end.
fn write_number(file: &mut Vec<u8>, number: usize) {
    file.extend(u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
}

fn sealed(mut file: Vec<u8>, password: &Password) -> Result<Vec<u8>, KeystoreError> {
    let seal = sha1(&[&password.utf16(), SEAL, &file]);
    file.extend(seal.as_ref());
    of_bearable_size(file)
}

/// Sun's EncryptedPrivateKeyInfo: salt, key under a stream of hashes, hash of the key.
fn encrypted(pkcs8: &[u8], password: &Password, salt: &[u8]) -> Vec<u8> {
    let password = password.utf16();
    let mut sealed = salt.to_vec();
    let mut link = Zeroizing::new(salt.to_vec());
    for block in pkcs8.chunks(SALT) {
        link = Zeroizing::new(sha1(&[&password, &link]).as_ref().to_vec());
        sealed.extend(block.iter().zip(link.iter()).map(|(plain, pad)| plain ^ pad));
    }
    sealed.extend(sha1(&[&password, pkcs8]).as_ref());
    key_info(&sealed)
}

fn key_info(sealed: &[u8]) -> Vec<u8> {
    yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_sequence(|writer| {
                writer.next().write_oid(&ObjectIdentifier::from_slice(KEY_PROTECTOR));
                writer.next().write_null();
            });
            writer.next().write_bytes(sealed);
        });
    })
}

fn sha1(parts: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    parts.iter().for_each(|part| context.update(part));
    context.finish()
}

/// When the first entry was made; all have the same date.
fn date_of(file: &[u8]) -> Option<i64> {
    let date = after_alias(file)?.first_chunk()?;
    Some(i64::from_be_bytes(*date))
}

/// The salt of the key in the first entry.
fn salt_of(file: &[u8]) -> Option<&[u8]> {
    const DATE: usize = 8;
    let (length, rest) = after_alias(file)?.get(DATE..)?.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let [_, sealed] = der::exactly(rest.get(..length)?)?;
    der::contents(sealed)?.get(..SALT)
}

/// Behind the alias of the first entry.
fn after_alias(file: &[u8]) -> Option<&[u8]> {
    const TAG: usize = 4;
    let (length, rest) = file.get(HEADER + TAG..)?.split_first_chunk()?;
    rest.get(usize::from(u16::from_be_bytes(*length))..)
}
