//! Certificates that somebody must approve: the bench does, at once, and the operator does the rest.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;

use super::super::counters::{Counters, Kind};
use super::program::Operator;
use super::rows::{Figure, Found};
use super::site::{GROUP, Site, path_of};
use super::watch::Watch;

const NAMESPACE: &str = "request";

/// How long the operator may take to ask.
const PATIENCE: Duration = Duration::from_secs(30);

/// Has so many issued in turn, and then renewed, by an operator that does not approve by itself.
///
/// # Errors
/// When one is not issued.
pub(super) async fn measure(
    site: &Site,
    operator: &Operator,
    count: usize,
) -> anyhow::Result<Vec<Found>> {
    println!("{count} Certificates in turn that somebody must approve, and their renewals");
    site.namespace(NAMESPACE).await?;
    let mut approver = Approver {
        requests: Watch::of(site.client(), path_of(NAMESPACE, "certificaterequests")).await?,
        approved: HashSet::new(),
    };
    let mut watch = Watch::of(site.client(), path_of(NAMESPACE, "certificates")).await?;
    operator.settled().await?;
    let before = site.counters().await?;
    for number in 0..count {
        site.make_certificate(NAMESPACE, number).await?;
        approver.approve_next(site).await?;
        watch.ready(number, 1).await?;
    }
    operator.settled().await?;
    let between = site.counters().await?;
    for number in 0..count {
        site.renew_certificate(NAMESPACE, number).await?;
        approver.approve_next(site).await?;
        watch.ready(number, 2).await?;
    }
    operator.settled().await?;
    let first = between.since(&before);
    let renewed = site.counters().await?.since(&between);
    let own = [("POST", "certificates"), ("PATCH", "certificates/status")];
    let row = |figure: Figure, written: Counters, (verb, resource): (&str, &str)| {
        let written = written
            .without(&Kind::new(verb, GROUP, resource), count as u64)
            .without(&Kind::new("PATCH", GROUP, "certificaterequests/status"), count as u64);
        println!("  written: {written}");
        figure.row(written.per(count), count, written.to_string())
    };
    Ok(vec![
        row(Figure::WritesFirstByRequest, first, own[0]),
        row(Figure::WritesRenewalByRequest, renewed, own[1]),
    ])
}

/// Approves each CertificateRequest once, as soon as it is seen.
struct Approver {
    requests: Watch,
    approved: HashSet<String>,
}

impl Approver {
    async fn approve_next(&mut self, site: &Site) -> anyhow::Result<()> {
        let name = loop {
            let seen = self.requests.next(PATIENCE).await?;
            if self.approved.insert(seen.name.clone()) {
                break seen.name;
            }
        };
        let approved = json!({ "status": { "conditions": [{
            "type": "Approved", "status": "True", "reason": "Bench", "message": "approved",
        }] } });
        site.patch_status(NAMESPACE, "certificaterequests", &name, &approved).await
    }
}
