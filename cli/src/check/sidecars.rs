//! The sidecars that run; pure. That some are of an earlier version is told, and is no fault: they
//! are replaced as their pods are.

use k8s_openapi::api::apps::v1::Deployment;

use super::gather::Listed;
use super::{Finding, Part, version_of};
use crate::sidecars::Versions;

pub(super) fn judge(sidecars: &Result<Versions, String>, deployments: &Listed<Deployment>) -> Part {
    let name = "sidecars";
    let versions = match sidecars {
        Ok(versions) => versions,
        Err(why) => {
            let findings = vec![Finding::unread("Pods", why)];
            return Part { name, summary: "not seen".to_owned(), findings };
        }
    };
    let operator = deployments.iter().flatten().find_map(version_of);
    Part { name, summary: versions.summary(operator.as_deref()), findings: Vec::new() }
}
