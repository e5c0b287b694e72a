//! What the operator tells of its work, while it works.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use countersign_crds::{Certificate, Issuer};
use kube::api::DeleteParams;
use serde_json::json;

use crate::space::{Space, leaf};

/// Longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// One line: a metric's name, its labels, and its value.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// The labels of these tests hold neither commas nor quotes.
fn samples(text: &str) -> Vec<Sample> {
    let read = |line: &str| {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
        let labels = labels.map(|label| {
            let (label, value) = label.split_once('=').expect("a label");
            (label.to_owned(), value.trim_matches('"').to_owned())
        });
        Sample { name: name.to_owned(), labels: labels.collect(), value: value.parse().unwrap() }
    };
    text.lines().filter(|line| !line.starts_with('#')).map(read).collect()
}

/// The sum of the series of a metric that have these labels, if there are any.
pub(crate) fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let has = |sample: &Sample| {
        labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|v| v == value))
    };
    let found = samples(text).into_iter().filter(|sample| sample.name == name && has(sample));
    let values: Vec<_> = found.map(|sample| sample.value).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

/// Every verb and resource that the API server was asked so far.
pub(crate) fn calls(text: &str) -> BTreeSet<(String, String)> {
    let asked = samples(text).into_iter().filter(|s| s.name == "countersign_api_requests_total");
    let call = |mut sample: Sample| {
        Some((sample.labels.remove("verb")?, sample.labels.remove("resource")?))
    };
    asked.filter_map(call).collect()
}

/// Waits until something holds of what is told.
pub(crate) async fn told(space: &Space, what: &str, holds: impl Fn(&str) -> bool) -> String {
    let looking = async {
        loop {
            let text = space.world.metrics();
            if holds(&text) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, looking).await;
    found.unwrap_or_else(|_| panic!("the metrics never told {what}:\n{}", space.world.metrics()))
}

pub(crate) async fn a_certificate_is_told_until_it_is_deleted(space: Space) {
    space.authority().await;
    let made = space.certificate("web", json!({})).await;
    let status = made.status.as_ref().unwrap();
    let labels = [
        ("name", "web"),
        ("namespace", space.namespace.as_str()),
        ("issuer_name", "ca"),
        ("issuer_kind", "Issuer"),
        ("issuer_group", "countersign.dev"),
    ];
    let ready = |condition| {
        let labels = [labels.as_slice(), &[("condition", condition)]].concat();
        move |text: &str| sum(text, "countersign_certificate_ready_status", &labels)
    };
    let text = told(&space, "that web is ready", |text| ready("True")(text) == Some(1.0)).await;
    assert_eq!((ready("False")(&text), ready("Unknown")(&text)), (Some(0.0), Some(0.0)));
    let dates = [
        ("expiration", &status.not_after),
        ("not_after", &status.not_after),
        ("not_before", &status.not_before),
        ("renewal", &status.renewal_time),
    ];
    for (name, date) in dates {
        let name = format!("countersign_certificate_{name}_timestamp_seconds");
        let told = sum(&text, &name, &labels).map(|seconds| seconds.to_string());
        assert_eq!(told, date.as_ref().map(|date| date.0.as_second().to_string()), "{name}");
    }
    space.api::<Certificate>().delete("web", &DeleteParams::default()).await.unwrap();
    let (namespace, root) = (&labels[1..2], [labels[1], ("name", "root")]);
    let expiration = "countersign_certificate_expiration_timestamp_seconds";
    told(&space, "that web is gone", |text| {
        let left = samples(text).into_iter().filter(|sample| {
            let label = |name: &str| sample.labels.get(name).map(String::as_str);
            label("name") == Some("web") && label("namespace") == Some(namespace[0].1)
        });
        left.count() == 0 && sum(text, expiration, &root).is_some()
    })
    .await;
}

pub(crate) async fn an_issuer_is_told_as_its_status_says(space: Space) {
    space.make::<Issuer>("empty", json!({ "spec": { "ca": { "secretName": "none" } } })).await;
    space.make::<Issuer>("self", json!({ "spec": { "selfSigned": {} } })).await;
    for (name, condition) in [("empty", "False"), ("self", "True")] {
        let labels =
            [("name", name), ("namespace", space.namespace.as_str()), ("condition", condition)];
        let metric = "countersign_issuer_ready_status";
        told(&space, name, |text| sum(text, metric, &labels) == Some(1.0)).await;
    }
}

pub(crate) async fn every_issuance_and_every_failure_is_counted_with_its_reason(space: Space) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    let of = |name: &'static str, reason: &'static str| {
        move |text: &str| sum(text, name, &[("reason", reason)]).is_some_and(|count| count >= 1.0)
    };
    let issued = of("countersign_issuances_total", "DoesNotExist");
    told(&space, "an issuance", issued).await;
    told(&space, "how long it took", |text| {
        let count = sum(text, "countersign_issuance_duration_seconds_count", &[]);
        count.is_some_and(|count| count >= 1.0)
    })
    .await;
    let policy = json!({ "spec": { "ca": { "secretName": "intermediate", "policy": {
        "allow": [{ "name": "shop", "dnsNames": ["shop.test"] }] } } } });
    space.make::<Issuer>("strict", policy).await;
    let refused = leaf("bank", json!({ "issuerRef": { "name": "strict" } }));
    space.make::<Certificate>("bank", json!({ "spec": refused })).await;
    told(&space, "a failure", |text| {
        samples(text).iter().any(|sample| sample.name == "countersign_issuance_failures_total")
    })
    .await;
}

pub(crate) async fn what_the_api_server_is_asked_is_counted_as_rbac_names_it(space: Space) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    let metric = "countersign_api_requests_total";
    let asked = [
        ("watch", "certificates", "200"),
        ("apply", "secrets", "201"),
        ("patch", "certificates/status", "200"),
    ];
    for (verb, resource, code) in asked {
        let labels = [("verb", verb), ("resource", resource), ("code", code)];
        told(&space, verb, |text| sum(text, metric, &labels).is_some()).await;
    }
    let text = told(&space, "how long a patch took", |text| {
        let metric = "countersign_api_request_duration_seconds_count";
        sum(text, metric, &[("verb", "patch")]).is_some_and(|count| count >= 1.0)
    })
    .await;
    // Whatever the other tests have the operator do meanwhile is in the table, too.
    assert_eq!(sum(&text, metric, &[("resource", "other")]), None, "{text}");
    assert_eq!(sum(&text, metric, &[("verb", "other")]), None, "{text}");
}

pub(crate) async fn nothing_waits_once_all_is_done(space: Space) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    let done = [("kind", "Certificate"), ("result", "success")];
    told(&space, "that work was done", |text| {
        let [depth, oldest] =
            ["countersign_workqueue_depth", "countersign_workqueue_oldest_seconds"];
        let certificates = [("kind", "Certificate")];
        sum(text, depth, &certificates) == Some(0.0)
            && sum(text, oldest, &certificates) == Some(0.0)
            && sum(text, "countersign_reconciles_total", &done).is_some_and(|count| count >= 1.0)
            && sum(text, "countersign_leader", &[]) == Some(1.0)
    })
    .await;
}

pub(crate) async fn every_series_has_the_labels_that_the_docs_say(space: Space) {
    space.authority().await;
    space.certificate("web", json!({})).await;
    let docs = countersign_tests::cluster::repository().join("docs/metrics.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let rows = docs.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        let name = cells.next()?.trim_matches('`').to_owned();
        let labels = cells.nth(1)?.split(',').map(|label| label.trim().to_owned());
        Some((name, labels.filter(|label| !label.is_empty()).collect::<BTreeSet<_>>()))
    });
    let documented: BTreeMap<_, _> = rows.collect();
    let text = told(&space, "of the Certificate", |text| {
        sum(text, "countersign_certificate_ready_status", &[("name", "web")]).is_some()
    })
    .await;
    for Sample { name, mut labels, .. } in samples(&text) {
        labels.remove("le");
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let expected = documented.get(&name).or_else(|| documented.get(base?));
        let has: BTreeSet<_> = labels.into_keys().collect();
        assert_eq!(Some(&has), expected, "{name}");
    }
}
