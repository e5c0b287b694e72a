//! How a Certificate is said to be, case by case, and the whole answer.

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::gather::Seen;
use super::outlook::{State, outlook};
use super::{report, text};
use crate::cluster::Found;
use crate::inspect;
use crate::support::{World, now};

const GENERATION: i64 = 3;

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": type_, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-05-05T11:00:00Z", "observedGeneration": GENERATION,
    })
}

fn ready() -> Value {
    condition("Ready", "True", "Ready", "Certificate is up to date and has not expired")
}

fn missing() -> Value {
    condition("Ready", "False", "DoesNotExist", "Secret web does not exist")
}

/// A Certificate with this status, whose issuer is ready and whose Secret is not there.
fn seen(mut status: Value) -> Seen {
    if !status.is_null() && status.get("observedGeneration").is_none() {
        status["observedGeneration"] = GENERATION.into();
    }
    let certificate = json!({
        "apiVersion": "countersign.dev/v1", "kind": "Certificate",
        "metadata": { "name": "web", "namespace": "shop", "generation": GENERATION, "uid": "a",
            "creationTimestamp": "2026-05-05T11:00:00Z" },
        "spec": { "secretName": "web", "dnsNames": ["web.test"], "issuerRef": { "name": "ca" } },
        "status": status,
    });
    let ready = condition("Ready", "True", "KeyPairVerified", "Signing CA verified");
    Seen {
        certificate: serde_json::from_value(certificate).expect("a Certificate"),
        issuer: "ca".parse().ok(),
        issuer_conditions: Found::There(vec![serde_json::from_value(ready).expect("a condition")]),
        secret: Found::Missing,
        requests: Vec::new(),
        events: Vec::new(),
        unread: Vec::new(),
    }
}

fn valid(conditions: Value) -> Value {
    json!({
        "conditions": conditions, "revision": 1, "notBefore": "2026-05-01T00:00:00Z",
        "notAfter": "2026-06-05T12:00:00Z", "renewalTime": "2026-05-25T12:00:00Z",
    })
}

fn with_issuer(seen: Seen, conditions: Found<Vec<Value>>) -> Seen {
    let parse = |all: Vec<Value>| serde_json::from_value(Value::Array(all)).expect("conditions");
    Seen { issuer_conditions: conditions.map(parse), ..seen }
}

fn with_request(seen: Seen, conditions: Value) -> Seen {
    let request = json!({
        "apiVersion": "countersign.dev/v1", "kind": "CertificateRequest",
        "metadata": { "name": "web-2", "namespace": "shop",
            "annotations": { "countersign.dev/certificate-revision": "2" } },
        "spec": { "request": "", "issuerRef": { "name": "ca" } },
        "status": { "conditions": conditions },
    });
    Seen { requests: vec![serde_json::from_value(request).expect("a request")], ..seen }
}

/// What it is, a part of what it waits for, and a part of what to do.
type Case = (Seen, State, &'static str, &'static str);

fn waits() -> Seen {
    let issuing = condition("Issuing", "True", "DoesNotExist", "it waits");
    seen(json!({ "conditions": [missing(), issuing] }))
}

/// Where the Certificate itself says it.
fn by_its_own_word() -> Vec<Case> {
    let refused = |reason: &str, message: &str| {
        seen(json!({ "conditions": [condition("Ready", "False", reason, message)] }))
    };
    let mut disabled = valid(json!([ready()]));
    disabled["renewalTime"] = Value::Null;
    let mut stale = valid(json!([ready()]));
    stale["observedGeneration"] = 2.into();
    let failed = condition("Issuing", "False", "Denied", "rule one: dnsNames");
    let mut failing = valid(json!([ready(), failed]));
    (failing["failedIssuanceAttempts"], failing["lastFailureTime"]) =
        (2.into(), "2026-05-05T11:59:00Z".into());
    let mut deleting = seen(valid(json!([ready()])));
    let since: Timestamp = "2026-05-05T11:59:00Z".parse().expect("a time");
    deleting.certificate.metadata.deletion_timestamp = Some(Time(since));
    deleting.certificate.metadata.finalizers = Some(vec!["example.org/x".to_owned()]);
    let renewing = valid(json!([ready(), condition("Issuing", "True", "Renewing", "near")]));
    let rival = "Secret web belongs to Certificate other";
    vec![
        (seen(valid(json!([ready()]))), State::Ready, "is renewed 2026-05-25T12:00:00Z", ""),
        (seen(disabled), State::Ready, "is not renewed by itself", "countersign renew web -n shop"),
        (seen(Value::Null), State::Waiting, "has not looked at it yet", "countersign check"),
        (seen(stale), State::Renewing, "at its present spec", "countersign check"),
        (deleting, State::Deleting, "1m ago", "example.org/x"),
        (refused("NoIssuer", "x"), State::Blocked, "names no issuer", "default-issuer"),
        (refused("DuplicateSecretName", rival), State::Blocked, rival, "correct the spec"),
        (
            seen(failing),
            State::Failing,
            "failed 2 times, the last time at 2026-05-05T11:59:00Z (1m ago): rule one: dnsNames",
            "kubectl countersign renew web -n shop",
        ),
        (refused("SecretContested", "kubectl writes it"), State::Waiting, "kubectl", "leave it"),
        (waits(), State::Waiting, "being issued: it waits", "check"),
        (seen(renewing), State::Renewing, "being issued: near", "check"),
    ]
}

/// Where its issuer or its request says more.
fn by_the_word_of_others() -> Vec<Case> {
    let approved = condition("Approved", "True", "Bob", "");
    let denied = condition("Denied", "True", "Bob", "no");
    let unready = condition("Ready", "False", "ErrGetKeyPair", "Secret root does not exist");
    vec![
        (
            with_issuer(waits(), Found::Missing),
            State::Waiting,
            "Issuer ca, which does not exist",
            "kubectl get issuers.countersign.dev -n shop",
        ),
        (
            with_issuer(waits(), Found::There(vec![unready])),
            State::Waiting,
            "not ready: Secret root does not exist",
            "put Issuer ca right",
        ),
        (
            with_request(waits(), json!([])),
            State::Waiting,
            "web-2 waits for somebody's approval",
            "kubectl countersign approve web-2 -n shop",
        ),
        (
            with_request(waits(), json!([approved])),
            State::Waiting,
            "web-2 waits for Issuer ca to sign it",
            "",
        ),
        (with_request(waits(), json!([denied])), State::Failing, "was denied: no", "renew web"),
    ]
}

#[test]
fn it_is_said_what_it_waits_for_and_what_to_do() {
    let cases = by_its_own_word().into_iter().chain(by_the_word_of_others());
    for (seen, state, summary, advice) in cases {
        let said = outlook(&seen, now());
        assert_eq!(said.state, state, "{said:?}");
        assert!(said.summary.contains(summary), "{said:?}");
        let told = said.advice.clone().unwrap_or_default();
        assert!(told.contains(advice) && told.is_empty() == advice.is_empty(), "{said:?}");
    }
}

#[test]
fn an_expired_certificate_is_never_called_ready() {
    let mut status = valid(json!([ready()]));
    status["notAfter"] = "2026-05-05T11:00:00Z".into();
    let said = outlook(&seen(status), now());
    assert_eq!(said.state, State::Waiting);
    assert!(said.summary.contains("expired"), "{said:?}");
}

fn secret() -> Secret {
    let bundle = World::new().bundle("2026-06-05T12:00:00Z");
    let key = bundle.key.map(|key| key.expose().clone());
    let data = [("tls.crt", bundle.certificate), ("tls.key", key), ("ca.crt", bundle.roots)];
    let data = data.map(|(name, text)| (name.to_owned(), ByteString(text.expect("a text"))));
    Secret { data: Some(data.into()), ..Secret::default() }
}

#[test]
fn the_whole_answer_for_people() {
    let event = json!({
        "metadata": {}, "involvedObject": { "kind": "Certificate", "name": "web" },
        "type": "Normal", "reason": "Issued", "message": "The certificate\nwas issued",
        "eventTime": "2026-05-05T11:59:30.000000Z",
    });
    let whole = Seen {
        secret: Found::There(inspect::bundle(&secret())),
        events: vec![serde_json::from_value(event).expect("an Event")],
        unread: vec!["listing the certificaterequests: you may not".to_owned()],
        ..seen(valid(json!([ready()])))
    };
    let told = text::text(&report::report(&whole, now()), now());
    let kept = told.lines().filter(|line| !line.contains("Serial:") && !line.contains("SHA-256:"));
    let told: String = kept.map(|line| format!("{line}\n")).collect();
    let expected = "\
Certificate shop/web: ready
  What:  it is valid until 2026-06-05T12:00:00Z (in 31d), and is renewed 2026-05-25T12:00:00Z (in 20d)

Spec
  Names:        web.test
  Secret:       web
  Issuer:       Issuer ca
  Duration:     2160h
  Revision:     1
  Valid until:  2026-06-05T12:00:00Z (in 31d)
  Renewal:      2026-05-25T12:00:00Z (in 20d)
  Created:      2026-05-05T11:00:00Z (1h ago)

Conditions
  Ready=True  Ready  1h ago  Certificate is up to date and has not expired

Issuer ca
  Ready=True  KeyPairVerified  1h ago  Signing CA verified

Secret web
  Subject:    CN=web
  Issuer:     CN=intermediate
  DNS names:  web.test
  Usages:     digital signature, key encipherment
  Key:        ECDSA 256
  Valid:      2026-01-01T00:00:00Z to 2026-06-05T12:00:00Z (in 31d)

Events
  Normal  Issued  30s ago  Certificate web  The certificate was issued

! listing the certificaterequests: you may not
";
    assert_eq!(told, expected);
}

#[test]
fn what_may_not_be_read_is_told_and_the_rest_all_the_same() {
    let why = "reading Secret shop/web: you may not: no; have somebody bind you a role that may";
    let blind = Seen { secret: Found::Unknown(why.to_owned()), ..seen(valid(json!([ready()]))) };
    let report = report::report(&blind, now());
    assert_eq!(report.outlook.state, State::Ready);
    assert_eq!(report.secret.presence, why);
    let told = text::text(&report, now());
    assert!(told.contains(&format!("Secret web\n  {why}\n")), "{told}");
}

#[test]
fn the_fields_of_the_answer_are_those_of_the_api() {
    let seen = with_request(
        Seen { secret: Found::There(inspect::bundle(&secret())), ..seen(valid(json!([ready()]))) },
        json!([condition("Approved", "True", "Bob", "")]),
    );
    let json = serde_json::to_value(report::report(&seen, now())).expect("JSON");
    assert_eq!(json["outlook"]["state"], "ready");
    assert_eq!(json["notAfter"], "2026-06-05T12:00:00Z");
    assert_eq!(json["conditions"][0]["type"], "Ready");
    assert_eq!(json["issuer"]["object"], "Issuer ca");
    assert_eq!(json["secret"]["certificate"]["names"]["dnsNames"][0], "web.test");
    assert_eq!(json["secret"]["warnings"], json!([]));
    assert_eq!(json["certificateRequests"][0]["object"], "CertificateRequest web-2 (revision 2)");
    assert!(!json.to_string().contains("PRIVATE KEY"));
}
