//! A holder of certificate rights, and a malicious external issuer.

use std::sync::Arc;

use libtest_mimic::Trial;

use crate::world::World;

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    let _ = world;
    Vec::new()
}
