//! `inspect secret`: what is in a Secret, or in files. The key is compared, and never printed.

use std::io::Read as _;
use std::path::Path;

use countersign_pki::Redacted;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde::Serialize;

use crate::args::{Global, InspectArgs};
use crate::chain::{self, Bundle, ChainState, Findings, KeyState};
use crate::clock;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::output;
use crate::text::{count, one_line};
use crate::tree;

/// No file or Secret that is worth reading is larger.
const MOST_BYTES: u64 = 1 << 20;

/// What was read.
pub struct Seen {
    /// What it is called.
    pub title: String,
    /// The Secret's type, where it is one.
    pub type_: Option<String>,
    /// The Certificate that it was issued for, where it says so.
    pub certificate_name: Option<String>,
    /// What it holds.
    pub bundle: Bundle,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `Secret shop/web`, or the file.
    pub object: String,
    /// The Secret's type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// The Certificate that it was issued for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_name: Option<String>,
    /// Chain, key and warnings.
    #[serde(flatten)]
    pub findings: Findings,
}

/// Reads it and says what it is.
///
/// # Errors
/// When there is nothing to read.
pub async fn run(global: &Global, args: &InspectArgs) -> Result<(), Error> {
    let seen = match (&args.file, &args.name) {
        (Some(path), _) => from_files(path)?,
        (None, name) => {
            let cluster = Cluster::of(global).await?;
            gather(&cluster, name.as_deref().unwrap_or_default()).await?
        }
    };
    let now = clock::now();
    output::print(global.output, &report(&seen, now), |report| text(report, now))
}

/// Reads a Secret.
///
/// # Errors
/// When it cannot be read.
pub async fn gather(cluster: &Cluster, name: &str) -> Result<Seen, Error> {
    let secret: Secret = cluster.get(name).await?;
    Ok(Seen {
        title: format!("Secret {}/{name}", cluster.namespace),
        type_: secret.type_.clone(),
        certificate_name: secret.annotations().get("countersign.dev/certificate-name").cloned(),
        bundle: bundle(&secret),
    })
}

/// What of a Secret is looked at.
#[must_use]
pub fn bundle(secret: &Secret) -> Bundle {
    let value = |key: &str| Some(secret.data.as_ref()?.get(key)?.0.clone());
    let key = value("tls.key").map(Redacted::new);
    Bundle { certificate: value("tls.crt"), key, roots: value("ca.crt") }
}

/// Reads a file, or the files of a folder by the names that they have in a Secret.
fn from_files(path: &Path) -> Result<Seen, Error> {
    let bundle = if path.is_dir() {
        let file = |name: &str| {
            let path = path.join(name);
            path.exists().then(|| read(&path)).transpose()
        };
        let [certificate, key, roots] = ["tls.crt", "tls.key", "ca.crt"].map(file);
        Bundle { certificate: certificate?, key: key?.map(Redacted::new), roots: roots? }
    } else {
        let text = read(path)?;
        let holds_key = String::from_utf8_lossy(&text).contains("PRIVATE KEY-----");
        let key = holds_key.then(|| Redacted::new(text.clone()));
        Bundle { key, certificate: Some(text), roots: None }
    };
    let title = path.display().to_string();
    Ok(Seen { title, type_: None, certificate_name: None, bundle })
}

/// Reads a file that is not too large.
///
/// # Errors
/// When it cannot be read, or is.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |what: String, advice| Error::File { path: path.to_owned(), what, advice };
    let cannot =
        |error: std::io::Error| failed(format!("cannot be read: {error}"), "name a file that can");
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(MOST_BYTES + 1).read_to_end(&mut text).map_err(cannot)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(failed("is larger than 1 MiB".to_owned(), "name one with PEM in it"));
    }
    Ok(text)
}

/// What there is to say about it; pure.
#[must_use]
pub fn report(seen: &Seen, now: Timestamp) -> Report {
    let mut findings = chain::examine(&seen.bundle, now);
    if seen.type_.is_none() {
        // A file need hold neither: somebody else may have the key, and everybody the root.
        findings.warnings.retain(|it| !["keyMissing", "caMissing"].contains(&it.code));
    }
    Report {
        object: seen.title.clone(),
        type_: seen.type_.clone(),
        certificate_name: seen.certificate_name.clone(),
        findings,
    }
}

/// The same for people; pure.
#[must_use]
pub fn text(report: &Report, now: Timestamp) -> String {
    let findings = &report.findings;
    let mut text = one_line(&report.object);
    if let Some(type_) = &report.type_ {
        text += &format!(", {}", one_line(type_));
    }
    if let Some(name) = &report.certificate_name {
        text += &format!(", of Certificate {}", one_line(name));
    }
    text += &format!("\n\n{}", tree::draw(&findings.chain, now));
    let key = match findings.key {
        KeyState::Matches => "matches the certificate",
        KeyState::Mismatch => "does NOT match the certificate",
        KeyState::Missing => "there is no key",
        KeyState::Alone => "there is no certificate that it could match",
        KeyState::Unreadable => "cannot be read",
    };
    let chain = match findings.chain_state {
        ChainState::Verified => "verifies up to ca.crt",
        ChainState::Broken => "does NOT verify up to ca.crt",
        ChainState::NoRoots => "there is no ca.crt to verify it against",
    };
    text += &format!("\nKey:    {key}\nChain:  {chain}\n");
    if !findings.warnings.is_empty() {
        text += &format!("\n{}:\n", count(findings.warnings.len(), "warning"));
        for warning in &findings.warnings {
            text += &format!("  ! {}\n", one_line(&warning.message));
        }
    }
    text
}

#[cfg(test)]
mod tests;
