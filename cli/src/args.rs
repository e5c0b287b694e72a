//! The command line.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use countersign_crds::KeyUsage;
use countersign_pki::{KeyAlgorithm, LiteralSubject};
use kube::core::Duration;

use crate::issuer::IssuerName;
use crate::mesh::{Called, Caller};

/// Looks at certificates, renews them, decides about requests, and makes requests of its own.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "kubectl-countersign",
    bin_name = "kubectl countersign",
    version,
    about,
    arg_required_else_help = false
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What every command is told.
    #[command(flatten)]
    pub global: Global,
}

/// What every command is told.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The namespace; that of the kubeconfig's context unless set.
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The context of the kubeconfig.
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The kubeconfig; $KUBECONFIG or ~/.kube/config unless set.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Text for people, or JSON for programs.
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// How the answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// A picture, for Graphviz; of edges only.
    Dot,
    /// A picture; of edges only.
    Svg,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Say how something is, what it waits for, and what to do.
    #[command(subcommand, arg_required_else_help = false)]
    Status(Status),
    /// Say what is in a Secret.
    #[command(subcommand, arg_required_else_help = false)]
    Inspect(Inspect),
    /// Ask for a new certificate now.
    Renew(RenewArgs),
    /// Approve a CertificateRequest.
    Approve(DecideArgs),
    /// Deny a CertificateRequest.
    Deny(DecideArgs),
    /// Have a certificate signed whose key stays here: for workstations and devices.
    Request(Box<RequestArgs>),
    /// Say who a pod is in the mesh, which policies select it, and who may reach it.
    Who {
        /// [NAMESPACE/]POD
        #[arg(value_name = "POD")]
        pod: String,
    },
    /// Say whether a call would be allowed, and by which rule: status 0 if it is, 1 if not.
    Why {
        /// [NAMESPACE/]POD, spiffe://..., dns:NAME, cn:NAME or plaintext.
        client: Caller,
        /// [NAMESPACE/]POD:PORT or [NAMESPACE/]svc/NAME:PORT.
        server: Called,
    },
    /// Say who talks to whom: a table, JSON, or a picture (-o dot, -o svg).
    Edges(EdgesArgs),
    /// Say whether the installation is healthy: status 0 if it is, 1 if something was found.
    Check(CheckArgs),
    /// Print what a shell needs to complete this command line.
    Completion {
        /// The shell.
        shell: Shell,
    },
    /// Print the versions of this program, of the operator and of Kubernetes.
    Version {
        /// Do not ask the cluster.
        #[arg(long)]
        client: bool,
    },
    /// Completes a command line, as kubectl asks for it.
    #[command(name = crate::complete::COMMAND, hide = true)]
    Complete {
        /// The words so far; the last one is to be completed.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
}

/// `status`
#[derive(Clone, Debug, Subcommand)]
pub enum Status {
    /// How a Certificate is.
    #[command(visible_alias = "cert")]
    Certificate {
        /// Its name.
        name: String,
    },
}

/// `inspect`
#[derive(Clone, Debug, Subcommand)]
pub enum Inspect {
    /// What is in a Secret, or in files: chain, names, expiry, usages, whether the key matches.
    Secret(InspectArgs),
}

/// `inspect secret`
#[derive(Args, Clone, Debug)]
pub struct InspectArgs {
    /// The Secret's name.
    #[arg(required_unless_present = "file")]
    pub name: Option<String>,
    /// A PEM file in its place, or a folder with tls.crt, tls.key and ca.crt.
    #[arg(short, long, value_name = "FILE", conflicts_with = "name")]
    pub file: Option<PathBuf>,
}

/// `renew`
#[derive(Args, Clone, Debug)]
pub struct RenewArgs {
    /// The Certificates' names.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// All with these labels: app=web,tier!=test.
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with_all = ["names", "all"])]
    pub selector: Option<String>,
    /// All of the namespace.
    #[arg(long, conflicts_with = "names")]
    pub all: bool,
    /// In all namespaces.
    #[arg(short = 'A', long, conflicts_with_all = ["names", "namespace"])]
    pub all_namespaces: bool,
}

/// `approve` and `deny`
#[derive(Args, Clone, Debug)]
pub struct DecideArgs {
    /// The CertificateRequests' names.
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Why, in a word for programs.
    #[arg(long, default_value = "KubectlCountersign", value_parser = reason)]
    pub reason: String,
    /// Why, in a sentence for people.
    #[arg(long)]
    pub message: Option<String>,
}

/// `request`
#[derive(Args, Clone, Debug)]
pub struct RequestArgs {
    /// The name of the CertificateRequest; made from the names that are asked for unless set.
    #[arg(conflicts_with = "resume")]
    pub name: Option<String>,
    /// Who shall sign: name (an Issuer), Kind/name or Kind.group/name.
    #[arg(long, value_name = "[KIND/]NAME", required_unless_present = "resume")]
    pub issuer: Option<IssuerName>,
    /// Where tls.key, tls.crt and ca.crt are written.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Overwrite what is there; it stays in use until the certificate is signed.
    #[arg(long)]
    pub force: bool,
    /// Have this CSR signed (PEM), whose key is elsewhere.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["Wanted", "resume"])]
    pub csr: Option<PathBuf>,
    /// Go on with a CertificateRequest that was made before.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["issuer", "Wanted", "usages", "duration"])]
    pub resume: Option<String>,
    /// What the certificate shall say.
    #[command(flatten)]
    pub wanted: Wanted,
    /// What the key may be used for: "client auth" or client-auth, several with commas; digital
    /// signature and key encipherment unless set.
    #[arg(long = "usage", value_name = "USAGE", value_delimiter = ',', value_parser = usage)]
    pub usages: Vec<KeyUsage>,
    /// How long it shall be valid, such as 720h; what the operator gives unless set (2160h).
    #[arg(long, value_parser = lifetime)]
    pub duration: Option<Duration>,
    /// How long to wait for it.
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
}

/// What the certificate shall say, where the key is made here.
#[derive(Args, Clone, Debug, Default)]
#[group(id = "Wanted", multiple = true)]
pub struct Wanted {
    /// A DNS name; may be given several times, or with commas.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub dns: Vec<String>,
    /// An IP address.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub ip: Vec<IpAddr>,
    /// A URI.
    #[arg(long, value_name = "URI")]
    pub uri: Vec<String>,
    /// An e-mail address.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub email: Vec<String>,
    /// The subject's common name.
    #[arg(long, value_name = "NAME")]
    pub common_name: Option<String>,
    /// The whole subject, in the form of RFC 4514: CN=laptop,O=shop.
    #[arg(long, value_name = "SUBJECT", conflicts_with = "common_name", value_parser = subject)]
    pub subject: Option<LiteralSubject>,
    /// The kind of key; ecdsa-256 unless set.
    #[arg(long, value_enum)]
    pub key_algorithm: Option<Algorithm>,
}

/// The kind of key that is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "each name is the algorithm's own")]
pub enum Algorithm {
    #[default]
    #[value(name = "ecdsa-256")]
    Ecdsa256,
    #[value(name = "ecdsa-384")]
    Ecdsa384,
    #[value(name = "ecdsa-521")]
    Ecdsa521,
    Ed25519,
    #[value(name = "rsa-2048")]
    Rsa2048,
    #[value(name = "rsa-3072")]
    Rsa3072,
    #[value(name = "rsa-4096")]
    Rsa4096,
    #[value(name = "rsa-8192")]
    Rsa8192,
}

impl From<Algorithm> for KeyAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Ecdsa256 => Self::EcdsaP256,
            Algorithm::Ecdsa384 => Self::EcdsaP384,
            Algorithm::Ecdsa521 => Self::EcdsaP521,
            Algorithm::Ed25519 => Self::Ed25519,
            Algorithm::Rsa2048 => Self::Rsa { bits: 2048 },
            Algorithm::Rsa3072 => Self::Rsa { bits: 3072 },
            Algorithm::Rsa4096 => Self::Rsa { bits: 4096 },
            Algorithm::Rsa8192 => Self::Rsa { bits: 8192 },
        }
    }
}

/// `check`
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// Look at issuers and Certificates of all namespaces, as it does unless one is named.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// Wait this long until it is healthy.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub wait: Option<Duration>,
}

/// `edges`
#[derive(Args, Clone, Debug)]
pub struct EdgesArgs {
    /// In all namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
}

impl Cli {
    /// Reads the command line; a wrong one ends the program with status 2 and one sentence.
    #[must_use]
    pub fn parse_or_exit() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            if !error.use_stderr() {
                error.exit();
            }
            eprintln!("kubectl-countersign: {}", one_sentence(&error.to_string()));
            std::process::exit(2);
        })
    }
}

/// What clap says, without its prefix and the usage after it. It names missing arguments on lines
/// of their own.
fn one_sentence(text: &str) -> String {
    let is_advice = |line: &&str| line.starts_with("Usage") || line.starts_with("For more");
    let lines = text.lines().map(str::trim).take_while(|line| !is_advice(line));
    let said = lines.filter(|line| !line.is_empty()).map(|line| match line.strip_prefix("tip: ") {
        Some(tip) => format!("({tip})"),
        None => line.to_owned(),
    });
    let said: Vec<String> = said.collect();
    // It also tells of what is not for people.
    let hidden = format!(", {}", crate::complete::COMMAND);
    said.join(" ").trim_start_matches("error: ").replace(&hidden, "")
}

/// As conditions of Kubernetes want it.
fn reason(text: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_,:".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if !begins || !text.chars().all(legal) || text.len() > 1024 {
        return Err("must be one word of letters and digits, such as PolicyViolation".to_owned());
    }
    Ok(text.to_owned())
}

/// A usage by its name, with spaces or with hyphens.
fn usage(text: &str) -> Result<KeyUsage, String> {
    let name = serde_json::Value::from(text.trim().replace('-', " "));
    serde_json::from_value(name).map_err(|_| {
        let all = countersign_pki::Usage::all().map(countersign_pki::Usage::name);
        format!("it is no usage: choose of {}", all.collect::<Vec<_>>().join(", "))
    })
}

fn subject(text: &str) -> Result<LiteralSubject, String> {
    LiteralSubject::parse(text).map_err(|error| error.to_string())
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "it is not a duration such as 90s, 5m or 720h".to_owned();
    let duration: Duration = text.parse().map_err(|_| wrong())?;
    if duration.is_negative() { Err(wrong()) } else { Ok(duration) }
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = duration(text)?;
    if std::time::Duration::from(lifetime).as_secs() < 300 {
        return Err("must be at least 5m".to_owned());
    }
    Ok(lifetime)
}

#[cfg(test)]
mod tests;
