use super::*;
use crate::certificate::observe::Stored;
use crate::certificate::support::{CertificateProse, certificate, hours, minutes, now, secret_of};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn leaf(from: Timestamp, until: Timestamp) -> CertificateFacts {
    let secret = secret_of(&certificate("web")).valid(from, until).made();
    Stored::of(&secret).pair().unwrap().leaf.clone()
}

/// A leaf that says from now on, for so long; it was issued five minutes later.
fn lasting(length: SignedDuration) -> CertificateFacts {
    leaf(now(), now() + length)
}

fn window(cron: &str, zone: &str, length: &str) -> RenewalWindow {
    let (window_duration, cron) = (length.parse().unwrap(), cron.to_owned());
    RenewalWindow { timezone: Some(zone.to_owned()), window_duration, cron }
}

fn terms(windows: Vec<RenewalWindow>) -> Terms {
    let spec = certificate("web").with(|spec| {
        let policy = RenewalPolicy::RenewBefore;
        spec.renewal = Some(countersign_crds::Renewal { policy, windows });
    });
    Terms::of(&spec.spec).unwrap()
}

#[test]
fn a_percentage_is_what_is_left_of_the_lifetime() {
    // Where that is more than was left when it was issued, it is a part of that.
    let most = SignedDuration::from_secs(52 * 60 + 15);
    for (percent, left) in [(25, minutes(15)), (50, minutes(30)), (5, minutes(3)), (95, most)] {
        let spec = certificate("web").with(|spec| spec.renew_before_percentage = Some(percent));
        let due = Terms::of(&spec.spec).unwrap().due(&lasting(hours(1)));
        assert_eq!(due, Some(now() + hours(1) - left), "{percent} %");
    }
}

#[test]
fn what_is_not_renewed_is_never_due() {
    let spec = certificate("web").with(|spec| {
        let policy = RenewalPolicy::Disabled;
        spec.renewal = Some(countersign_crds::Renewal { policy, windows: Vec::new() });
    });
    assert_eq!(Terms::of(&spec.spec).unwrap().due(&lasting(hours(1))), None);
}

#[test]
fn chance_renews_a_little_earlier_and_never_later() {
    let leaf = lasting(hours(90 * 24));
    let plain = Terms::default().due(&leaf).unwrap();
    let mut all: Vec<_> = (0..1000)
        .map(|each| Terms::default().spread_by(&format!("uid {each}")).due(&leaf).unwrap())
        .collect();
    all.sort();
    assert!(plain - hours(3 * 24) <= all[0] && all[999] <= plain, "{} {}", all[0], all[999]);
    // Of a thousand that were issued together no hour has more than twice its share.
    let mut busiest = 0;
    for start in &all {
        let within = all.iter().filter(|time| *start <= **time && **time < *start + hours(7));
        busiest = busiest.max(within.count());
    }
    assert!(busiest <= 2 * 1000 * 7 / 72, "{busiest} in seven hours of seventy-two");
}

#[test]
fn a_renewal_is_moved_into_a_window() {
    // From 2026-05-05 at 12:00 for 24 hours: due at 04:00 the next morning.
    let day = lasting(hours(24));
    // For ninety days: due on 2026-07-04 at 12:00.
    let season = lasting(hours(90 * 24));
    let cases = [
        ("inside one", &day, vec![window("0 3 * * *", "UTC", "2h")], "2026-05-06T04:00:00Z"),
        ("as it opens", &day, vec![window("0 4 * * *", "UTC", "1h")], "2026-05-06T04:00:00Z"),
        ("just over", &day, vec![window("0 3 * * *", "UTC", "1h")], "2026-05-06T03:00:00Z"),
        ("the next one", &day, vec![window("0 8 * * *", "UTC", "1h")], "2026-05-06T08:00:00Z"),
        (
            "the nearer of two",
            &day,
            vec![window("0 9 * * *", "UTC", "1h"), window("30 6 * * *", "UTC", "1h")],
            "2026-05-06T06:30:00Z",
        ),
        (
            "in its own time zone",
            &season,
            vec![window("0 2 * * SAT,SUN", "Europe/Berlin", "4h")],
            "2026-07-05T00:00:00Z",
        ),
        (
            "the last one, since the next comes too late",
            &day,
            vec![window("0 20 * * TUE", "UTC", "1h")],
            "2026-05-05T20:00:00Z",
        ),
        (
            "none before it expires",
            &day,
            vec![window("0 0 1 1 *", "UTC", "1h")],
            "2026-05-06T04:00:00Z",
        ),
    ];
    for (what, leaf, windows, expected) in cases {
        assert_eq!(terms(windows).due(leaf), Some(at(expected)), "{what}");
    }
}

#[test]
fn chance_stays_within_the_window() {
    let terms = terms(vec![window("0 8 * * *", "UTC", "1h")]);
    for each in 0..100 {
        let due = terms.clone().spread_by(&each.to_string()).due(&lasting(hours(24))).unwrap();
        assert!(at("2026-05-06T08:00:00Z") <= due && due < at("2026-05-06T09:00:00Z"), "{due}");
    }
}

#[test]
fn a_window_that_makes_no_sense_is_named() {
    let cases = [
        (window("0 25 * * *", "UTC", "1h"), "spec.renewal.windows.cron"),
        (window("0 0 30 2 *", "UTC", "1h"), "spec.renewal.windows.cron"),
        (window("0 0 31 2,4,6,9,11 *", "UTC", "1h"), "spec.renewal.windows.cron"),
        // A Wednesday, once in 28 years.
        (window("0 0 29 2 +3", "UTC", "1h"), "spec.renewal.windows.cron"),
        (window("0 0 0 * * *", "UTC", "1h"), "spec.renewal.windows.cron"),
        (window("0 3 * * *", "Europe/Atlantis", "1h"), "spec.renewal.windows.timezone"),
        (window("0 3 * * *", "UTC", "0s"), "spec.renewal.windows.windowDuration"),
    ];
    for (window, field) in cases {
        let error = Window::of(&window).unwrap_err().to_string();
        assert!(error.starts_with(field), "{error}");
    }
}
