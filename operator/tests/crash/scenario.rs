//! A scenario is played once in peace, and then once for each request at which the operator can be
//! killed, on either side of it.

use std::time::Duration;

use futures::{StreamExt, stream};

use crate::history::History;
use crate::judge::{Outcome, most_requests};
use crate::proxy::{Counted, Fault, Step, When};
use crate::quiet;
use crate::space::Space;
use crate::world::World;

/// So many are played at once, each with an operator of its own.
const AT_ONCE: usize = 6;

/// Longer than anything here takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Requests beyond those of the peaceful run, which may have had fewer.
const MORE: usize = 2;

/// Something that the operator does in several steps.
pub(crate) trait Scenario: Copy {
    /// What is there before.
    async fn prepare(self, space: &Space);

    /// What somebody does then.
    async fn begin(self, space: &Space);

    /// What others do all the time.
    async fn meanwhile(self, _: &Space) {
        std::future::pending().await
    }

    /// Whether the operator has done it.
    fn is_done(self, seen: &History) -> bool;

    /// What must hold besides.
    fn judge(self, _: &Space) {}
}

/// How a run went.
pub(crate) struct Ran {
    what: String,
    steps: Vec<Step>,
    pub(crate) outcome: Outcome,
    most_requests: usize,
}

/// Kills the operator at each step of a scenario.
pub(crate) async fn at_every_step(world: &World, name: &str, scenario: impl Scenario) {
    let calm = play(world, name, scenario, None).await;
    let runs = faults(&calm.steps).into_iter().map(|it| play(world, name, scenario, Some(it)));
    let mut runs = stream::iter(runs).buffer_unordered(AT_ONCE);
    while let Some(ran) = runs.next().await {
        assert_eq!(ran.outcome, calm.outcome, "{}", ran.what);
        assert!(ran.most_requests <= calm.most_requests + 1, "{}", ran.what);
    }
    quiet::a_restart_writes_nothing(world).await;
}

fn faults(steps: &[Step]) -> Vec<Fault> {
    let writes = steps.iter().filter(|step| step.writes()).count();
    let reads = steps.len() - writes;
    let all = |of, count: usize, when| (1..=count + MORE).map(move |at| Fault { at, of, when });
    // What a read brings changes nothing: who is killed after it could be killed before.
    all(Counted::Reads, reads, When::Before)
        .chain(all(Counted::Writes, writes, When::Before))
        .chain(all(Counted::Writes, writes, When::After))
        .collect()
}

/// Plays a scenario, and kills the operator once, if at all.
pub(crate) async fn play(
    world: &World,
    name: &str,
    scenario: impl Scenario,
    fault: Option<Fault>,
) -> Ran {
    let space = Space::new(world, name, true).await;
    let what = || {
        let (killed, log) = (space.seat.proxy.killed_at(), space.seat.log.display());
        format!("{name}, {fault:?}, killed at {killed:?} ({log})")
    };
    let playing = async {
        tokio::select! {
            steps = to_the_end(&space, scenario, fault) => steps,
            () = scenario.meanwhile(&space) => Vec::new(),
        }
    };
    let Ok(steps) = tokio::time::timeout(PATIENCE, playing).await else {
        let seen = &space.history;
        let (certificates, requests) = (seen.certificates.now(), seen.requests.now());
        panic!("{}: never done: {certificates:?} {requests:?}", what());
    };
    scenario.judge(&space);
    let outcome = Outcome::of(&space).unwrap_or_else(|fault| panic!("{}: {fault}", what()));
    let (what, most_requests) = (what(), most_requests(&space.history));
    space.seat.proxy.stop();
    Ran { what, steps, outcome, most_requests }
}

/// Until all is done; returns what the first operator did.
async fn to_the_end(space: &Space, scenario: impl Scenario, fault: Option<Fault>) -> Vec<Step> {
    let proxy = &space.seat.proxy;
    space.seat.start().await;
    scenario.prepare(space).await;
    proxy.count(fault);
    scenario.begin(space).await;
    let done = || space.history.until(|seen| scenario.is_done(seen));
    tokio::select! { () = proxy.killed() => {} () = done() => {} }
    let steps = proxy.steps();
    if fault.is_some_and(|fault| fault.was_due(&steps)) {
        proxy.killed().await;
        space.seat.start().await;
        done().await;
    }
    steps
}
