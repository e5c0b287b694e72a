//! How the sidecar is injected.

use std::net::SocketAddr;
use std::path::PathBuf;

use countersign_contract::{ExpectedPeer, TrustDomain, names, upstream};
use kube::core::Duration;

use super::time_limits::{DIAL, HALF_CLOSED, IDLE, PEER_EXPIRY, STALL, TimeLimit};
use crate::discovery::HomeAddresses;
use crate::listen::any;

/// How the sidecar is injected.
#[derive(Clone, Debug, clap::Args)]
pub struct InjectArgs {
    /// The admission webhook, HTTPS.
    #[arg(long, default_value_t = any(8443))]
    pub webhook_listen: SocketAddr,

    /// A PEM file with the CAs of the API server's client certificate for the webhook. With it, the webhook
    /// refuses every client without such a certificate. The file may change while the operator runs.
    #[arg(long, value_name = "FILE")]
    pub webhook_client_ca: Option<PathBuf>,

    /// Which of that CA's certificates may call the webhook: by common name or DNS name, exactly, comma
    /// separated. Default: any.
    #[arg(long, value_name = "NAME", value_delimiter = ',', requires = "webhook_client_ca")]
    pub webhook_client_names: Vec<String>,

    /// The Service by which the API server reaches the webhook.
    #[arg(long, default_value = "countersign-webhook")]
    pub webhook_service: String,

    /// The MutatingWebhookConfiguration whose caBundle is kept.
    #[arg(long, default_value = "countersign")]
    pub webhook_configuration: String,

    /// The trust domain of SPIFFE identities; a sidecar takes no certificate of another one.
    #[arg(long, default_value = names::DEFAULT_TRUST_DOMAIN)]
    pub trust_domain: TrustDomain,

    /// The image that holds /countersign-sidecar.
    #[arg(long, default_value = "countersign/countersign:0.1.0")]
    pub sidecar_image: String,

    /// The pull policy of that image.
    #[arg(long, default_value = "IfNotPresent")]
    pub sidecar_pull_policy: String,

    /// CPU that each sidecar requests.
    #[arg(long, default_value = "10m")]
    pub sidecar_cpu_request: String,

    /// CPU that no sidecar may exceed; empty for no limit.
    #[arg(long, default_value = "")]
    pub sidecar_cpu_limit: String,

    /// Memory that each sidecar requests.
    #[arg(long, default_value = "16Mi")]
    pub sidecar_memory_request: String,

    /// Memory that no sidecar may exceed; empty for no limit.
    #[arg(long, default_value = "128Mi")]
    pub sidecar_memory_limit: String,

    /// How long a connection may last over which nothing passes.
    #[arg(long, value_name = "DURATION", value_parser = idle)]
    pub sidecar_idle_timeout: Option<Duration>,

    /// The same, once one of its ends is done.
    #[arg(long, value_name = "DURATION", value_parser = half_closed)]
    pub sidecar_half_closed_timeout: Option<Duration>,

    /// How long either end may leave unread, or unacknowledged, what it was sent.
    #[arg(long, value_name = "DURATION", value_parser = stall)]
    pub sidecar_stall_timeout: Option<Duration>,

    /// How long a connection to the application, or to an upstream, may take.
    #[arg(long, value_name = "DURATION", value_parser = dial)]
    pub sidecar_dial_timeout: Option<Duration>,

    /// How long a connection may go on after its peer's certificate has ended.
    #[arg(long, value_name = "DURATION", value_parser = peer_expiry)]
    pub sidecar_peer_expiry_grace: Option<Duration>,

    /// What the sidecar logs: a level, or a filter.
    #[arg(long, default_value = "info")]
    pub sidecar_log: String,

    /// How the sidecar logs.
    #[arg(long, default_value = "json")]
    pub sidecar_log_format: String,

    /// Where sidecars ask who is behind an address.
    #[arg(
        long,
        value_name = "HOST:PORT",
        default_value = "countersign-discovery.countersign-system.svc.cluster.local:14142"
    )]
    pub sidecar_discovery: String,

    /// The addresses of discovery's Service, as the watch has them.
    #[arg(skip)]
    pub discovery_addresses: HomeAddresses,

    /// Who must answer there.
    #[arg(
        long,
        value_name = "PEER",
        default_value = "spiffe://cluster.local/ns/countersign-system/sa/countersign-operator"
    )]
    pub sidecar_discovery_peer: ExpectedPeer,

    /// The API server's addresses as pods call it, IP:PORT, comma separated: the redirect leaves them alone.
    /// Those of the Service default/kubernetes unless set.
    #[arg(long, value_name = "IP:PORT", value_delimiter = ',')]
    pub api_server_addresses: Vec<SocketAddr>,

    /// Further namespaces in which nothing is injected, comma separated, as the webhook's selector has
    /// them.
    #[arg(long, value_delimiter = ',')]
    pub excluded_namespaces: Vec<String>,

    /// Whether pods that should have the sidecar and do not may be evicted, in namespaces whose
    /// annotation countersign.dev/replace-uninjected asks for it.
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set)]
    pub replace_uninjected: bool,
}

impl InjectArgs {
    /// The addresses at which sidecars find discovery where its name cannot be resolved, comma separated.
    pub(super) fn discovery_addresses(&self) -> String {
        let port = upstream::split_host_port(&self.sidecar_discovery).map(|(_, port)| port);
        let port = port.unwrap_or(names::DISCOVERY_PORT);
        let all = self.discovery_addresses.get();
        let texts = all.iter().map(|ip| SocketAddr::new(*ip, port).to_string());
        texts.collect::<Vec<_>>().join(",")
    }
}

fn idle(text: &str) -> Result<Duration, String> {
    read(text, &IDLE)
}

fn half_closed(text: &str) -> Result<Duration, String> {
    read(text, &HALF_CLOSED)
}

fn stall(text: &str) -> Result<Duration, String> {
    read(text, &STALL)
}

fn dial(text: &str) -> Result<Duration, String> {
    read(text, &DIAL)
}

fn peer_expiry(text: &str) -> Result<Duration, String> {
    read(text, &PEER_EXPIRY)
}

fn read(text: &str, limit: &TimeLimit) -> Result<Duration, String> {
    let parsed = limit.parse(text).ok_or_else(|| format!("must be {}", limit.wanted))?;
    Ok(Duration::from(parsed))
}
