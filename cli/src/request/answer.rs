//! What became of a CertificateRequest; pure.

use countersign_crds::{CertificateRequest, Condition, ConditionStatus};
use countersign_pki::CertificateFacts;
use kube::ResourceExt;

use crate::error::{Error, story};

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was signed.
    Signed(Signed),
    /// Nothing yet, and what is missing.
    Pending(String),
    /// It never will be, and why.
    Refused(String),
}

/// What was signed, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    /// The leaf, then those above it.
    pub(super) chain: Vec<u8>,
    /// The root, where it was given.
    pub(super) ca: Option<Vec<u8>>,
}

/// Reads it.
pub(super) fn of(request: &CertificateRequest) -> Answer {
    let status = request.status.clone().unwrap_or_default();
    let condition = |type_: &str| status.conditions.iter().find(|it| it.type_ == type_);
    let holds = |type_| condition(type_).filter(|it| it.status == ConditionStatus::True);
    let ready = condition("Ready");
    if let Some(denied) = holds("Denied") {
        return Answer::Refused(format!("was denied{}", because(denied)));
    }
    if let Some(invalid) = holds("InvalidRequest") {
        return Answer::Refused(format!("is invalid{}", because(invalid)));
    }
    match ready {
        Some(ready) if ready.status == ConditionStatus::True => match status.certificate {
            Some(chain) if !chain.0.is_empty() => Answer::Signed(Signed {
                chain: chain.0,
                ca: status.ca.map(|ca| ca.0).filter(|ca| !ca.is_empty()),
            }),
            _ => Answer::Pending("it is Ready and holds no certificate yet".to_owned()),
        },
        Some(ready) if matches!(ready.reason.as_deref(), Some("Failed" | "Denied")) => {
            Answer::Refused(format!("has failed{}", because(ready)))
        }
        _ if holds("Approved").is_none() => {
            let name = request.name_any();
            let namespace = request.namespace().unwrap_or_default();
            Answer::Pending(format!(
                "nobody has approved it yet (kubectl countersign approve {name} -n {namespace})"
            ))
        }
        Some(Condition { message: Some(message), .. }) if !message.is_empty() => {
            Answer::Pending(message.clone())
        }
        _ => Answer::Pending("it is approved, and its issuer has not answered yet".to_owned()),
    }
}

fn because(condition: &Condition) -> String {
    let mut said = [&condition.message, &condition.reason].into_iter().flatten();
    let said = said.find(|text| !text.is_empty());
    said.map(|text| format!(": {text}")).unwrap_or_default()
}

/// The certificate that was signed.
pub(super) fn certificate(
    request: &CertificateRequest,
    signed: &Signed,
) -> Result<CertificateFacts, Error> {
    CertificateFacts::from_pem(&signed.chain).map_err(|error| Error::State {
        object: named(request),
        what: format!("was answered with what is no certificate: {}", story(&error)),
        advice: "nothing was written; tell whoever runs the issuer".to_owned(),
    })
}

/// Where the key here and the one of the request differ.
pub(super) fn of_another_key(request: &CertificateRequest) -> Error {
    Error::State {
        object: named(request),
        what: "is about another key than the one in --out".to_owned(),
        advice: "name the folder that was named when it was made".to_owned(),
    }
}

fn named(request: &CertificateRequest) -> String {
    let namespace = request.namespace().unwrap_or_default();
    format!("CertificateRequest {namespace}/{}", request.name_any())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answered(status: Value) -> Answer {
        let request = json!({
            "apiVersion": "countersign.dev/v1", "kind": "CertificateRequest",
            "metadata": { "name": "laptop", "namespace": "shop" },
            "spec": { "request": "", "issuerRef": { "name": "ca" } }, "status": status,
        });
        of(&serde_json::from_value(request).expect("a CertificateRequest"))
    }

    fn saying(conditions: &[(&str, &str, &str, &str)]) -> Value {
        let conditions = conditions.iter().map(|(type_, status, reason, message)| {
            json!({ "type": type_, "status": status, "reason": reason, "message": message })
        });
        json!({ "conditions": conditions.collect::<Vec<_>>() })
    }

    #[test]
    fn what_a_status_means_for_who_waits() {
        let pending = |text: &str| Answer::Pending(text.to_owned());
        let refused = |text: &str| Answer::Refused(text.to_owned());
        let nobody = "nobody has approved it yet (kubectl countersign approve laptop -n shop)";
        let approved = ("Approved", "True", "Bob", "");
        let cases = [
            (json!(null), pending(nobody)),
            (saying(&[("Ready", "False", "Pending", "x")]), pending(nobody)),
            (saying(&[approved]), pending("it is approved, and its issuer has not answered yet")),
            (
                saying(&[approved, ("Ready", "False", "Pending", "Issuer ca does not exist")]),
                pending("Issuer ca does not exist"),
            ),
            (
                saying(&[approved, ("Ready", "True", "Issued", "")]),
                pending("it is Ready and holds no certificate yet"),
            ),
            (
                saying(&[("Denied", "True", "countersign.dev", "rule one: dnsNames")]),
                refused("was denied: rule one: dnsNames"),
            ),
            (saying(&[("Denied", "True", "Bob", "")]), refused("was denied: Bob")),
            (saying(&[("InvalidRequest", "True", "X", "spec.y")]), refused("is invalid: spec.y")),
            (saying(&[approved, ("Ready", "False", "Failed", "no")]), refused("has failed: no")),
        ];
        for (status, expected) in cases {
            assert_eq!(answered(status.clone()), expected, "{status}");
        }
    }

    #[test]
    fn what_was_signed_comes_with_its_root_where_there_is_one() {
        let mut status = saying(&[("Ready", "True", "Issued", "")]);
        status["certificate"] = json!("YQ==");
        let signed = |ca: Option<&[u8]>| {
            Answer::Signed(Signed { chain: b"a".to_vec(), ca: ca.map(<[u8]>::to_vec) })
        };
        assert_eq!(answered(status.clone()), signed(None));
        status["ca"] = json!("Yg==");
        assert_eq!(answered(status), signed(Some(b"b")));
    }
}
