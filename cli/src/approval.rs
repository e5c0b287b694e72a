//! `approve` and `deny`: somebody's word about a CertificateRequest.

use countersign_crds::{CertificateRequest, Condition, ConditionStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde::Serialize;
use serde_json::json;

use crate::args::{DecideArgs, Global};
use crate::clock;
use crate::cluster::{Cluster, FIELD_MANAGER};
use crate::error::Error;
use crate::output;

/// How often a word is said again where somebody else wrote in between.
const TRIES: usize = 5;

/// The word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// It may be signed.
    Approved,
    /// It may not.
    Denied,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "Approved",
            Self::Denied => "Denied",
        }
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was said.
    pub verdict: Verdict,
    /// Its reason.
    pub reason: String,
    /// Its message.
    pub message: String,
    /// About which.
    pub certificate_requests: Vec<Named>,
}

/// A CertificateRequest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each name is the field's own")]
pub struct Named {
    pub namespace: String,
    pub name: String,
}

/// Says it about each.
///
/// # Errors
/// When one is decided already, or the API server refuses.
pub async fn run(global: &Global, args: &DecideArgs, verdict: Verdict) -> Result<(), Error> {
    let cluster = Cluster::of(global).await?;
    let word = verdict.as_str();
    let message =
        args.message.clone().unwrap_or_else(|| format!("{word} with kubectl countersign"));
    let (mut certificate_requests, mut decided) = (Vec::new(), Ok(()));
    for name in &args.names {
        decided = decide(&cluster, name, verdict, &args.reason, &message).await;
        if decided.is_err() {
            break;
        }
        let namespace = cluster.namespace.clone();
        certificate_requests.push(Named { namespace, name: name.clone() });
    }
    let report = Report { verdict, reason: args.reason.clone(), message, certificate_requests };
    output::print(global.output, &report, text)?;
    decided
}

/// The answer for people; pure.
fn text(report: &Report) -> String {
    let word = report.verdict.as_str().to_lowercase();
    let lines = report.certificate_requests.iter().map(|Named { namespace, name }| {
        format!("CertificateRequest {namespace}/{name} is {word}\n")
    });
    lines.collect()
}

async fn decide(
    cluster: &Cluster,
    name: &str,
    verdict: Verdict,
    reason: &str,
    message: &str,
) -> Result<(), Error> {
    let api = cluster.namespaced::<CertificateRequest>();
    let mut tries = 0..TRIES;
    loop {
        tries.next();
        let request: CertificateRequest = cluster.get(name).await?;
        undecided(&request)?;
        let conditions = said(&request, verdict, reason, message, clock::now());
        // The version goes along: nobody else's word in between is written over.
        let patch = json!({
            "metadata": { "resourceVersion": request.metadata.resource_version },
            "status": { "conditions": conditions },
        });
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match api.patch_status(name, &parameters, &Patch::Merge(patch)).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 && !tries.is_empty() => {}
            Err(error) => {
                let doing = match verdict {
                    Verdict::Approved => "approving",
                    Verdict::Denied => "denying",
                };
                return Err(cluster.asked::<CertificateRequest>(doing, name).failed(&error));
            }
        }
    }
}

/// Whether anything is left to decide; pure.
fn undecided(request: &CertificateRequest) -> Result<(), Error> {
    let conditions = request.status.iter().flat_map(|status| &status.conditions);
    for condition in conditions {
        let reason = condition.reason.as_deref().unwrap_or_default();
        let is_true = condition.status == ConditionStatus::True;
        let what = match (condition.type_.as_str(), is_true) {
            ("Approved", true) => "is already approved",
            ("Denied", true) => "is already denied",
            ("Ready", true) => "is already signed",
            ("Ready", false) if ["Failed", "Denied"].contains(&reason) => "has already failed",
            _ => continue,
        };
        return Err(Error::State {
            object: format!(
                "CertificateRequest {}/{}",
                request.namespace().unwrap_or_default(),
                request.name_any()
            ),
            what: format!("{what}{}", because(condition)),
            advice: "that is its last word: a new CertificateRequest can be decided anew"
                .to_owned(),
        });
    }
    Ok(())
}

fn because(condition: &Condition) -> String {
    let said = [&condition.reason, &condition.message].into_iter().flatten();
    let said: Vec<&str> = said.map(String::as_str).filter(|text| !text.is_empty()).collect();
    if said.is_empty() { String::new() } else { format!(" ({})", said.join(": ")) }
}

/// All conditions with this one among them; pure.
fn said(
    request: &CertificateRequest,
    verdict: Verdict,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Vec<Condition> {
    let before = request.status.iter().flat_map(|status| &status.conditions);
    // An Approved or Denied that is not True says nothing, and would be refused.
    let others = before.filter(|it| !["Approved", "Denied"].contains(&it.type_.as_str()));
    let word = Condition {
        type_: verdict.as_str().to_owned(),
        status: ConditionStatus::True,
        last_transition_time: Some(Time(now)),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        observed_generation: request.metadata.generation,
    };
    others.cloned().chain([word]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(conditions: serde_json::Value) -> CertificateRequest {
        serde_json::from_value(json!({
            "apiVersion": "countersign.dev/v1", "kind": "CertificateRequest",
            "metadata": { "name": "laptop", "namespace": "shop", "generation": 1 },
            "spec": { "request": "", "issuerRef": { "name": "ca" } },
            "status": { "conditions": conditions },
        }))
        .expect("a CertificateRequest")
    }

    fn condition(type_: &str, status: &str, reason: &str) -> serde_json::Value {
        json!({ "type": type_, "status": status, "reason": reason, "message": "so it is" })
    }

    #[test]
    fn what_is_decided_is_not_decided_again() {
        let cases = [
            (json!([]), None),
            (json!([condition("Ready", "False", "Pending")]), None),
            (
                json!([condition("Approved", "True", "Bob")]),
                Some("is already approved (Bob: so it is)"),
            ),
            (
                json!([condition("Denied", "True", "Bob")]),
                Some("is already denied (Bob: so it is)"),
            ),
            (json!([condition("Ready", "True", "Issued")]), Some("is already signed")),
            (
                json!([condition("Ready", "False", "Failed")]),
                Some("has already failed (Failed: so it is)"),
            ),
        ];
        for (conditions, expected) in cases {
            let told = undecided(&request(conditions)).err().map(|error| error.to_string());
            match expected {
                Some(part) => {
                    let told = told.expect("refused");
                    assert!(
                        told.starts_with(&format!("CertificateRequest shop/laptop {part}")),
                        "{told}"
                    );
                }
                None => assert_eq!(told, None),
            }
        }
    }

    #[test]
    fn the_word_joins_what_others_said() {
        let request = request(json!([condition("Ready", "False", "Pending")]));
        let now = Timestamp::UNIX_EPOCH;
        let after = said(&request, Verdict::Denied, "Policy", "no laptops", now);
        let types: Vec<_> = after.iter().map(|it| it.type_.as_str()).collect();
        assert_eq!(types, ["Ready", "Denied"]);
        assert_eq!(after[1].reason.as_deref(), Some("Policy"));
        assert_eq!(after[1].status, ConditionStatus::True);
    }
}
