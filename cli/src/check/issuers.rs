//! Issuers that cannot sign; pure.

use countersign_crds::ConditionStatus;

use super::gather::{AnyIssuer, Listed};
use super::{Finding, Part};

pub(super) fn judge(issuers: &Listed<AnyIssuer>) -> Part {
    let name = "issuers";
    match issuers {
        Ok(issuers) => {
            let findings: Vec<_> = issuers.iter().filter_map(fault).collect();
            let ready = issuers.len() - findings.len();
            Part { name, summary: format!("{ready} of {} ready", issuers.len()), findings }
        }
        Err(why) => {
            let findings = vec![Finding::unread("issuers", why)];
            Part { name, summary: "not seen".to_owned(), findings }
        }
    }
}

fn fault(issuer: &AnyIssuer) -> Option<Finding> {
    let ready = issuer.conditions.iter().find(|it| it.type_ == "Ready");
    if ready.is_some_and(|ready| ready.status == ConditionStatus::True) {
        return None;
    }
    let message = ready.and_then(|ready| ready.message.clone()).filter(|text| !text.is_empty());
    let (message, advice) = match message {
        Some(why) => (
            format!("is not ready: {why}"),
            "put right what it names: it is looked at again within seconds",
        ),
        None => ("says nothing".to_owned(), "see whether the operator runs"),
    };
    Some(Finding::new("issuerNotReady", &issuer.object, message, advice))
}
