//! The operator on a real API server, without a node: every test in a namespace of its own.
//!
//! The control plane is shared and must be taken away at the end, so that this binary has a `main`
//! of its own (libtest-mimic): the runner, its options and its last line are those of others.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

/// Tests, each an async function that is given a namespace.
macro_rules! trials {
    ($world:expr, $($room:ident :: { $($name:ident,)* })*) => {
        vec![$($({
            let world = $world.clone();
            Trial::test(concat!(stringify!($room), "::", stringify!($name)), move || {
                world.runtime.block_on(async {
                    $room::$name($crate::space::Space::new(&world, stringify!($name)).await).await;
                });
                Ok(())
            })
        },)*)*]
    };
}

mod acceptance;
mod access;
mod access_rights;
mod adoption;
mod annotations;
mod approval;
mod authorities;
mod cabundle;
mod chart;
mod cli;
mod conformance;
mod discovery;
mod external;
mod extras;
mod history;
#[path = "../../hostile/control_plane/mod.rs"]
mod hostile;
mod issuance;
mod issuer_kinds;
mod issuers;
mod kubernetes_cases;
mod kubernetes_csr;
mod lifecycle;
mod metrics;
mod ownership;
mod policies;
mod relay;
mod repair;
mod requester;
mod requests;
mod rights;
mod seen;
mod self_signed;
mod space;
mod specs;
mod steady;
mod uninjected;
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use cli::{acting as cli_acting, looking as cli_looking, mesh as cli_mesh};
use libtest_mimic::{Arguments, Trial};
use world::World;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let world = Arc::new(World::default());
    let trials = trials(&world);
    if !arguments.list {
        world.start();
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    world.stop();
    conclusion.exit_code()
}

fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut all = issuing(world);
    all.extend(signing(world));
    all.extend(expected(world));
    all.extend(around(world));
    all.extend(reaching(world));
    all.extend(injecting(world));
    all.extend(by_hand(world));
    all.extend(hostile::trials(world));
    all
}

/// Certificates, and who signs them.
fn issuing(world: &Arc<World>) -> Vec<Trial> {
    trials! { world,
        issuance::{
            a_certificate_becomes_a_secret_whose_chain_openssl_verifies,
            an_issuance_is_two_writes,
            a_certificate_waits_for_its_issuer_and_says_so,
            a_renewal_that_is_asked_for_happens_once,
            a_certificate_is_renewed_before_it_expires,
            an_authority_with_limits_signs_only_within_them,
            a_literal_subject_and_other_names_are_in_the_certificate,
        }
        repair::{
            whatever_is_wrong_with_a_secret_it_is_issued_again_and_never_mismatches,
            a_changed_spec_is_issued_again_while_the_old_secret_serves,
            another_issuer_signs_again,
            rotation_policy_never_keeps_the_key,
        }
        ownership::{
            what_others_wrote_into_the_secret_survives,
            a_template_is_followed_without_issuing_again,
            of_two_certificates_with_one_secret_one_owns_it_and_the_other_is_told,
            a_certificate_that_is_deleted_leaves_its_secret,
        }
        extras::{
            other_forms_come_and_go_without_issuing_again,
            key_stores_open_with_their_passwords,
            a_secret_goes_with_its_certificate_where_the_spec_says_so,
            a_certificate_without_issuer_is_the_default_issuers,
        }
        external::{
            an_issuer_of_others_signs_through_a_certificate_request,
            a_refused_request_is_told_and_leaves_the_valid_secret,
            a_request_that_takes_its_time_survives_a_restart,
            a_temporary_certificate_holds_the_place_of_a_better_one,
        }
        discovery::{
            an_address_for_pods_is_outside_only_once_it_was_asked_whose_it_is,
            a_service_is_answered_and_each_change_of_it_is_told,
            a_pod_is_answered_by_its_own_address_for_as_long_as_it_has_it,
            nobody_is_answered_who_is_no_workload_of_ours,
            what_is_no_address_ends_the_stream_with_a_word_about_it,
            one_workload_leaves_others_their_places,
        }
        relay::{
            what_sidecars_tell_one_replica_the_leader_counts_until_that_one_or_they_end,
            a_pod_that_no_replica_of_discovery_has_a_stream_of_is_told_so,
            nobody_but_the_operator_relays,
        }
        requests::{
            a_csr_made_by_openssl_is_signed,
            what_is_no_csr_is_refused_with_a_message,
            a_request_to_the_issuer_of_others_is_left_alone,
            the_issuer_of_identities_signs_nothing_of_another_namespace,
        }
    }
}

/// CAs, what they may sign, and Secrets that are handed over.
fn signing(world: &Arc<World>) -> Vec<Trial> {
    trials! { world,
        authorities::{
            what_a_replaced_authority_signed_is_issued_again_and_serves_meanwhile,
            a_renewed_hierarchy_is_issued_again_from_the_top_down,
            an_issuer_that_can_sign_is_told_of_once,
            an_authority_below_which_none_may_follow_signs_leaves_only,
            a_path_length_is_written_and_bounds_what_the_authority_signs,
            a_path_length_is_carried_by_the_request_and_one_that_goes_is_reissued,
            an_intermediate_that_gets_a_path_length_leaves_the_root_trusted,
            an_authority_that_comes_back_as_it_was_changes_nothing,
            whoever_breaks_a_secret_again_and_again_is_told_and_keeps_nobody_busy,
        }
        adoption::{
            a_secret_of_cert_managers_is_issued_again_as_it_is,
            a_secret_that_is_handed_over_is_kept_as_it_is,
            an_authority_that_is_handed_over_signs_as_before,
        }
        issuers::{
            an_issuer_says_what_is_wrong_with_its_authority,
        }
        policies::{
            what_is_inside_a_policy_is_signed_and_what_is_outside_is_denied_with_the_rule,
            a_csr_is_held_to_the_policy_too,
            namespaces_are_selected_by_their_labels,
            every_example_of_the_docs_holds,
            where_more_is_to_be_found_stands_in_what_is_signed,
            a_policy_may_want_somebodys_approval_first,
        }
        specs::{
            a_bad_policy_is_refused_with_its_field_named,
            a_bad_spec_is_refused_with_its_field_named,
            a_thousand_names_fit_into_a_request,
            names_that_fit_into_no_request_are_issued_without_one,
            a_request_cannot_be_changed,
        }
        steady::{
            a_restart_writes_nothing,
        }
    }
}

/// What users of cert-manager expect of a manifest in which only the group is another.
fn expected(world: &Arc<World>) -> Vec<Trial> {
    trials! { world,
        acceptance::{
            what_cert_manager_accepts_is_accepted,
            what_cert_manager_refuses_is_refused_with_its_field,
            requests_and_issuers_are_accepted_as_by_cert_manager,
        }
        conformance::{
            every_issuer_signs_whatever_a_certificate_may_ask_for,
            a_key_that_is_to_be_kept_outlives_its_certificate_and_is_never_replaced,
        }
        external::{
            what_an_issuer_of_others_signs_wrongly_is_never_stored,
        }
        kubernetes_cases::{
            a_csr_may_ask_for_all_that_users_ask_for,
        }
        lifecycle::{
            a_certificate_that_is_being_deleted_makes_nothing_more,
            nothing_is_said_or_tried_in_a_namespace_that_ends,
            a_secret_that_somebody_else_made_is_taken_over_with_what_is_in_it,
            another_secret_name_is_another_secret_and_the_old_one_stays,
            certificates_that_named_one_secret_are_ready_once_each_names_its_own,
            an_issuer_that_comes_back_is_used_again,
            what_an_approver_denies_is_told_in_their_words,
            manifests_of_cert_manager_work_with_another_group,
            a_certificate_is_renewed_in_its_windows_or_not_at_all,
            a_leaf_never_outlives_its_authority_and_is_issued_once,
            a_manifest_is_applied_again_without_a_change,
        }
        requests::{
            a_csr_that_says_something_else_than_its_request_is_refused,
            a_request_waits_for_its_issuer_and_for_its_authority,
        }
        seen::{
            kubectl_prints_what_people_are_used_to,
            what_others_say_on_a_status_stays,
            a_label_that_others_wrote_stays_once_a_template_has_it,
            a_request_says_what_its_certificate_says,
            a_literal_subject_stands_in_the_order_that_it_says,
            an_authority_may_be_written_in_any_order,
            an_authority_without_a_subject_signs,
            a_secret_that_cannot_be_written_is_told,
            a_cluster_issuer_waits_for_its_secret_in_the_operators_namespace,
        }
        self_signed::{
            a_request_is_signed_with_the_key_that_it_names_once_that_is_there,
            nothing_is_signed_with_a_key_that_is_not_the_requests,
            a_self_signed_certificate_may_want_somebodys_approval,
            a_csr_of_kubernetes_is_signed_with_the_key_beside_the_issuer,
        }
    }
}

/// What stands around them: who else asks, who trusts, who may.
fn around(world: &Arc<World>) -> Vec<Trial> {
    trials! { world,
        kubernetes_csr::{
            a_csr_is_signed_once_somebody_has_approved_it,
            a_csr_that_was_denied_is_never_signed,
            whoever_may_not_reference_an_issuer_is_refused_with_what_is_missing,
            the_issuer_of_identities_signs_no_identity_that_stands_in_no_namespace,
            what_can_never_be_signed_says_so_and_what_can_be_later_waits,
        }
        annotations::{
            what_a_request_says_to_us_never_changes,
        }
        approval::{
            nobody_decides_without_the_right_and_is_told_which_one,
            an_approval_is_true_and_alone_and_stays,
            a_forged_requester_is_refused_and_an_honest_one_is_stamped,
            all_that_is_known_of_a_requester_is_stamped,
            the_operator_may_approve_for_its_own_issuers_only,
            the_operator_may_sign_for_its_own_issuers_only,
            the_operator_may_fill_every_bundle_and_make_none,
            who_edits_may_renew_and_not_approve,
        }
        requester::{
            requester_that_is_null_is_stamped_as_an_omitted_one,
        }
        cabundle::{
            every_kind_is_filled_from_a_certificate_and_again_when_its_authority_changes,
            what_forbids_it_is_told_and_nothing_is_written,
            a_secret_that_allows_it_and_the_api_server_itself_are_sources_too,
            nothing_is_written_where_nothing_differs,
            our_own_webhook_is_left_alone,
        }
        metrics::{
            a_certificate_is_told_until_it_is_deleted,
            an_issuer_is_told_as_its_status_says,
            every_issuance_and_every_failure_is_counted_with_its_reason,
            what_the_api_server_is_asked_is_counted_as_rbac_names_it,
            nothing_waits_once_all_is_done,
            every_series_has_the_labels_that_the_docs_say,
        }
        chart::{
            what_is_switched_off_has_neither_flag_nor_right,
            the_ca_of_the_webhooks_clients_reaches_the_front_only,
            the_default_issuer_reaches_the_operator,
            the_issuer_of_devices_reaches_the_operator_and_signs_no_spiffe_id,
            intermediates_sign_leaves_only_and_roots_stay_as_they_are,
            the_largest_rsa_key_reaches_the_operator,
            the_default_of_access_reaches_the_operator,
            the_time_limits_of_sidecars_reach_the_operator,
            external_ranges_reach_the_operator_and_the_policy,
            two_replicas_are_spread_and_one_alone_holds_up_no_drain,
            metrics_are_found_by_whoever_is_to_read_them,
            a_value_that_the_chart_does_not_know_is_refused_with_its_name,
            no_right_is_given_twice_in_a_role,
            whatever_the_operator_asks_the_chart_gives_it_the_right_to,
            helm_finds_no_fault_with_the_chart,
            the_api_server_takes_all_that_the_chart_makes,
        }
    }
}

/// Who may reach which pods.
fn reaching(world: &Arc<World>) -> Vec<Trial> {
    trials! { world,
        access::{
            policies_become_one_document_that_follows_them,
            a_document_is_put_right_whoever_changed_or_deleted_it,
            pods_mount_it_before_the_first_of_them_starts,
            pods_are_touched_when_the_policies_change_and_not_otherwise,
            a_pod_that_follows_something_older_is_told_again,
            a_status_says_which_pods_follow_and_whom_they_refuse,
            policies_that_contradict_each_other_are_told,
            policies_that_do_not_fit_leave_in_force_what_was_there_before,
            what_cannot_be_published_is_told,
            a_policy_that_cannot_be_is_refused_with_its_field_named,
            a_restart_writes_nothing_of_policies,
            every_example_of_the_docs_of_access_holds,
        }
        access_rights::{
            nobody_but_the_operator_writes_what_sidecars_enforce,
        }
    }
}

/// Pods with the sidecar, and pods without.
fn injecting(world: &Arc<World>) -> Vec<Trial> {
    trials! { world,
        uninjected::{
            a_pod_that_was_missed_is_told_of_counted_and_replaced_where_its_namespace_asks,
            a_label_alone_hides_no_pod,
            a_mistake_is_told_on_the_pod_that_it_was_made_on,
            a_restricted_namespace_takes_a_pod_in_mode_explicit_only,
            only_where_the_chart_says_so_may_the_operator_evict,
            nothing_is_injected_where_the_chart_says_so,
        }
    }
}

/// What people do with kubectl-countersign.
fn by_hand(world: &Arc<World>) -> Vec<Trial> {
    trials! { world,
        cli_mesh::{
            who_a_pod_is_is_told_with_everybody_who_may_reach_it,
            why_names_the_rule_that_allows_and_the_reason_that_refuses,
            edges_of_pods_that_cannot_be_asked_are_told,
        }
        cli_looking::{
            a_status_says_how_a_certificate_is_and_what_it_waits_for,
            what_one_may_not_read_is_told_beside_what_one_may,
            a_secret_is_drawn_as_a_tree_and_what_is_wrong_with_it_is_named,
            a_check_knows_the_definitions_and_finds_what_is_wrong,
            a_check_sees_operator_and_webhook,
            kubectl_finds_it_and_completes_its_command_line,
            what_is_wrong_is_said_in_one_sentence,
        }
        cli_acting::{
            a_renewal_is_asked_for_by_name_by_label_and_for_all,
            who_may_approve_does_so_once,
            a_denial_stays,
            a_request_is_signed_and_its_key_stays_here,
            a_csr_of_another_key_is_signed_too,
            a_request_that_is_denied_leaves_nothing_behind,
            a_request_that_takes_its_time_is_gone_on_with,
        }
    }
}
