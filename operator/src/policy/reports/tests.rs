use countersign_contract::discovery::{Denial, LONGEST_PEER};

use super::namespace::{MOST_DENIALS, MOST_PODS, MOST_POLICIES, TOLD};
use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn denial(peer: &str, count: u64, policies: &[&str]) -> Denial {
    let policies = policies.iter().map(|name| (*name).to_owned()).collect();
    Denial { peer: peer.to_owned(), port: 80, policies, count, audited: true }
}

fn report(revision: &str, denials: Vec<Denial>) -> Report {
    Report { policy_revision: revision.to_owned(), denials }
}

fn told(reports: &Reports, policy: &str, now: Timestamp) -> Vec<(String, i64)> {
    let denials = reports.denials("shop", policy, now);
    denials.into_iter().map(|denial| (denial.peer, denial.count)).collect()
}

#[test]
fn only_what_changes_the_picture_is_told() {
    let reports = Reports::default();
    let mut changes = reports.changes();
    let mut is_told = || changes.try_recv().is_ok();
    let note = |report: Report| reports.note("shop", "web-0", &report, at(0));
    note(report("1", vec![]));
    assert!(is_told());
    note(report("1", vec![]));
    note(report("", vec![]));
    assert!(!is_told(), "nothing is new");
    assert_eq!(reports.revision("shop", "web-0").as_deref(), Some("1"));
    note(report("2", vec![]));
    assert!(is_told());
    note(report("2", vec![denial("a", 1, &["web"])]));
    assert!(is_told());
    reports.forget("shop", "web-0");
    assert!(is_told() && reports.revision("shop", "web-0").is_none());
    reports.forget("shop", "web-0");
    assert!(!is_told());
}

#[test]
fn denials_are_added_up_by_policy_and_told_for_an_hour() {
    let reports = Reports::default();
    let note = |denials, second| reports.note("shop", "web-0", &report("1", denials), at(second));
    note(vec![denial("a", 1, &["web", "all"]), denial("b", 2, &["web"])], 0);
    note(vec![denial("a", 4, &["web"])], 1800);
    let expected = [("a".to_owned(), 5), ("b".to_owned(), 2)];
    assert_eq!(told(&reports, "web", at(1800)), expected);
    assert_eq!(told(&reports, "all", at(1800)), [("a".to_owned(), 1)]);
    assert_eq!(told(&reports, "web", at(3600)), expected[..1]);
    assert!(told(&reports, "all", at(3600)).is_empty());
    assert!(told(&reports, "web", at(5400)).is_empty());
    reports.forget("shop", "web-0");
    assert!(reports.state().namespaces.is_empty(), "nothing is kept");
}

#[test]
fn a_pod_is_heard_while_any_replica_has_a_stream_of_it() {
    let reports = Arc::<Reports>::default();
    let hears = |pod: &str| reports.hears("shop", pod);
    assert_eq!(hears("web-0"), Hearing::Unheard);
    // No policy in force yet.
    reports.note("shop", "web-0", &report("", vec![]), at(0));
    assert_eq!((hears("web-0"), reports.revision("shop", "web-0")), (Hearing::Heard, None));
    let mut replica = reports.replica();
    replica.is_called("front-1".to_owned());
    assert_eq!(reports.relaying().into_iter().collect::<Vec<_>>(), ["front-1"]);
    replica.note(&word("web-0", Some("1")), at(0));
    replica.note(&word("", Some("")), at(0));
    reports.note("shop", "web-0", &report("", vec![]), at(0));
    assert_eq!(
        reports.revision("shop", "web-0").as_deref(),
        Some("1"),
        "the last word that says it"
    );
    reports.forget("shop", "web-0");
    assert_eq!(hears("web-0"), Hearing::Heard);
    drop(replica);
    assert_eq!((hears("web-0"), hears("")), (Hearing::Unheard, Hearing::Unheard));
    assert!(reports.relaying().is_empty());
    for number in 0..MOST_PODS {
        reports.note("shop", &format!("{number}"), &report("1", vec![]), at(0));
    }
    assert_eq!((hears("0"), hears("web-0")), (Hearing::Heard, Hearing::Unknown));
}

#[test]
fn whatever_pods_say_there_is_an_end_to_what_is_kept() {
    let reports = Reports::default();
    for number in 0..MOST_PODS + 10 {
        reports.note("shop", &format!("{number}"), &report("1", vec![]), at(0));
    }
    let peer = |number: usize| "ä".repeat(LONGEST_PEER) + &number.to_string();
    reports.note("shop", "0", &report("1", vec![denial(&peer(0), 1, &["web"])]), at(0));
    for number in 0..MOST_POLICIES * 2 {
        let many = vec![denial(&number.to_string(), 1, &["web", &format!("policy-{number}")])];
        reports.note("shop", "0", &report("1", many), at(i64::try_from(number).unwrap()));
    }
    let sizes = reports.state().namespaces["shop"].sizes("web");
    assert_eq!(sizes, [MOST_PODS, MOST_POLICIES, MOST_DENIALS]);
    assert_eq!(told(&reports, "web", at(600)).len(), TOLD);
    let longest = vec![denial(&peer(1), 9, &["web"])];
    reports.note("shop", "0", &report("1", longest), at(600));
    assert!(told(&reports, "web", at(600))[0].0.len() <= LONGEST_PEER + 1);
}

#[test]
fn a_restart_goes_on_with_what_the_status_told() {
    let (before, reports) = (Reports::default(), Reports::default());
    before.note("shop", "web-0", &report("1", vec![denial("a", 3, &["web"])]), at(0));
    let status = before.denials("shop", "web", at(1));
    reports.take_up("shop", "web", &status, at(1));
    assert_eq!(reports.denials("shop", "web", at(1)), status);
    reports.note("shop", "web-0", &report("1", vec![denial("a", 3, &["web"])]), at(2));
    reports.take_up("shop", "web", &status, at(2));
    assert_eq!(told(&reports, "web", at(2)), [("a".to_owned(), 6)], "it is taken up once");
    // The next leader has what the one before did not hear, and takes up the rest.
    let next = Reports::default();
    next.note("shop", "web-0", &report("1", vec![denial("a", 4, &["web"])]), at(2));
    next.lead(at(2));
    next.take_up("shop", "web", &status, at(2));
    assert_eq!(told(&next, "web", at(2)), [("a".to_owned(), 7)]);
    // What is old by now is not taken up.
    let late = Reports::default();
    late.take_up("shop", "web", &status, at(3600));
    assert!(late.state().namespaces.is_empty());
}

fn word(pod: &str, revision: Option<&str>) -> Told {
    Told {
        namespace: "shop".to_owned(),
        pod: pod.to_owned(),
        report: revision.map(|revision| report(revision, vec![])),
        gone: revision.is_none(),
    }
}

#[test]
fn a_pod_that_goes_from_one_replica_to_another_is_known_throughout() {
    let reports = Arc::new(Reports::default());
    let (one, other) = (reports.replica(), reports.replica());
    let revision = || reports.revision("shop", "web-0");
    one.note(&word("web-0", Some("1")), at(0));
    other.note(&word("web-0", Some("2")), at(0));
    one.note(&word("web-0", None), at(0));
    assert_eq!(revision().as_deref(), Some("2"));
    // The same the other way: it tells us ourselves, and the other one notices late.
    reports.note("shop", "web-0", &report("3", vec![]), at(0));
    drop(other);
    assert_eq!(revision().as_deref(), Some("3"));
    // One that tells all again, an older word among it, takes it back.
    one.note(&word("web-0", Some("1")), at(0));
    one.note(&word("web-0", None), at(0));
    assert_eq!(revision().as_deref(), Some("3"));
}

#[test]
fn what_a_replica_heard_is_forgotten_with_it_and_a_pod_with_all_who_heard_it() {
    let reports = Arc::new(Reports::default());
    let mut changes = reports.changes();
    let (one, other) = (reports.replica(), reports.replica());
    one.note(&word("web-0", Some("1")), at(0));
    one.note(&word("web-1", Some("1")), at(0));
    other.note(&word("web-1", Some("1")), at(0));
    while changes.try_recv().is_ok() {}
    drop(one);
    assert_eq!(changes.try_recv().as_deref(), Ok("shop"));
    assert_eq!(reports.revision("shop", "web-0"), None);
    assert!(reports.revision("shop", "web-1").is_some());
    reports.gone("shop", "web-1");
    assert!(reports.state().namespaces.is_empty());
}

#[tokio::test]
async fn what_one_replica_tells_another_knows() {
    let (follower, leader) = (Reports::default(), Arc::new(Reports::default()));
    leader.lead(at(0));
    follower.note("shop", "web-0", &report("1", vec![denial("a", 2, &["web"])]), at(0));
    follower.begin_telling(at(0));
    let replica = leader.replica();
    follower.next_untold().await.iter().for_each(|told| replica.note(told, at(1)));
    assert_eq!(leader.revision("shop", "web-0").as_deref(), Some("1"));
    assert_eq!(told(&leader, "web", at(1)), [("a".to_owned(), 2)]);
    assert!(leader.leads() && !follower.leads());
}
