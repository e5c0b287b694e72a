//! What takes the installation away again; runs after `e2e`.
#![cfg(feature = "e2e")]
#![allow(clippy::panic, reason = "a test fails by panicking")]

use countersign_tests::scenario::{END, PREPARATION, Stage};

#[test]
fn an_upgrade_changes_nothing_and_uninstalling_leaves_the_secrets_of_users() {
    let stage = Stage::new(false);
    for step in PREPARATION.iter().chain(END) {
        if let Err(error) = (step.show)(&stage) {
            panic!("{}: {error:#}", step.name);
        }
    }
}
