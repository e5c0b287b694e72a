//! What is asked for, and what is signed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::constraints::NameConstraints;
use super::literal::LiteralSubject;
use super::signature::SignatureAlgorithm;
use super::usage::Usage;

/// Clocks differ: a certificate is valid from this long before it was made.
pub const BACKDATE: Duration = Duration::from_secs(300);

/// No more of a lifetime than one part in so many is over when a certificate is made.
pub const BACKDATED_PART: i32 = 10;

/// The parts of a subject beside its common name. Their order is kept, and means nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name is the field's own")]
pub struct Subject {
    pub organizations: Vec<String>,
    pub countries: Vec<String>,
    pub organizational_units: Vec<String>,
    pub localities: Vec<String>,
    pub provinces: Vec<String>,
    pub street_addresses: Vec<String>,
    pub postal_codes: Vec<String>,
    pub serial_number: Option<String>,
}

/// What a certificate is asked to say, whoever asks: a Certificate's spec or a CSR.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The common name of the subject.
    pub common_name: Option<String>,
    /// The rest of the subject.
    pub subject: Subject,
    /// A whole subject, which stands in place of these two.
    pub literal_subject: Option<LiteralSubject>,
    /// DNS names.
    pub dns_names: Vec<String>,
    /// IP addresses.
    pub ip_addresses: Vec<IpAddr>,
    /// URIs.
    pub uris: Vec<String>,
    /// E-mail addresses.
    pub email_addresses: Vec<String>,
    /// Names of kinds that X.509 itself does not know.
    pub other_names: Vec<OtherName>,
    /// Usages; empty means the default, see `effective_usages`.
    pub usages: Vec<Usage>,
    /// Whether it may sign others.
    pub is_ca: bool,
    /// What names it may sign; for an authority only.
    pub name_constraints: Option<NameConstraints>,
    /// How many authorities may follow below, where that is asked for; for an authority only.
    pub path_len: Option<u8>,
}

/// A name of a kind that has an object identifier, such as the UPN of a Windows account
/// (1.3.6.1.4.1.311.20.2.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OtherName {
    /// The kind, in numbers with dots.
    pub oid: String,
    /// The name.
    pub utf8_value: String,
}

impl Request {
    /// The usages that the certificate will carry, in their canonical form: digital signature and
    /// key encipherment unless others are asked for, and cert sign for an authority.
    pub fn effective_usages(&self) -> BTreeSet<Usage> {
        let default = [Usage::DigitalSignature, Usage::KeyEncipherment];
        let asked = if self.usages.is_empty() { &default[..] } else { &self.usages };
        let authority = self.is_ca.then_some(Usage::CertSign);
        asked.iter().copied().chain(authority).map(Usage::canonical).collect()
    }

    /// The common name that the certificate will have: of the literal subject, if there is one.
    pub fn effective_common_name(&self) -> Option<&str> {
        match &self.literal_subject {
            Some(literal) => literal.common_name(),
            None => self.common_name.as_deref(),
        }
    }

    /// True if nothing would say whose certificate it is.
    pub fn names_nobody(&self) -> bool {
        let names = [&self.dns_names, &self.uris, &self.email_addresses];
        self.effective_common_name().is_none()
            && self.ip_addresses.is_empty()
            && self.other_names.is_empty()
            && names.iter().all(|names| names.is_empty())
    }
}

/// From when until when a certificate is valid, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name is the field's own")]
pub struct Validity {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// Where more is to be found about a certificate; each list may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pointers {
    /// Where its revocation is published (CRL).
    pub crl_distribution_points: Vec<String>,
    /// Who answers whether it is revoked (OCSP).
    pub ocsp_servers: Vec<String>,
    /// Where the certificate of its issuer is.
    pub issuing_certificate_urls: Vec<String>,
}

/// A certificate's own serial number: positive, 16 random bytes (RFC 5280 allows 20).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serial([u8; 16]);

impl Serial {
    /// A new one; with 126 random bits no two are ever the same.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes)?;
        // The first bit is the sign. The second is set so that all have the same length.
        bytes[0] = bytes[0] & 0x3f | 0x40;
        Ok(Self(bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The machine gave no random bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the machine gave no random bytes")]
pub struct NoRandomness;

impl From<aws_lc_rs::error::Unspecified> for NoRandomness {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self
    }
}

/// All that is signed, but for the public key and the issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Names, usages, and whether it is an authority.
    pub request: Request,
    /// The subject as it stood in a CSR (a DER Name); it is used byte for byte in place of the
    /// request's own subject.
    pub subject_der: Option<Vec<u8>>,
    /// How many authorities may follow below; for an authority only. `None` for what the request
    /// asks for. An authority that is itself limited allows one less than its own, at most, and
    /// refuses to sign more.
    pub path_len: Option<u8>,
    /// When it is valid; see `clamp_lifetime`.
    pub validity: Validity,
    /// Its serial number.
    pub serial: Serial,
    /// Where more is to be found.
    pub pointers: Pointers,
    /// How it is signed where it is signed with its own key; an authority signs in the way that is
    /// natural for its own. `None` for what is natural for the key.
    pub signature_algorithm: Option<SignatureAlgorithm>,
}

impl Template {
    /// What is asked for, with a new serial number and nothing beyond.
    pub fn new(request: Request, validity: Validity) -> Result<Self, NoRandomness> {
        let serial = Serial::random()?;
        Ok(Self {
            request,
            subject_der: None,
            path_len: None,
            validity,
            serial,
            pointers: Pointers::default(),
            signature_algorithm: None,
        })
    }
}

/// When a certificate made `now` is valid: for `duration`, from `backdate` earlier, since clocks
/// differ, and never outside the validity of the authority that signs it. It is backdated by a tenth
/// of its lifetime at most, also where its authority cuts it short: it would be old, and due for
/// renewal, as soon as it is made.
pub fn clamp_lifetime(
    now: Timestamp,
    duration: Duration,
    backdate: Duration,
    authority: Option<Validity>,
) -> Validity {
    let now = whole_seconds(now);
    let backdate = seconds(signed(backdate).min(signed(duration) / BACKDATED_PART));
    let begins = |backdate: SignedDuration| {
        let begins = now.saturating_sub(backdate).unwrap_or(now);
        authority.map_or(begins, |authority| begins.max(authority.not_before))
    };
    // From its own beginning on, so that a young authority does not cost it what it is not backdated.
    let ends = begins(backdate).saturating_add(signed(duration)).unwrap_or(now).min(end_of_time());
    let not_after = authority.map_or(ends, |authority| ends.min(authority.not_after));
    let left = not_after.duration_since(now).max(SignedDuration::ZERO);
    let not_before = begins(backdate.min(seconds(left / (BACKDATED_PART - 1))));
    Validity { not_before, not_after }
}

/// jiff adds signed durations without complaint; those of a spec are far below its limit.
fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// A certificate has no fractions of seconds.
fn seconds(duration: SignedDuration) -> SignedDuration {
    SignedDuration::from_secs(duration.as_secs())
}

/// A certificate has no fractions of seconds; leaving them would make it valid too late.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// 9999-12-30: X.509 has no later year, and jiff no later day.
fn end_of_time() -> Timestamp {
    whole_seconds(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const FIVE_MINUTES: Duration = Duration::from_secs(300);

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn between(not_before: &str, not_after: &str) -> Validity {
        Validity { not_before: at(not_before), not_after: at(not_after) }
    }

    #[test]
    fn a_lifetime_is_backdated_and_stays_within_the_authority() {
        let now = at("2026-05-05T12:00:00.75Z");
        let cases = [
            (None, between("2026-05-05T11:55:00Z", "2026-05-05T12:55:00Z")),
            (
                Some(between("2020-01-01T00:00:00Z", "2026-05-05T12:30:00Z")),
                between("2026-05-05T11:56:40Z", "2026-05-05T12:30:00Z"),
            ),
            (
                Some(between("2026-05-05T11:58:00Z", "2036-01-01T00:00:00Z")),
                between("2026-05-05T11:58:00Z", "2026-05-05T12:58:00Z"),
            ),
            (
                Some(between("2026-05-05T12:00:00Z", "2036-01-01T00:00:00Z")),
                between("2026-05-05T12:00:00Z", "2026-05-05T13:00:00Z"),
            ),
            (
                Some(between("2020-01-01T00:00:00Z", "2026-05-05T12:01:00Z")),
                between("2026-05-05T11:59:54Z", "2026-05-05T12:01:00Z"),
            ),
        ];
        for (authority, wanted) in cases {
            assert_eq!(clamp_lifetime(now, HOUR, FIVE_MINUTES, authority), wanted);
        }
    }

    #[test]
    fn a_lifetime_is_what_was_asked_for_and_a_tenth_of_it_backdated_at_most() {
        let now = at("2026-05-05T12:00:00Z");
        for seconds in [60, 299, 300, 600, 2999, 3000, 3333, 86_400, 7_776_000] {
            let duration = Duration::from_secs(seconds);
            let Validity { not_before, not_after } =
                clamp_lifetime(now, duration, FIVE_MINUTES, None);
            let lifetime = not_after.duration_since(not_before);
            assert_eq!(lifetime, SignedDuration::try_from(duration).expect("short"), "{seconds}");
            let backdated = now.duration_since(not_before).as_secs();
            assert_eq!(backdated, i64::try_from(seconds / 10).expect("few").min(300), "{seconds}");
        }
    }

    #[test]
    fn a_lifetime_beyond_the_end_of_time_ends_with_it() {
        let lifetime = clamp_lifetime(at("2026-05-05T12:00:00Z"), Duration::MAX, HOUR, None);
        assert_eq!(lifetime.not_after, at("9999-12-30T22:00:00Z"));
    }

    #[test]
    fn usages_have_a_default_and_an_authority_may_sign() {
        let cases = [
            (vec![], false, "DigitalSignature KeyEncipherment"),
            (vec![], true, "DigitalSignature KeyEncipherment CertSign"),
            (vec![Usage::Signing, Usage::SMime], false, "DigitalSignature EmailProtection"),
            (vec![Usage::CrlSign], true, "CertSign CrlSign"),
        ];
        for (usages, is_ca, wanted) in cases {
            let request = Request { usages, is_ca, ..Request::default() };
            let names: Vec<_> =
                request.effective_usages().iter().map(|usage| format!("{usage:?}")).collect();
            assert_eq!(names.join(" "), wanted);
        }
    }

    #[test]
    fn a_serial_number_is_positive_and_new_each_time() {
        let (one, other) = (Serial::random().expect("random"), Serial::random().expect("random"));
        assert_ne!(one, other);
        assert!((0x40..0x80).contains(&one.as_bytes()[0]));
    }
}
