//! The operator's Deployment; pure.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};
use kube::ResourceExt;

use super::gather::Listed;
use super::{Finding, Part};

pub(super) fn judge(deployments: &Listed<Deployment>) -> Part {
    let name = "operator";
    let deployments = match deployments {
        Ok(deployments) => deployments,
        Err(why) => {
            let findings = vec![Finding::unread("Deployments", why)];
            return Part { name, summary: "not seen".to_owned(), findings };
        }
    };
    if deployments.is_empty() {
        let advice = "install it: helm install countersign charts/countersign -n countersign-system --create-namespace";
        let finding = Finding::new(
            "operatorMissing",
            "Deployment countersign-operator",
            "does not exist in any namespace",
            advice,
        );
        return Part { name, summary: "not installed".to_owned(), findings: vec![finding] };
    }
    let said: Vec<_> = deployments.iter().map(summary).collect();
    let findings = deployments.iter().filter_map(fault).chain(missing(deployments)).collect();
    Part { name, summary: said.join("; "), findings }
}

/// Each role of the operator's, and the Deployment that the chart gives it.
const ROLES: [(&str, &str); 2] =
    [("controller", "countersign-controller"), ("front", "countersign-operator")];

/// Where one Deployment says which role it has, the other role has one, too.
fn missing(deployments: &[Deployment]) -> Option<Finding> {
    let has = |role: &str| {
        let label = |it: &Deployment| it.labels().get("app.kubernetes.io/component").cloned();
        deployments.iter().any(|it| label(it).as_deref() == Some(role))
    };
    let (there, missing): (Vec<_>, Vec<_>) = ROLES.into_iter().partition(|(role, _)| has(role));
    let (_, name) = missing.into_iter().next().filter(|_| !there.is_empty())?;
    let advice = "install the chart again: helm upgrade --install";
    Some(Finding::new("operatorMissing", format!("Deployment {name}"), "does not exist", advice))
}

/// The version that the chart says, which is also the image's unless somebody set another.
pub fn version(deployment: &Deployment) -> Option<String> {
    deployment.labels().get("app.kubernetes.io/version").cloned()
}

fn replicas(deployment: &Deployment) -> (i32, i32) {
    let status = deployment.status.as_ref();
    let wanted = deployment.spec.replicas.unwrap_or(1);
    (status.and_then(|status| status.available_replicas).unwrap_or(0), wanted)
}

fn named(deployment: &Deployment) -> String {
    format!("{}/{}", deployment.namespace().unwrap_or_default(), deployment.name_any())
}

fn summary(deployment: &Deployment) -> String {
    let (available, wanted) = replicas(deployment);
    let version = version(deployment).map(|version| format!(" {version}")).unwrap_or_default();
    format!("{}{version}, {available} of {wanted} available", named(deployment))
}

fn fault(deployment: &Deployment) -> Option<Finding> {
    let object = format!("Deployment {}", named(deployment));
    let namespace = deployment.namespace().unwrap_or_default();
    let (available, wanted) = replicas(deployment);
    if wanted == 0 {
        let advice = format!(
            "kubectl scale deployment {} -n {namespace} --replicas 1",
            deployment.name_any()
        );
        return Some(Finding::new("operatorStopped", object, "is scaled to nothing", advice));
    }
    if available >= wanted {
        return None;
    }
    let status = deployment.status.iter();
    let conditions = status.flat_map(|status| status.conditions.iter().flatten());
    let is_bad = |it: &&DeploymentCondition| {
        it.type_.as_deref() == Some("Available") && it.status.as_deref() != Some("True")
    };
    let bad = conditions.filter(is_bad);
    let why: Vec<_> = bad.filter_map(|it| it.message.clone()).collect();
    let why = why.first().map(|why| format!(": {why}")).unwrap_or_default();
    let message = format!("has {available} of {wanted} replicas available{why}");
    let advice = format!("kubectl get pods -n {namespace}, and the log of those that do not run");
    Some(Finding::new("operatorUnavailable", object, message, advice))
}
