//! Which part of the operator a process is. Whatever listens to pods holds no right to Secrets, and
//! whatever signs listens to no pod.

use crate::leader::{CONTROLLER_LEASE, FRONT_LEASE};

/// Which part of the operator a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Issues certificates: Certificates, requests, issuers, identities, caBundles. It serves health and
    /// metrics only.
    Controller,
    /// Serves the webhook and discovery, publishes AccessPolicies, finds pods without the sidecar. It
    /// reads its own credentials from files.
    Front,
    /// Both in one process, which reads its own credentials from Secrets: for tests and small set-ups.
    All,
}

impl Role {
    /// Whether it issues certificates.
    #[must_use]
    pub fn issues(self) -> bool {
        self != Self::Front
    }

    /// Whether it serves pods and the webhook.
    #[must_use]
    pub fn serves(self) -> bool {
        self != Self::Controller
    }

    /// The word for it on the command line and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Front => "front",
            Self::All => "all",
        }
    }

    /// The Lease that its replicas share. One process that is both excludes the controllers of an
    /// installation, as it does while that is upgraded.
    #[must_use]
    pub fn lease(self) -> &'static str {
        if self == Self::Front { FRONT_LEASE } else { CONTROLLER_LEASE }
    }
}
