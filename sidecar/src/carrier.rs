//! How an inbound connection is carried, and whether the policy of the moment would still have it carried
//! so; pure.
//!
//! That is chosen once, when the connection opens. A client that opened one under an older policy could
//! otherwise speak for itself where the application by now trusts what the sidecar tells it.

use countersign_contract::Ending;
use countersign_contract::policy::{Mode, PortPolicy, ProxyProtocol};

/// How a connection is carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CarriedAs {
    /// Whether the sidecar made the TLS handshake.
    pub(crate) has_tls: bool,
    /// Whether the client presented a certificate.
    pub(crate) has_peer: bool,
    /// Whether requests are read, and their caller is named in each.
    pub(crate) reads_http: bool,
    /// The header that the application was sent first.
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
}

impl CarriedAs {
    /// What a connection of a port with this policy is carried by.
    pub(crate) fn new(policy: &PortPolicy, has_tls: bool, has_peer: bool) -> Self {
        let (reads_http, proxy_protocol) = (policy.forwarded_client_cert, policy.proxy_protocol);
        Self { has_tls, has_peer, reads_http, proxy_protocol }
    }

    /// Why a connection that is carried so may not go on under this policy.
    pub(crate) fn refused_by(self, policy: &PortPolicy) -> Option<Ending> {
        let same_claims = self.reads_http == policy.forwarded_client_cert
            && self.proxy_protocol == policy.proxy_protocol;
        let same_mode = match policy.mode {
            Mode::Mutual => self.has_peer,
            Mode::Server => self.has_tls,
            Mode::Permissive | Mode::Off => true,
        };
        (!same_claims || !same_mode).then_some(Ending::PolicyChanged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_carried_otherwise_than_the_policy_now_says_is_refused() {
        let policy = |mode, forwarded_client_cert, proxy_protocol| PortPolicy {
            mode,
            forwarded_client_cert,
            proxy_protocol,
            ..PortPolicy::default()
        };
        let v2 = Some(ProxyProtocol::V2);
        let mutual = policy(Mode::Mutual, false, None);
        let cases = [
            (CarriedAs::new(&mutual, true, true), mutual.clone(), false),
            (CarriedAs::new(&mutual, true, true), policy(Mode::Mutual, true, None), true),
            (CarriedAs::new(&mutual, true, true), policy(Mode::Mutual, false, v2), true),
            // One with a certificate is what every mode admits.
            (CarriedAs::new(&mutual, true, true), policy(Mode::Server, false, None), false),
            (CarriedAs::new(&mutual, true, true), policy(Mode::Off, false, None), false),
            (CarriedAs::new(&policy(Mode::Mutual, true, None), true, true), mutual.clone(), true),
            (CarriedAs::new(&policy(Mode::Mutual, false, v2), true, true), mutual.clone(), true),
            // One without is not, whether or not anything is allowed by name.
            (CarriedAs::new(&policy(Mode::Server, false, None), true, false), mutual.clone(), true),
            (CarriedAs::new(&policy(Mode::Off, false, None), false, false), mutual.clone(), true),
            (
                CarriedAs::new(&policy(Mode::Permissive, false, None), false, false),
                policy(Mode::Server, false, None),
                true,
            ),
            (
                CarriedAs::new(&policy(Mode::Permissive, false, None), false, false),
                policy(Mode::Off, false, None),
                false,
            ),
        ];
        for (carrier, policy, refused) in cases {
            assert_eq!(carrier.refused_by(&policy).is_some(), refused, "{carrier:?} {policy:?}");
        }
    }
}
