//! Annotations as people write them.

use clap::Parser;
use serde_json::{Value, json};

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: InjectArgs,
}

fn read(annotations: &Value, grace: Option<i64>) -> Result<Wishes, String> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "annotations": annotations },
        "spec": { "containers": [], "terminationGracePeriodSeconds": grace },
    }))
    .unwrap();
    wishes(&pod, pod.spec.as_ref().unwrap(), &Line::parse_from(["test"]).args)
}

fn one(name: &str, value: &str) -> Result<Wishes, String> {
    read(&json!({ format!("countersign.dev/{name}"): value }), None)
}

#[test]
fn a_pod_that_says_nothing_gets_what_is_usual() {
    let wishes = read(&json!({ "prometheus.io/scrape": "true" }), None).unwrap();
    assert_eq!((wishes.mode, wishes.rewrites_probes), (Mode::Redirect, true));
    assert_eq!((wishes.log.as_str(), wishes.log_format.as_str()), ("info", "json"));
    assert_eq!(wishes.drain, Duration::from_secs(25));
    assert!(wishes.notes.is_empty() && wishes.skip_inbound.is_empty());
}

/// Each mistake leaves everything as if nothing had been said, and names annotation, value and wish.
#[test]
fn a_mistake_is_told_and_changes_nothing() {
    let cases = [
        ("skip-inbound-ports", "http"),
        ("skip-inbound-ports", "9090,0"),
        ("skip-inbound-ports", "70000"),
        ("skip-outbound-ports", "5432;5433"),
        ("probes", "ignore"),
        ("drain-timeout", "soon"),
        ("drain-timeout", "25"),
        ("drain-timeout", "-1s"),
        ("drain-timeout", "25h"),
        ("drain-timeout", "99999999999999999999999999999h"),
        ("sidecar-log", "verbose"),
        ("sidecar-log", "a=b=c"),
        // 2^26 states, were it compiled.
        (
            "sidecar-log",
            "[{a=[01]*1[01][01][01][01][01][01][01][01][01][01][01][01][01][01]}]=info",
        ),
        ("idle-timeout", "0s"),
        ("half-closed-timeout", "15"),
        ("stall-timeout", "169h"),
        ("dial-timeout", "10ms"),
        ("peer-expiry-grace", "25h"),
        ("sidecar-log-format", "xml"),
        ("sidecar-cpu-request", "ten"),
        ("sidecar-cpu-limit", "0"),
        ("sidecar-memory-request", "1Mi"),
        ("sidecar-memory-limit", "128MB"),
    ];
    let usual = read(&json!({}), None).unwrap();
    for (name, value) in cases {
        let wishes = one(name, value).unwrap();
        let [note] = &wishes.notes[..] else { panic!("{name}: {:?}", wishes.notes) };
        assert!(
            note.contains(&format!("countersign.dev/{name}")) && note.contains(" not "),
            "{note}"
        );
        assert_eq!(Wishes { notes: Vec::new(), ..wishes }, usual, "{name} {value}");
    }
}

/// Compiled, this filter would take memory without a bound.
#[test]
fn log_filter_with_a_regular_expression_is_refused() {
    for length in [1, 14, 59] {
        let filter = format!("[{{a=[01]*1{}}}]=info", "[01]".repeat(length));
        let wishes = one("sidecar-log", &filter).unwrap();
        assert_eq!(wishes.log, "info", "{filter}");
        let [note] = &wishes.notes[..] else { panic!("{:?}", wishes.notes) };
        assert!(note.contains("sidecar-log") && note.contains("is not a level"), "{note}");
    }
}

#[test]
fn what_would_lower_security_or_cut_traffic_is_refused() {
    for (name, value) in [("mode", "Redirect"), ("upstreams", "9001"), ("inbound", "8443")] {
        let why = one(name, value).unwrap_err();
        assert!(why.contains(name) && why.contains(value), "{why}");
    }
    assert!(one("inbound", "8443=8080").unwrap_err().contains("explicit"));
}

#[test]
fn what_is_said_well_is_done() {
    let wishes = read(
        &json!({
            "countersign.dev/mode": "explicit",
            "countersign.dev/inbound": "8443=8080",
            "countersign.dev/upstreams": "9001=a.b:1",
            "countersign.dev/probes": "leave",
            "countersign.dev/sidecar-log": "warn,countersign_sidecar=debug",
            "countersign.dev/sidecar-log-format": " human ",
            "countersign.dev/peer-expiry-grace": "10m",
            "countersign.dev/idle-timeout": " 1h ",
        }),
        None,
    )
    .unwrap();
    let [hour, minutes] = [3600, 600].map(Duration::from_secs);
    assert_eq!(wishes.time_limits, [("--idle-timeout", hour), ("--peer-expiry-grace", minutes)]);
    assert_eq!(wishes.mode, Mode::Explicit);
    assert_eq!((wishes.served.len(), wishes.upstreams.len()), (1, 1));
    assert!(!wishes.rewrites_probes && wishes.notes.is_empty());
    assert_eq!(wishes.log, "warn,countersign_sidecar=debug");
    assert_eq!(wishes.log_format, "human");
    let ports = one("skip-inbound-ports", "9090, 9091\n9092").unwrap();
    assert_eq!(ports.skip_inbound, [9090, 9091, 9092]);
    let again = one("skip-inbound-ports", &["9091,9090"; 10_000].join(",")).unwrap();
    assert_eq!(again.skip_inbound, [9091, 9090], "each once, as they were named first");
    assert_eq!(one("skip-outbound-ports", "").unwrap().skip_outbound, [0_u16; 0]);
}

#[test]
fn a_drain_is_a_little_less_than_the_pod_has_to_end() {
    let usual = [(30, 25_000), (600, 595_000), (10, 5_000), (5, 2_500), (1, 500), (0, 0)];
    for (grace, expected) in usual {
        let wishes = read(&json!({}), Some(grace)).unwrap();
        assert_eq!(wishes.drain, Duration::from_millis(expected), "{grace}");
    }
    let asked = |drain: &str, grace| {
        read(&json!({ "countersign.dev/drain-timeout": drain }), Some(grace)).unwrap()
    };
    let fits = asked("1m30s", 120);
    assert_eq!((fits.drain, fits.notes.len()), (Duration::from_secs(90), 0));
    let too_long = asked("60s", 30);
    assert_eq!(too_long.drain, Duration::from_secs(60));
    assert!(too_long.notes[0].contains("terminationGracePeriodSeconds"), "{:?}", too_long.notes);
}

#[test]
fn what_has_no_effect_is_told() {
    let wishes = read(
        &json!({
            "countersign.dev/mode": "explicit",
            "countersign.dev/skip-inbound-ports": "9090",
            "countersign.dev/upstrems": "9001=a.b:1",
            "countersign.dev/inject": "enabled",
        }),
        None,
    )
    .unwrap();
    assert_eq!(wishes.notes.len(), 3, "{:?}", wishes.notes);
    assert!(wishes.notes.iter().any(|note| note.contains("countersign.dev/upstreams")));
    let limits = one("sidecar-memory-limit", "64Mi").unwrap();
    assert!(limits.notes.is_empty());
    let both = json!({
        "countersign.dev/sidecar-memory-limit": "64Mi",
        "countersign.dev/sidecar-memory-request": "65Mi",
    });
    assert_eq!(read(&both, None).unwrap().notes.len(), 1);
}

#[test]
fn a_pod_full_of_mistakes_is_told_of_some() {
    let many = (0..60).map(|number| (format!("countersign.dev/{number}"), json!("x")));
    let wishes = read(&Value::Object(many.collect()), None).unwrap();
    assert_eq!(wishes.notes.len(), MOST_NOTES);
    let long = one("skip-inbound-ports", &"x".repeat(100_000)).unwrap();
    assert!(long.notes[0].len() < 300);
}

#[test]
fn more_than_64_ports_are_skipped_or_served_by_no_pod() {
    let list = |count: usize, item: fn(usize) -> String| {
        (1..=count).map(item).collect::<Vec<_>>().join(",")
    };
    let plain: fn(usize) -> String = |port| port.to_string();
    for name in ["skip-inbound-ports", "skip-outbound-ports"] {
        let most = one(name, &list(64, plain)).unwrap();
        assert_eq!(most.skip_inbound.len() + most.skip_outbound.len(), 64);
        let more = one(name, &list(65, plain)).unwrap();
        assert!(more.skip_inbound.is_empty() && more.skip_outbound.is_empty());
        assert!(more.notes[0].contains("it names more than 64 ports; no port is skipped"));
    }
    let served = list(65, |port| format!("{port}=9999"));
    assert!(one("inbound", &served).unwrap_err().contains("it names more than 64 ports"));
}
