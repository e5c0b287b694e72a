//! How keys and certificates are encrypted.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{AES_256, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::pbkdf2::{PBKDF2_HMAC_SHA256, derive as derive_pbkdf2};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::consts::U8;
use cbc::cipher::{BlockCipherEncrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use des::TdesEde3;
use rc2::Rc2;
use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, DERWriterSeq};
use zeroize::Zeroizing;

use super::kdf::{Hash, Purpose, derive};
use crate::der::written_sequence;
use crate::keystore::{KeystoreError, Password};

/// As many as go-pkcs12 and with it cert-manager have; the strength is in a long password.
pub(super) const ITERATIONS: NonZeroU32 = NonZeroU32::new(2048).unwrap();

const SHA_AND_TRIPLE_DES: &[u64] = &[1, 2, 840, 113549, 1, 12, 1, 3];
const SHA_AND_RC2_40: &[u64] = &[1, 2, 840, 113549, 1, 12, 1, 6];
const PBES2: &[u64] = &[1, 2, 840, 113549, 1, 5, 13];
const PBKDF2: &[u64] = &[1, 2, 840, 113549, 1, 5, 12];
const HMAC_WITH_SHA256: &[u64] = &[1, 2, 840, 113549, 2, 9];
const AES_256_CBC: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 1, 42];

const RC2_40_KEY: usize = 5;
const TRIPLE_DES_KEY: usize = 24;
const SHA256_KEY: usize = 32;
const AES_SALT: usize = 16;
const AES_BLOCK: usize = 16;

#[derive(Clone, Copy)]
pub(super) enum Encryption {
    Rc2,
    TripleDes,
    Aes,
}

/// What is left when the password is forgotten, and how it came about.
pub(super) struct Encrypted {
    /// The AlgorithmIdentifier in DER, with the salt.
    pub(super) algorithm: Vec<u8>,
    pub(super) bytes: Vec<u8>,
}

impl Encryption {
    /// The IV of AES stands in the file, behind the salt; the others make it from the password.
    pub(super) fn salt_length(self) -> usize {
        match self {
            Self::Rc2 | Self::TripleDes => 8,
            Self::Aes => AES_SALT + AES_BLOCK,
        }
    }

    /// Where salt and IV stand, from the parameters of the algorithm.
    pub(super) fn salt_paths(self) -> &'static [&'static [usize]] {
        match self {
            Self::Rc2 | Self::TripleDes => &[&[0]],
            Self::Aes => &[&[0, 1, 0], &[1, 1]],
        }
    }

    pub(super) fn encrypt(
        self,
        plain: &[u8],
        password: &Password,
        salt: &[u8],
    ) -> Result<Encrypted, KeystoreError> {
        let encrypted = match self {
            Self::Rc2 => with_sha1::<Rc2>(SHA_AND_RC2_40, RC2_40_KEY, plain, password, salt),
            Self::TripleDes => {
                with_sha1::<TdesEde3>(SHA_AND_TRIPLE_DES, TRIPLE_DES_KEY, plain, password, salt)
            }
            Self::Aes => with_aes(plain, password, salt),
        };
        encrypted.ok_or(KeystoreError::Encrypting)
    }
}

/// A cipher of blocks of eight bytes, its key and IV made from the password with SHA-1.
fn with_sha1<C: BlockCipherEncrypt<BlockSize = U8> + KeyInit>(
    name: &[u64],
    key_length: usize,
    plain: &[u8],
    password: &Password,
    salt: &[u8],
) -> Option<Encrypted> {
    let made = |purpose, length| derive(Hash::Sha1, purpose, password, salt, ITERATIONS, length);
    let cipher = C::new_from_slice(&made(Purpose::Key, key_length)).ok()?;
    let chain = cbc::Encryptor::inner_iv_slice_init(cipher, &made(Purpose::Iv, 8)).ok()?;
    let algorithm = algorithm(name, |writer| {
        writer.write_sequence(|writer| {
            writer.next().write_bytes(salt);
            writer.next().write_u32(ITERATIONS.get());
        });
    });
    Some(Encrypted { algorithm, bytes: chain.encrypt_padded_vec::<Pkcs7>(plain) })
}

/// PBES2 of PKCS#5.
fn with_aes(plain: &[u8], password: &Password, salt_and_iv: &[u8]) -> Option<Encrypted> {
    let (salt, iv) = salt_and_iv.split_at_checked(AES_SALT)?;
    let key = UnboundCipherKey::new(&AES_256, &pbkdf2(password, salt)).ok()?;
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).ok()?;
    // With room for the padding: what grows leaves a copy behind.
    let mut bytes = Vec::with_capacity(plain.len() + AES_BLOCK);
    bytes.extend(plain);
    let context = EncryptionContext::Iv128(iv.try_into().ok()?);
    key.less_safe_encrypt(&mut bytes, context).ok()?;
    let algorithm = algorithm(PBES2, |writer| {
        writer.write_sequence(|writer| {
            writer.next().write_sequence(|writer| write_pbkdf2(writer, salt, false));
            let aes = |writer: DERWriter<'_>| writer.write_bytes(iv);
            writer.next().write_sequence(|writer| write_algorithm(writer, AES_256_CBC, aes));
        });
    });
    Some(Encrypted { algorithm, bytes })
}

/// A key of AES or of HMAC with SHA-256.
pub(super) fn pbkdf2(password: &Password, salt: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(vec![0; SHA256_KEY]);
    derive_pbkdf2(PBKDF2_HMAC_SHA256, ITERATIONS, salt, password.utf8(), &mut key);
    key
}

/// PBKDF2 as it stands in a file; the length of the key only where it is asked for.
pub(super) fn write_pbkdf2(writer: &mut DERWriterSeq<'_>, salt: &[u8], says_length: bool) {
    write_algorithm(writer, PBKDF2, |writer| {
        writer.write_sequence(|writer| {
            writer.next().write_bytes(salt);
            writer.next().write_u32(ITERATIONS.get());
            if says_length {
                writer.next().write_u8(SHA256_KEY as u8);
            }
            writer.next().write_sequence(write_hmac_sha256);
        });
    });
}

pub(super) fn write_hmac_sha256(writer: &mut DERWriterSeq<'_>) {
    write_algorithm(writer, HMAC_WITH_SHA256, |writer| writer.write_null());
}

fn algorithm(name: &[u64], parameters: impl FnOnce(DERWriter<'_>)) -> Vec<u8> {
    written_sequence(|writer| write_algorithm(writer, name, parameters))
}

pub(super) fn write_algorithm(
    writer: &mut DERWriterSeq<'_>,
    name: &[u64],
    parameters: impl FnOnce(DERWriter<'_>),
) {
    writer.next().write_oid(&ObjectIdentifier::from_slice(name));
    parameters(writer.next());
}
