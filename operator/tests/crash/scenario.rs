//! A scenario is played once in peace, and then once for each request at which the operator can be
//! killed, on either side of it.

use std::time::Duration;

use futures::{StreamExt, stream};

use crate::history::History;
use crate::judge::{Outcome, most_requests};
use crate::proxy::{Counted, Fault, Step, When};
use crate::space::Space;
use crate::world::World;

/// So many are played at once, each with an operator of its own.
const AT_ONCE: usize = 4;

/// Longer than anything here takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

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
    was_killed: bool,
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
        ran.is_as_good_as(&calm);
    }
    // The peaceful run may have had fewer writes than there can be.
    for at in writes(&calm.steps) + 1.. {
        let before = Fault { at, of: Counted::Writes, when: When::Before };
        let ran = play(world, name, scenario, Some(before)).await;
        ran.is_as_good_as(&calm);
        if !ran.was_killed {
            break;
        }
        let after = Fault { when: When::After, ..before };
        play(world, name, scenario, Some(after)).await.is_as_good_as(&calm);
    }
}

fn writes(steps: &[Step]) -> usize {
    steps.iter().filter(|step| step.writes()).count()
}

/// What a read brings changes nothing: who is killed after it could be killed before what is next.
fn faults(steps: &[Step]) -> Vec<Fault> {
    let all = |of, when| {
        let count = steps.len();
        let faults = (1..=count).map(move |at| Fault { at, of, when });
        faults.filter(|fault| fault.was_due(steps))
    };
    all(Counted::Reads, When::Before)
        .chain(all(Counted::Writes, When::Before))
        .chain(all(Counted::Writes, When::After))
        .collect()
}

impl Ran {
    /// Whoever looks at what came of it cannot tell that somebody was killed; of requests there may
    /// have been one more for a while.
    fn is_as_good_as(&self, calm: &Self) {
        assert_eq!(self.outcome, calm.outcome, "{}", self.what);
        assert!(self.most_requests <= calm.most_requests + 1, "{}", self.what);
    }
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
        panic!("{}: never done: {}", what(), space.history.last_words());
    };
    space.is_seen_to_the_end().await;
    scenario.judge(&space);
    let outcome = Outcome::of(&space).unwrap_or_else(|fault| panic!("{}: {fault}", what()));
    let (what, most_requests) = (what(), most_requests(&space.history));
    let was_killed = space.seat.proxy.killed_at().is_some();
    space.seat.proxy.stop();
    Ran { what, was_killed, steps, outcome, most_requests }
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
