//! The command line, which is also the whole configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use ipnet::IpNet;
use kube::core::Duration;

use crate::certificate::reference::IssuerId;
use crate::listen::any;
use crate::policy::{DefaultAccess, DefaultUnmeshed};
use crate::role::Role;

/// Issues and renews certificates, and injects the sidecar.
#[derive(Clone, Debug, Parser)]
#[command(name = "countersign-operator", version, about)]
pub struct Args {
    /// Which part of the operator this process is.
    #[arg(long, value_enum, default_value_t = Role::All)]
    pub role: Role,

    /// Where the credentials are mounted with which `--role=front` serves: tls.crt, tls.key and ca.crt in
    /// `webhook` and in `discovery`.
    #[arg(long, value_name = "FOLDER", default_value = "/var/run/countersign")]
    pub credentials: PathBuf,

    /// The cluster's DNS domain, for the names of Services.
    #[arg(long, default_value = "cluster.local", value_parser = domain)]
    pub cluster_domain: String,

    /// The namespace that the operator runs in, and in which ClusterIssuers find their Secrets.
    #[arg(long, env = "POD_NAMESPACE", default_value = "countersign-system")]
    pub cluster_resource_namespace: String,

    /// The ClusterIssuer that signs the identities of workloads.
    #[arg(long, default_value = "countersign")]
    pub identity_issuer: String,

    /// The ClusterIssuer that signs for people and devices. Rules by common name and by DNS name match only
    /// certificates of its CA; without one, they match none.
    #[arg(long)]
    pub device_issuer: Option<String>,

    /// How long an identity is valid, a Go duration, at least 5m.
    #[arg(long, default_value = "24h", value_parser = lifetime)]
    pub identity_duration: Duration,

    /// Over how long at most leaves are issued again after their authority was replaced, some thirty
    /// a second, a Go duration, 24h at most.
    #[arg(long, default_value = "5m", value_parser = spread)]
    pub reissue_spread: Duration,

    /// The largest RSA key that is made for a Certificate, in bits: 2048, 3072, 4096 or 8192. One of 8192 takes
    /// a core for many seconds.
    #[arg(long, default_value_t = 4096, value_parser = rsa_bits)]
    pub max_rsa_bits: u32,

    /// The issuer of Certificates that name none, as Kind/name: ClusterIssuer/countersign. The
    /// annotation countersign.dev/default-issuer of a namespace comes first.
    #[arg(long)]
    pub default_issuer: Option<IssuerId>,

    /// Whether requests to issuers of this operator are approved without anybody's word; `false`
    /// where an approver decides.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub auto_approval: bool,

    /// Whether the caBundle of webhook configurations, APIServices and conversion webhooks is filled
    /// where their annotations ask for it.
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set)]
    pub ca_injection: bool,

    /// Whether CertificateSigningRequests of Kubernetes are signed whose signer is an issuer of this
    /// operator, once somebody has approved them.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub kubernetes_signer: bool,

    /// Who may reach a pod that no AccessPolicy selects: `mesh` for every identity of the trust
    /// domain, or `none`.
    #[arg(long, value_enum, default_value_t = DefaultAccess::Mesh)]
    pub default_access: DefaultAccess,

    /// Whether pods may call what is not in the mesh, where no AccessPolicy says.
    #[arg(long, value_enum, default_value_t = DefaultUnmeshed::Allow)]
    pub unmeshed: DefaultUnmeshed,

    /// Of several replicas only the holder of a Lease reconciles; `false` is for one alone.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_election: bool,

    /// The name of this replica in the Lease.
    #[arg(long, env = "POD_NAME", default_value = "countersign-operator")]
    pub pod_name: String,

    /// Health and metrics, plain HTTP.
    #[arg(long, default_value_t = any(8080))]
    pub admin_listen: SocketAddr,

    /// Discovery, by which sidecars learn who is behind an address: gRPC over mutual TLS.
    #[arg(long, default_value_t = any(countersign_contract::names::DISCOVERY_PORT))]
    pub discovery_listen: SocketAddr,

    /// Which addresses are set aside for pods, such as `10.244.0.0/16,fd00:10:244::/56`, beside those of
    /// which the Nodes tell (`spec.podCIDRs`). One of them that no pod is known to have is not called
    /// before the API server was asked.
    #[arg(long, value_delimiter = ',')]
    pub pod_cidrs: Vec<IpNet>,

    /// In which ranges external addresses of Services, and those of load balancers, are answered for as
    /// the Services that claim them, such as `203.0.113.0/24`. None: such addresses are outside of the
    /// mesh.
    #[arg(long, value_delimiter = ',')]
    pub external_cidrs: Vec<IpNet>,

    /// What to log: a level, or a filter such as `info,countersign_operator=debug`.
    #[arg(long, env = "COUNTERSIGN_LOG", default_value = "info")]
    pub log: String,

    /// How to log.
    #[arg(long, env = "COUNTERSIGN_LOG_FORMAT", value_enum, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,

    /// How the sidecar is injected.
    #[command(flatten)]
    pub inject: crate::inject::InjectArgs,
}

/// How to log.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// One line of text, for people.
    Human,
}

impl Args {
    /// Reads the command line; a wrong one ends the program with status 2 and one sentence.
    #[must_use]
    pub fn parse_or_exit() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
            if matches!(error.kind(), DisplayHelp | DisplayVersion) {
                error.exit();
            }
            let text = error.to_string();
            eprintln!("countersign-operator: {}", one_sentence(&text));
            std::process::exit(2);
        })
    }
}

/// The first line of what clap says, without its prefix.
fn one_sentence(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line)
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let duration: Duration = text.parse().map_err(|error| format!("{error}"))?;
    let shortest = std::time::Duration::from_secs(300);
    if duration.is_negative() || std::time::Duration::from(duration) < shortest {
        return Err("must be at least 5m".to_owned());
    }
    Ok(duration)
}

fn spread(text: &str) -> Result<Duration, String> {
    let duration: Duration = text.parse().map_err(|error| format!("{error}"))?;
    let longest = std::time::Duration::from_secs(24 * 3600);
    if duration.is_negative() || std::time::Duration::from(duration) > longest {
        return Err("must be between 0s and 24h".to_owned());
    }
    Ok(duration)
}

fn rsa_bits(text: &str) -> Result<u32, String> {
    let bits = text.parse().ok().filter(|bits| [2048, 3072, 4096, 8192].contains(bits));
    bits.ok_or_else(|| "must be 2048, 3072, 4096 or 8192".to_owned())
}

/// A DNS domain in the one form that names are compared with: lower case, no dot at its end.
fn domain(text: &str) -> Result<String, String> {
    let domain = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(legal);
    if !domain.split('.').all(is_label) {
        return Err("must be a DNS domain, such as cluster.local".to_owned());
    }
    Ok(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str, value: &str) -> Option<Args> {
        Args::try_parse_from(["countersign-operator", name, value]).ok()
    }

    #[test]
    fn the_clusters_domain_has_one_form() {
        let cases = [
            ("cluster.local", Some("cluster.local")),
            ("Cluster.LOCAL.", Some("cluster.local")),
            ("local", Some("local")),
            ("", None),
            (".", None),
            (".cluster.local", None),
            ("cluster..local", None),
            ("cluster local", None),
        ];
        for (text, expected) in cases {
            let found = parsed("--cluster-domain", text).map(|args| args.cluster_domain);
            assert_eq!(found.as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn leaves_are_issued_again_within_a_day() {
        for (text, legal) in [("0s", true), ("24h", true), ("24h1s", false), ("-1s", false)] {
            assert_eq!(parsed("--reissue-spread", text).is_some(), legal, "{text}");
        }
    }

    #[test]
    fn rsa_keys_have_4096_bits_at_most_unless_more_are_allowed() {
        let cases =
            [("2048", Some(2048)), ("8192", Some(8192)), ("16384", None), ("0", None), ("", None)];
        for (text, expected) in cases {
            let found = parsed("--max-rsa-bits", text).map(|args| args.max_rsa_bits);
            assert_eq!(found, expected, "{text:?}");
        }
        assert_eq!(parsed("--log", "info").map(|args| args.max_rsa_bits), Some(4096));
    }

    #[test]
    fn an_identity_is_valid_for_five_minutes_at_least() {
        for (text, legal) in [("5m", true), ("24h", true), ("4m59s", false), ("-5m", false)] {
            assert_eq!(parsed("--identity-duration", text).is_some(), legal, "{text}");
        }
    }
}
