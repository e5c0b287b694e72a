//! The status of a Certificate for people; pure.

use jiff::Timestamp;

use super::outlook::State;
use super::report::{EventReport, Part, Report, SecretReport, Told};
use crate::text::{Fields, one_line, relative, table, when};

/// Writes it: what matters first, then what stands behind it.
#[must_use]
pub(super) fn text(report: &Report, now: Timestamp) -> String {
    let Report { namespace, name, outlook, .. } = report;
    let state = match outlook.state {
        State::Ready => "ready",
        State::Renewing => "ready, and being renewed",
        State::Waiting => "NOT ready, waiting",
        State::Failing => "FAILING",
        State::Blocked => "BLOCKED",
        State::Deleting => "being deleted",
    };
    let mut text = format!("Certificate {namespace}/{name}: {state}\n");
    text += &Fields::default()
        .with("What", &outlook.summary)
        .maybe("To do", outlook.advice.as_ref())
        .lines("  ");
    text += &format!("\nSpec\n{}", spec(report, now).lines("  "));
    text += &format!("\nConditions\n{}", conditions("  ", &report.conditions, now));
    if let Some(issuer) = &report.issuer {
        text += &part(issuer, now);
    }
    text += &secret(&report.secret_name, &report.secret, now);
    for request in &report.certificate_requests {
        text += &part(request, now);
    }
    text += &events(&report.events, now);
    for unread in &report.unread {
        text += &format!("\n! {}\n", one_line(unread));
    }
    text
}

fn spec(report: &Report, now: Timestamp) -> Fields {
    Fields::default()
        .with("Names", report.names.join(", "))
        .with("Secret", &report.secret_name)
        .maybe("Issuer", report.issuer.as_ref().map(|issuer| &issuer.object))
        .with("Duration", &report.duration)
        .maybe("Revision", report.revision.map(|revision| revision.to_string()))
        .maybe("Valid until", report.not_after.map(|time| when(time, now)))
        .maybe("Renewal", report.renewal_time.map(|time| when(time, now)))
        .maybe("Created", report.created.map(|time| when(time, now)))
}

fn conditions(indent: &str, all: &[Told], now: Timestamp) -> String {
    if all.is_empty() {
        return format!("{indent}(none)\n");
    }
    let row = |told: &Told| {
        let since = told.since.map(|since| relative(since, now)).unwrap_or_default();
        let word = format!("{}={}", told.type_, told.status);
        vec![word, told.reason.clone(), since, told.message.clone()]
    };
    table(indent, &all.iter().map(row).collect::<Vec<_>>())
}

fn part(part: &Part, now: Timestamp) -> String {
    let title = one_line(&part.object);
    match part.presence.as_str() {
        "found" => format!("\n{title}\n{}", conditions("  ", &part.conditions, now)),
        "missing" => format!("\n{title}\n  it does not exist\n"),
        why => format!("\n{title}\n  {}\n", one_line(why)),
    }
}

fn secret(name: &str, secret: &SecretReport, now: Timestamp) -> String {
    let mut text = format!("\nSecret {}\n", one_line(name));
    match secret.presence.as_str() {
        "found" => {}
        "missing" => return text + "  it does not exist\n",
        why => return text + &format!("  {}\n", one_line(why)),
    }
    if let Some(certificate) = &secret.certificate {
        let mut fields = Fields::default()
            .with("Subject", certificate.title())
            .with("Issuer", &certificate.issuer);
        for (kind, names) in certificate.names.lines() {
            fields = fields.with(kind, names);
        }
        let valid = format!("{} to {}", certificate.not_before, when(certificate.not_after, now));
        text += &fields
            .with("Usages", certificate.usages.join(", "))
            .maybe("Key", certificate.key_algorithm.as_ref())
            .with("Valid", valid)
            .with("Serial", &certificate.serial)
            .with("SHA-256", &certificate.fingerprint)
            .lines("  ");
    }
    for warning in &secret.warnings {
        text += &format!("  ! {}\n", one_line(&warning.message));
    }
    text
}

fn events(events: &[EventReport], now: Timestamp) -> String {
    if events.is_empty() {
        return "\nEvents\n  (none)\n".to_owned();
    }
    let row = |event: &EventReport| {
        let time = event.time.map(|time| relative(time, now)).unwrap_or_default();
        let times = if event.count > 1 { format!("{time} (x{})", event.count) } else { time };
        vec![
            event.type_.clone(),
            event.reason.clone(),
            times,
            event.object.clone(),
            event.message.clone(),
        ]
    };
    format!("\nEvents\n{}", table("  ", &events.iter().map(row).collect::<Vec<_>>()))
}
