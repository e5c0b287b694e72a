//! PKCS#12 (RFC 7292), in the profiles that cert-manager offers.
//!
//! ```text
//! file: version 3, safes, MAC over the safes
//! safes:  certificates, encrypted together   |  the key, encrypted by itself (not in trust stores)
//! ```

mod bags;
mod encryption;
mod kdf;
mod mac;
mod salts;

#[cfg(test)]
mod tests;

use rustls_pki_types::CertificateDer;

use encryption::Encryption;
use mac::Mac;
use salts::Salts;

use super::{KeyEntry, KeystoreError, MAX_BYTES, Password, named, of_bearable_size};
use crate::der::written_sequence;

/// Which algorithms a file is made with. The names are those of cert-manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// RC2 of 40 bits for the certificates, Triple DES for the key, SHA-1: the default of
    /// cert-manager. OpenSSL 3 reads it only when asked to.
    #[default]
    LegacyRc2,
    /// Triple DES for both, SHA-1: read by nearly everything.
    LegacyDes,
    /// AES-256 and SHA-256: read by OpenSSL 1.1.1 and Java 12 and what came later.
    Modern2023,
    /// The same with PBMAC1 (RFC 9579), for FIPS: read by OpenSSL 3.4 and Java 26.
    Modern2026,
}

impl Profile {
    fn for_certificates(self) -> Encryption {
        match self {
            Self::LegacyRc2 => Encryption::Rc2,
            Self::LegacyDes => Encryption::TripleDes,
            Self::Modern2023 | Self::Modern2026 => Encryption::Aes,
        }
    }

    fn for_key(self) -> Encryption {
        match self {
            Self::LegacyRc2 | Self::LegacyDes => Encryption::TripleDes,
            Self::Modern2023 | Self::Modern2026 => Encryption::Aes,
        }
    }

    fn mac(self) -> Mac {
        match self {
            Self::LegacyRc2 | Self::LegacyDes => Mac::Sha1,
            Self::Modern2023 => Mac::Sha256,
            Self::Modern2026 => Mac::Pbmac1,
        }
    }
}

/// `keystore.p12`: the key, its chain, and the authorities as the end of the chain.
pub fn pkcs12(
    profile: Profile,
    entry: &KeyEntry<'_>,
    password: &Password,
) -> Result<Vec<u8>, KeystoreError> {
    write_keystore(profile, entry, password, &Salts::random(profile)?)
}

/// `truststore.p12`: the authorities, each marked as one that Java trusts.
pub fn pkcs12_truststore(
    profile: Profile,
    authorities: &[CertificateDer<'static>],
    password: &Password,
) -> Result<Vec<u8>, KeystoreError> {
    write_truststore(profile, authorities, password, &Salts::random(profile)?)
}

/// True if `file` is what `pkcs12` wrote for the same profile, entry and password.
pub fn pkcs12_is_current(
    file: &[u8],
    profile: Profile,
    entry: &KeyEntry<'_>,
    password: &Password,
) -> bool {
    let written = || {
        let salts = Salts::of_keystore(profile, file)?;
        write_keystore(profile, entry, password, &salts).ok()
    };
    file.len() <= MAX_BYTES && written().is_some_and(|written| written == file)
}

/// True if `file` is what `pkcs12_truststore` wrote for the same profile, authorities and password.
pub fn pkcs12_truststore_is_current(
    file: &[u8],
    profile: Profile,
    authorities: &[CertificateDer<'static>],
    password: &Password,
) -> bool {
    let written = || {
        let salts = Salts::of_truststore(profile, file)?;
        write_truststore(profile, authorities, password, &salts).ok()
    };
    file.len() <= MAX_BYTES && written().is_some_and(|written| written == file)
}

fn write_keystore(
    profile: Profile,
    entry: &KeyEntry<'_>,
    password: &Password,
    salts: &Salts,
) -> Result<Vec<u8>, KeystoreError> {
    let leaf = entry.leaf()?;
    // Programs find the certificate of a key by an attribute that both have.
    let id = [bags::local_key_id(leaf)];
    let mut certificates = vec![bags::certificate_bag(leaf, &id)];
    let missing = |authority: &&_| !entry.chain.contains(authority);
    let above = entry.chain.iter().skip(1).chain(entry.authorities.iter().filter(missing));
    certificates.extend(above.map(|certificate| bags::certificate_bag(certificate, &[])));
    let certificates = encrypted_certificates(profile, &certificates, password, salts)?;
    let key = profile.for_key().encrypt(&entry.key.pkcs8()?, password, &salts.key)?;
    file(profile, &[certificates, bags::key_safe(&key, &id)], password, salts)
}

fn write_truststore(
    profile: Profile,
    authorities: &[CertificateDer<'static>],
    password: &Password,
    salts: &Salts,
) -> Result<Vec<u8>, KeystoreError> {
    if authorities.is_empty() {
        return Err(KeystoreError::NoCertificate);
    }
    let bags: Vec<_> =
        named(authorities).map(|(name, authority)| bags::trusted_bag(&name, authority)).collect();
    let certificates = encrypted_certificates(profile, &bags, password, salts)?;
    file(profile, &[certificates], password, salts)
}

fn encrypted_certificates(
    profile: Profile,
    bags: &[Vec<u8>],
    password: &Password,
    salts: &Salts,
) -> Result<Vec<u8>, KeystoreError> {
    let encryption = profile.for_certificates();
    let encrypted = encryption.encrypt(&bags::all(bags), password, &salts.certificates)?;
    Ok(bags::encrypted_safe(&encrypted))
}

fn file(
    profile: Profile,
    safes: &[Vec<u8>],
    password: &Password,
    salts: &Salts,
) -> Result<Vec<u8>, KeystoreError> {
    let safes = bags::all(safes);
    let mac = profile.mac().over(&safes, password, &salts.mac);
    of_bearable_size(written_sequence(|writer| {
        writer.next().write_u32(3);
        writer.next().write_der(&bags::data(&safes));
        writer.next().write_der(&mac);
    }))
}
