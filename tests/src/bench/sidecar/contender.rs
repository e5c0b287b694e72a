//! Who is measured.

use std::fmt;

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Contender {
    Countersign,
    Envoy,
    HaProxy,
    Nginx,
    Stunnel,
    Ghostunnel,
    /// The cryptography alone, in memory: nobody can be below.
    Floor,
}

impl Contender {
    pub(super) const ALL: [Self; 7] = [
        Self::Countersign,
        Self::Envoy,
        Self::HaProxy,
        Self::Nginx,
        Self::Stunnel,
        Self::Ghostunnel,
        Self::Floor,
    ];

    pub(super) fn is_peer(self) -> bool {
        !matches!(self, Self::Countersign | Self::Floor)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Countersign => "countersign",
            Self::Envoy => "Envoy",
            Self::HaProxy => "HAProxy",
            Self::Nginx => "nginx",
            Self::Stunnel => "stunnel",
            Self::Ghostunnel => "ghostunnel",
            Self::Floor => "floor",
        }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
