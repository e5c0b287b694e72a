//! Every step of the demo, as a test on a real node: `make test` brings the cluster.
#![cfg(feature = "e2e")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../hostile/mesh/mod.rs"]
mod hostile;

use std::sync::OnceLock;

use countersign_tests::scenario::{PREPARATION, STEPS, Stage};

/// The installation and the services, once for all tests.
fn prepared() -> &'static Result<(), String> {
    static PREPARED: OnceLock<Result<(), String>> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let stage = Stage::new(false);
        stage.run("kubectl get --raw /readyz").map_err(|error| {
            format!("no cluster: these tests are run by `make test`, which brings one ({error:#})")
        })?;
        for step in PREPARATION {
            (step.show)(&stage).map_err(|error| format!("{}: {error:#}", step.name))?;
        }
        Ok(())
    })
}

fn holds(name: &str) {
    let step = STEPS.iter().find(|step| step.name == name).expect("a step of this name");
    if let Err(error) = prepared() {
        panic!("the preparation failed: {error}");
    }
    if let Err(error) = (step.show)(&Stage::new(false)) {
        panic!("{error:#}");
    }
}

macro_rules! steps {
    ($($name:ident,)*) => {
        $(#[test] fn $name() { holds(stringify!($name)); })*

        #[test]
        fn every_step_of_the_demo_is_a_test() {
            let tested = [$(stringify!($name),)*];
            for step in STEPS {
                assert!(tested.contains(&step.name), "{} has no test", step.name);
            }
        }
    };
}

steps! {
    a_certificate_chains_from_leaf_to_root,
    a_bad_spec_is_refused_by_the_api_server_with_the_field_named,
    a_deleted_secret_is_issued_again,
    a_call_from_pod_to_pod_goes_over_mutual_tls,
    no_plaintext_crosses_between_the_pods,
    the_app_cannot_read_the_key,
    a_pod_on_the_hosts_network_is_left_alone_and_its_owner_is_told,
    a_client_that_speaks_plaintext_is_refused,
    a_client_without_a_certificate_is_refused,
    a_client_of_a_foreign_authority_is_refused,
    a_client_with_an_expired_certificate_is_refused,
    a_server_of_a_foreign_authority_is_refused,
    a_server_of_the_wrong_identity_is_refused,
    a_workstation_gets_a_certificate_and_its_key_never_leaves_it,
    a_renewal_leaves_live_connections_alone,
    calls_that_know_nothing_of_the_mesh_go_by_mutual_tls,
    a_call_to_another_node_keeps_its_callers_address_and_identity,
    a_service_of_the_callers_node_is_called_on_that_node_only,
    grpc_goes_through_the_mesh,
    pods_are_called_by_their_own_names_and_addresses,
    the_application_is_told_who_calls,
    a_job_in_the_mesh_completes,
    who_talks_to_whom_is_told,
    a_policy_bites_at_once_on_live_connections_too,
    an_audited_policy_tells_whom_it_would_refuse,
    a_permissive_port_takes_plaintext_and_a_mutual_one_does_not,
    a_policy_keeps_its_pods_from_calling_whoever_is_not_in_the_mesh,
    what_sidecars_tell_another_replica_than_the_leader_counts,
    the_operator_may_be_away_for_a_minute,
    a_rolling_restart_of_everything_loses_no_request,
}
