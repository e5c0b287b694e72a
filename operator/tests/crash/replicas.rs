//! Two replicas, of which one holds the Lease.

use crate::history::History;
use crate::issuance::First;
use crate::judge::Outcome;
use crate::operator::Seat;
use crate::proxy::{Counted, Fault, When};
use crate::scenario::{PATIENCE, Scenario, play};
use crate::space::Space;
use crate::world::World;

/// The leader is killed once the Secret is written; the other waits until nobody renews the Lease,
/// and writes what is missing.
pub(crate) async fn the_other_replica_takes_over(world: &World) {
    let calm = play(world, "two replicas in peace", First, None).await;
    let space = Space::new(world, "two replicas", true).await;
    space.seat.start_with(&["--pod-name=one"]).await;
    First.prepare(&space).await;
    let other = Seat::new(world, &format!("{}-other", space.name), Some(space.name.clone())).await;
    other.start_with(&["--pod-name=two"]).await;
    let fault = Fault { at: 1, of: Counted::Writes, when: When::After };
    space.seat.proxy.count(Some(fault));
    First.begin(&space).await;
    space.seat.proxy.killed().await;
    let step = space.seat.proxy.killed_at();
    assert!(step.as_ref().is_some_and(|it| it.path.ends_with("/secrets/web")), "{step:?}");
    let is_done = |seen: &History| First.is_done(seen);
    assert!(!is_done(&space.history), "the status is not written");
    let steps = other.proxy.steps().into_iter();
    // The webhook, which every replica serves, reads once where the API server is.
    let steps: Vec<_> = steps.filter(|it| !it.path.ends_with("/services/kubernetes")).collect();
    assert_eq!(steps, [], "a replica that does not lead does nothing");
    let done = tokio::time::timeout(PATIENCE, space.history.until(is_done)).await;
    done.unwrap_or_else(|_| panic!("never done ({})", other.log.display()));
    space.is_seen_to_the_end().await;
    assert_eq!(Outcome::of(&space), Ok(calm.outcome));
    space.seat.proxy.stop();
    other.proxy.stop();
}
