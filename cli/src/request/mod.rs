//! `request`: has a certificate signed whose key never leaves this machine.
//!
//! `ask` makes what is sent, `answer` reads what became of it, `files` keeps what is written. The
//! key is on disk before the API server hears of it, and what was there before is in use until
//! there is something better.

mod answer;
mod ask;
mod files;

use std::time::Duration;

use countersign_crds::CertificateRequest;
use countersign_pki::{PrivateKey, parse_csr};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::PostParams;
use serde::Serialize;

use self::answer::{Answer, Signed};
use self::files::{Folder, Written};
use crate::args::{Global, RequestArgs};
use crate::chain::{self, Bundle, Warning};
use crate::clock;
use crate::cluster::Cluster;
use crate::error::{Error, story};
use crate::facts::CertificateReport;
use crate::issuer::IssuerName;
use crate::output;
use crate::text::{Fields, duration, one_line, when};

/// How long until it is looked again: soon at first, since an issuer of ours answers at once.
const FIRST_LOOK: Duration = Duration::from_millis(50);

/// Later, somebody must be waited for.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The namespace of the CertificateRequest.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who signed.
    pub issuer: String,
    /// What was written.
    pub files: Written,
    /// The certificate.
    pub certificate: CertificateReport,
    /// What is not as it should be.
    pub warnings: Vec<Warning>,
}

/// Asks, waits, and writes what came of it.
///
/// # Errors
/// When it is not signed in time, or never will be, or something cannot be written.
pub async fn run(global: &Global, args: &RequestArgs) -> Result<(), Error> {
    let folder = Folder { path: args.out.clone(), overwrites: args.force };
    let (cluster, request, key) = match &args.resume {
        Some(name) => resume(global, &folder, name).await?,
        None => begin(global, &folder, args).await?,
    };
    let signed = match wait(&cluster, args, &request).await {
        Ok(signed) => signed,
        Err(Ended::Unfinished(error)) => return Err(error),
        Err(Ended::Refused(error)) => {
            // Its key is of no use to anybody any more.
            if key.is_some() {
                folder.forget_key()?;
            }
            return Err(error);
        }
    };
    let facts = answer::certificate(&request, &signed)?;
    if key.as_ref().is_some_and(|key| !facts.matches_key(key)) {
        return Err(answer::of_another_key(&request));
    }
    let files = folder.finish(key.is_some(), &signed)?;
    let now = clock::now();
    let report = Report {
        namespace: cluster.namespace.clone(),
        name: request.name_any(),
        issuer: IssuerName::of(&request.spec.issuer_ref).to_string(),
        files,
        certificate: CertificateReport::of(&facts),
        warnings: warnings(&signed, now),
    };
    output::print(global.output, &report, |report| text(report, now))
}

/// Where a request is, what it says, and its key, if that is here.
type Begun = (Cluster, CertificateRequest, Option<PrivateKey>);

/// Makes key and request; the key is kept before the request is sent.
async fn begin(global: &Global, folder: &Folder, args: &RequestArgs) -> Result<Begun, Error> {
    folder.is_ready(args.csr.is_none())?;
    let order = ask::order(args)?;
    let cluster = Cluster::of(global).await?;
    let name = order.request.name_any();
    // What is wrong with the way there is better known before there is a key.
    if cluster.find::<CertificateRequest>(&name).await?.is_some() {
        return Err(Error::State {
            object: format!("CertificateRequest {}/{name}", cluster.namespace),
            what: "exists already".to_owned(),
            advice: "choose another name, or go on with it by --resume".to_owned(),
        });
    }
    if let Some(key) = &order.key {
        folder.keep_key(key)?;
    }
    let created = cluster.namespaced().create(&PostParams::default(), &order.request).await;
    match created {
        Ok(request) => Ok((cluster, request, order.key)),
        Err(error) => {
            let is_refused = matches!(error, kube::Error::Api(_));
            if is_refused && order.key.is_some() {
                folder.forget_key()?;
            }
            Err(cluster.asked::<CertificateRequest>("creating", &name).failed(&error))
        }
    }
}

/// Finds the key of a request that was made before; without one, the key is elsewhere.
async fn resume(global: &Global, folder: &Folder, name: &str) -> Result<Begun, Error> {
    let cluster = Cluster::of(global).await?;
    let request: CertificateRequest = cluster.get(name).await?;
    let key = folder.kept_key()?;
    folder.is_free(key.is_some())?;
    let asks_for = parse_csr(&request.spec.request.0).map(|csr| csr.public_key_spki);
    match (&key, asks_for) {
        (Some(key), Ok(asked)) if key.public_key_spki() != asked => {
            Err(answer::of_another_key(&request))
        }
        _ => Ok((cluster, request, key)),
    }
}

/// How a wait ended without a certificate.
enum Ended {
    /// It may still come.
    Unfinished(Error),
    /// It never will.
    Refused(Error),
}

async fn wait(
    cluster: &Cluster,
    args: &RequestArgs,
    request: &CertificateRequest,
) -> Result<Signed, Ended> {
    let (name, issuer) = (request.name_any(), IssuerName::of(&request.spec.issuer_ref));
    let object = format!("CertificateRequest {}/{name}", cluster.namespace);
    output::progress(&one_line(&format!("{object}: waiting for {issuer}")));
    let limit = Duration::from(args.timeout);
    let begun = tokio::time::Instant::now();
    let mut pause = FIRST_LOOK;
    loop {
        let why = match cluster.get::<CertificateRequest>(&name).await {
            Ok(request) => match answer::of(&request) {
                Answer::Signed(signed) => return Ok(signed),
                Answer::Refused(what) => {
                    let advice =
                        "correct what it says, or have it allowed, and ask again".to_owned();
                    return Err(Ended::Refused(Error::State { object, what, advice }));
                }
                Answer::Pending(why) => why,
            },
            // It may answer again before the time is over.
            Err(error @ Error::Unreachable { .. }) => error.to_string(),
            Err(error) => return Err(Ended::Unfinished(error)),
        };
        let left = limit.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(Ended::Unfinished(unfinished(cluster, args, &name, &why)));
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(LAST_LOOK);
    }
}

/// Why the wait is over, and how to go on.
fn unfinished(cluster: &Cluster, args: &RequestArgs, name: &str, why: &str) -> Error {
    let (namespace, out) = (&cluster.namespace, args.out.display());
    let resume = format!("request --resume {name} -n {namespace} --out {out}");
    Error::State {
        object: format!("CertificateRequest {namespace}/{name}"),
        what: format!("is not signed after {}: {why}", duration(args.timeout)),
        advice: format!("once it is, have it with kubectl countersign {resume}"),
    }
}

/// What is not as it should be with what was signed; the key was looked at already.
fn warnings(signed: &Signed, now: Timestamp) -> Vec<Warning> {
    let (certificate, roots) = (Some(signed.chain.clone()), signed.ca.clone());
    let found = chain::examine(&Bundle { certificate, key: None, roots }, now).warnings;
    found.into_iter().filter(|warning| warning.code != "keyMissing").collect()
}

/// The answer for people; pure.
fn text(report: &Report, now: Timestamp) -> String {
    let Report { namespace, name, issuer, files, certificate, warnings } = report;
    let mut fields = Fields::default().with("Subject", certificate.title());
    for (kind, names) in certificate.names.lines() {
        fields = fields.with(kind, names);
    }
    let path = |path: &std::path::PathBuf| path.display().to_string();
    let fields = fields
        .with("Usages", certificate.usages.join(", "))
        .with("Valid until", when(certificate.not_after, now))
        .maybe("Key", files.key.as_ref().map(path))
        .with("Certificate", path(&files.certificate))
        .maybe("Root", files.ca.as_ref().map(path));
    let mut text = format!("CertificateRequest {namespace}/{name} was signed by {issuer}\n\n");
    text += &fields.lines("  ");
    for warning in warnings {
        text += &format!("  ! {}\n", one_line(&warning.message));
    }
    text
}

/// The command line is wrong in a way that only making a request shows.
fn usage(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::Usage(story(error))
}

#[cfg(test)]
mod tests;
