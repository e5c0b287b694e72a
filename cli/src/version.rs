//! `version`: of this program, of the operator and of Kubernetes.

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, ListParams};
use serde::Serialize;

use crate::args::Global;
use crate::check;
use crate::cluster::{Cluster, all};
use crate::error::Error;
use crate::output;
use crate::sidecars::{self, Versions};
use crate::text::Fields;

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Of this program.
    pub client: String,
    /// Of the operator, where one was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// How many pods have a sidecar of which version.
    #[serde(skip_serializing_if = "Versions::is_empty")]
    pub sidecars: Versions,
    /// Of Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<String>,
    /// What could not be found out, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// Says them.
///
/// # Errors
/// When the kubeconfig cannot be used. What the cluster does not tell is told instead.
pub async fn run(global: &Global, client: bool) -> Result<(), Error> {
    let mut report = Report { client: env!("CARGO_PKG_VERSION").to_owned(), ..Report::default() };
    if !client {
        gather(&Cluster::of(global).await?, &mut report).await;
    }
    output::print(global.output, &report, text)
}

async fn gather(cluster: &Cluster, report: &mut Report) {
    match cluster.client.apiserver_version().await {
        Ok(info) => report.kubernetes = Some(info.git_version),
        Err(error) => {
            report.unknown.push(format!("Kubernetes: {}", crate::error::story(&error)));
            return;
        }
    }
    let deployments: Api<Deployment> = Api::all(cluster.client.clone());
    match all(&deployments, &ListParams::default().labels(check::OURS)).await {
        Ok(found) => {
            report.operator = found.iter().find_map(check::version_of);
            if report.operator.is_none() {
                report.unknown.push("operator: no Deployment of it in any namespace".to_owned());
            }
        }
        Err(error) => report.unknown.push(format!("operator: {error}")),
    }
    match sidecars::gather(cluster, None).await {
        Ok(versions) => report.sidecars = versions,
        Err(error) => report.unknown.push(format!("sidecars: {error}")),
    }
}

/// The answer for people; pure.
fn text(report: &Report) -> String {
    let versions = &report.sidecars;
    let sidecars = (!versions.is_empty()).then(|| versions.summary(report.operator.as_deref()));
    let fields = Fields::default()
        .with("kubectl-countersign", &report.client)
        .maybe("operator", report.operator.as_ref())
        .maybe("sidecars", sidecars.as_ref())
        .maybe("Kubernetes", report.kubernetes.as_ref());
    let unknown =
        report.unknown.iter().fold(fields, |fields, unknown| fields.with("unknown", unknown));
    unknown.lines("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_told_and_what_is_not_too() {
        let report = Report {
            client: "0.1.0".to_owned(),
            operator: None,
            sidecars: Versions::of([None].into_iter()),
            kubernetes: Some("v1.37.0".to_owned()),
            unknown: vec!["operator: no Deployment of it in any namespace".to_owned()],
        };
        let expected = "\
kubectl-countersign:  0.1.0
sidecars:             1 of unknown
Kubernetes:           v1.37.0
unknown:              operator: no Deployment of it in any namespace
";
        assert_eq!(text(&report), expected);
    }
}
