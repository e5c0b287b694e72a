//! The operator is killed (SIGKILL) wherever it waits between looking and its last write, and its
//! successor finishes the work: on a real API server, with the real program.
//!
//! The control plane is shared and must be taken away at the end, so that this binary has a `main`
//! of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod access;
mod authority;
mod history;
mod issuance;
mod judge;
mod operator;
mod proxy;
mod quiet;
mod replicas;
mod requests;
mod scenario;
mod space;
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use access::Published;
use issuance::{Again, Chain, First, GoesToo, KeyStores};
use libtest_mimic::{Arguments, Trial};
use requests::{Csr, KubernetesCsr, Others, Pruning, Replaced};
use scenario::{Scenario, at_every_step};
use world::World;

/// So many scenarios are played at once: most of the time somebody waits for something.
const SCENARIOS: usize = 3;

fn main() -> ExitCode {
    let arguments = Arguments { test_threads: Some(SCENARIOS), ..Arguments::from_args() };
    let world = Arc::new(World::default());
    let trials = trials(&world);
    if !arguments.list {
        world.start();
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    world.stop(conclusion.has_failed());
    conclusion.exit_code()
}

fn trials(world: &Arc<World>) -> Vec<Trial> {
    vec![
        // Those that take longest come first.
        killed_during(world, "a_chain_of_authorities", Chain),
        takes_over(world),
        killed_during(world, "a_slow_answer_of_an_issuer_of_others", Others::Slow),
        killed_during(world, "a_change_while_an_issuer_of_others_takes_its_time", Replaced),
        killed_during(world, "the_pruning_of_requests", Pruning),
        killed_during(world, "a_first_issuance", First),
        killed_during(world, "a_renewal_that_was_asked_for", Again::Asked),
        killed_during(world, "a_changed_spec", Again::Changed),
        killed_during(world, "a_renewal_that_was_due", Again::Due),
        killed_during(world, "the_repair_of_a_damaged_secret", Again::Damaged),
        killed_during(world, "the_return_of_a_deleted_secret", Again::Deleted),
        killed_during(world, "a_change_of_the_secrets_metadata", GoesToo),
        killed_during(world, "an_issuance_with_key_stores", KeyStores),
        killed_during(world, "a_quick_answer_of_an_issuer_of_others", Others::Quick),
        killed_during(world, "the_publishing_of_a_policy", Published),
        killed_during(world, "the_signing_of_a_csr", Csr),
        killed_during(world, "the_signing_of_a_csr_of_kubernetes", KubernetesCsr),
        afterwards(world),
    ]
}

/// A scenario in which the operator is killed at each step.
fn killed_during<S>(world: &Arc<World>, name: &'static str, scenario: S) -> Trial
where
    S: Scenario + Send + 'static,
{
    let world = world.clone();
    Trial::test(format!("killed_during::{name}"), move || {
        let _beside_others = world.alone.read();
        world.runtime.block_on(at_every_step(&world, name, scenario));
        Ok(())
    })
}

fn takes_over(world: &Arc<World>) -> Trial {
    let world = world.clone();
    Trial::test("killed_as_leader::the_other_replica_takes_over", move || {
        let _beside_others = world.alone.read();
        world.runtime.block_on(replicas::the_other_replica_takes_over(&world));
        Ok(())
    })
}

/// It looks at what all others left, once they are over.
fn afterwards(world: &Arc<World>) -> Trial {
    let world = world.clone();
    Trial::test("afterwards::a_restart_writes_nothing", move || {
        let _alone = world.alone.write();
        world.runtime.block_on(quiet::a_restart_writes_nothing(&world));
        Ok(())
    })
}
