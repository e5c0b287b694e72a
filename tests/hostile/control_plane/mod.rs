//! Attackers against the operator on a real API server. Each finding of a review is a test that failed
//! before its fix; docs/threat-model.md names threat, control and test side by side.

mod addresses;
mod admission;
mod approvals;
mod certificates;
mod identity;
mod inputs;
mod leader;
mod private_keys;
mod rights;
mod webhook;

use std::sync::Arc;

use libtest_mimic::Trial;

use crate::world::World;

/// Every attacker's tests.
pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    let areas = [
        addresses::trials(world),
        admission::trials(world),
        approvals::trials(world),
        certificates::trials(world),
        identity::trials(world),
        inputs::trials(world),
        leader::trials(world),
        private_keys::trials(world),
        rights::trials(world),
        webhook::trials(world),
    ];
    areas.into_iter().flatten().collect()
}
