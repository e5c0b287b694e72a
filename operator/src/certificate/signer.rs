//! What becomes of a certificate whose authority was replaced: it is issued again, authorities at
//! once, leaves one after the other; pure but for looking up who signs now.

use std::time::Duration;

use countersign_crds::{Certificate, IssuerStatus};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use super::observe::{IssuerState, readiness};
use super::reference::IssuerId;
use super::renewal::share_of;
use crate::context::Context;

/// The authority that signs now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Which one it is.
    pub fingerprint: String,
    /// Since when it signs.
    pub since: Timestamp,
    /// Over how long what another one signed is issued again.
    pub spread: Duration,
}

impl Signer {
    /// The authority of the issuer that a Certificate names, where it is one of ours, has one, and
    /// can sign.
    #[must_use]
    pub fn of(context: &Context, certificate: &Certificate) -> Option<Self> {
        let id = IssuerId::of(&certificate.spec.issuer_ref);
        let namespace = certificate.namespace()?;
        if !id.is_ours() || certificate.spec.issuer_ref.is_absent() {
            return None;
        }
        let (secret, status) = if id.is_cluster_wide() {
            let found = context.seen.cluster_issuers.get(&ObjectRef::new(&id.name))?;
            let home = context.settings.cluster_resource_namespace.clone();
            ((home, found.spec.ca.as_ref()?.secret_name.clone()), found.status.clone()?)
        } else {
            let found = context.seen.issuers.get(&ObjectRef::new(&id.name).within(&namespace))?;
            ((namespace, found.spec.ca.as_ref()?.secret_name.clone()), found.status.clone()?)
        };
        let many = context.seen.certificates.len();
        let spread = paced(many, context.settings.reissue_spread.into());
        told(&status, context.authorities.fingerprint(&secret).as_deref(), spread)
    }

    /// When a certificate is issued again that another authority signed; `None` where it was this
    /// one. Authorities come first: what they signed is issued again after them.
    #[must_use]
    pub fn reissues_at(
        &self,
        certificate: &Certificate,
        signed_by: Option<&str>,
    ) -> Option<Timestamp> {
        if signed_by == Some(self.fingerprint.as_str()) {
            return None;
        }
        if certificate.spec.is_ca == Some(true) {
            return Some(self.since);
        }
        let uid = certificate.metadata.uid.as_deref().unwrap_or_default();
        let spread = SignedDuration::try_from(self.spread).unwrap_or(SignedDuration::ZERO);
        let later = SignedDuration::from_secs((spread * i32::from(share_of(uid)) / 1000).as_secs());
        Some(self.since.checked_add(later).unwrap_or(self.since))
    }
}

/// So much time for each Certificate that there is: some thirty a second are issued again.
const PACE: Duration = Duration::from_millis(30);

/// Over how long leaves are issued again: a handful at once, very many within the longest time.
fn paced(many: usize, longest: Duration) -> Duration {
    let many = u32::try_from(many).unwrap_or(u32::MAX);
    PACE.checked_mul(many).map_or(longest, |time| time.min(longest))
}

/// What an issuer's status tells, unless another authority was read meanwhile: it then tells of
/// that one soon, and what is signed until then must not be taken for old.
fn told(status: &IssuerStatus, read_last: Option<&str>, spread: Duration) -> Option<Signer> {
    let fingerprint = status.authority.clone()?;
    let since = status.authority_since.as_ref()?.0;
    let is_told_of = read_last.is_none_or(|read_last| read_last == fingerprint);
    let is_ready = readiness(&status.conditions) == IssuerState::Ready;
    (is_told_of && is_ready).then_some(Signer { fingerprint, since, spread })
}

#[cfg(test)]
mod tests {
    use countersign_crds::{Condition, ConditionStatus};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::certificate::support::{CertificateProse, certificate, minutes, now};

    const MINUTE: Duration = Duration::from_secs(60);

    fn signer() -> Signer {
        Signer { fingerprint: "new".to_owned(), since: now(), spread: MINUTE }
    }

    #[test]
    fn what_another_authority_signed_is_issued_again_authorities_first() {
        let web = certificate("web");
        let authority = certificate("web").with(|spec| spec.is_ca = Some(true));
        assert_eq!(signer().reissues_at(&web, Some("new")), None);
        assert_eq!(signer().reissues_at(&authority, Some("old")), Some(now()));
        for signed_by in [Some("old"), None] {
            let at = signer().reissues_at(&web, signed_by).unwrap();
            assert!(now() <= at && at < now() + minutes(1), "{at}");
            assert_eq!(signer().reissues_at(&web, signed_by), Some(at), "always the same");
        }
    }

    #[test]
    fn few_need_not_wait_for_as_long_as_many() {
        let longest = MINUTE * 5;
        let cases = [(0, 0), (1, 30), (100, 3_000), (10_000, 300_000), (usize::MAX, 300_000)];
        for (many, milliseconds) in cases {
            let expected = Duration::from_millis(milliseconds);
            assert_eq!(paced(many, longest), expected, "{many}");
        }
        assert_eq!(paced(10_000, Duration::ZERO), Duration::ZERO, "nobody wants to wait");
    }

    #[test]
    fn leaves_are_issued_again_one_after_the_other() {
        let at = |number: i32| signer().reissues_at(&certificate(&format!("web-{number}")), None);
        let mut quarters = [0; 4];
        for number in 0..1000 {
            let after = at(number).unwrap().duration_since(now()).as_secs();
            quarters[usize::try_from(after / 15).unwrap()] += 1;
        }
        assert!(quarters.iter().all(|count| (200..300).contains(count)), "{quarters:?}");
    }

    #[test]
    fn an_issuer_tells_who_signs_only_while_it_knows() {
        let status = |ready: ConditionStatus| IssuerStatus {
            ca_chain: None,
            conditions: vec![Condition {
                type_: "Ready".to_owned(),
                status: ready,
                last_transition_time: None,
                reason: None,
                message: None,
                observed_generation: None,
            }],
            authority: Some("new".to_owned()),
            authority_since: Some(Time(now())),
            not_after: None,
        };
        let cases = [
            ("nothing was read yet", status(ConditionStatus::True), None, true),
            ("the same was read", status(ConditionStatus::True), Some("new"), true),
            ("another was read since", status(ConditionStatus::True), Some("newer"), false),
            ("it cannot sign", status(ConditionStatus::False), Some("new"), false),
            ("it tells nothing", IssuerStatus::default(), None, false),
        ];
        for (what, status, read_last, expected) in cases {
            assert_eq!(told(&status, read_last, MINUTE), expected.then(signer), "{what}");
        }
    }
}
