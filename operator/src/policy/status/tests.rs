use serde_json::json;

use super::*;
use crate::policy::support::policy;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn web(enforcement: &str) -> AccessPolicy {
    policy("web", json!({ "enforcement": enforcement }))
}

fn denied(peer: &str, count: i64, second: i64) -> RecentDenial {
    let (peer, last_seen) = (peer.to_owned(), Time(at(second)));
    RecentDenial { peer, port: 80, count, last_seen, audited: true }
}

#[test]
fn ready_says_why_a_policy_does_not_hold_as_it_says() {
    let conflict = Trouble::Conflict("port 80 of pod web-0".to_owned());
    let cases = [
        ("Enforce", None, "True", "Enforced", "refused"),
        ("Audit", None, "True", "Audited", "passes"),
        ("Enforce", Some(conflict), "False", "Conflict", "port 80 of pod web-0"),
        (
            "Enforce",
            Some(Trouble::TooLarge(Excess::Bytes(2_000_000))),
            "False",
            "TooLarge",
            "2000000 bytes",
        ),
        (
            "Enforce",
            Some(Trouble::TooLarge(Excess::Policies)),
            "False",
            "TooLarge",
            "1000 policies",
        ),
        ("Audit", Some(Trouble::NoSidecars), "False", "NoSidecars", "no sidecar"),
    ];
    for (enforcement, trouble, status, reason, message) in cases {
        let seen = Seen { trouble, ..Seen::default() };
        let status_is = next(&web(enforcement), seen, at(0));
        let ready = &status_is.conditions[0];
        assert_eq!(format!("{:?}", ready.status), status, "{reason}");
        assert_eq!(ready.reason.as_deref(), Some(reason));
        assert!(ready.message.as_deref().unwrap().contains(message), "{ready:?}");
        assert_eq!(status_is.observed_generation, Some(1));
    }
}

#[test]
fn a_condition_that_stays_keeps_its_time_and_those_of_others_stay() {
    let mut web = web("Enforce");
    let mut status = next(&web, Seen::default(), at(0));
    let theirs = Condition { type_: "Theirs".to_owned(), ..status.conditions[0].clone() };
    status.conditions.push(theirs.clone());
    web.status = Some(status.clone());
    assert_eq!(next(&web, Seen::default(), at(9)), status);
    let seen = Seen { trouble: Some(Trouble::TooLarge(Excess::Bytes(1))), ..Seen::default() };
    let turned = next(&web, seen, at(9));
    assert_eq!(turned.conditions[0].last_transition_time, Some(Time(at(9))));
    assert_eq!(turned.conditions[1], theirs);
}

#[test]
fn a_restart_takes_no_pod_away_that_had_no_time_to_speak() {
    // Settled, the same generation, in force before, selected, in force now, told.
    let cases = [
        (true, true, 5, 5, 2, 2),
        (false, true, 5, 5, 2, 5),
        (false, true, 5, 3, 2, 3),
        (false, false, 5, 5, 2, 2),
        (false, true, 1, 5, 2, 2),
    ];
    for (is_settled, is_same, before, selected, in_force, told) in cases {
        let mut web = web("Enforce");
        let observed_generation = Some(if is_same { 1 } else { 0 });
        let status = AccessPolicyStatus { observed_generation, ..AccessPolicyStatus::default() };
        web.status = Some(AccessPolicyStatus { in_force_pods: before, ..status });
        let seen = Seen { selected, in_force, is_settled, ..Seen::default() };
        let found = next(&web, seen, at(0));
        assert_eq!(found.in_force_pods, told, "{is_settled} {is_same} {before} {selected}");
    }
}

#[test]
fn a_status_is_written_when_it_says_something_new_and_not_too_often() {
    let status = |selected_pods, recent_denials| AccessPolicyStatus {
        selected_pods,
        recent_denials,
        ..AccessPolicyStatus::default()
    };
    let before = status(1, vec![denied("a", 1, 0)]);
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let cases = [
        (before.clone(), None, None),
        (before.clone(), seconds(0), None),
        (status(2, vec![denied("a", 1, 0)]), None, seconds(0)),
        (status(2, vec![denied("a", 1, 0)]), seconds(0), seconds(2)),
        (status(2, vec![denied("a", 1, 0)]), seconds(3), seconds(0)),
        (status(1, vec![denied("b", 1, 0), denied("a", 1, 0)]), seconds(0), seconds(2)),
        (status(1, vec![denied("a", 2, 1)]), None, seconds(0)),
        (status(1, vec![denied("a", 2, 1)]), seconds(3), seconds(7)),
        (status(1, vec![]), seconds(3), seconds(0)),
    ];
    for (next, since, expected) in cases {
        assert_eq!(wait(Some(&before), &next, since), expected, "{next:?} {since:?}");
    }
    assert_eq!(wait(None, &before, seconds(1)), seconds(1));
}
