//! How a connection ended that was admitted: one name each, the same in the access log, in the
//! metric's label and in the documentation.

use crate::refusal::names;

names! {
    /// How a connection ended over which bytes could pass.
    Ending {
        /// Both ends said that they were done.
        Closed => "closed",
        /// The peer's stream ended without its close_notify: somebody in between may have cut it.
        Truncated => "truncated",
        /// The peer reset the connection.
        PeerReset => "peer_reset",
        /// The application reset the connection, or ended in the middle of an answer.
        AppReset => "app_reset",
        /// The peer did not acknowledge what it was sent, or answer when it was asked.
        Unreachable => "unreachable",
        /// The peer broke the TLS protocol, or what it sent was changed on its way.
        TlsProtocol => "tls_protocol",
        /// The client broke HTTP, on a port whose requests are looked at.
        HttpProtocol => "http_protocol",
        /// The peer ended with a TLS alert.
        PeerAlert => "peer_alert",
        /// Nothing passed for too long.
        IdleTimeout => "idle_timeout",
        /// One end was done, and nothing came from the other for too long.
        HalfClosedTimeout => "half_closed_timeout",
        /// One end did not read what was waiting for it.
        Stalled => "stalled",
        /// The peer's certificate, or one above it, expired.
        PeerExpired => "peer_expired",
        /// The roots or the revocation list changed, and the peer's chain verifies no longer.
        PeerUntrusted => "peer_untrusted",
        /// The policy changed, and does not allow the peer any longer.
        PeerNotAllowed => "peer_not_allowed",
        /// The policy changed, and has the port carried in another way.
        PolicyChanged => "policy_changed",
        /// The policy changed, and has the application call nobody who is not in the mesh.
        UnmeshedNotAllowed => "unmeshed_not_allowed",
        /// The sidecar was told to end, and the drain was over.
        Drained => "drained",
        /// The system refused to read or write.
        Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_is_documented() {
        let documentation = include_str!("../../docs/refusals.md");
        for ending in Ending::ALL {
            assert!(documentation.contains(&format!("| `{ending}` |")), "{ending} is not");
        }
    }
}
