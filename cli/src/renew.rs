//! `renew`: asks for new certificates now, by an annotation, which takes the right to change a
//! Certificate and none to its status.

use countersign_crds::{Certificate, Condition, ConditionStatus};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::{Global, RenewArgs};
use crate::clock;
use crate::cluster::{Cluster, FIELD_MANAGER, all};
use crate::error::Error;
use crate::output;
use crate::text::one_line;

/// The annotation that asks for a renewal, each value once.
const RENEW_REQUESTED_AT: &str = "countersign.dev/renew-requested-at";

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Where was looked: a namespace, or all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Each Certificate that was chosen.
    pub certificates: Vec<Renewal>,
}

/// What became of one Certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Renewal {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of a wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub enum Outcome {
    /// A new certificate was asked for.
    Asked,
    /// One is being issued already.
    AlreadyIssuing {
        /// Why, or what it waits for.
        message: String,
    },
    /// It could not be written.
    Failed {
        /// Why.
        message: String,
    },
}

/// Asks for each Certificate that the command line chooses.
///
/// # Errors
/// When none is chosen, or one cannot be read or written. With names, none is written unless all can be read.
pub async fn run(global: &Global, args: &RenewArgs) -> Result<(), Error> {
    if args.names.is_empty() && args.selector.is_none() && !args.all {
        let choose = "name the Certificates, or choose them with -l SELECTOR or --all";
        return Err(Error::Usage(format!("no Certificate is chosen: {choose}")));
    }
    let cluster = Cluster::of(global).await?;
    let chosen = gather(&cluster, args).await?;
    let mut certificates = Vec::new();
    for certificate in &chosen {
        let outcome = match already(certificate) {
            Some(message) => Outcome::AlreadyIssuing { message },
            None => match ask(&cluster, certificate).await {
                Ok(()) => Outcome::Asked,
                Err(error) => Outcome::Failed { message: error.to_string() },
            },
        };
        let namespace = certificate.namespace().unwrap_or_default();
        certificates.push(Renewal { namespace, name: certificate.name_any(), outcome });
    }
    let is_failed = |renewal: &&Renewal| matches!(renewal.outcome, Outcome::Failed { .. });
    let (failed, all) = (certificates.iter().filter(is_failed).count(), certificates.len());
    let namespace = (!args.all_namespaces).then(|| cluster.namespace.clone());
    output::print(global.output, &Report { namespace, certificates }, text)?;
    if failed > 0 { Err(Error::Several { failed, all }) } else { Ok(()) }
}

/// The Certificates that are chosen.
///
/// # Errors
/// When one cannot be read.
pub async fn gather(cluster: &Cluster, args: &RenewArgs) -> Result<Vec<Certificate>, Error> {
    if !args.names.is_empty() {
        let mut chosen = Vec::new();
        for name in &args.names {
            chosen.push(cluster.get(name).await?);
        }
        return Ok(chosen);
    }
    let api = match args.all_namespaces {
        true => Api::all(cluster.client.clone()),
        false => cluster.namespaced(),
    };
    let labels = args.selector.as_deref().unwrap_or_default();
    all(&api, &ListParams::default().labels(labels)).await
}

/// What is said of an issuance that is under way, or of a renewal that was asked for; pure.
fn already(certificate: &Certificate) -> Option<String> {
    let status = certificate.status.as_ref();
    let answered = status.and_then(|status| status.renew_requested_at.as_ref());
    let asked = certificate.annotations().get(RENEW_REQUESTED_AT);
    if let Some(at) = asked.filter(|asked| Some(*asked) != answered) {
        return Some(format!("a renewal was asked for at {at}"));
    }
    let mut conditions = certificate.status.iter().flat_map(|status| &status.conditions);
    let is_issuing = |it: &&Condition| it.type_ == "Issuing" && it.status == ConditionStatus::True;
    conditions.find(is_issuing).map(|it| it.message.clone().unwrap_or_default())
}

async fn ask(cluster: &Cluster, certificate: &Certificate) -> Result<(), Error> {
    let name = certificate.name_any();
    let namespace = certificate.namespace().unwrap_or_default();
    let cluster = Cluster { namespace, client: cluster.client.clone() };
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let wish = Patch::Apply(wish(certificate, clock::now()));
    let asked = cluster.namespaced::<Certificate>().patch(&name, &parameters, &wish).await;
    let failed = |error| cluster.asked::<Certificate>("renewing", &name).failed(&error);
    asked.map(|_| ()).map_err(failed)
}

/// The one annotation that asks for a renewal; others stay as they are. Pure.
fn wish(certificate: &Certificate, now: Timestamp) -> Value {
    json!({
        "apiVersion": "countersign.dev/v1",
        "kind": "Certificate",
        // Of this very object: one that was made anew meanwhile has a new certificate anyway.
        "metadata": {
            "name": certificate.name_any(),
            "uid": certificate.uid(),
            "annotations": { RENEW_REQUESTED_AT: now.to_string() },
        },
    })
}

/// The answer for people; pure.
fn text(report: &Report) -> String {
    if report.certificates.is_empty() {
        return match &report.namespace {
            Some(namespace) => format!("No such Certificates in namespace {namespace}.\n"),
            None => "No such Certificates in any namespace.\n".to_owned(),
        };
    }
    let lines = report.certificates.iter().map(|Renewal { namespace, name, outcome }| {
        let said = match outcome {
            Outcome::Asked => "a new certificate was asked for".to_owned(),
            Outcome::AlreadyIssuing { message } => {
                format!("one is being issued already: {}", one_line(message))
            }
            Outcome::Failed { message } => one_line(message),
        };
        format!("Certificate {namespace}/{name}: {said}\n")
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuing(status: &str) -> Certificate {
        let condition = json!({ "type": "Issuing", "status": status, "message": "it waits" });
        serde_json::from_value(json!({
            "apiVersion": "countersign.dev/v1", "kind": "Certificate",
            "metadata": { "name": "web", "namespace": "shop" },
            "spec": { "secretName": "web" },
            "status": { "conditions": [condition] },
        }))
        .expect("a Certificate")
    }

    #[test]
    fn only_what_is_under_way_needs_no_wish() {
        assert_eq!(already(&issuing("True")).as_deref(), Some("it waits"));
        assert_eq!(already(&issuing("False")), None);
        assert_eq!(already(&Certificate { status: None, ..issuing("True") }), None);
        let mut asked = issuing("False");
        asked.annotations_mut().insert(RENEW_REQUESTED_AT.to_owned(), "now".to_owned());
        assert_eq!(already(&asked).as_deref(), Some("a renewal was asked for at now"));
        asked.status.as_mut().expect("a status").renew_requested_at = Some("now".to_owned());
        assert_eq!(already(&asked), None, "it was answered");
    }

    #[test]
    fn the_answer_says_which_and_what_became_of_each() {
        let one = |name: &str, outcome| Renewal {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            outcome,
        };
        let message = "renewing Certificate shop/c: no".to_owned();
        let report = Report {
            namespace: Some("shop".to_owned()),
            certificates: vec![
                one("a", Outcome::Asked),
                one("b", Outcome::AlreadyIssuing { message: "DoesNotExist".to_owned() }),
                one("c", Outcome::Failed { message: message.clone() }),
            ],
        };
        let expected = "\
Certificate shop/a: a new certificate was asked for
Certificate shop/b: one is being issued already: DoesNotExist
Certificate shop/c: renewing Certificate shop/c: no
";
        assert_eq!(text(&report), expected);
        let json = serde_json::to_value(&report).expect("JSON");
        let failed =
            json!({ "namespace": "shop", "name": "c", "outcome": "failed", "message": message });
        assert_eq!(json["certificates"][2], failed);
        assert_eq!(json["certificates"][0]["outcome"], "asked");
        let none = Report { namespace: None, certificates: Vec::new() };
        assert_eq!(text(&none), "No such Certificates in any namespace.\n");
    }
}
