//! How the sidecar is injected.

use std::net::SocketAddr;

use countersign_contract::{ExpectedPeer, TrustDomain, names, upstream};

use crate::discovery::HomeAddresses;

/// How the sidecar is injected.
#[derive(Clone, Debug, clap::Args)]
pub struct InjectArgs {
    /// The admission webhook, HTTPS.
    #[arg(long, default_value = "0.0.0.0:8443")]
    pub webhook_listen: SocketAddr,

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
