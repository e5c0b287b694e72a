//! An authority that nobody trusts, for certificates that only hold the place of better ones.

use std::time::Duration;

use jiff::Timestamp;

use super::chain::Authority;
use super::compose::ComposeError;
use super::key::{KeyAlgorithm, KeyEncoding, generate_key};
use super::pem::certificates_to_pem;
use super::sign::{SignError, self_sign};
use super::template::{BACKDATE, Request, Template, clamp_lifetime};

/// Makes an authority of its own; its key is gone with it.
pub fn throw_away_authority(now: Timestamp, lifetime: Duration) -> Result<Authority, SignError> {
    let failed = |error| SignError::Compose(ComposeError::Key(error));
    let key = generate_key(KeyAlgorithm::EcdsaP256).map_err(failed)?;
    let common_name = Some("countersign.local".to_owned());
    let request = Request { common_name, is_ca: true, ..Request::default() };
    let validity = clamp_lifetime(now, lifetime, BACKDATE, None);
    let template = Template::new(request, validity).map_err(|_| SignError::NoRandomness)?;
    let certificate = certificates_to_pem([&self_sign(&template, &key)?]);
    let pem = key.to_pem(KeyEncoding::Pkcs8).map_err(failed)?;
    let made = Authority::from_pems(certificate.as_bytes(), pem.expose().as_bytes(), None);
    made.map_err(|_| SignError::NotAnAuthority)
}
