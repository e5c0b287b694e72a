//! Certificates, signed.

use jiff::Timestamp;
use rcgen::{CertificateParams, KeyIdMethod, PublicKeyData, SubjectPublicKeyInfo};
use rustls_pki_types::CertificateDer;

use super::chain::Authority;
use super::compose::{self, ComposeError};
use super::csr::accepted_key;
use super::key::{PrivateKey, Unsigned};
use super::permits::NameForbidden;
use super::signature::SignatureAlgorithm;
use super::template::Template;
use super::{der, name};

/// Why a certificate was not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// It cannot be written.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// The public key is none, or too weak.
    #[error(
        "the public key is neither RSA (2048 to 8192 bits), ECDSA (P-256, P-384, P-521) nor Ed25519"
    )]
    UnsupportedKey,
    /// It would be valid when its authority no longer is.
    #[error(
        "valid until {not_after}, it would outlive its authority, which is valid until {authority}"
    )]
    OutlivesAuthority {
        /// The end of the certificate.
        not_after: Timestamp,
        /// The end of the authority.
        authority: Timestamp,
    },
    /// It would be over before it begins.
    #[error("it would be valid until {not_after}, and not before {not_before}")]
    NeverValid {
        /// Its beginning.
        not_before: Timestamp,
        /// Its end.
        not_after: Timestamp,
    },
    /// The machine gave no random bytes.
    #[error("the machine gave no random bytes")]
    NoRandomness,
    /// What was made to sign cannot.
    #[error("the authority that was made cannot sign")]
    NotAnAuthority,
    /// An authority is asked for, and none may follow below this one.
    #[error("the authority may sign leaves only: its path length allows no authority below it")]
    PathTooLong,
    /// More authorities would be allowed below it than its own authority allows.
    #[error(
        "a path length of {asked} is asked for, and the authority's own path length allows {most} at most: ask for {most} or less"
    )]
    PathLongerThanAuthority {
        /// What is asked for.
        asked: u8,
        /// The most that the authority may grant.
        most: u32,
    },
    /// The authority, or one above it, may not put its name to such a name.
    #[error(transparent)]
    Forbidden(#[from] NameForbidden),
}

/// A certificate signed with its own key.
pub fn self_sign(
    template: &Template,
    key: &PrivateKey,
) -> Result<CertificateDer<'static>, SignError> {
    let subject = subject_der(template);
    let key_id = KeyIdMethod::Sha256;
    let algorithm = compose::signature_algorithm(template.signature_algorithm, key)?;
    signed(template, &Unsigned(key), Issuer { name: &subject, key_id, key, algorithm })
}

/// A certificate for a public key (a DER SubjectPublicKeyInfo), signed by an authority.
///
/// The authority's own limits are held here, whatever the caller has checked: it is never
/// outlived, no authority follows below where its path length forbids it, and no name is signed that
/// its name constraints forbid.
pub fn sign(
    template: &Template,
    public_key_spki: &[u8],
    authority: &Authority,
) -> Result<CertificateDer<'static>, SignError> {
    let Ok(_) = accepted_key(public_key_spki) else { return Err(SignError::UnsupportedKey) };
    let public_key = SubjectPublicKeyInfo::from_der(public_key_spki).map_err(ComposeError::from)?;
    let path_len = path_len(template, authority)?;
    let not_after = template.validity.not_after;
    if not_after > authority.not_after() {
        return Err(SignError::OutlivesAuthority { not_after, authority: authority.not_after() });
    }
    authority.permits_subject(&template.request, &subject_der(template))?;
    let certificate = authority.certificate();
    let key_id = match &certificate.subject_key_id {
        Some(id) => KeyIdMethod::PreSpecified(id.clone()),
        None => KeyIdMethod::Sha256,
    };
    let key = authority.key();
    let algorithm = SignatureAlgorithm::natural(key.algorithm());
    let issuer = Issuer { name: &certificate.subject_der, key_id, key, algorithm };
    signed(&Template { path_len, ..template.clone() }, &public_key, issuer)
}

/// What is asked for. An authority with a limit grants one less than its own at most, and writes that
/// where nothing is asked for: a verifier with this certificate alone sees no other limit.
fn path_len(template: &Template, authority: &Authority) -> Result<Option<u8>, SignError> {
    let asked = template.path_len.or(template.request.path_len);
    let Some(own) = authority.path_len().filter(|_| template.request.is_ca) else {
        return Ok(asked);
    };
    let most = own.checked_sub(1).ok_or(SignError::PathTooLong)?;
    match asked {
        Some(asked) if u32::from(asked) > most => {
            Err(SignError::PathLongerThanAuthority { asked, most })
        }
        Some(asked) => Ok(Some(asked)),
        None => Ok(Some(u8::try_from(most).unwrap_or(u8::MAX))),
    }
}

struct Issuer<'a> {
    name: &'a [u8],
    key_id: KeyIdMethod,
    key: &'a PrivateKey,
    algorithm: SignatureAlgorithm,
}

fn signed(
    template: &Template,
    public_key: &impl PublicKeyData,
    issuer: Issuer<'_>,
) -> Result<CertificateDer<'static>, SignError> {
    let (not_before, not_after) = (template.validity.not_before, template.validity.not_after);
    if not_after <= not_before {
        return Err(SignError::NeverValid { not_before, not_after });
    }
    let subject = subject_der(template);
    let params = compose::certificate(template, &subject)?;
    let mut issuer_params = CertificateParams::default();
    issuer_params.key_identifier_method = issuer.key_id;
    let signer = rcgen::Issuer::from_params(&issuer_params, Unsigned(issuer.key));
    let unsigned = params.signed_by(public_key, &signer).map_err(ComposeError::from)?;
    // Version, serial, algorithm, issuer, validity, subject, key, extensions.
    let algorithm = issuer.algorithm.identifier();
    let ours = [(2, algorithm.as_slice()), (3, issuer.name), (5, subject.as_slice())];
    let der = der::resigned(unsigned.der(), &ours, issuer.key, issuer.algorithm);
    Ok(CertificateDer::from(der.map_err(ComposeError::from)?))
}

fn subject_der(template: &Template) -> Vec<u8> {
    template.subject_der.clone().unwrap_or_else(|| name::subject_der(&template.request))
}
