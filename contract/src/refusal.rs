//! Why a connection was refused: one name each, the same in the log, in the metric's label and in
//! the documentation.

/// An enumeration whose variants have stable names, snake case.
macro_rules! names {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// All of them, for documentation and for metrics that start at zero.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable name, snake case.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use names;

names! {
    /// A reason for which the sidecar refuses or ends a connection before any byte passed.
    Refusal {
        /// We have no valid credentials of our own, so that no handshake can be made.
        NoCredentials => "no_credentials",
        /// The client sent nothing, or not a whole ClientHello, before the deadline.
        FirstByteTimeout => "first_byte_timeout",
        /// The client spoke something that is not TLS.
        Plaintext => "plaintext",
        /// The handshake did not end before its deadline.
        HandshakeTimeout => "handshake_timeout",
        /// The peer ended the handshake, or broke off in the middle of it.
        HandshakeAborted => "handshake_aborted",
        /// The two sides share no protocol version, cipher suite or group.
        TlsIncompatible => "tls_incompatible",
        /// The peer broke the TLS protocol.
        TlsProtocol => "tls_protocol",
        /// The client presented no certificate.
        NoClientCertificate => "no_client_certificate",
        /// The peer's chain does not end at one of our roots.
        PeerUntrusted => "peer_untrusted",
        /// The peer's certificate, or one above it, has expired.
        PeerExpired => "peer_expired",
        /// The peer's certificate, or one above it, is not valid yet.
        PeerNotYetValid => "peer_not_yet_valid",
        /// The peer's certificate is malformed, or not meant for this use.
        PeerInvalid => "peer_invalid",
        /// The peer's certificate, or one above it, was revoked.
        PeerRevoked => "peer_revoked",
        /// Our revocation list of the peer's authority is past its next update.
        RevocationUnknown => "revocation_unknown",
        /// The server that answered is trusted, but is not the one that was expected.
        PeerUnexpected => "peer_unexpected",
        /// The peer proved who it is, and the policy does not allow it.
        PeerNotAllowed => "peer_not_allowed",
        /// The peer refused us: it sent a TLS alert that says so.
        RefusedByPeer => "refused_by_peer",
        /// The connection was made to the sidecar's own port and not redirected to it.
        NoOriginalDestination => "no_original_destination",
        /// The connection was redirected here, and its destination is no address of this pod that
        /// callers from outside may reach.
        ForeignDestination => "foreign_destination",
        /// The application, or the upstream, did not accept the connection.
        DialFailed => "dial_failed",
        /// The application, or the upstream, did not answer before the deadline.
        DialTimeout => "dial_timeout",
        /// The upstream's name could not be resolved.
        ResolveFailed => "resolve_failed",
        /// It is not known who is behind the address that the application calls, and the operator
        /// did not say so in time.
        DestinationUnknown => "destination_unknown",
        /// Nobody answers for the Service that the application calls.
        NoEndpoints => "no_endpoints",
        /// The policy has the application call nobody who is not in the mesh.
        UnmeshedNotAllowed => "unmeshed_not_allowed",
        /// Too many connections are open, of one source or in all, or too many handshakes at once.
        Overloaded => "overloaded",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let mut names: Vec<_> = Refusal::ALL.iter().map(|reason| reason.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Refusal::ALL.len());
    }
    #[test]
    fn every_reason_is_documented() {
        let documentation = include_str!("../../docs/refusals.md");
        for reason in Refusal::ALL {
            assert!(documentation.contains(&format!("| `{reason}` |")), "{reason} is not");
        }
    }
}
