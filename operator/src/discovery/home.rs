//! The addresses of discovery's own Service, for sidecars whose pods cannot resolve its name. They are
//! a way to reach the operator, and no proof: sidecars check its identity.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

/// The cluster IPs of the Service; none until the watch has it.
#[derive(Clone, Debug, Default)]
pub struct HomeAddresses(Arc<RwLock<Box<[IpAddr]>>>);

impl HomeAddresses {
    /// What they are now.
    #[must_use]
    pub fn get(&self) -> Box<[IpAddr]> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn note(&self, now: Option<&[IpAddr]>) {
        let now = now.unwrap_or_default().into();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = now;
    }
}
