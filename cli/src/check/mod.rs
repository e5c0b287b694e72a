//! `check`: whether the installation is healthy. `gather` reads, `judge` finds what is wrong, each
//! part by itself; what may not be read is a finding too, since it was not seen to be healthy.

mod callers;
mod certificates;
mod definitions;
mod gather;
mod issuers;
mod labels;
mod operator;
mod sidecars;
mod webhook;

use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

pub use self::gather::OURS;
use self::gather::Seen;
pub use self::operator::version as version_of;
use crate::args::{CheckArgs, Global};
use crate::clock;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::output;
use crate::text::{count, one_line};

/// So many findings of a part are told to people; programs get them all.
const MOST_TOLD: usize = 20;

/// How long until it is looked again.
const PAUSE: Duration = Duration::from_secs(1);

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether nothing was found.
    pub healthy: bool,
    /// Each part that was looked at.
    pub parts: Vec<Part>,
}

/// A part of the installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// What it is.
    pub name: &'static str,
    /// What was seen.
    pub summary: String,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// For programs.
    pub code: &'static str,
    /// What it is about.
    pub object: String,
    /// What is wrong with it.
    pub message: String,
    /// What to do.
    pub advice: String,
}

impl Finding {
    fn new(
        code: &'static str,
        object: impl Into<String>,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { code, object: object.into(), message: message.into(), advice: advice.into() }
    }

    fn unread(object: &str, why: &str) -> Self {
        let advice = "ask for the right to read it, or have somebody check who may";
        Self::new("unread", object, format!("could not be looked at: {why}"), advice)
    }
}

/// Looks, and says what was found.
///
/// # Errors
/// When the cluster cannot be reached at all, or the answer cannot be written.
pub async fn run(global: &Global, args: &CheckArgs) -> Result<ExitCode, Error> {
    let cluster = Cluster::of(global).await?;
    let namespace = global.namespace.as_deref();
    let limit = args.wait.map(Duration::from).unwrap_or_default();
    let begun = tokio::time::Instant::now();
    let report = loop {
        let seen = gather::gather(&cluster, namespace).await?;
        let report = judge(&seen, clock::now());
        let left = limit.saturating_sub(begun.elapsed());
        if report.healthy || left.is_zero() {
            break report;
        }
        tokio::time::sleep(PAUSE.min(left)).await;
    };
    output::print(global.output, &report, text)?;
    Ok(if report.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Finds what is wrong; pure.
fn judge(seen: &Seen, now: Timestamp) -> Report {
    let parts = vec![
        definitions::judge(&seen.definitions),
        operator::judge(&seen.deployments),
        webhook::judge(&seen.webhooks, now),
        issuers::judge(&seen.issuers),
        certificates::judge(&seen.certificates, now),
        sidecars::judge(&seen.sidecars, &seen.deployments),
        labels::judge(&seen.marked),
        callers::judge(&seen.called),
    ];
    Report { healthy: parts.iter().all(|part| part.findings.is_empty()), parts }
}

/// The answer for people; pure.
fn text(report: &Report) -> String {
    let mut text = String::new();
    for part in &report.parts {
        let mark = if part.findings.is_empty() { "✓" } else { "✗" };
        text += &format!("{mark} {}: {}\n", part.name, one_line(&part.summary));
        for finding in part.findings.iter().take(MOST_TOLD) {
            let Finding { object, message, advice, .. } = finding;
            text += &format!("    {}: {}\n", one_line(object), one_line(message));
            text += &format!("      {}\n", one_line(advice));
        }
        let more = part.findings.len().saturating_sub(MOST_TOLD);
        if more > 0 {
            text += &format!("    and {more} more: -o json has them all\n");
        }
    }
    let findings: usize = report.parts.iter().map(|part| part.findings.len()).sum();
    let last = match findings {
        0 => "\nhealthy\n".to_owned(),
        number => format!("\n{}\n", count(number, "finding")),
    };
    text + &last
}

#[cfg(test)]
mod tests;
